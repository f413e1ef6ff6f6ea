//! Obeying commands that other nodes sent: each once, at most [`CONCURRENT`] at a time.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use super::Core;
use super::cluster::{decode, encode};
use super::commands::{Answer, Outcome, Request, RequestId, publish};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand};

/// Commands obeyed at a time; more are refused at once.
const CONCURRENT: usize = 64;
/// Ids remembered: what is published again is so within a second or two of the first time.
const REMEMBERED: usize = 8192;
/// A command that takes longer is given up; its asker did so long before.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Obedience {
    pub(super) endpoint: OnceLock<Arc<dyn CommandHandler>>,
    places: Arc<Semaphore>,
    recent: Mutex<Recent>,
}

/// The newest commands, each with what came of it; `None` while it is being obeyed.
#[derive(Debug, Default)]
struct Recent {
    outcomes: AHashMap<RequestId, Option<Outcome>>,
    order: VecDeque<RequestId>,
}

impl Recent {
    /// What is known of the command; a new one is noted.
    fn meet(&mut self, id: RequestId) -> Met {
        match self.outcomes.get(&id) {
            Some(Some(outcome)) => return Met::Settled(*outcome),
            Some(None) => return Met::UnderWay,
            None => {}
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
        self.order.push_back(id);
        self.outcomes.insert(id, None);
        Met::New
    }

    fn settle(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(entry) = self.outcomes.get_mut(&id) {
            *entry = Some(outcome);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Met {
    New,
    UnderWay,
    Settled(Outcome),
}

impl Obedience {
    pub(super) fn new() -> Self {
        let places = Arc::new(Semaphore::new(CONCURRENT));
        Self { endpoint: OnceLock::new(), places, recent: Mutex::default() }
    }

    pub(super) async fn obey_here(&self, command: NodeCommand) -> Outcome {
        match self.endpoint.get() {
            Some(endpoint) => Outcome::Obeyed(endpoint.handle(command).await),
            None => Outcome::Refused,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Every critical section leaves order and outcomes in step.
        self.recent.lock()
    }
}

/// A command came in on a link. Returns at once; a task obeys and answers.
pub(super) fn take_in(core: &Arc<Core>, link_index: usize, payload: &[u8]) {
    let Some(request) = decode::<Request>(payload) else { return };
    let met = core.obedience.recent().meet(request.id);
    let place = match met {
        // Its answer comes when it is done.
        Met::UnderWay => return,
        Met::Settled(_) => None,
        Met::New => core.obedience.places.clone().try_acquire_owned().ok(),
    };
    let core = core.clone();
    tokio::spawn(async move {
        let Request { id, answer_to, command } = request;
        let working = async {
            let outcome = match (met, &place) {
                (Met::Settled(outcome), _) => outcome,
                (_, Some(_)) => obey(&core, command).await,
                (_, None) => {
                    warn!(?command, "too many commands at a time, one is refused");
                    Outcome::Refused
                }
            };
            core.obedience.recent().settle(id, outcome);
            drop(place);
            answer(&core, link_index, &answer_to, Answer { number: id.number, outcome }).await;
        };
        tokio::select! {
            () = working => {}
            () = core.stop.cancelled() => {}
        }
    });
}

async fn obey(core: &Core, command: NodeCommand) -> Outcome {
    let what = format!("{command:?}");
    timeout(LONGEST, core.obedience.obey_here(command)).await.unwrap_or_else(|_| {
        warn!(command = what, "given up after {LONGEST:?}");
        Outcome::Refused
    })
}

/// Where the command came from the asker most likely hears; elsewhere otherwise.
async fn answer(core: &Core, link_index: usize, channel: &str, answer: Answer) {
    let payload = encode(&answer);
    for link in core.links_from(link_index) {
        if publish(link, channel, &payload).await > 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_met_once_and_the_oldest_are_forgotten() {
        let id = |number| RequestId { asker: 1, number };
        let mut recent = Recent::default();
        assert_eq!(recent.meet(id(0)), Met::New);
        assert_eq!(recent.meet(id(0)), Met::UnderWay);
        recent.settle(id(0), Outcome::Obeyed(3));
        assert_eq!(recent.meet(id(0)), Met::Settled(Outcome::Obeyed(3)));
        for number in 1..=REMEMBERED as u64 {
            assert_eq!(recent.meet(id(number)), Met::New);
        }
        assert_eq!(recent.outcomes.len(), REMEMBERED);
        assert_eq!(recent.meet(id(0)), Met::New, "forgotten");
    }
}
