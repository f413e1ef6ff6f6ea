//! The stages of the pipeline: what passes them, what waits, and how long it takes.

use serde::{Deserialize, Serialize};

use crate::protocol::NodeId;
use crate::protocol::latency::LatencyHistogram;

/// A stage, in the order in which a comment passes them. The archiver and moderation read the log
/// beside the broadcast stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// Items: connections. Refused: those not let in. Queue: connections open. Latency: from
    /// the request to the hand-over to a delivery worker.
    Gateway,
    /// Items: comments accepted. Queue: comments not yet taken up. Latency: from taking a comment
    /// up to its answer.
    Ingest,
    /// Items: records appended to any topic. Refused: those not appended. Queue: bytes of the
    /// appends in flight, on the embedded engine those of the fullest topic. Latency: of an
    /// append, until the records are durable.
    Log,
    /// Items: comments published. Refused: those left out by the throttle. Queue: comments that
    /// wait for their batch; no bound. Latency: from reading a comment to the publication of
    /// its batch.
    Broadcast,
    /// Items: messages published. Refused: those that could not be published. Latency: of a call.
    Bus,
    /// Items: comments written to viewers. Refused: those that viewers skipped. Queue: frames
    /// that wait for the worker with the fullest mailbox. Latency: from the arrival of a frame
    /// at this node to the write.
    Delivery,
    /// Items: comments checked. Refused: those not accepted. Queue: comments read and not decided;
    /// no bound, because the log keeps what is not read yet. Latency: from reading a comment
    /// to the decision.
    Moderation,
    /// Items: comments written to the store. Refused: those that could not be written. Queue:
    /// comments read and not written; no bound, as above. Latency: of a write.
    Archive,
    /// A stage of a later release.
    #[serde(other)]
    Unknown,
}

impl StageName {
    /// The stages that a node measures.
    pub const ALL: [Self; 8] = [
        Self::Gateway,
        Self::Ingest,
        Self::Log,
        Self::Broadcast,
        Self::Bus,
        Self::Delivery,
        Self::Moderation,
        Self::Archive,
    ];

    /// Returns the name, as it is serialized.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Ingest => "ingest",
            Self::Log => "log",
            Self::Broadcast => "broadcast",
            Self::Bus => "bus",
            Self::Delivery => "delivery",
            Self::Moderation => "moderation",
            Self::Archive => "archive",
            Self::Unknown => "unknown",
        }
    }
}

/// The measurements of one stage by one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    pub name: StageName,
    /// Items that passed since the node started.
    pub items: u64,
    /// Items that did not pass since the node started.
    pub refused: u64,
    /// Items that wait now.
    pub queue: u64,
    /// The most items that may wait; 0 if nothing bounds them here.
    pub queue_max: u64,
    /// All latencies since the node started.
    #[serde(default)]
    pub latency: LatencyHistogram,
    /// Over the last second.
    #[serde(default)]
    pub items_per_second: f64,
    /// Over the last second.
    #[serde(default)]
    pub refused_per_second: f64,
    /// The latencies of the last ten seconds.
    #[serde(default)]
    pub recent: LatencyHistogram,
}

/// The measurements of one stage by all nodes that have it. Rates and latencies are those that the
/// nodes measured themselves, so they are right when nodes come and go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StageStatus {
    pub name: StageName,
    /// Number of nodes that measure it.
    pub nodes: u64,
    pub items_per_second: f64,
    pub refused_per_second: f64,
    /// Summed over the nodes, as `queue_max` is.
    pub queue: u64,
    pub queue_max: u64,
    /// The node whose queue is fullest; absent if no queue has a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fullest: Option<FullestQueue>,
    /// The latencies of the last ten seconds.
    pub recent: LatencyHistogram,
}

/// The fullest queue of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FullestQueue {
    pub node: NodeId,
    pub queue: u64,
    pub queue_max: u64,
}

