//! The cluster as this node sees it: its own current report and the last report of each other node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;

use crate::daemon::engines::registry::KnownNode;
use crate::protocol::admin::{
    Alert, AlertAck, BreakerState, BreakerStatus, BusNode, CounterRates, Counters, EventItem,
    ModerationCounts, NodeReport, NodeStatus, Problem, ProblemCode, SilentNode, StageStatus,
    StoreStatus, StreamEgress, StreamRates, Talkers, WorkerStatus, viewers_of,
};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::quantity::show_duration;
use crate::protocol::{NodeId, StreamId};

/// The reports of all live nodes, this node's first, and the names of known nodes without a report.
#[derive(Debug)]
pub(super) struct ClusterView {
    reports: Vec<Arc<NodeReport>>,
    pub(super) unreachable: Vec<NodeId>,
    /// Of these, the ones that have never reported.
    pub(super) without_report: Vec<NodeId>,
    /// Milliseconds since the last report of each node that has a known one.
    seen_ms: AHashMap<NodeId, u64>,
}

impl ClusterView {
    /// Builds a view. This node's own report replaces the one in the registry.
    pub(super) fn new(own: NodeReport, known: Vec<KnownNode>) -> Self {
        let own_name = own.node.node.clone();
        let others = known.into_iter().filter(|known| known.node != own_name);
        let mut reports = vec![Arc::new(own)];
        let mut unreachable = Vec::new();
        let mut without_report = Vec::new();
        for other in others {
            if other.report.is_none() {
                without_report.push(other.node.clone());
            }
            match other.report.filter(|_| other.alive) {
                Some(report) => reports.push(report),
                None => unreachable.push(other.node),
            }
        }
        Self { reports, unreachable, without_report, seen_ms: AHashMap::new() }
    }

    /// Adds how old the last reports are.
    pub(super) fn with_silences(mut self, silences: Vec<(NodeId, Duration)>) -> Self {
        let ms = |(node, age): (NodeId, Duration)| (node, age.as_millis() as u64);
        self.seen_ms = silences.into_iter().map(ms).collect();
        self
    }

    pub(super) fn reports(&self) -> &[Arc<NodeReport>] {
        &self.reports
    }

    pub(super) fn nodes(&self) -> Vec<NodeStatus> {
        let status = |report: &Arc<NodeReport>| {
            let node = report.node.clone();
            let seen_ms = self.seen_ms.get(&node.node).copied().unwrap_or(0);
            NodeStatus { seen_ms, ..node }
        };
        self.reports.iter().map(status).collect()
    }

    /// Returns how long the nodes have been silent that do not report any more.
    pub(super) fn silent(&self) -> Vec<SilentNode> {
        let silent = |node: &NodeId| {
            let seen_ms = *self.seen_ms.get(node)?;
            Some(SilentNode { node: node.clone(), seen_ms })
        };
        self.unreachable.iter().filter_map(silent).collect()
    }

    pub(super) fn workers(&self) -> Vec<WorkerStatus> {
        self.reports.iter().flat_map(|report| report.workers.iter().cloned()).collect()
    }

    pub(super) fn connections(&self) -> u64 {
        self.reports.iter().map(|report| report.node.connections).sum()
    }

    pub(super) fn slow_viewers(&self) -> u64 {
        self.reports.iter().map(|report| report.slow_viewers).sum()
    }

    pub(super) fn senders(&self) -> u64 {
        self.reports.iter().map(|report| report.node.senders).sum()
    }

    pub(super) fn viewers(&self) -> u64 {
        viewers_of(self.connections(), self.senders())
    }

    /// Returns the rates of the cluster. Each node takes the differences of its own counters, so
    /// nodes that come and go change nothing but their own share.
    pub(super) fn counter_rates(&self) -> CounterRates {
        let mut sum = CounterRates::default();
        for report in &self.reports {
            sum.add(&report.rates);
        }
        sum
    }

    pub(super) fn stages(&self) -> Vec<StageStatus> {
        let stages = self.reports.iter().map(|of| (&of.node.node, &of.stages[..]));
        StageStatus::of_cluster(stages)
    }

    /// Returns the latencies from the creation of a comment to its write in the last ten seconds.
    pub(super) fn end_to_end(&self) -> LatencyHistogram {
        let mut sum = LatencyHistogram::default();
        for report in &self.reports {
            sum.add(&report.end_to_end_recent);
        }
        sum
    }

