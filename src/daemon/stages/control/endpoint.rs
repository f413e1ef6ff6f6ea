//! Executes commands on the viewers and stages of this node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::admission::close_inadmissible_of;
use super::grants::reconnect_changed;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::{DirectMessage, ThrottleOrder, ViewerSink};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::engines::directory::{Grants, Sanctions, Streams};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand};
use crate::protocol::admin::{MAX_DISCONNECT_AFTER_MS, ProblemCode};
use crate::protocol::{CloseCode, UserScope};

/// The time limit for passing an order to the broadcast stage, which reads its channel between
/// batches. An order that is lost is read from the metadata store by the next reload.
const ORDER_TIMEOUT: Duration = Duration::from_secs(1);

/// Executes the commands that reach this node through the registry or from its own control.
#[derive(Debug)]
pub struct LocalEndpoint {
    pub sink: Arc<dyn ViewerSink>,
    pub sanctions: Sanctions,
    pub grants: Grants,
    pub streams: Streams,
    pub clock: SharedClock,
    /// To the broadcast stage. Closed on a node without one.
    pub throttle: mpsc::Sender<ThrottleOrder>,
    pub board: StatusBoard,
    /// Dismissed viewers are told to reconnect after a random time up to this.
    pub jitter: Duration,
    /// Runs work that takes longer than the command.
    pub supervisor: Supervisor,
}

#[async_trait]
impl CommandHandler for LocalEndpoint {
    async fn handle(&self, command: NodeCommand) -> u64 {
        match command {
            NodeCommand::Disconnect { user_id, stream_id, code } => {
                let who = UserScope { user_id, stream_id };
                let ban = self.sanctions.check_ban(who).filter(|_| code == CloseCode::Banned);
                self.sink.disconnect_user(who, code, ban.map(|ban| ban.error())).await
            }
            NodeCommand::DisconnectBanned { user_id, stream_id, after_ms } => {
                self.disconnect_banned(UserScope { user_id, stream_id }, after_ms).await
            }
            NodeCommand::Probe { user_id } => self.sink.probe_user(user_id).await,
            NodeCommand::Direct { user_id, from, message, message_id, from_user } => {
                let message = DirectMessage { from, message, message_id, from_user };
                self.sink.direct(user_id, message).await
            }
            NodeCommand::ReloadSanctions => {
                if let Err(error) = self.sanctions.reload().await {
                    warn!(%error, "cannot reload sanctions; the previous ones stay in use");
                }
                0
            }
            NodeCommand::ReloadGrants => {
                if let Err(error) = self.grants.reload().await {
                    warn!(%error, "cannot reload grants; the previous ones stay in use");
                }
                reconnect_changed(&self.grants, &*self.sink).await
            }
            NodeCommand::ReloadStream { stream_id } => {
                if let Err(error) = self.streams.reload_stream(stream_id).await {
                    warn!(%stream_id, %error, "cannot reload a stream; its previous settings stay in use");
                }
                let now_ms = self.clock.now_ms();
                close_inadmissible_of(stream_id, &self.streams, &*self.sink, now_ms).await
            }
            NodeCommand::Throttle { stream_id, fixed } => {
                self.send_order(ThrottleOrder { stream_id, fixed }).await;
                0
            }
            NodeCommand::Drain { undo } => self.drain(undo),
            NodeCommand::ReportTalkers { stream_id } => {
                self.board.telemetry().talkers().request(stream_id, Instant::now());
                0
            }
            NodeCommand::Acknowledge { problem, shown } => {
                let problems = self.board.problems();
                let ended = ProblemCode::loss(&problem)
                    .is_some_and(|loss| problems.acknowledge(loss, &shown));
                let is_kept = !ended || problems.losses_written().await;
                u64::from(is_kept)
            }
        }
    }
}

impl LocalEndpoint {
    async fn send_order(&self, order: ThrottleOrder) {
        match timeout(ORDER_TIMEOUT, self.throttle.send(order)).await {
            // Nobody receives orders on a node that does not broadcast.
            Ok(Ok(()) | Err(_)) => {}
            Err(_) => warn!(?order, "the broadcast stage did not take an order in time"),
        }
    }

    /// Closes the connections that a ban is about at the end of a time in which it may be taken
    /// back. The node that has the connections waits itself, so that no other node need live that
    /// long.
    async fn disconnect_banned(&self, who: UserScope, after_ms: u64) -> u64 {
        let after_ms = after_ms.min(MAX_DISCONNECT_AFTER_MS);
        let sink = self.sink.clone();
        let sanctions = self.sanctions.clone();
        // The periodic reload would close them before.
        if !sanctions.spare(who, after_ms) {
            return close_if_banned(who, &sanctions, &*sink).await;
        }
        self.supervisor.spawn("disconnect banned", move |stop| {
            let sink = sink.clone();
            let sanctions = sanctions.clone();
            async move {
                let pause = tokio::time::sleep(Duration::from_millis(after_ms));
                let is_over = stop.run_until_cancelled(pause).await.is_some();
                // A ban that was taken back and made again has a time of its own.
                if is_over && !sanctions.is_spared(who) {
                    close_if_banned(who, &sanctions, &*sink).await;
                }
                Ok(())
            }
        });
        self.sink.probe_user(who.user_id).await
    }

    /// Dismisses viewers in the background, so that the operator need not wait for all of them.
    fn drain(&self, undo: bool) -> u64 {
        self.board.set_draining(!undo);
        if undo {
            return 0;
        }
        let connections = self.sink.connections();
        let sink = self.sink.clone();
        let jitter = self.jitter;
        self.supervisor.spawn("drain", move |stop| {
            let sink = sink.clone();
            async move {
                tokio::select! {
                    _ = sink.dismiss_all(CloseCode::Shutdown, jitter) => {}
                    () = stop.cancelled() => {}
                }
                Ok(())
            }
        });
        connections
    }
}

/// Closes the connections that a ban of a user is about, if it is in force. Returns their number.
async fn close_if_banned(who: UserScope, sanctions: &Sanctions, sink: &dyn ViewerSink) -> u64 {
    match sanctions.check_ban(who) {
        Some(ban) => sink.disconnect_user(who, CloseCode::Banned, Some(ban.error())).await,
        None => 0,
    }
}