impl FullestQueue {
    /// Returns the share of the queue that is taken, 0.0 to 1.0. A queue may be above its bound:
    /// the log lets one larger append through.
    pub fn share(&self) -> f64 {
        if self.queue_max == 0 {
            return 0.0;
        }
        (self.queue as f64 / self.queue_max as f64).min(1.0)
    }
}

impl StageStatus {
    /// Adds up the reports of nodes, one row per stage that some node measures, in the order of
    /// the pipeline.
    pub fn of_cluster<'a>(
        reports: impl IntoIterator<Item = (&'a NodeId, &'a [StageReport])>,
    ) -> Vec<Self> {
        let mut stages = std::collections::BTreeMap::new();
        for (node, of_node) in reports {
            let known = of_node.iter().filter(|stage| stage.name != StageName::Unknown);
            for stage in known {
                stages
                    .entry(stage.name)
                    .or_insert_with(|| Self::empty(stage.name))
                    .add(node, stage);
            }
        }
        stages.into_values().collect()
    }

    fn empty(name: StageName) -> Self {
        Self {
            name,
            nodes: 0,
            items_per_second: 0.0,
            refused_per_second: 0.0,
            queue: 0,
            queue_max: 0,
            fullest: None,
            recent: LatencyHistogram::default(),
        }
    }

    fn add(&mut self, node: &NodeId, stage: &StageReport) {
        self.nodes += 1;
        self.items_per_second += stage.items_per_second;
        self.refused_per_second += stage.refused_per_second;
        self.queue += stage.queue;
        self.queue_max += stage.queue_max;
        self.recent.add(&stage.recent);
        let &StageReport { queue, queue_max, .. } = stage;
        let queue = FullestQueue { node: node.clone(), queue, queue_max };
        let is_fuller = self.fullest.as_ref().is_none_or(|fullest| queue.share() > fullest.share());
        if queue_max > 0 && is_fuller {
            self.fullest = Some(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(name: StageName, queue: u64, queue_max: u64) -> StageReport {
        let mut recent = LatencyHistogram::default();
        recent.record(Duration::from_millis(queue), 1);
        StageReport {
            name,
            items: 1_000,
            refused: 3,
            queue,
            queue_max,
            latency: recent.clone(),
            items_per_second: 1.5,
            refused_per_second: 0.5,
            recent,
        }
    }

    #[test]
    fn stages_of_nodes_are_added_and_the_fullest_named() {
        let nodes = [NodeId::new("a"), NodeId::new("b")];
        let a = [report(StageName::Archive, 9, 0), report(StageName::Ingest, 10, 100)];
        let b = [report(StageName::Ingest, 5, 10), report(StageName::Unknown, 1, 1)];
        let stages = StageStatus::of_cluster([(&nodes[0], &a[..]), (&nodes[1], &b[..])]);
        let [ingest, archive] = &stages[..] else { panic!("{stages:?}") };
        assert_eq!(
            (ingest.name, ingest.nodes, ingest.items_per_second),
            (StageName::Ingest, 2, 3.0)
        );
        assert_eq!((ingest.queue, ingest.queue_max, ingest.recent.count()), (15, 110, 2));
        let fullest = FullestQueue { node: nodes[1].clone(), queue: 5, queue_max: 10 };
        assert_eq!((ingest.fullest.as_ref(), fullest.share()), (Some(&fullest), 0.5));
        assert_eq!((archive.name, archive.fullest.as_ref()), (StageName::Archive, None));
        assert_eq!(FullestQueue { queue: 30, ..fullest }.share(), 1.0, "above its bound");
    }

    #[test]
    fn a_stage_of_a_later_release_is_understood() {
        for stage in StageName::ALL {
            let text = format!("\"{}\"", stage.as_str());
            assert_eq!(serde_json::from_str::<StageName>(&text).unwrap(), stage);
        }
        let later: StageName = serde_json::from_str("\"translation\"").unwrap();
        assert_eq!(later, StageName::Unknown);
    }
}
