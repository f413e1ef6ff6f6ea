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
    /// The reason why the topics cannot be used.
    topics: Option<String>,
    /// Whether they can be read all the same.
    may_read: bool,
    /// The topics that do not exist, each with a sentence that says so.
    missing: HashMap<Topic, String>,
}

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

    /// Fails while the cluster is known to be unreachable, and while its topics cannot be read.
    pub(super) fn check(&self) -> Result<(), LogError> {
        self.check_for(|state| {
            state.topics.as_ref().filter(|_| !state.may_read).or(state.outage.as_ref())
        })
    }

    /// Like [`Self::check`] for appends to a topic.
    pub(super) fn check_appends(&self, topic: Topic) -> Result<(), LogError> {
        self.check_for(|state| {
            state.topics.as_ref().or(state.missing.get(&topic)).or(state.outage.as_ref())
        })
    }

    /// Fails while the topics are known to be others than those that were opened.
    pub(super) fn check_topics(&self) -> Result<(), LogError> {
        self.check_for(|state| state.topics.as_ref())
    }

    /// Fails while a topic is known to be missing.
    pub(super) fn check_exists(&self, topic: Topic) -> Result<(), LogError> {
        self.check_for(|state| state.missing.get(&topic))
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

    /// Records the reason why the topics cannot be used, or that they can.
    pub(super) fn set_topics(&self, unusable: Option<String>, may_read: bool) {
        let mut state = self.state.lock();
        state.topics = unusable;
        state.may_read = may_read;
        self.update(&state);
    }

    /// Records which topics do not exist, each with a sentence that says so.
    pub(super) fn set_missing(&self, missing: HashMap<Topic, String>) {
        let mut state = self.state.lock();
        state.missing = missing;
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
        let is_refusing =
            state.outage.is_some() || state.topics.is_some() || !state.missing.is_empty();
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
        health.set_missing(HashMap::from([(Topic::WsMessages, text.to_owned())]));
        let refused = health.check_appends(Topic::WsMessages).unwrap_err();
        assert!(refused.to_string().contains(text), "{refused}");
        assert!(health.check_exists(Topic::WsMessages).is_err());
        health.check_appends(Topic::CommentEvents).unwrap();
        health.check_exists(Topic::CommentEvents).unwrap();
        health.check().unwrap();
        health.set_missing(HashMap::new());
        health.check_appends(Topic::WsMessages).unwrap();
    }
}