    pub(super) fn bus(&self) -> Vec<BusNode> {
        BusNode::of_cluster(self.reports.iter().map(|report| &report.bus[..]))
    }

    pub(super) fn stores(&self) -> Vec<StoreStatus> {
        let reports = self.reports.iter().map(|report| &report.stores[..]);
        StoreStatus::of_cluster(reports, &self.breakers())
    }

    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for report in &self.reports {
            add_counters(&mut sum, &report.counters);
        }
        sum
    }

    pub(super) fn moderation(&self, queued: u64) -> ModerationCounts {
        let mut sum = ModerationCounts { queued, ..ModerationCounts::default() };
        for ModerationCounts {
            checked,
            accepted,
            rejected,
            shadow_banned,
            flagged,
            reasons,
            recent,
            ..
        } in self.reports.iter().map(|report| &report.moderation)
        {
            sum.checked += checked;
            sum.accepted += accepted;
            sum.rejected += rejected;
            sum.shadow_banned += shadow_banned;
            sum.flagged += flagged;
            add_by_reason(&mut sum.reasons, reasons);
            sum.recent.add(recent);
        }
        sum
    }

    /// Returns the measurements of each stream by the node that broadcasts it. While a stream moves
    /// to another node, two may report it: counters are added, and the rate is that of the busier
    /// node.
    pub(super) fn rates(&self) -> AHashMap<StreamId, StreamRates> {
        let streams = self.reports.iter().flat_map(|report| &report.streams);
        join_by_stream(streams.map(|stream| (stream.stream_id, stream)), |known, stream| {
            let mut other = stream.clone();
            if other.comments_per_second > known.comments_per_second {
                std::mem::swap(known, &mut other);
            }
            known.received += other.received;
            known.broadcast += other.broadcast;
            known.sampled_out += other.sampled_out;
            known.deleted += other.deleted;
        })
    }

    /// Returns the nodes that broadcast a stream. While it moves to another node these may be two.
    pub(super) fn broadcasters(&self, stream_id: StreamId) -> BTreeSet<NodeId> {
        let here = |report: &&Arc<NodeReport>| {
            report.streams.iter().any(|stream| stream.stream_id == stream_id)
        };
        self.reports.iter().filter(here).map(|report| report.node.node.clone()).collect()
    }

    /// Returns whether a node reports the talkers of a stream.
    pub(super) fn reports_talkers(&self, node: &NodeId, stream_id: StreamId) -> bool {
        let reports = self.reports.iter().filter(|report| report.node.node == *node);
        reports.flat_map(|report| &report.talkers).any(|known| known.stream_id == stream_id)
    }

    /// Returns the talkers of a stream by the node that broadcasts it, with the comments that all
    /// nodes refused. While a stream moves to another node, the one that has counted more tells
    /// them.
    pub(super) fn talkers(&self, stream_id: StreamId) -> Talkers {
        let reported = self.reports.iter().flat_map(|report| &report.talkers);
        let of_stream = reported.filter(|known| known.stream_id == stream_id);
        let most = of_stream.max_by_key(|known| known.said).cloned();
        let mut talkers = most.unwrap_or_else(|| Talkers::none_of(stream_id));
        let refused = self.reports.iter().flat_map(|report| &report.refused_users);
        let of_stream = refused.filter(|refused| refused.stream_id == stream_id);
        of_stream.for_each(|refused| talkers.add_refused(refused));
        talkers.sort_users();
        talkers
    }

    /// Returns the effect of the nodes' egress limits per stream: the smallest share that a node
    /// shows, and the comments that all nodes left out.
    pub(super) fn egress(&self) -> AHashMap<StreamId, StreamEgress> {
        let streams = self.reports.iter().flat_map(|report| &report.egress);
        join_by_stream(streams.map(|stream| (stream.stream_id, stream)), |known, stream| {
            known.share = known.share.min(stream.share);
            known.sampled_out += stream.sampled_out;
        })
    }

    /// Returns one breaker per dependency: the worst of all nodes. Its error names the node if
    /// there are several.
    pub(super) fn breakers(&self) -> Vec<BreakerStatus> {
        let mut worst: BTreeMap<String, BreakerStatus> = BTreeMap::new();
        for report in &self.reports {
            for breaker in &report.breakers {
                let mut breaker = breaker.clone();
                if self.reports.len() > 1 {
                    let node = report.node.node.as_str();
                    breaker.last_error = breaker.last_error.map(|error| format!("{node}: {error}"));
                }
                let known = worst.get(&breaker.dependency);
                if known.is_none_or(|known| badness(&breaker) > badness(known)) {
                    worst.insert(breaker.dependency.clone(), breaker);
                }
            }
        }
        worst.into_values().collect()
    }

    /// Returns a sentence per problem and per breaker that is not closed, of all nodes. A sentence
    /// about another node starts with its name.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        for (index, report) in self.reports.iter().enumerate() {
            let node = match index {
                0 => String::new(),
                _ => format!("{}: ", report.node.node),
            };
            let sentence = |known| format!("{node}{}", text_with_age(known));
            sentences.extend(report.problems.iter().map(sentence));
            let failing = |breaker: &&BreakerStatus| breaker.state != BreakerState::Closed;
            for breaker in report.breakers.iter().filter(failing) {
                let error = breaker.last_error.as_deref().unwrap_or_default();
                let BreakerStatus { dependency, since_ms, .. } = breaker;
                let seconds = since_ms / 1_000;
                sentences
                    .push(format!("{node}{dependency} has been down for {seconds} s: {error}"));
            }
        }
        sentences
    }

    /// Returns the alerts that the other nodes report.
    pub(super) fn alerts_of_others<'a>(
        &'a self,
        own: &'a NodeId,
    ) -> impl Iterator<Item = &'a Alert> {
        let others = self.reports.iter().filter(move |report| report.node.node != *own);
        others.flat_map(|report| &report.alerts)
    }

    pub(super) fn acks(&self) -> impl Iterator<Item = &AlertAck> {
        self.reports.iter().flat_map(|report| &report.acks)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &EventItem> {
        self.reports.iter().flat_map(|report| &report.events)
    }

    /// Returns a sentence per problem of all nodes, without the breakers.
    pub(super) fn known_problems(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        for report in &self.reports {
            let node = &report.node.node;
            let sentence = |known| format!("{node}: {}", text_with_age(known));
            sentences.extend(report.problems.iter().map(sentence));
        }
        sentences
    }
}

