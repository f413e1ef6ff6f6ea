//! Counters of the whole node, readable by the console and exported to Prometheus.
//!
//! `prometheus-client` rather than the `metrics` facade, because `lc top` reads the very numbers
//! that `/metrics` exports, and a facade can only be written to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A counter by one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: String,
}

/// Counters by reason. The crate's own family can be exported but not listed, and `lc top` lists
/// them. Cloning shares them; reasons are stable words of the code, so their number is bounded.
#[derive(Debug, Clone, Default)]
pub struct ByReason {
    counters: Arc<RwLock<BTreeMap<String, Counter>>>,
}

impl ByReason {
    /// The counter of one reason; keep it where the same reason is counted often.
    pub fn get_or_create(&self, label: &Reason) -> Counter {
        if let Some(counter) = self.read().get(&label.reason) {
            return counter.clone();
        }
        // Inserting leaves the map whole even if another holder of the lock panicked.
        let mut counters = self.counters.write();
        counters.entry(label.reason.clone()).or_default().clone()
    }

    /// All counts, by reason.
    pub fn totals(&self) -> BTreeMap<String, u64> {
        self.read().iter().map(|(reason, counter)| (reason.clone(), counter.get())).collect()
    }

    fn read(&self) -> parking_lot::RwLockReadGuard<'_, BTreeMap<String, Counter>> {
        self.counters.read()
    }
}

impl EncodeMetric for ByReason {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (reason, counter) in self.read().iter() {
            let label = Reason { reason: reason.clone() };
            counter.encode(encoder.encode_family(&label)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }

    fn is_empty(&self) -> bool {
        self.read().is_empty()
    }
}

/// All counters. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub comments_received: Counter,
    pub comments_accepted: Counter,
    pub comments_refused: ByReason,
    pub comments_broadcast: Counter,
    pub comments_sampled_out: Counter,
    pub comments_egress_sampled_out: Counter,
    pub comments_delivered: Counter,
    pub comments_skipped: Counter,
    pub comments_deleted: Counter,
    pub comments_archived: Counter,
    pub reactions: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub connections_opened: Counter,
    pub connections_closed: ByReason,
    pub connections_refused: ByReason,
    pub connections: Gauge,
    pub slow_viewers: Gauge,
    pub catch_up_pages: Counter,
    pub catch_up_reads: Counter,
    pub egress_limited_streams: Gauge,
    pub bus_messages_lost: Counter,
    pub dead_letters: Counter,
    pub moderation_checked: Counter,
    pub moderation_decisions: ByReason,
    pub moderation_reasons: ByReason,
}

impl Metrics {
    /// The Prometheus text of everything, with `extra` lines (gauges taken at the moment of asking)
    /// in front of the end marker.
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
            ("comments_skipped", "Comments slow viewers skipped", &self.comments_skipped),
            ("comments_deleted", "Comments deleted", &self.comments_deleted),
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
            ("dead_letters", "Records no consumer could process", &self.dead_letters),
            ("moderation_checked", "Comments moderation looked at", &self.moderation_checked),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let families = [
            ("comments_refused", "Comments refused, by error code", &self.comments_refused),
            ("connections_closed", "Connections closed, by close code", &self.connections_closed),
            ("connections_refused", "Viewers not let in, by error code", &self.connections_refused),
            ("moderation_decisions", "Decisions of moderation", &self.moderation_decisions),
            ("moderation_reasons", "Reasons of what was not accepted", &self.moderation_reasons),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register("connections", "Viewer connections", self.connections.clone());
        registry.register("slow_viewers", "Viewers behind", self.slow_viewers.clone());
        registry.register(
            "egress_limited_streams",
            "Streams shown in part because the node is at its egress limit",
            self.egress_limited_streams.clone(),
        );
    }
}

/// Counts one more under a label.
pub fn count(family: &ByReason, reason: &str) {
    family.get_or_create(&Reason { reason: reason.to_owned() }).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_by_reason_can_also_be_listed() {
        let metrics = Metrics::default();
        count(&metrics.comments_refused, "banned");
        count(&metrics.comments_refused, "banned");
        count(&metrics.comments_refused, "too_large");
        let totals = metrics.comments_refused.totals();
        assert_eq!(totals, BTreeMap::from([("banned".to_owned(), 2), ("too_large".to_owned(), 1)]));
        let text = metrics.render("extra 1\n");
        assert!(text.contains("lcd_comments_refused_total{reason=\"banned\"} 2"), "{text}");
        assert!(text.contains("# TYPE lcd_comments_refused counter"), "{text}");
        assert!(text.ends_with("extra 1\n# EOF\n"), "{text}");
    }
}
