//! Putting together what the node knows of itself. A part that cannot be had is left empty, and
//! `/v1/status` says so: a snapshot is most wanted when something is down.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ahash::AHashMap;
use tracing::debug;

use super::AdminParts;
use crate::daemon::metrics::Metrics;
use crate::daemon::status::{ShardGauges, StreamGauges};
use crate::protocol::admin::{
    BreakerState, Cluster, ConsumerLag, Counters, ModerationCounts, NodeStatus, ShardStatus,
    Status, StreamStatus, TopSnapshot,
};
use crate::protocol::events::Decision;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{NodeId, StreamId};

/// A consumer this many records behind is worth an operator's look.
const LAG_WARNING: u64 = 100_000;

impl AdminParts {
    pub(super) async fn top(&self) -> TopSnapshot {
        let Cluster { items: nodes, unreachable } = self.nodes().await;
        let shards = self.shards();
        let metrics = self.board.metrics();
        TopSnapshot {
            taken_at: self.control.parts().clock.now_ms(),
            node: self.about.node.clone(),
            version: self.about.version.clone(),
            uptime_ms: self.about.uptime_ms(),
            draining: self.board.is_draining(),
            connections: self.board.connections(),
            slow_viewers: shards.iter().map(|shard| shard.slow_viewers).sum(),
            counters: counters(metrics),
            streams: self.streams().await,
            shards,
            lag: self.lag().await,
            moderation: moderation(metrics, self.queued().await),
            breakers: self.board.breakers(),
            nodes,
            unreachable,
        }
    }

    pub(super) async fn status(&self) -> Status {
        let streams = self.control.parts().streams.all();
        let live = streams.iter().filter(|stream| stream.state == StreamState::Live).count();
        Status {
            node: self.about.node.clone(),
            version: self.about.version.clone(),
            uptime_ms: self.about.uptime_ms(),
            ready: self.board.is_ready(),
            draining: self.board.is_draining(),
            listen: self.about.listen.clone(),
            data_dir: self.about.data_dir.clone(),
            engines: self.about.engines.clone(),
            connections: self.board.connections(),
            live_streams: live as u64,
            breakers: self.board.breakers(),
            warnings: self.warnings().await,
        }
    }

    /// This node, and the names of those that it knows but cannot speak for.
    pub(super) async fn nodes(&self) -> Cluster<NodeStatus> {
        let known = self.control.parts().registry.nodes().await.unwrap_or_else(|error| {
            debug!(%error, "the nodes are not known");
            Vec::new()
        });
        let is_other = |node: &NodeId| *node != self.about.node;
        let this = NodeStatus {
            node: self.about.node.clone(),
            roles: self.about.roles.clone(),
            version: self.about.version.clone(),
            listen: self.about.listen.clone(),
            uptime_ms: self.about.uptime_ms(),
            connections: self.board.connections(),
            max_connections: self.about.max_connections,
            draining: self.board.is_draining(),
        };
        Cluster {
            items: vec![this],
            unreachable: known.into_iter().map(|known| known.node).filter(is_other).collect(),
        }
    }

    pub(super) async fn streams(&self) -> Vec<StreamStatus> {
        let parts = self.control.parts();
        let viewers: Option<AHashMap<StreamId, u64>> =
            parts.registry.viewers().await.ok().map(|counts| counts.into_iter().collect());
        let reactions = self.reactions.all().await.unwrap_or_else(|error| {
            debug!(%error, "reaction totals are not known");
            Vec::new()
        });
        let mut reactions: AHashMap<_, _> = reactions.into_iter().collect();
        let status = |stream: &Stream| {
            let stream_id = stream.stream_id;
            // Without the registry, what presence last counted.
            let viewers = match &viewers {
                Some(counts) => counts.get(&stream_id).copied().unwrap_or(0),
                None => self.board.viewers(stream_id),
            };
            let totals = reactions.remove(&stream_id).unwrap_or_default();
            let totals = totals.into_iter().map(|(kind, total)| (kind.as_ref().to_owned(), total));
            StreamStatus { viewers, reactions: totals.collect(), ..self.measured(stream) }
        };
        let streams = parts.streams.all();
        streams.iter().map(AsRef::as_ref).map(status).collect()
    }