/// Returns the text of a problem. That of a loss says when it began, because a loss is shown also
/// after restarts; that of moderation, because what was shown since then is not checked.
fn text_with_age(known: &Problem) -> String {
    let unchecked = [ProblemCode::ModerationDown, ProblemCode::ChecksLate];
    let is_dated = ProblemCode::loss(&known.code).is_some()
        || unchecked.iter().any(|code| code.as_str() == known.code);
    if !is_dated {
        return known.text.clone();
    }
    format!("{} (began {} ago)", known.text, show_duration(known.since_ms))
}

/// Joins the reports of several nodes on one stream.
fn join_by_stream<'a, Report: Clone + 'a>(
    reports: impl Iterator<Item = (StreamId, &'a Report)>,
    join: impl Fn(&mut Report, &Report),
) -> AHashMap<StreamId, Report> {
    let mut streams = AHashMap::new();
    for (stream_id, report) in reports {
        streams
            .entry(stream_id)
            .and_modify(|known| join(known, report))
            .or_insert_with(|| report.clone());
    }
    streams
}

/// Orders breakers by state, then by the time they have been in it.
fn badness(breaker: &BreakerStatus) -> (u8, u64) {
    match breaker.state {
        // Closed breakers are equal.
        BreakerState::Closed => (0, 0),
        BreakerState::HalfOpen => (1, breaker.since_ms),
        BreakerState::Open => (2, breaker.since_ms),
    }
}

fn add_counters(sum: &mut Counters, counters: &Counters) {
    sum.received += counters.received;
    sum.accepted += counters.accepted;
    add_by_reason(&mut sum.refused, &counters.refused);
    sum.broadcast += counters.broadcast;
    sum.sampled_out += counters.sampled_out;
    sum.egress_sampled_out += counters.egress_sampled_out;
    sum.delivered += counters.delivered;
    sum.late += counters.late;
    sum.skipped += counters.skipped;
    sum.deleted += counters.deleted;
    sum.reactions += counters.reactions;
    sum.bytes_in += counters.bytes_in;
    sum.bytes_out += counters.bytes_out;
    sum.connections_opened += counters.connections_opened;
    add_by_reason(&mut sum.connections_closed, &counters.connections_closed);
    add_by_reason(&mut sum.connections_refused, &counters.connections_refused);
    sum.archived += counters.archived;
    sum.dead_letters += counters.dead_letters;
    sum.bus_lost += counters.bus_lost;
    sum.catch_up_reads += counters.catch_up_reads;
}

fn add_by_reason(sum: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (reason, count) in counts {
        *sum.entry(reason.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::throttle::SampleRate;

    fn named(name: &str) -> NodeReport {
        report(&NodeId::new(name))
    }

    fn known(report: NodeReport, alive: bool) -> KnownNode {
        KnownNode { node: report.node.node.clone(), alive, report: Some(Arc::new(report)) }
    }

    #[test]
    fn reports_are_added_and_silent_nodes_named() {
        let silent = KnownNode { node: NodeId::new("new"), alive: true, report: None };
        let others = vec![known(named("b"), true), known(named("dead"), false), silent];
        let stale_self = known(NodeReport { slow_viewers: 99, ..named("a") }, true);
        let view = ClusterView::new(named("a"), [others, vec![stale_self]].concat());
        let names: Vec<_> = view.nodes().iter().map(|node| node.node.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
        let silent: Vec<_> = view.unreachable.iter().map(NodeId::as_str).collect();
        assert_eq!(silent, ["dead", "new"]);
        assert_eq!(view.without_report, [NodeId::new("new")]);
        let ages = [("b", 900), ("dead", 41_000), ("gone", 7)];
        let ages = ages.map(|(name, ms)| (NodeId::new(name), Duration::from_millis(ms)));
        let view = view.with_silences(ages.into());
        let seen: Vec<_> = view.nodes().iter().map(|node| node.seen_ms).collect();
        assert_eq!(seen, [0, 900]);
        let silent = SilentNode { node: NodeId::new("dead"), seen_ms: 41_000 };
        assert_eq!(view.silent(), [silent]);
        assert_eq!((view.viewers(), view.senders()), (12, 2));
        assert_eq!((view.connections(), view.slow_viewers()), (14, 4));
        assert_eq!(view.counters().received, 6);
        assert_eq!(view.moderation(5).checked, 8);
        assert_eq!(view.moderation(5).queued, 5);
    }

    #[test]
    fn a_stream_that_moved_has_the_busier_nodes_rate() {
        let mut old = named("a");
        let new = named("b");
        old.streams[0].comments_per_second = 0.1;
        old.streams[0].throttle_level = 3;
        let rates = ClusterView::new(old, vec![known(new, true)]).rates();
        let stream = &rates[&StreamId(1)];
        assert_eq!((stream.comments_per_second, stream.throttle_level), (1.5, 1));
        assert_eq!(stream.received, 10);
    }

    #[test]
    fn egress_is_the_smallest_share_and_the_sum_left_out() {
        let mut a = named("a");
        let mut b = named("b");
        let egress = |share, sampled_out| {
            let share = SampleRate::from_share(share).unwrap();
            vec![StreamEgress { stream_id: StreamId(1), share, sampled_out }]
        };
        a.egress = egress(0.5, 7);
        b.egress = egress(0.25, 10);
        let streams = ClusterView::new(a, vec![known(b, true)]).egress();
        assert_eq!(streams[&StreamId(1)], egress(0.25, 17)[0]);
    }

    #[test]
    fn the_worst_breaker_is_shown_with_its_node() {
        let breaker = |state, since_ms| BreakerStatus {
            dependency: "fan-out bus".to_owned(),
            state,
            last_error: Some("refused".to_owned()),
            since_ms,
        };
        let mut a = named("a");
        let mut b = named("b");
        a.breakers = vec![breaker(BreakerState::Closed, 1_000_000)];
        b.breakers = vec![breaker(BreakerState::Open, 7)];
        let [worst] = ClusterView::new(a, vec![known(b, true)]).breakers().try_into().unwrap();
        assert_eq!((worst.state, worst.since_ms), (BreakerState::Open, 7));
        assert_eq!(worst.last_error.as_deref(), Some("b: refused"));
    }
}
