//! Builds the answers that operators see. A part whose dependency does not answer in time is left
//! empty, and `/v1/status` reports it: operators need answers most when something is down.

use std::collections::BTreeMap;
use std::time::Duration;

use ahash::AHashMap;
use tokio::time::timeout;
use tracing::debug;

use super::cluster::ClusterView;
use super::{AdminParts, alerts};
use crate::daemon::base::status::{EVENT_LOG, METADATA_STORE};
use crate::daemon::engines::registry::KnownNode;
use crate::protocol::admin::{
    Alert, BreakerState, BusNode, Cluster, ConsumerLag, CounterRates, Health, NodeStatus, Status,
    StoreStatus, StreamEgress, StreamRates, StreamStatus, TopSnapshot, WorkerStatus,
};
use crate::protocol::quantity::counted;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{ErrorCode, StreamId};

/// The time for which operators are warned of refused viewers.
const REFUSAL_WARNING: Duration = Duration::from_secs(60);
/// The time limit per dependency. A part that takes longer is left empty.
const DEPENDENCY_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit for the consumer lag in `status`, whose first answer takes long.
const LAG_TIMEOUT: Duration = Duration::from_secs(3);

impl AdminParts {
    pub(super) async fn top(&self) -> TopSnapshot {
        let (view, queued, lag) = tokio::join!(self.cluster(), self.queued(), self.lag());
        let mut lag = lag.unwrap_or_default();
        self.live.unheld.leave_out_held(&view, &mut lag);
        self.name_streams(&view, &mut lag);
        TopSnapshot {
            taken_at: self.control.parts().clock.now_ms(),
            node: self.about.node.clone(),
            version: self.about.version.clone(),
            uptime_ms: self.about.uptime_ms(),
            draining: self.board.is_draining(),
            connections: view.connections(),
            slow_viewers: view.slow_viewers(),
            senders: view.senders(),
            counters: view.counters(),
            rates: view.counter_rates(),
            stages: view.stages(),
            end_to_end: view.end_to_end(),
            bus: view.bus(),
            stores: view.stores(),
            streams: self.streams_of(&view).await,
            workers: view.workers(),
            lag,
            moderation: view.moderation(queued.unwrap_or(0)),
            breakers: view.breakers(),
            nodes: view.nodes(),
            problems: view.known_problems(),
            silent: view.silent(),
            thresholds: self.live.alerts.thresholds(),
            unreachable: view.unreachable,
        }
    }

    pub(super) async fn status(&self) -> Status {
        let streams = self.control.parts().streams.all();
        let certificate = (self.certificate)();
        let view = self.cluster().await;
        let alerts = self.alerts_of(&view);
        let health = self.health(&alerts, view.nodes().len());
        let live = streams.iter().filter(|stream| stream.state == StreamState::Live).count();
        Status {
            node: self.about.node.clone(),
            cluster: self.about.cluster.clone(),
            colour: self.about.colour,
            version: self.about.version.clone(),
            uptime_ms: self.about.uptime_ms(),
            ready: self.board.serves(),
            draining: self.board.is_draining(),
            listen: self.about.listen.clone(),
            base_path: self.about.base_path.clone(),
            certificate_sha256: certificate.map(|certificate| certificate.digest.to_string()),
            certificate_expires_at: certificate.and_then(|certificate| certificate.expires_at_ms),
            data_dir: self.about.data_dir.clone(),
            engines: self.about.engines.clone(),
            connections: self.board.connections(),
            live_streams: live as u64,
            breakers: self.board.breakers(),
            problems: self.board.problems().list(),
            warnings: self.warnings(&view).await,
            health,
            unwell_ms: alerts::unwell_ms(&alerts, view.nodes().len(), health),
            viewers: view.viewers(),
            served: served(&view.counter_rates()),
            p99_ms: view.end_to_end().quantile_ms(0.99),
            working: alerts::what_works(&view, &alerts),
            alerts,
        }
    }

    pub(super) async fn cluster(&self) -> ClusterView {
        let known = self.known_nodes().await.unwrap_or_default();
        let silences = self.control.parts().registry.silences();
        ClusterView::new(self.report(), known).with_silences(silences)
    }

    /// Returns the nodes that the registry knows; `None` if it does not tell.
    pub(super) async fn known_nodes(&self) -> Option<Vec<KnownNode>> {
        in_time(self.control.parts().registry.nodes(), "the other nodes").await
    }

    /// Returns all live nodes, and the names of known nodes without a report.
    pub(super) async fn nodes(&self) -> Cluster<NodeStatus> {
        let view = self.cluster().await;
        Cluster { items: view.nodes(), unreachable: view.unreachable }
    }

    pub(super) async fn all_workers(&self) -> Cluster<WorkerStatus> {
        let view = self.cluster().await;
        Cluster { items: view.workers(), unreachable: view.unreachable }
    }

