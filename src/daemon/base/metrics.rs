//! The counters and gauges of a node, exported at `/metrics` and read by `lc top`.
//!
//! All counters count since the start of the process and only grow. The node uses
//! `prometheus-client` instead of the `metrics` facade, because `lc top` reads the numbers that
//! `/metrics` exports, and a facade can only be written to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::classifier::Task;

/// The label of a counter that is split by reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: String,
}

/// The labels of the decisions of moderation stages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct Decided {
    pub stage: String,
    pub reason: String,
    pub decision: String,
}

/// Counters by labels. Clones share them. The number of counters is bounded because labels are
/// constants of the code. The `Family` of `prometheus-client` cannot list its counters, which `lc
/// top` needs.
#[derive(Debug, Clone)]
pub struct By<L> {
    counters: Arc<RwLock<BTreeMap<L, Counter>>>,
}

/// Counters by reason.
pub type ByReason = By<Reason>;

impl<L> Default for By<L> {
    fn default() -> Self {
        Self { counters: Arc::default() }
    }
}

impl<L: Ord + Clone> By<L> {
    /// Returns the counter of labels. Callers that count the same often should keep it.
    pub fn get_or_create(&self, labels: &L) -> Counter {
        if let Some(counter) = self.counters.read().get(labels) {
            return counter.clone();
        }
        self.counters.write().entry(labels.clone()).or_default().clone()
    }
}

impl ByReason {
    /// Returns all counts, by reason.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let counters = self.counters.read();
        counters.iter().map(|(label, counter)| (label.reason.clone(), counter.get())).collect()
    }
}

impl By<Decided> {
    /// Returns all counts.
    pub fn totals(&self) -> BTreeMap<Decided, u64> {
        let counters = self.counters.read();
        counters.iter().map(|(labels, counter)| (labels.clone(), counter.get())).collect()
    }
}

impl<L: EncodeLabelSet> EncodeMetric for By<L> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (labels, counter) in self.counters.read().iter() {
            counter.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    /// Without counts the metric is described, so that alerts can name it before anything happened.
    fn is_empty(&self) -> bool {
        false
    }
}

/// The label of a histogram of scores.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScoreLabel {
    task: &'static str,
}

/// Upper bounds of the buckets of scores, closer where comments are flagged and rejected.
const SCORE_BOUNDS: [f64; 14] =
    [0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Histograms of scores of 0 to 1, by the task that is measured. Clones share them.
#[derive(Debug, Clone)]
pub struct ScoreHistograms(Family<ScoreLabel, Histogram>);

impl ScoreHistograms {
    /// Counts the scores of a comment, which stand beside the names of their tasks.
    pub fn observe<'a>(&self, scores: impl IntoIterator<Item = (&'a &'static str, &'a f32)>) {
        for (&task, &score) in scores {
            self.0.get_or_create(&ScoreLabel { task }).observe(f64::from(score));
        }
    }
}

impl Default for ScoreHistograms {
    fn default() -> Self {
        let new = || Histogram::new(SCORE_BOUNDS);
        let family = Family::<ScoreLabel, Histogram>::new_with_constructor(new);
        // Alerts can name it before anything was scored.
        for task in Task::ALL {
            drop(family.get_or_create(&ScoreLabel { task: task.as_str() }));
        }
        Self(family)
    }
}

