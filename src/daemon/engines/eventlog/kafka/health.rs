//! Watches whether the cluster can be used, so that an append is refused at once instead of after
//! its timeout.
//!
//! A client that loses its last connection, or an append that is not acknowledged, raises a
//! suspicion. A thread then probes the cluster. Appends and reads are refused from the first probe
//! that fails to the first that succeeds. Without a suspicion the thread compares the topics once
//! per [`TOPICS_INTERVAL`] ([`super::topic_watch`]). While the topic of the comments is missing or
//! is another one, appends and reads are refused too; while one of the others is missing, only
//! appends to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::engines::eventlog::{LogError, Topic};

/// A cluster that does not answer a probe within this time counts as unreachable.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(700);
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// Interval at which the topics are compared with those that were opened.
pub(super) const TOPICS_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Health {
    /// True if there is a reason to refuse.
    refusing: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// Cancelled once the topics have been replaced and can be opened.
    replaced: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    suspicion: Option<String>,
    stopped: bool,
    /// The reason why the cluster cannot be reached.
    outage: Option<String>,
    /// The topics that cannot be used.
    refused: HashMap<Topic, Refusal>,
}

/// The reason why a topic cannot be used.
#[derive(Debug)]
struct Refusal {
    reason: String,
    /// Whether its records can be read all the same.
    may_read: bool,
}

/// The topic of the comments, without which nothing is appended.
const COMMENTS: Topic = Topic::CommentEvents;

/// The requests of the thread. Each blocks for a bounded time.
pub(super) trait Probe: Send + 'static {
    /// Finds out whether the cluster answers, within [`PROBE_TIMEOUT`].
    fn reach(&self) -> Result<(), LogError>;

    /// Compares the topics, and records in `health` whether they can be used. `is_suspected` says
    /// that appends failed although the cluster answers.
    fn compare_topics(&mut self, health: &Health, is_suspected: bool);
}

impl Health {
    /// Starts the thread.
    pub(super) fn watch(self: &Arc<Self>, mut probe: impl Probe) -> Result<(), LogError> {
        let health = self.clone();
        std::thread::Builder::new()
            .name("kafka-health".to_owned())
            .spawn(move || {
                while let Some(is_suspected) = health.wait() {
                    if is_suspected {
                        health.probe_until_reachable(&probe);
                    }
                    probe.compare_topics(&health, is_suspected);
                }
            })
            .map(drop)
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))
    }

    /// Fails while the cluster is known to be unreachable, and while the topic of the comments
    /// cannot be read.
    pub(super) fn check(&self) -> Result<(), LogError> {
        self.check_for(|state| {
            let unreadable = state.refused.get(&COMMENTS).filter(|refusal| !refusal.may_read);
            unreadable.map(|refusal| &refusal.reason).or(state.outage.as_ref())
        })
    }

    /// Fails while the cluster, the topic or that of the comments cannot take records.
    pub(super) fn check_appends(&self, topic: Topic) -> Result<(), LogError> {
        self.check_for(|state| {
            let refusal = state.refused.get(&COMMENTS).or(state.refused.get(&topic));
            refusal.map(|refusal| &refusal.reason).or(state.outage.as_ref())
        })
    }

    /// Fails while a topic is known to be missing, or another one than was opened.
    pub(super) fn check_topic(&self, topic: Topic) -> Result<(), LogError> {
        self.check_for(|state| state.refused.get(&topic).map(|refusal| &refusal.reason))
    }

    fn check_for(&self, reason: impl Fn(&State) -> Option<&String>) -> Result<(), LogError> {
        if !self.refusing.load(Ordering::Acquire) {
            return Ok(());
        }
        let state = self.state.lock();
        match reason(&state) {
            Some(reason) => Err(LogError::Unavailable(reason.clone())),
            None => Ok(()),
        }
    }

    /// Makes the thread probe the cluster.
    pub(super) fn suspect(&self, reason: &str) {
        let mut state = self.state.lock();
        if state.suspicion.is_none() {
            state.suspicion = Some(reason.to_owned());
            self.changed.notify_all();
        }
    }

    /// Records why a topic cannot be used, and whether its records can be read all the same.
    pub(super) fn refuse(&self, topic: Topic, reason: String, may_read: bool) {
        let mut state = self.state.lock();
        state.refused.insert(topic, Refusal { reason, may_read });
        self.update(&state);
    }

    /// Records that a topic can be used.
    pub(super) fn accept(&self, topic: Topic) {
        let mut state = self.state.lock();
        state.refused.remove(&topic);
        self.update(&state);
    }

    /// Records that the topics were replaced and can be opened.
    pub(super) fn report_replaced(&self) {
        self.replaced.cancel();
    }

    /// Returns the token that is cancelled once the topics have been replaced.
    pub(super) fn replaced(&self) -> CancellationToken {
        self.replaced.clone()
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    fn update(&self, state: &State) {
        let is_refusing = state.outage.is_some() || !state.refused.is_empty();
        self.refusing.store(is_refusing, Ordering::Release);
    }

    /// Waits for a suspicion or the next comparison. Returns whether there is a suspicion; `None`
    /// once stopped.
    fn wait(&self) -> Option<bool> {
        let mut state = self.state.lock();
        let idle = |state: &mut State| state.suspicion.is_none() && !state.stopped;
        self.changed.wait_while_for(&mut state, idle, TOPICS_INTERVAL);
        (!state.stopped).then(|| state.suspicion.is_some())
    }

    fn probe_until_reachable(&self, probe: &impl Probe) {
        while !self.is_stopped() {
            match probe.reach() {
                Ok(()) => {
                    let mut state = self.state.lock();
                    state.suspicion = None;
                    let was_down = state.outage.take().is_some();
                    self.update(&state);
                    drop(state);
                    if was_down {
                        info!("Kafka is reachable again");
                    }
                    return;
                }
                Err(error) => {
                    let reason = match error {
                        LogError::Unavailable(reason) => reason,
                        other => other.to_string(),
                    };
                    let mut state = self.state.lock();
                    let was_up = state.outage.replace(reason.clone()).is_none();
                    self.update(&state);
                    drop(state);
                    if was_up {
                        warn!(reason, "Kafka is unreachable");
                    }
                }
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_appends_to_a_missing_topic_are_refused() {
        let health = Health::default();
        let text = "topic ws-messages is missing";
        health.refuse(Topic::WsMessages, text.to_owned(), false);
        let refused = health.check_appends(Topic::WsMessages).unwrap_err();
        assert!(refused.to_string().contains(text), "{refused}");
        assert!(health.check_topic(Topic::WsMessages).is_err());
        health.check_appends(COMMENTS).unwrap();
        health.check_topic(COMMENTS).unwrap();
        health.check().unwrap();
        health.accept(Topic::WsMessages);
        health.check_appends(Topic::WsMessages).unwrap();
    }

    #[test]
    fn without_the_topic_of_the_comments_all_is_refused() {
        let health = Health::default();
        for may_read in [true, false] {
            health.refuse(COMMENTS, "the log was replaced".to_owned(), may_read);
            assert!(Topic::ALL.iter().all(|topic| health.check_appends(*topic).is_err()));
            assert_eq!(health.check().is_ok(), may_read);
            assert!(health.check_topic(COMMENTS).is_err());
            health.check_topic(Topic::WsMessages).unwrap();
        }
        health.accept(COMMENTS);
        health.check_appends(COMMENTS).unwrap();
        health.check().unwrap();
    }
}
