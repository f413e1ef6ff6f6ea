//! Several actions as one request, so that one undo takes them back.

use super::action::Action;
use crate::protocol::admin::{BatchChange, BatchRequest, MAX_CHANGES};

/// The time in which an act is shown with its undo. Connections of banned users stay open for it.
const UNDO_WINDOW_MS: u64 = 10_000;
/// The same for acts on more than [`MANY_USERS`].
const UNDO_WINDOW_OF_MANY_MS: u64 = 30_000;
/// Acts on more users want their number typed and can be taken back for longer.
pub(crate) const MANY_USERS: usize = 10;

/// Returns the time in which an act on so many users is shown with its undo, in milliseconds.
pub(crate) fn undo_window_ms(users: usize) -> u64 {
    if users > MANY_USERS { UNDO_WINDOW_OF_MANY_MS } else { UNDO_WINDOW_MS }
}

/// Returns the same actions as batches where they can be: several changes, and bans, whose
/// connections close when the time to undo has passed.
pub(crate) fn as_batches(actions: Vec<Action>) -> Vec<Action> {
    let is_ban = matches!(&actions[..], [Action::Ban(_)]);
    if actions.len() < 2 && !is_ban {
        return actions;
    }
    let Some(changes) = actions.iter().map(change).collect::<Option<Vec<_>>>() else {
        return actions;
    };
    let bans = changes.iter().any(|change| matches!(change, BatchChange::Ban(_)));
    let disconnect_after_ms = bans.then(|| undo_window_ms(changes.len()));
    let batch = |changes: &[BatchChange]| {
        let changes = changes.to_vec();
        Action::Batch(BatchRequest { changes, disconnect_after_ms, include_moderators: false })
    };
    changes.chunks(MAX_CHANGES).map(batch).collect()
}

fn change(action: &Action) -> Option<BatchChange> {
    Some(match action {
        Action::Ban(request) => BatchChange::Ban(request.clone()),
        Action::Timeout(request) => BatchChange::Timeout(request.clone()),
        Action::Unban(request) => BatchChange::Unban(request.clone()),
        Action::Kick(request) => BatchChange::Kick(request.clone()),
        Action::Delete(request) => BatchChange::Delete(request.clone()),
        Action::Approve(request) => BatchChange::Approve(request.clone()),
        Action::Reject(request) => BatchChange::Reject(request.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{DrainRequest, SanctionRequest, UserRef};
    use crate::tui::act::action::describe;

    fn ban(user: usize) -> Action {
        let user = UserRef(format!("id:{user}"));
        Action::Ban(SanctionRequest {
            user,
            stream_id: None,
            reason: None,
            note: None,
            duration_ms: None,
        })
    }

    fn sizes(actions: &[Action]) -> Vec<(usize, Option<u64>)> {
        let size = |action: &Action| match action {
            Action::Batch(batch) => (batch.changes.len(), batch.disconnect_after_ms),
            other => panic!("{other:?}"),
        };
        actions.iter().map(size).collect()
    }

    #[test]
    fn bans_close_connections_when_the_undo_ends() {
        let batches = |count| as_batches((0..count).map(ban).collect());
        assert_eq!(sizes(&batches(1)), [(1, Some(10_000))]);
        assert_eq!(sizes(&batches(10)), [(10, Some(10_000))]);
        assert_eq!(sizes(&batches(38)), [(38, Some(30_000))]);
        assert_eq!(sizes(&batches(130)), [(100, Some(30_000)), (30, Some(30_000))]);
        assert_eq!(describe(&batches(38)[0]), "ban 38 users");
    }

    #[test]
    fn other_actions_stay_as_they_are() {
        let drain = Action::Drain(DrainRequest::default());
        assert_eq!(as_batches(vec![drain.clone()]), std::slice::from_ref(&drain));
        let mixed = vec![drain, ban(1)];
        assert_eq!(as_batches(mixed.clone()), mixed);
        let Action::Ban(request) = ban(1) else { panic!() };
        let timeout = Action::Timeout(request);
        assert_eq!(as_batches(vec![timeout.clone()]), std::slice::from_ref(&timeout));
        assert_eq!(sizes(&as_batches(vec![timeout.clone(), timeout])), [(2, None)]);
    }
}