    /// Returns the servers of the fan-out bus, with the load that all nodes put on them.
    pub(super) async fn bus_nodes(&self) -> Cluster<BusNode> {
        let view = self.cluster().await;
        Cluster { items: view.bus(), unreachable: view.unreachable }
    }

    /// Returns the stores, as all nodes use them.
    pub(super) async fn stores(&self) -> Cluster<StoreStatus> {
        let view = self.cluster().await;
        Cluster { items: view.stores(), unreachable: view.unreachable }
    }

    pub(super) async fn streams(&self) -> Cluster<StreamStatus> {
        let view = self.cluster().await;
        Cluster { items: self.streams_of(&view).await, unreachable: view.unreachable }
    }

    async fn streams_of(&self, view: &ClusterView) -> Vec<StreamStatus> {
        let parts = self.control.parts();
        let (viewers, reactions) =
            tokio::join!(self.viewers(), in_time(self.reactions.all(), "reaction totals"),);
        let mut reactions: AHashMap<_, _> = reactions.unwrap_or_default().into_iter().collect();
        let rates = view.rates();
        let egress = view.egress();
        let status = |stream: &Stream| {
            let stream_id = stream.stream_id;
            let viewers = self.viewers_among(viewers.as_ref(), stream_id);
            let totals = reactions.remove(&stream_id).unwrap_or_default();
            let totals = totals.into_iter().map(|(kind, total)| (kind.as_ref().to_owned(), total));
            let reactions = totals.collect();
            let measured = measured(stream, rates.get(&stream_id), egress.get(&stream_id));
            StreamStatus { viewers, reactions, ..measured }
        };
        let streams = parts.streams.all();
        streams.iter().map(AsRef::as_ref).map(status).collect()
    }

    /// Returns the status of one stream, without its reactions; `None` if there is no such stream.
    pub(super) async fn stream(&self, stream_id: StreamId) -> Option<StreamStatus> {
        let stream = self.control.parts().streams.get(stream_id)?;
        let (view, viewers) = tokio::join!(self.cluster(), self.viewers());
        let viewers = self.viewers_among(viewers.as_ref(), stream_id);
        let rates = view.rates();
        let egress = view.egress();
        let measured = measured(&stream, rates.get(&stream_id), egress.get(&stream_id));
        Some(StreamStatus { viewers, ..measured })
    }

    /// Returns the viewers of a stream by these counts; without them, the last count of presence.
    fn viewers_among(&self, counts: Option<&AHashMap<StreamId, u64>>, stream_id: StreamId) -> u64 {
        match counts {
            Some(counts) => counts.get(&stream_id).copied().unwrap_or(0),
            None => self.board.viewers(stream_id),
        }
    }

    /// Returns the viewers on all nodes of each stream that has any; `None` if they are not known.
    pub(super) async fn viewers(&self) -> Option<AHashMap<StreamId, u64>> {
        let viewers = in_time(self.control.parts().registry.viewers(), "viewers of all nodes");
        Some(viewers.await?.into_iter().collect())
    }

    /// Returns the lag of each consumer, with what message delays hold back; `None` if it is not
    /// known.
    pub(super) async fn lag(&self) -> Option<Vec<ConsumerLag>> {
        in_time(self.control.parts().log.lag(), "consumer lag").await
    }

    /// Returns the length of the review queue; `None` if it is not known.
    pub(super) async fn queued(&self) -> Option<u64> {
        let metadata = &self.control.parts().metadata;
        in_time(metadata.review_count(), "the review queue").await
    }

    fn is_refusing_viewers(&self) -> bool {
        let last = self.board.rate_refusal_at_ms();
        let since_ms = self.control.parts().clock.now_ms().saturating_sub(last);
        last > 0 && u128::from(since_ms) < REFUSAL_WARNING.as_millis()
    }

    /// Returns the state of the cluster. A node that is just starting has no alerts yet.
    pub(super) fn health(&self, alerts: &[Alert], nodes: usize) -> Health {
        if self.board.serves() || self.board.is_draining() {
            return alerts::health(alerts, nodes);
        }
        Health::Failing
    }

