//! Executing the commands of other nodes: each once, at most [`MAX_CONCURRENT`] at a time.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::warn;

use super::Core;
use super::command_sender::publish;
use super::wire::{CommandOutcome, CommandReply, CommandRequest, RequestId, decode, encode};
use crate::daemon::engines::registry::{CommandHandler, NodeCommand};

/// Commands executed at a time; more are refused at once.
const MAX_CONCURRENT: usize = 64;
/// Command ids remembered. A command is published again within a second or two of the first time.
const MAX_REMEMBERED: usize = 8192;
/// A command that takes longer is cancelled; its sender stopped waiting long before.
const EXECUTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The commands that this node received.
#[derive(Debug)]
pub(super) struct IncomingCommands {
    pub(super) handler: OnceLock<Arc<dyn CommandHandler>>,
    permits: Arc<Semaphore>,
    recent: Mutex<RecentCommands>,
}

/// The newest commands and their outcomes; `None` during the execution.
#[derive(Debug, Default)]
struct RecentCommands {
    outcomes: AHashMap<RequestId, Option<CommandOutcome>>,
    order: VecDeque<RequestId>,
}

impl RecentCommands {
    /// Returns the state of a command and remembers it if it is new.
    fn admit(&mut self, id: RequestId) -> Admission {
        match self.outcomes.get(&id) {
            Some(Some(outcome)) => return Admission::Finished(*outcome),
            Some(None) => return Admission::InProgress,
            None => {}
        }
        if self.order.len() == MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.outcomes.remove(&oldest);
        }
        self.order.push_back(id);
        self.outcomes.insert(id, None);
        Admission::New
    }

    fn record_outcome(&mut self, id: RequestId, outcome: CommandOutcome) {
        if let Some(entry) = self.outcomes.get_mut(&id) {
            *entry = Some(outcome);
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    New,
    InProgress,
    Finished(CommandOutcome),
}

/// The work that a received command needs.
enum Action {
    Execute(OwnedSemaphorePermit),
    Refuse,
    ReplyAgain(CommandOutcome),
}

impl IncomingCommands {
    pub(super) fn new() -> Self {
        Self {
            handler: OnceLock::new(),
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            recent: Mutex::default(),
        }
    }

    pub(super) async fn execute(&self, command: NodeCommand) -> CommandOutcome {
        match self.handler.get() {
            Some(handler) => CommandOutcome::Executed(handler.handle(command).await),
            None => CommandOutcome::Refused,
        }
    }

    fn admit(&self, id: RequestId) -> Option<Action> {
        let admission = self.recent.lock().admit(id);
        match admission {
            // The reply is sent when it is finished.
            Admission::InProgress => None,
            Admission::Finished(outcome) => Some(Action::ReplyAgain(outcome)),
            Admission::New => Some(match self.permits.clone().try_acquire_owned() {
                Ok(permit) => Action::Execute(permit),
                Err(_) => Action::Refuse,
            }),
        }
    }
}

/// Handles a command received on a link. Returns at once; a task executes it and replies.
pub(super) fn accept_command(core: &Arc<Core>, link_index: usize, payload: &[u8]) {
    let Some(request) = decode::<CommandRequest>(payload) else { return };
    let Some(action) = core.incoming.admit(request.id) else { return };
    let core = core.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = perform(&core, link_index, request, action) => {}
            () = core.stop.cancelled() => {}
        }
    });
}

async fn perform(core: &Core, link_index: usize, request: CommandRequest, action: Action) {
    let CommandRequest { id, reply_channel, command } = request;
    let outcome = match action {
        Action::ReplyAgain(outcome) => outcome,
        Action::Execute(_permit) => execute_in_time(core, command).await,
        Action::Refuse => {
            warn!(?command, limit = MAX_CONCURRENT, "too many commands; one refused");
            CommandOutcome::Refused
        }
    };
    core.incoming.recent.lock().record_outcome(id, outcome);
    send_reply(core, link_index, &reply_channel, CommandReply { number: id.number, outcome }).await;
}

async fn execute_in_time(core: &Core, command: NodeCommand) -> CommandOutcome {
    let description = format!("{command:?}");
    timeout(EXECUTION_TIMEOUT, core.incoming.execute(command)).await.unwrap_or_else(|_| {
        warn!(command = description, timeout = ?EXECUTION_TIMEOUT, "command cancelled");
        CommandOutcome::Refused
    })
}

/// Replies on the link that the command came from, where the sender most likely listens, and on the
/// next links if it does not.
async fn send_reply(core: &Core, link_index: usize, channel: &str, reply: CommandReply) {
    let payload = encode(&reply);
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
    fn a_command_is_new_once_and_the_oldest_are_forgotten() {
        let id = |number| RequestId { sender_run: 1, number };
        let mut recent = RecentCommands::default();
        assert_eq!(recent.admit(id(0)), Admission::New);
        assert_eq!(recent.admit(id(0)), Admission::InProgress);
        recent.record_outcome(id(0), CommandOutcome::Executed(3));
        assert_eq!(recent.admit(id(0)), Admission::Finished(CommandOutcome::Executed(3)));
        for number in 1..=MAX_REMEMBERED as u64 {
            assert_eq!(recent.admit(id(number)), Admission::New);
        }
        assert_eq!(recent.outcomes.len(), MAX_REMEMBERED);
        assert_eq!(recent.admit(id(0)), Admission::New, "forgotten");
    }
}