    /// A stream with what the broadcast stage measures of it.
    fn measured(&self, stream: &Stream) -> StreamStatus {
        let gauges = self.board.stream(stream.stream_id);
        let count = |of: fn(&StreamGauges) -> u64| gauges.as_ref().map_or(0, of);
        StreamStatus {
            stream_id: stream.stream_id,
            title: stream.title.clone(),
            state: stream.state,
            anonymous: stream.anonymous,
            moderation: stream.moderation,
            viewers: 0,
            comments_per_second: gauges.map_or(0.0, |g| g.comments_per_second),
            sample_rate: gauges.map_or(SampleRate::ALL, |g| g.sample_rate),
            throttle_level: gauges.map_or(0, |g| g.throttle_level),
            throttle_override: gauges.and_then(|g| g.throttle_override),
            received: count(|g| g.received),
            broadcast: count(|g| g.broadcast),
            sampled_out: count(|g| g.sampled_out),
            deleted: count(|g| g.deleted),
            reactions: Default::default(),
        }
    }

    pub(super) fn shards(&self) -> Vec<ShardStatus> {
        let shards = self.board.shards();
        let status = |(shard, gauges): (usize, &Arc<ShardGauges>)| ShardStatus {
            node: self.about.node.clone(),
            shard: shard as u32,
            connections: gauges.connections.load(Relaxed),
            slow_viewers: gauges.slow_viewers.load(Relaxed),
            busy_us: gauges.busy_us.load(Relaxed),
            wall_us: gauges.wall_us.load(Relaxed),
            frames: gauges.frames.load(Relaxed),
            delivered: gauges.delivered.load(Relaxed),
            bytes_out: gauges.bytes_out.load(Relaxed),
        };
        shards.iter().enumerate().map(status).collect()
    }

    async fn lag(&self) -> Vec<ConsumerLag> {
        self.control.parts().log.lag().await.unwrap_or_else(|error| {
            debug!(%error, "consumer lag is not known");
            Vec::new()
        })
    }

    async fn queued(&self) -> u64 {
        self.control.parts().metadata.review_count().await.unwrap_or(0)
    }

    async fn warnings(&self) -> Vec<String> {
        let parts = self.control.parts();
        let mut warnings = Vec::new();
        if self.board.is_draining() {
            warnings.push("this node drains: it takes no new viewers".to_owned());
        } else if !self.board.is_ready() {
            warnings.push("this node is not ready yet".to_owned());
        }
        for breaker in self.board.breakers() {
            if breaker.state != BreakerState::Closed {
                let error = breaker.last_error.unwrap_or_default();
                let seconds = breaker.since_ms / 1_000;
                warnings.push(format!("{} is down since {seconds} s: {error}", breaker.dependency));
            }
        }
        match parts.log.lag().await {
            Ok(lag) => warnings.extend(lag.iter().filter(|l| l.lag >= LAG_WARNING).map(behind)),
            Err(error) => warnings.push(error.to_string()),
        }
        if let Err(error) = parts.registry.nodes().await {
            warnings.push(error.to_string());
        }
        if let Err(error) = parts.metadata.ping().await {
            warnings.push(format!("metadata: {error}"));
        }
        warnings
    }
}

fn behind(lag: &ConsumerLag) -> String {
    let ConsumerLag { group, topic, partition, lag, .. } = lag;
    format!("{group} is {lag} records behind on {topic} partition {partition}")
}

fn counters(metrics: &Metrics) -> Counters {
    Counters {
        received: metrics.comments_received.get(),
        accepted: metrics.comments_accepted.get(),
        refused: metrics.comments_refused.totals(),
        broadcast: metrics.comments_broadcast.get(),
        sampled_out: metrics.comments_sampled_out.get(),
        delivered: metrics.comments_delivered.get(),
        skipped: metrics.comments_skipped.get(),
        deleted: metrics.comments_deleted.get(),
        reactions: metrics.reactions.get(),
        bytes_in: metrics.bytes_in.get(),
        bytes_out: metrics.bytes_out.get(),
        connections_opened: metrics.connections_opened.get(),
        connections_closed: metrics.connections_closed.totals(),
    }
}

/// The moderation stage labels its decisions with [`Decision::as_str`].
fn moderation(metrics: &Metrics, queued: u64) -> ModerationCounts {
    let decisions = metrics.moderation_decisions.totals();
    let of = |decision: Decision| decisions.get(decision.as_str()).copied().unwrap_or(0);
    ModerationCounts {
        checked: metrics.moderation_checked.get(),
        accepted: of(Decision::Accept),
        rejected: of(Decision::Reject),
        shadow_banned: of(Decision::ShadowBan),
        flagged: of(Decision::Flag),
        reasons: metrics.moderation_reasons.totals(),
        queued,
    }
}
