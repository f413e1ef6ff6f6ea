//! The report of this node, sent to the others once per second, and out of turn when a server of
//! the bus stops or begins to answer, so that any node can answer for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::AdminParts;
use super::watch::{self, ClusterWatch};
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::status::WorkerGauges;
use crate::daemon::base::telemetry::{NodeSample, counters};
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::announcements;
use crate::daemon::engines::eventlog::ConsumerGroup;
use crate::protocol::admin::{
    BusNode, BusNodeState, ModerationCounts, NodeRates, NodeReport, NodeStatus, ProcessStatus,
    StageName, Talkers, WorkerStatus,
};
use crate::protocol::events::Decision;

const INTERVAL: Duration = Duration::from_secs(1);
/// Time from a change of the bus to a report out of turn, so that any node knows soon whose viewers
/// an outage hits. A connection that was only closed is back by then.
const CHANGE_PAUSE: Duration = Duration::from_millis(300);
/// The time limit for the registry. A report that takes longer is replaced by the next one.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The stages that read the event log, each with its consumer group.
const CONSUMERS: [(StageName, ConsumerGroup); 3] = [
    (StageName::Broadcast, ConsumerGroup::Coordinator),
    (StageName::Moderation, ConsumerGroup::Moderator),
    (StageName::Archive, ConsumerGroup::Archiver),
];

/// Sends a report once per second, and when a server of the bus stops or begins to answer, and
/// leaves the registry when the node stops.
#[derive(Debug, Clone)]
pub struct Reporter(pub(super) Arc<AdminParts>);

impl Reporter {
    pub async fn run(&self, stop: CancellationToken) {
        // A slow dependency must not delay the reports: the others would take this node for dead.
        tokio::join!(self.send_reports(&stop), self.watch_cluster(&stop));
        let registry = &self.0.control.parts().registry;
        // Otherwise the others report this node as unreachable for a while.
        let _ = timeout(TIMEOUT, registry.leave()).await;
        watch::leave(&self.0).await;
    }

    async fn watch_cluster(&self, stop: &CancellationToken) {
        let mut ticks = ticker_from_now(announcements::INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            stop.run_until_cancelled(self.0.watch_cluster()).await;
        }
    }

    async fn send_reports(&self, stop: &CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        let mut comparisons = ticker_from_now(announcements::INTERVAL);
        let mut comparison = ClusterWatch::default();
        let registry = &self.0.control.parts().registry;
        let bus = &self.0.control.parts().bus;
        let mut is_early = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => is_early = false,
                () = bus.servers_changed(), if !is_early => {
                    is_early = true;
                    ticks.reset_after(CHANGE_PAUSE);
                    continue;
                }
                _ = comparisons.tick() => {
                    comparison.compare(&self.0).await;
                    continue;
                }
                () = stop.cancelled() => break,
            }
            let report = self.0.report();
            self.0.watch_self(&report);
            self.0.record_differences(&report);
            match timeout(TIMEOUT, registry.report(report)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(%error, "report not sent to the other nodes"),
                Err(_) => debug!("report not sent to the other nodes: the registry is slow"),
            }
            // The answer to the report has told how old those of the others are.
            self.0.watch_silence();
        }
    }
}

impl AdminParts {
    pub(super) fn report(&self) -> NodeReport {
        let workers = self.workers();
        let sample = self.board.telemetry().latest();
        let now_ms = self.control.parts().clock.now_ms();
        NodeReport {
            taken_at: now_ms,
            node: self.node_status(&sample),
            slow_viewers: workers.iter().map(|worker| worker.slow_viewers).sum(),
            counters: counters(self.board.metrics()),
            rates: sample.rates,
            stages: sample.stages.clone(),
            end_to_end: sample.end_to_end.clone(),
            end_to_end_recent: sample.end_to_end_recent.clone(),
            bus: self.bus(),
            stores: sample.stores.clone(),
            moderation: moderation(self.board.metrics(), &sample),
            streams: self.board.stream_rates(),
            egress: self.board.stream_egress(),
            workers,
            breakers: self.board.breakers(),
            problems: self.board.problems().list(),
            settings: self.about.settings.clone(),
            alerts: self.live.alerts.own(),
            acks: self.live.alerts.acks(),
            events: self.live.events.lock().reported(&self.about.node, now_ms),
            talkers: self.requested_talkers(),
            refused_users: self.board.telemetry().talkers().refused_users(Instant::now()),
            held_records: self.board.held_records(),
        }
    }

