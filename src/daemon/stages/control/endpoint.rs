//! The node's own end of a command: what it does to its own viewers and stages.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use crate::daemon::base::handoff::{ThrottleOrder, ViewerSink};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::engines::directory::{Sanctions, Streams};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand};
use crate::protocol::CloseCode;

/// How long the broadcast stage may take to accept an order. Its channel is short, and it reads it
/// between batches; an order it misses it still finds in the metadata store at its next start.
const ORDER_TIMEOUT: Duration = Duration::from_secs(1);

/// Obeys the commands that the registry or control carries here.
#[derive(Debug)]
pub struct LocalEndpoint {
    pub sink: Arc<dyn ViewerSink>,
    pub sanctions: Sanctions,
    pub streams: Streams,
    /// To the broadcast stage; closed on a node without one.
    pub throttle: mpsc::Sender<ThrottleOrder>,
    pub board: StatusBoard,
    /// Viewers sent away are told to come back after a random time up to this.
    pub jitter: Duration,
    /// Runs what outlasts the command.
    pub supervisor: Supervisor,
}

#[async_trait]
impl CommandHandler for LocalEndpoint {
    async fn handle(&self, command: NodeCommand) -> u64 {
        match command {
            NodeCommand::Disconnect { user_id, code } => {
                self.sink.disconnect_user(user_id, code).await
            }
            NodeCommand::Direct { user_id, from, message } => {
                self.sink.direct(user_id, from, message).await
            }
            NodeCommand::ReloadSanctions => {
                if let Err(error) = self.sanctions.reload().await {
                    warn!(%error, "cannot reload sanctions, the last known ones stay");
                }
                0
            }
            NodeCommand::ReloadStream { stream_id } => {
                if let Err(error) = self.streams.reload().await {
                    warn!(%stream_id, %error, "cannot reload a stream, its last settings stay");
                }
                0
            }
            NodeCommand::Throttle { stream_id, sample_rate } => {
                self.order(ThrottleOrder { stream_id, sample_rate }).await;
                0
            }
            NodeCommand::Drain { undo } => self.drain(undo),
        }
    }
}

impl LocalEndpoint {
    async fn order(&self, order: ThrottleOrder) {
        match timeout(ORDER_TIMEOUT, self.throttle.send(order)).await {
            // A node that does not broadcast has nobody to order.
            Ok(Ok(()) | Err(_)) => {}
            Err(_) => warn!(?order, "the broadcast stage does not take orders"),
        }
    }

    /// Viewers leave in the background: an operator need not wait for the last of a million.
    fn drain(&self, undo: bool) -> u64 {
        self.board.set_draining(!undo);
        if undo {
            return 0;
        }
        let connections = self.sink.connections();
        let (sink, jitter) = (self.sink.clone(), self.jitter);
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
