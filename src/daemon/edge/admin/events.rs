//! Events: what has changed, on this node and, from the reports of the others, in the cluster.
//!
//! Always holds: ids grow, also over a restart; an event is kept once, however often it is
//! reported. When full: the oldest of [`MAX_EVENTS`] are forgotten, and of [`MAX_NODES`] the node
//! that has been silent for longest.

use std::collections::{BTreeMap, VecDeque};

use ahash::AHashMap;
use tokio::sync::watch;

use super::AdminParts;
use crate::protocol::admin::{
    BreakerState, EventItem, EventKind, NodeReport, Outcome, StreamRates,
};
use crate::protocol::filter::Filter;
use crate::protocol::filter::rows::At;
use crate::protocol::quantity::show_share;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{NodeId, StreamId};

/// Events that a node keeps.
pub(super) const MAX_EVENTS: usize = 2_000;
/// Events of this node in each of its reports. A node that reads every second report misses one
/// only if there are more in that time.
const MAX_REPORTED: usize = 24;
/// Events are reported for this long.
const REPORTED_FOR_MS: u64 = 10_000;
/// The subject and the text of an event are cut to this number of characters.
const MAX_TEXT_CHARS: usize = 240;
/// Nodes whose newest event is known. A node that starts again may have another name.
const MAX_NODES: usize = 1_000;

/// The events, oldest first.
#[derive(Debug)]
pub(super) struct Events {
    ring: VecDeque<EventItem>,
    /// By node, the id on that node of the newest event that was learned from it.
    learned: BTreeMap<NodeId, u64>,
    /// The state at the last look, which the next one is compared with.
    seen: Seen,
    /// The newest id, for readers that follow.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    breakers: BTreeMap<String, BreakerState>,
    shares: AHashMap<StreamId, SampleRate>,
    draining: Option<bool>,
}

/// A change that was found, before it is an event.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    kind: EventKind,
    subject: String,
    text: String,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            learned: BTreeMap::new(),
            seen: Seen::default(),
            newest: watch::Sender::new(0),
        }
    }
}

impl Events {
    fn add(&mut self, mut event: EventItem) {
        let next = self.ring.back().map_or(0, |last| last.id + 1);
        // The clock makes ids grow over a restart.
        event.id = next.max(event.at);
        for text in [&mut event.subject, &mut event.text] {
            *text = text.chars().take(MAX_TEXT_CHARS).collect();
        }
        if self.ring.len() == MAX_EVENTS {
            self.ring.pop_front();
        }
        self.newest.send_replace(event.id);
        self.ring.push_back(event);
    }

    /// Returns the events after an id, oldest first.
    pub(super) fn after(&self, id: u64) -> impl DoubleEndedIterator<Item = &EventItem> {
        let from = self.ring.partition_point(|event| event.id <= id);
        self.ring.range(from..)
    }

    /// Returns a receiver that changes with each event.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Returns the newest events of this node, for its report.
    pub(super) fn reported(&self, own: &NodeId, now_ms: u64) -> Vec<EventItem> {
        let recent = self.ring.iter().rev().filter(|event| event.node == *own);
        let mut recent: Vec<_> = recent
            .take(MAX_REPORTED)
            .take_while(|event| event.at + REPORTED_FOR_MS > now_ms)
            .cloned()
            .collect();
        recent.reverse();
        recent
    }

    /// Takes over the events that other nodes report. Their ids grow, so that one is known by its
    /// id on its own node.
    pub(super) fn learn<'a>(
        &mut self,
        reported: impl Iterator<Item = &'a EventItem>,
        own: &NodeId,
    ) {
        for event in reported.filter(|event| event.node != *own) {
            let known = self.learned.entry(event.node.clone()).or_default();
            if event.id > *known {
                *known = event.id;
                self.add(event.clone());
            }
        }
        while self.learned.len() > MAX_NODES {
            // Ids are times, or little more.
            let oldest = self.learned.iter().min_by_key(|(_, id)| **id);
            let Some(oldest) = oldest.map(|(node, _)| node.clone()) else { break };
            self.learned.remove(&oldest);
        }
    }
}