    async fn warnings(&self, view: &ClusterView) -> Vec<String> {
        let parts = self.control.parts();
        let mut warnings = Vec::new();
        if self.board.is_draining() {
            warnings.push("this node is draining: it accepts no new viewers".to_owned());
        } else if !self.board.is_ready() {
            warnings.push("this node is not ready yet".to_owned());
        }
        // A full disk, for example, explains most of what follows.
        warnings.extend(view.problems());
        if self.is_refusing_viewers() {
            let refused = self.board.metrics().connections_refused.totals();
            let count = refused.get(ErrorCode::ConnectionRate.as_str()).copied().unwrap_or(0);
            warnings.push(format!(
                "more viewers connect than gateway.connections_per_second allows: {count} were told \
                 to retry later since this node started"
            ));
        }
        // An open breaker says more than the lag that cannot be read.
        if !self.is_down(EVENT_LOG) {
            match timeout(LAG_TIMEOUT, parts.log.lag()).await {
                Ok(Ok(mut lag)) => {
                    self.live.unheld.leave_out_held(view, &mut lag);
                    let most = self.live.alerts.lag_high();
                    warnings.extend(lag.iter().filter(|l| l.lag >= most).map(lag_warning));
                    warnings.extend(expired_warnings(&lag));
                }
                Ok(Err(error)) => warnings.push(error.to_string()),
                Err(_) => warnings.push(format!(
                    "consumer lag unknown: the event log has not answered within {} s",
                    LAG_TIMEOUT.as_secs()
                )),
            }
        }
        for node in &view.unreachable {
            warnings.push(format!("no report from node {node}"));
        }
        warnings.extend(view.nodes().iter().filter_map(NodeStatus::egress_warning));
        if !self.is_down(METADATA_STORE) {
            match timeout(DEPENDENCY_TIMEOUT, parts.metadata.ping()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warnings.push(format!("metadata: {error}")),
                Err(_) => warnings.push("metadata: the store is slow to answer".to_owned()),
            }
        }
        warnings
    }

    /// Returns whether the breaker of a dependency is open, which is a warning of its own.
    pub(super) fn is_down(&self, dependency: &str) -> bool {
        let breakers = self.board.breakers();
        let mut open = breakers.iter().filter(|breaker| breaker.state != BreakerState::Closed);
        open.any(|breaker| breaker.dependency == dependency)
    }
}

/// Returns the share of deliveries of the last second that was not skipped.
fn served(rates: &CounterRates) -> Option<f64> {
    let all = rates.delivered + rates.skipped;
    (all > 0.0).then(|| rates.delivered / all)
}

fn lag_warning(lag: &ConsumerLag) -> String {
    let ConsumerLag { group, topic, partition, lag, .. } = lag;
    let lag = counted(*lag, "record");
    format!("{group} is {lag} behind on {topic} partition {partition}")
}

/// Returns a warning for each consumer group whose next records were removed from the log. A group
/// without a running consumer reports nothing itself.
fn expired_warnings(lag: &[ConsumerLag]) -> Vec<String> {
    let mut gone: BTreeMap<(&str, &str), (u64, Vec<u32>)> = BTreeMap::new();
    for of in lag.iter().filter(|of| of.expired > 0) {
        let (records, partitions) = gone.entry((&of.group, &of.topic)).or_default();
        *records += of.expired;
        partitions.push(of.partition);
    }
    let warning = |((group, topic), (records, partitions)): ((&str, &str), (u64, Vec<u32>))| {
        let first = partitions.first().copied().unwrap_or_default();
        let more = match partitions.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        format!(
            "{group}: {} of {topic} (partition {first}{more}), removed from the log before it read \
             them; is it running, and does eventlog.retention outlast its pauses?",
            counted(records, "record")
        )
    };
    gone.into_iter().map(warning).collect()
}

/// Returns the status of a stream with the measurements of the node that broadcasts it and the
/// effect of egress limits.
fn measured(
    stream: &Stream,
    rates: Option<&StreamRates>,
    egress: Option<&StreamEgress>,
) -> StreamStatus {
    let count = |of: fn(&StreamRates) -> u64| rates.map_or(0, of);
    StreamStatus {
        stream_id: stream.stream_id,
        title: stream.title.clone(),
        description: stream.description.clone(),
        state: stream.state,
        starts_at: stream.starts_at,
        started_at: stream.started_at,
        ended_at: stream.ended_at,
        anonymous: stream.anonymous,
        moderation: stream.moderation,
        viewers: 0,
        comments_per_second: rates.map_or(0.0, |rates| rates.comments_per_second),
        sample_rate: rates.map_or(SampleRate::ALL, |rates| rates.sample_rate),
        throttle_level: rates.map_or(0, |rates| rates.throttle_level),
        throttle_override: rates.and_then(|rates| rates.throttle_override),
        throttle_until_ms: rates.and_then(|rates| rates.throttle_until_ms),
        egress_share: egress.map_or(SampleRate::ALL, |egress| egress.share),
        egress_sampled_out: egress.map_or(0, |egress| egress.sampled_out),
        received: count(|rates| rates.received),
        broadcast: count(|rates| rates.broadcast),
        sampled_out: count(|rates| rates.sampled_out),
        deleted: count(|rates| rates.deleted),
        reactions: Default::default(),
        room: stream.room.clone(),
    }
}

/// Returns the answer of a dependency, or `None` if it fails or takes too long.
async fn in_time<T, E: std::fmt::Display>(
    answer: impl Future<Output = Result<T, E>>,
    what: &str,
) -> Option<T> {
    match timeout(DEPENDENCY_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            debug!(what, %error, "part of a snapshot not available");
            None
        }
        Err(_) => {
            debug!(what, "part of a snapshot not available: no answer in time");
            None
        }
    }
}
