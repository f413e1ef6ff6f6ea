//! Several actions, one after the other.

use super::action::{Action, Done, run};
use super::batch::as_batches;
use crate::client::admin::{AdminClient, AdminError};

/// The result of several actions.
pub(crate) struct ActionsOutcome {
    pub(crate) sentence: String,
    /// Those that were done, each with its audit entry.
    pub(crate) done: Vec<(Action, u64)>,
}

/// Runs actions one after the other and returns what became of them.
pub(crate) async fn run_all(
    client: &AdminClient,
    actions: Vec<Action>,
) -> Result<ActionsOutcome, AdminError> {
    let actions = as_batches(actions);
    let count = actions.len();
    let mut ran = ActionsOutcome { sentence: String::new(), done: Vec::new() };
    for action in actions {
        match run(client, &action).await {
            Ok(Done { sentence, audit_id }) => {
                ran.sentence = sentence;
                ran.done.push((action, audit_id));
            }
            Err(error) if ran.done.is_empty() => return Err(error),
            Err(error) => {
                ran.sentence = format!("{} of {count} done, then: {error}", ran.done.len());
                return Ok(ran);
            }
        }
    }
    if count > 1 {
        ran.sentence = format!("{count} done; the last: {}", ran.sentence);
    }
    Ok(ran)
}