impl Seen {
    /// Compares with what was found before. The first look finds only dependencies that fail: the
    /// rest of what is there at the start has not changed.
    fn look(&mut self, report: &NodeReport) -> Vec<Found> {
        let mut found = Vec::new();
        for breaker in &report.breakers {
            let before = self.breakers.insert(breaker.dependency.clone(), breaker.state);
            let failed = before.is_some_and(|state| state != BreakerState::Closed);
            let fails = breaker.state != BreakerState::Closed;
            if failed == fails {
                continue;
            }
            let error = breaker.last_error.as_deref().unwrap_or("no answer");
            let text = if fails { format!("fails: {error}") } else { "works again".to_owned() };
            found.push(Found {
                kind: EventKind::Breaker,
                subject: breaker.dependency.clone(),
                text,
            });
        }
        // Streams that this node no longer has are forgotten.
        let before = std::mem::take(&mut self.shares);
        for rates in &report.streams {
            self.shares.insert(rates.stream_id, rates.sample_rate);
            found.extend(before.get(&rates.stream_id).and_then(|share| change_of(*share, rates)));
        }
        let draining = report.node.draining;
        let before = self.draining.replace(draining);
        if before.is_some_and(|before| before != draining) {
            let text = if draining { "drains" } else { "accepts viewers again" }.to_owned();
            let subject = report.node.node.to_string();
            found.push(Found { kind: EventKind::Node, subject, text });
        }
        found
    }
}

/// Returns the change from an earlier share, if there is one.
fn change_of(before: SampleRate, rates: &StreamRates) -> Option<Found> {
    if before == rates.sample_rate {
        return None;
    }
    let by = match rates.throttle_override {
        Some(_) => "an operator".to_owned(),
        None => format!(
            "the throttle, level {} at {:.0}/s",
            rates.throttle_level, rates.comments_per_second
        ),
    };
    let text = format!("{} → {} by {by}", show_share(before), show_share(rates.sample_rate));
    let subject = format!("stream {}", rates.stream_id);
    Some(Found { kind: EventKind::Throttle, subject, text })
}

impl AdminParts {
    /// Records what has changed since the report before.
    pub(super) fn record_differences(&self, report: &NodeReport) {
        let found = self.live.events.lock().seen.look(report);
        for Found { kind, subject, text } in found {
            self.record_event(kind, &subject, text, None);
        }
        for outcome in self.board.reloads().take() {
            self.record_event(EventKind::Node, self.about.node.as_str(), outcome, None);
        }
    }

    pub(super) fn record_event(
        &self,
        kind: EventKind,
        subject: &str,
        text: String,
        audit_id: Option<u64>,
    ) {
        let event = EventItem {
            id: 0,
            at: self.control.parts().clock.now_ms(),
            node: self.about.node.clone(),
            kind,
            subject: subject.to_owned(),
            text,
            audit_id,
        };
        self.live.events.lock().add(event);
    }

    /// Returns the newest events after an id that a filter accepts, oldest first.
    pub(super) fn events_after(&self, id: u64, limit: usize, filter: &Filter) -> Vec<EventItem> {
        let now_ms = self.control.parts().clock.now_ms();
        let events = self.live.events.lock();
        let accepted = |item: &&EventItem| filter.matches(&At { item: *item, now_ms });
        let mut items: Vec<_> =
            events.after(id).rev().filter(accepted).take(limit).cloned().collect();
        items.reverse();
        items
    }