    /// Returns the talkers of the streams that were asked for and are broadcast here. One that is
    /// not counted is reported too, so that nobody waits for it.
    fn requested_talkers(&self) -> Vec<Talkers> {
        let now = Instant::now();
        let sketches = self.board.telemetry().talkers();
        let requested = sketches.requested(now).into_iter();
        let here = requested.filter(|stream_id| self.board.stream(*stream_id).is_some());
        let talkers_of = |stream_id| {
            let counted = sketches.of_stream(stream_id, now);
            counted.unwrap_or_else(|| Talkers::none_of(stream_id))
        };
        here.map(talkers_of).collect()
    }

    /// Returns the servers of the bus as this node uses them now, with its name.
    fn bus(&self) -> Vec<BusNode> {
        let mut servers = self.control.parts().bus.servers();
        let node = &self.about.node;
        for server in &mut servers {
            if server.state == BusNodeState::Fails {
                server.fails_for = vec![node.clone()];
            }
            let listening = server.shards.iter_mut().filter(|shard| shard.subscribers > 0);
            listening.for_each(|shard| shard.nodes = vec![node.clone()]);
        }
        servers
    }

    fn node_status(&self, sample: &NodeSample) -> NodeStatus {
        let certificate = (self.certificate)();
        NodeStatus {
            node: self.about.node.clone(),
            roles: self.about.roles.clone(),
            version: self.about.version.clone(),
            listen: self.about.listen.clone(),
            uptime_ms: self.about.uptime_ms(),
            connections: self.board.connections(),
            senders: self.board.senders(),
            transports: self.board.connections_by_transport(),
            max_connections: self.about.max_connections,
            draining: self.board.is_draining(),
            health: self.health(&self.live.alerts.of_this_node(), 1),
            seen_ms: 0,
            partitions: self.partitions(),
            egress: self.board.egress(),
            process: ProcessStatus {
                certificate_expires_at: certificate.and_then(|shown| shown.expires_at_ms),
                ..sample.process.clone()
            },
            rates: NodeRates::from(&sample.rates),
        }
    }

    /// Returns the number of partitions that this node reads, of each group that it is a member of.
    fn partitions(&self) -> BTreeMap<String, u64> {
        let telemetry = self.board.telemetry();
        let read = CONSUMERS.map(|(stage, group)| (group, telemetry.partitions_of(stage)));
        let read = read.into_iter().filter(|(_, count)| *count > 0);
        read.map(|(group, count)| (group.as_str().to_owned(), count)).collect()
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let workers = self.board.workers();
        let status = |(worker, gauges): (usize, &Arc<WorkerGauges>)| WorkerStatus {
            node: self.about.node.clone(),
            worker: worker as u32,
            connections: gauges.connections.load(Relaxed),
            slow_viewers: gauges.slow_viewers.load(Relaxed),
            busy_us: gauges.busy_us.load(Relaxed),
            wall_us: gauges.wall_us.load(Relaxed),
            frames: gauges.frames.load(Relaxed),
            delivered: gauges.delivered.load(Relaxed),
            bytes_out: gauges.bytes_out.load(Relaxed),
        };
        workers.iter().enumerate().map(status).collect()
    }
}

/// Returns the decisions, which the moderation stage labels with [`Decision::as_str`]. The number
/// of comments in the review queue is known only to the metadata store.
fn moderation(metrics: &Metrics, sample: &NodeSample) -> ModerationCounts {
    let decisions = metrics.moderation_decisions.totals();
    let of = |decision: Decision| decisions.get(decision.as_str()).copied().unwrap_or(0);
    ModerationCounts {
        checked: metrics.moderation_checked.get(),
        accepted: of(Decision::Accept),
        rejected: of(Decision::Reject),
        shadow_banned: of(Decision::ShadowBan),
        flagged: of(Decision::Flag),
        reasons: metrics.moderation_reasons.totals(),
        queued: 0,
        recent: sample.moderation.clone(),
    }
}
