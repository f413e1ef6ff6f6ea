//! The nodes as last heard of, for when Redis does not answer.
//!
//! As many entries as names were in use within [`KNOWN_FOR`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::daemon::engines::registry::{ALIVE_FOR, KNOWN_FOR, KnownNode};
use crate::protocol::NodeId;
use crate::protocol::admin::NodeReport;

/// Ages come over the network: two answers about the same moment differ by less than this.
const JITTER: Duration = Duration::from_secs(1);

/// What one Redis node says of a node.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) node: NodeId,
    pub(super) at: Instant,
    pub(super) what: Sign,
}

#[derive(Debug, Clone)]
pub(super) enum Sign {
    Lives(Option<Arc<NodeReport>>),
    Left,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    seen: Mutex<AHashMap<NodeId, Seen>>,
    told_of_shared_name: AtomicBool,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    report: Option<Arc<NodeReport>>,
}

impl Roster {
    /// A node was heard of, without its report.
    pub(super) fn note(&self, node: NodeId, at: Instant) {
        let mut seen = self.lock();
        let entry = seen.entry(node).or_insert(Seen { at, report: None });
        entry.at = entry.at.max(at);
    }

    /// Takes in what all Redis nodes that answered say; the newest word on each node counts.
    pub(super) fn take_in(&self, mut heard: Vec<Heard>) {
        heard.sort_by_key(|heard| heard.at);
        let newest: AHashMap<_, _> =
            heard.into_iter().map(|heard| (heard.node.clone(), heard)).collect();
        let mut seen = self.lock();
        for (node, Heard { at, what, .. }) in newest {
            match what {
                Sign::Lives(report) => {
                    let at = seen.get(&node).map_or(at, |seen| seen.at.max(at));
                    seen.insert(node, Seen { at, report });
                }
                Sign::Left => {
                    if seen.get(&node).is_some_and(|seen| seen.at < at + JITTER) {
                        seen.remove(&node);
                    }
                }
            }
        }
    }

    /// All nodes by name, with what is known better of this one.
    pub(super) fn nodes_beside(&self, this: KnownNode) -> Vec<KnownNode> {
        let mut seen = self.lock();
        seen.retain(|_, seen| seen.at.elapsed() < KNOWN_FOR);
        let known = |(node, seen): (&NodeId, &Seen)| KnownNode {
            node: node.clone(),
            alive: seen.at.elapsed() < ALIVE_FOR,
            report: seen.report.clone(),
        };
        let others = seen.iter().filter(|(node, _)| **node != this.node).map(known);
        let mut nodes: Vec<_> = others.collect();
        drop(seen);
        nodes.push(this);
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
        nodes
    }

    /// True the first time.
    pub(super) fn notice_shared_name(&self) -> bool {
        !self.told_of_shared_name.swap(true, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, AHashMap<NodeId, Seen>> {
        self.seen.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> KnownNode {
        KnownNode { node: NodeId::new("m"), alive: true, report: None }
    }

    fn names(roster: &Roster) -> Vec<(String, bool)> {
        let nodes = roster.nodes_beside(this()).into_iter();
        nodes.map(|known| (known.node.to_string(), known.alive)).collect()
    }

    fn heard(node: &str, age: Duration, what: Sign) -> Heard {
        Heard { node: NodeId::new(node), at: Instant::now() - age, what }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_named_as_dead_and_then_forgotten() {
        tokio::time::advance(KNOWN_FOR * 2).await;
        let roster = Roster::default();
        roster.note(NodeId::new("a"), Instant::now());
        assert_eq!(names(&roster), [("a".into(), true), ("m".into(), true)]);
        tokio::time::advance(ALIVE_FOR).await;
        assert_eq!(names(&roster), [("a".into(), false), ("m".into(), true)]);
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(names(&roster), [("m".into(), true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_word_on_a_node_counts() {
        tokio::time::advance(KNOWN_FOR * 2).await;
        let (long_ago, now) = (Duration::from_secs(60), Duration::ZERO);
        let roster = Roster::default();
        // One Redis node was away while the node left.
        roster.take_in(vec![
            heard("z", Duration::from_secs(10), Sign::Left),
            heard("z", long_ago, Sign::Lives(None)),
        ]);
        assert_eq!(names(&roster), [("m".into(), true)]);
        // One was away when it came back.
        roster.take_in(vec![heard("z", now, Sign::Lives(None)), heard("z", long_ago, Sign::Left)]);
        assert_eq!(names(&roster), [("m".into(), true), ("z".into(), true)]);
        roster.take_in(vec![heard("z", long_ago, Sign::Left)]);
        assert_eq!(names(&roster).len(), 2, "old news");
        roster.take_in(vec![heard("z", now, Sign::Left)]);
        assert_eq!(names(&roster).len(), 1);
    }
}