    /// Records a change that an operator made through this node. `text` says what was done to what.
    pub(super) fn record_outcome(&self, actor: &str, action: &str, text: &str, outcome: &Outcome) {
        let user = outcome.user_id.map(|id| match &outcome.user_name {
            Some(name) => format!("user {id} {name}"),
            None => format!("user {id}"),
        });
        let stream = outcome.stream.as_ref().map(|stream| format!("stream {}", stream.stream_id));
        let node = outcome.node.as_ref().map(|node| format!("node {node}"));
        let subject = user.or(stream).or(node).unwrap_or_else(|| action.to_owned());
        let text = format!("{actor}: {text}");
        self.record_event(EventKind::Audit, &subject, text, Some(outcome.audit_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::admin::BreakerStatus;

    fn event(node: &str, id: u64, at: u64) -> EventItem {
        EventItem {
            id,
            at,
            node: NodeId::new(node),
            kind: EventKind::Node,
            subject: node.to_owned(),
            text: "drains".to_owned(),
            audit_id: None,
        }
    }

    #[test]
    fn ids_grow_and_the_oldest_are_forgotten() {
        let mut events = Events::default();
        for number in 0..MAX_EVENTS as u64 + 5 {
            // The clock may stand still or go back.
            events.add(event("a", 0, 1_000 - number.min(900)));
        }
        let ids: Vec<_> = events.after(0).map(|event| event.id).collect();
        assert_eq!(ids.len(), MAX_EVENTS);
        assert!(ids.is_sorted_by(|a, b| a < b));
        let newest = *ids.last().unwrap();
        assert_eq!(events.after(newest).count(), 0);
        assert_eq!(events.after(newest - 3).count(), 3);
        assert_eq!(*events.subscribe().borrow(), newest);
    }

    #[test]
    fn an_event_of_another_node_is_kept_once() {
        let own = NodeId::new("a");
        let mut events = Events::default();
        let reported = [event("b", 5, 50), event("b", 6, 60), event("a", 9, 90)];
        events.learn(reported.iter(), &own);
        events.learn(reported.iter(), &own);
        events.learn([event("b", 7, 70)].iter(), &own);
        let nodes: Vec<_> = events.after(0).map(|event| event.node.to_string()).collect();
        assert_eq!(nodes, ["b", "b", "b"]);
        assert_eq!(events.reported(&own, 100), []);
    }

    #[test]
    fn nodes_with_new_names_take_no_more_memory() {
        let own = NodeId::new("a");
        let mut events = Events::default();
        for number in 1..=MAX_NODES as u64 + 5 {
            events.learn([event(&format!("n{number}"), number, number)].iter(), &own);
        }
        assert_eq!(events.learned.len(), MAX_NODES);
        let newest = event(&format!("n{}", MAX_NODES + 5), MAX_NODES as u64 + 5, 1);
        let count = events.after(0).count();
        events.learn([newest].iter(), &own);
        assert_eq!(events.after(0).count(), count, "it is still known");
    }

    #[test]
    fn only_recent_events_are_reported() {
        let own = NodeId::new("a");
        let mut events = Events::default();
        events.add(event("a", 0, 1_000));
        (0..MAX_REPORTED as u64 + 3).for_each(|n| events.add(event("a", 0, 20_000 + n)));
        let reported = events.reported(&own, 21_000);
        assert_eq!(reported.len(), MAX_REPORTED);
        assert!(reported.iter().all(|event| event.at > 20_000));
        assert_eq!(events.reported(&own, 20_000 + 2 * REPORTED_FOR_MS), []);
    }

    #[test]
    fn a_change_is_found_once() {
        let mut seen = Seen::default();
        let mut now = report(&NodeId::new("a"));
        now.node.draining = false;
        now.breakers = vec![BreakerStatus {
            dependency: "fan-out bus".to_owned(),
            state: BreakerState::Closed,
            last_error: None,
            since_ms: 0,
        }];
        assert_eq!(seen.look(&now), []);
        now.breakers[0].state = BreakerState::Open;
        now.breakers[0].last_error = Some("broken pipe".to_owned());
        now.node.draining = true;
        let found = seen.look(&now);
        let texts: Vec<_> =
            found.iter().map(|found| format!("{}: {}", found.subject, found.text)).collect();
        assert_eq!(texts, ["fan-out bus: fails: broken pipe", "a: drains"]);
        // A trial is no change.
        now.breakers[0].state = BreakerState::HalfOpen;
        assert_eq!(seen.look(&now), []);
        now.breakers[0].state = BreakerState::Closed;
        assert_eq!(seen.look(&now)[0].text, "works again");
    }

    #[test]
    fn a_share_that_changes_says_who_changed_it() {
        let mut seen = Seen::default();
        let mut now = report(&NodeId::new("a"));
        let rate = |share| SampleRate::from_share(share).unwrap();
        now.streams.truncate(1);
        now.streams[0].sample_rate = rate(1.0);
        now.streams[0].throttle_override = None;
        now.streams[0].throttle_level = 1;
        now.streams[0].comments_per_second = 640.4;
        assert_eq!(seen.look(&now), []);
        now.streams[0].sample_rate = rate(0.5);
        assert_eq!(seen.look(&now)[0].text, "all → 50% by the throttle, level 1 at 640/s");
        now.streams[0].sample_rate = rate(0.1);
        now.streams[0].throttle_override = Some(rate(0.1));
        assert_eq!(seen.look(&now)[0].text, "50% → 10% by an operator");
        assert_eq!(seen.look(&now), []);
        now.streams.clear();
        assert_eq!(seen.look(&now), []);
        assert!(seen.shares.is_empty(), "the stream has moved to another node");
    }
}