/// All counters and gauges. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Comments that arrived, refused ones included.
    pub comments_received: Counter,
    /// Comments stored in the event log.
    pub comments_accepted: Counter,
    /// By error code.
    pub comments_refused: ByReason,
    /// Comments published by the broadcast stage, counted once each.
    pub comments_broadcast: Counter,
    /// Comments that the throttle left out.
    pub comments_sampled_out: Counter,
    /// Comments that this node left out because of its egress limit, counted once each.
    pub comments_egress_sampled_out: Counter,
    /// Comments written to viewers, counted once per viewer.
    pub comments_delivered: Counter,
    /// Comments written to viewers later than they should be, counted once per viewer.
    pub comments_late: Counter,
    /// Comments that slow viewers skipped, counted once per viewer.
    pub comments_skipped: Counter,
    /// Deletions published by the broadcast stage.
    pub comments_deleted: Counter,
    /// Deletions that were taken back, published by the broadcast stage.
    pub comments_restored: Counter,
    /// Comments in the log a second time, dropped by the broadcast stage.
    pub comments_repeated: Counter,
    /// Comments written to the comment store.
    pub comments_archived: Counter,
    /// Reactions counted by this node.
    pub reactions: Counter,
    /// Bytes read from viewers, after TLS.
    pub bytes_in: Counter,
    /// Bytes written to viewers, before TLS.
    pub bytes_out: Counter,
    /// Viewers that a delivery worker has taken.
    pub connections_opened: Counter,
    /// By close code.
    pub connections_closed: ByReason,
    /// By error code; viewers refused before or after the upgrade.
    pub connections_refused: ByReason,
    /// Viewers now. Set from the workers' gauges when metrics are read.
    pub connections: Gauge,
    /// Viewers with full sockets now. Set like `connections`.
    pub slow_viewers: Gauge,
    /// Pages handed to returning viewers.
    pub catch_up_pages: Counter,
    /// Pages read for returning viewers. Several viewers may share one read.
    pub catch_up_reads: Counter,
    /// Streams that the egress limit reduces now.
    pub egress_limited_streams: Gauge,
    /// Bus messages dropped because this node was too slow.
    pub bus_messages_lost: Counter,
    /// Messages not sent to nodes that are cut off from the bus, because the log was too slow.
    pub direct_messages_dropped: Counter,
    /// Records that a consumer could not process.
    pub dead_letters: Counter,
    /// By consumer group: records that were gone or damaged before the group read them.
    pub records_skipped: ByReason,
    /// Comments checked by moderation.
    pub moderation_checked: Counter,
    /// By decision.
    pub moderation_decisions: ByReason,
    /// By reason of a decision other than accept.
    pub moderation_reasons: ByReason,
    /// Scores that moderation measured, accepted comments included.
    pub moderation_scores: ScoreHistograms,
    /// Comments that the review hook answered.
    pub moderation_hook_answers: Counter,
    /// By reason: comments about which the review hook gave no answer.
    pub moderation_hook_failures: ByReason,
    /// By what became of it: comments that were not checked in time before publication.
    pub moderation_late: ByReason,
    /// Checks by a stage that panicked, by stage.
    pub moderation_stage_failures: ByReason,
    /// Decisions of moderation stages other than accept.
    pub moderation_by_stage: By<Decided>,
}

