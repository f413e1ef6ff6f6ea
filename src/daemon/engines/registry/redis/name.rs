//! The name of a node belongs to one process at a time. A process that finds its name in use waits
//! until it knows whether the other one still runs: if it does, this one must not start, because
//! commands such as a ban would reach only one of the two.
//!
//! A node that was killed and starts again has the same identity, so it never waits.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::Core;
use super::node_link::NodeLink;
use crate::daemon::engines::registry::{ALIVE_FOR, RegistryError};

const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Sightings of another process within this time belong together.
const SIGHTINGS_WITHIN: Duration = Duration::from_secs(10);
/// A Redis node that came back with old data shows the previous run of this node once.
const SIGHTINGS_TO_REPORT: u32 = 2;
/// Heartbeats go to all Redis nodes at once, and count once.
const SIGHTING_PAUSE: Duration = Duration::from_millis(500);

/// The process that uses a name, as one Redis node knows it.
#[derive(Debug, Clone)]
struct Occupant {
    /// The time of its last heartbeat, by the clock of the server. Only compared with itself: that
    /// clock may jump.
    last_heartbeat: String,
    age: Duration,
    identity: String,
    about: String,
}

impl Core {
    /// Waits until no other running process has this node's name. A process that sends no heartbeat
    /// for [`ALIVE_FOR`] does not run.
    ///
    /// # Errors
    /// `NameTaken` if the other process sends heartbeats meanwhile.
    pub(super) async fn claim_name(&self) -> Result<(), RegistryError> {
        let began = Instant::now();
        let first = self.occupants().await;
        if first.iter().all(Option::is_none) {
            return Ok(());
        }
        info!(node = %self.node, "waiting until the name of this node is free");
        while began.elapsed() < ALIVE_FOR {
            sleep(POLL_INTERVAL).await;
            let now = self.occupants().await;
            if now.iter().all(Option::is_none) {
                break;
            }
            for (before, after) in first.iter().zip(now) {
                if let (Some(before), Some(after)) = (before, after)
                    && before.last_heartbeat != after.last_heartbeat
                {
                    return Err(RegistryError::NameTaken(self.node.clone(), after.about));
                }
            }
        }
        Ok(())
    }

    /// Returns the other process that has this name, per Redis node.
    async fn occupants(&self) -> Vec<Option<Occupant>> {
        let asked = join_all(self.links.iter().map(|link| self.occupant_on(link))).await;
        let others = asked.into_iter().map(|found| {
            found.filter(|found| found.identity != self.identity && found.age < ALIVE_FOR)
        });
        others.collect()
    }

    async fn occupant_on(&self, link: &NodeLink) -> Option<Occupant> {
        let mut invocation = self.scripts.occupant.key(&self.keys.nodes);
        invocation.key(self.keys.node(&self.node)).arg(self.node.as_str());
        let answer: Vec<String> = link.script(&invocation).await.ok()?;
        let [last_heartbeat, age_ms, identity, about] = answer.try_into().ok()?;
        let age = Duration::from_millis(age_ms.parse().ok()?);
        Some(Occupant { last_heartbeat, age, identity, about })
    }
}

/// Another process that sends heartbeats under this node's name while this one runs.
#[derive(Debug, Default)]
pub(super) struct Namesake(Mutex<Option<Sightings>>);

#[derive(Debug)]
struct Sightings {
    about: String,
    count: u32,
    last: Instant,
}

impl Namesake {
    /// Records that another process has sent the last heartbeat.
    pub(super) fn seen(&self, about: String) {
        let mut known = self.0.lock();
        let count = match known.as_ref() {
            Some(known) if known.last.elapsed() < SIGHTING_PAUSE => return,
            Some(known) if known.last.elapsed() < SIGHTINGS_WITHIN => known.count + 1,
            _ => 1,
        };
        *known = Some(Sightings { about, count, last: Instant::now() });
    }

    /// Returns the description of the other process, if there is one.
    pub(super) fn about(&self) -> Option<String> {
        let known = self.0.lock();
        let recent = |known: &&Sightings| {
            known.count >= SIGHTINGS_TO_REPORT && known.last.elapsed() < SIGHTINGS_WITHIN
        };
        known.as_ref().filter(recent).map(|known| known.about.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn old_data_is_no_namesake_but_a_running_process_is() {
        let namesake = Namesake::default();
        // All Redis nodes came back with old data.
        (0..3).for_each(|_| namesake.seen("old".to_owned()));
        assert_eq!(namesake.about(), None);
        tokio::time::advance(SIGHTINGS_WITHIN).await;
        for _ in 0..2 {
            namesake.seen("pid 7".to_owned());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(namesake.about().as_deref(), Some("pid 7"));
        tokio::time::advance(SIGHTINGS_WITHIN).await;
        assert_eq!(namesake.about(), None, "it has ended");
    }
}