impl Metrics {
    /// Returns all metrics in the Prometheus text format, with the `extra` lines (gauges read at
    /// this moment) before the end marker.
    pub fn render(&self, extra: &str) -> String {
        let mut registry = Registry::with_prefix("lcd");
        self.register(&mut registry);
        let mut text = String::new();
        if encode(&mut text, &registry).is_err() {
            let _ = write!(text, "# encoding failed");
        }
        let end = text.find("# EOF").unwrap_or(text.len());
        text.insert_str(end, extra);
        text
    }

    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("comments_received", "Comments that arrived", &self.comments_received),
            ("comments_accepted", "Comments made durable", &self.comments_accepted),
            ("comments_broadcast", "Comments broadcast, once each", &self.comments_broadcast),
            (
                "comments_sampled_out",
                "Comments left out by the throttle",
                &self.comments_sampled_out,
            ),
            (
                "comments_egress_sampled_out",
                "Comments left out because the node is at its egress limit",
                &self.comments_egress_sampled_out,
            ),
            ("comments_delivered", "Comments written to viewers", &self.comments_delivered),
            (
                "comments_late",
                "Comments written to viewers more than 150 ms after they were created",
                &self.comments_late,
            ),
            ("comments_skipped", "Comments slow viewers skipped", &self.comments_skipped),
            ("comments_deleted", "Comments deleted", &self.comments_deleted),
            (
                "comments_restored",
                "Comments whose deletion was taken back",
                &self.comments_restored,
            ),
            (
                "comments_repeated",
                "Comments found in the log a second time and dropped by the broadcast",
                &self.comments_repeated,
            ),
            ("comments_archived", "Comments in the comment store", &self.comments_archived),
            ("reactions", "Reactions counted", &self.reactions),
            ("received_bytes", "Bytes read from viewers", &self.bytes_in),
            ("sent_bytes", "Bytes written to viewers", &self.bytes_out),
            ("connections_opened", "Viewer connections opened", &self.connections_opened),
            ("catch_up_pages", "Pages handed to returning viewers", &self.catch_up_pages),
            ("catch_up_reads", "Pages read for returning viewers", &self.catch_up_reads),
            (
                "bus_messages_lost",
                "Bus messages this node was too slow for",
                &self.bus_messages_lost,
            ),
            (
                "direct_messages_dropped",
                "Messages not sent to nodes cut off from the bus, because the log was too slow",
                &self.direct_messages_dropped,
            ),
            ("dead_letters", "Records no consumer could process", &self.dead_letters),
            ("moderation_checked", "Comments moderation looked at", &self.moderation_checked),
            (
                "moderation_hook_answers",
                "Comments the review hook answered",
                &self.moderation_hook_answers,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let families = [
            ("comments_refused", "Comments refused, by error code", &self.comments_refused),
            ("connections_closed", "Connections closed, by close code", &self.connections_closed),
            ("connections_refused", "Viewers not let in, by error code", &self.connections_refused),
            (
                "records_skipped",
                "Records of the log a consumer never read, by consumer group",
                &self.records_skipped,
            ),
            ("moderation_decisions", "Decisions of moderation", &self.moderation_decisions),
            ("moderation_reasons", "Reasons of what was not accepted", &self.moderation_reasons),
            (
                "moderation_hook_failures",
                "Comments the review hook did not answer, by reason",
                &self.moderation_hook_failures,
            ),
            (
                "moderation_stage_failures",
                "Checks by a moderation stage that failed",
                &self.moderation_stage_failures,
            ),
            ("moderation_late", "Comments not checked in time", &self.moderation_late),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "moderation_score",
            "Scores of comments, 0 to 1",
            self.moderation_scores.0.clone(),
        );
        registry.register(
            "moderation_by_stage",
            "Decisions of moderation stages other than accept",
            self.moderation_by_stage.clone(),
        );
        registry.register("connections", "Viewer connections", self.connections.clone());
        registry.register("slow_viewers", "Viewers behind", self.slow_viewers.clone());
        registry.register(
            "egress_limited_streams",
            "Streams shown in part because the node is at its egress limit",
            self.egress_limited_streams.clone(),
        );
    }
}

/// Adds one to the counter of a reason.
pub fn count(family: &ByReason, reason: &str) {
    family.get_or_create(&Reason { reason: reason.to_owned() }).inc();
}

/// Adds one to the decisions of a moderation stage for a reason.
pub fn count_decided(metrics: &Metrics, stage: &str, reason: &str, decision: &str) {
    let labels = Decided {
        stage: stage.to_owned(),
        reason: reason.to_owned(),
        decision: decision.to_owned(),
    };
    metrics.moderation_by_stage.get_or_create(&labels).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_by_reason_are_exported_and_listed() {
        let metrics = Metrics::default();
        count(&metrics.comments_refused, "banned");
        count(&metrics.comments_refused, "banned");
        count(&metrics.comments_refused, "too_large");
        let totals = metrics.comments_refused.totals();
        assert_eq!(totals, BTreeMap::from([("banned".to_owned(), 2), ("too_large".to_owned(), 1)]));
        count_decided(&metrics, "rules", "link", "flag");
        let text = metrics.render("extra 1\n");
        let by_stage = r#"by_stage_total{stage="rules",reason="link",decision="flag"} 1"#;
        assert!(text.contains(by_stage), "{text}");
        assert!(text.contains("lcd_comments_refused_total{reason=\"banned\"} 2"), "{text}");
        assert!(text.contains("# TYPE lcd_comments_refused counter"), "{text}");
        assert!(text.ends_with("extra 1\n# EOF\n"), "{text}");
    }

    #[test]
    fn scores_are_exported_by_task() {
        let metrics = Metrics::default();
        metrics.moderation_scores.observe([(&"toxicity", &0.72_f32), (&"spam", &0.01)]);
        let text = metrics.render("");
        for (bound, task, count) in
            [("0.7", "toxicity", 0), ("0.8", "toxicity", 1), ("0.7", "spam", 1)]
        {
            let is_bucket = |line: &&str| {
                line.starts_with("lcd_moderation_score_bucket{")
                    && line.contains(&format!("le=\"{bound}\""))
                    && line.contains(&format!("task=\"{task}\""))
            };
            let line = text.lines().find(is_bucket).unwrap();
            assert!(line.ends_with(&format!(" {count}")), "{line}");
        }
    }
}
