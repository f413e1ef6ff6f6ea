//! Batches in words, and whether they can be taken back.

use crate::client::outcome_text;
use crate::protocol::admin::{BatchChange, BatchRequest, Outcome};

/// The words for the changes of a batch, which are of one kind.
pub(super) struct Words {
    /// As in `ban 38 users`.
    pub(super) verb: &'static str,
    /// As in `Banned 38 users`.
    done: &'static str,
    pub(super) noun: &'static str,
}

pub(super) fn words(request: &BatchRequest) -> Words {
    let words = |verb, done, noun| Words { verb, done, noun };
    match request.changes.first() {
        Some(BatchChange::Ban(_)) => words("ban", "Banned", "user"),
        Some(BatchChange::Timeout(_)) => words("time out", "Timed out", "user"),
        Some(BatchChange::Unban(_)) => words("unban", "Unbanned", "user"),
        Some(BatchChange::Kick(_)) => words("kick", "Kicked", "user"),
        Some(BatchChange::Delete(_)) => words("remove", "Deleted", "comment"),
        Some(BatchChange::Approve(_)) => words("approve", "Approved", "comment"),
        Some(BatchChange::Reject(_)) => words("reject", "Rejected", "comment"),
        None => words("change", "Changed", "thing"),
    }
}

pub(super) fn done_text(request: &BatchRequest, outcome: &Outcome) -> String {
    let after_ms = request.disconnect_after_ms.unwrap_or(0);
    match &request.changes[..] {
        [BatchChange::Ban(ban)] => outcome_text::banned_with_delay(ban, after_ms, outcome),
        [BatchChange::Ban(first) | BatchChange::Timeout(first), ..] => {
            outcome_text::sanctioned(words(request).done, first.duration_ms, after_ms, outcome)
        }
        _ => {
            let words = words(request);
            outcome_text::batched(words.done, words.noun, after_ms, outcome)
        }
    }
}

/// Returns whether an undo takes back a part of the batch at least.
pub(super) fn can_be_undone(request: &BatchRequest) -> bool {
    let has_undo = |change: &BatchChange| match change {
        BatchChange::Ban(_) | BatchChange::Timeout(_) | BatchChange::Unban(_) => true,
        BatchChange::Delete(_) | BatchChange::Reject(_) => true,
        BatchChange::Kick(_) | BatchChange::Approve(_) => false,
    };
    request.changes.iter().any(has_undo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{SanctionRequest, UserRef, UserRequest};

    #[test]
    fn a_batch_is_told_in_words() {
        let kick = |user: &str| {
            BatchChange::Kick(UserRequest { user: UserRef(user.to_owned()), note: None })
        };
        let changes = vec![kick("ann"), kick("zed")];
        let batch = BatchRequest { changes, disconnect_after_ms: None, include_moderators: false };
        let outcome = Outcome { changes: Some(2), connections: Some(3), ..Outcome::default() };
        let text = done_text(&batch, &outcome);
        assert!(text.starts_with("Kicked 2 users: 3 connections closed. Done in"), "{text}");
        assert!(!can_be_undone(&batch));
    }

    #[test]
    fn timeouts_of_many_tell_how_long_they_last() {
        let timeout = |user: &str| {
            let user = UserRef(user.to_owned());
            let duration_ms = Some(600_000);
            BatchChange::Timeout(SanctionRequest {
                user,
                stream_id: None,
                reason: None,
                note: None,
                duration_ms,
            })
        };
        let changes = vec![timeout("ann"), timeout("zed")];
        let batch = BatchRequest { changes, disconnect_after_ms: None, include_moderators: false };
        let outcome = Outcome { changes: Some(2), ..Outcome::default() };
        let text = done_text(&batch, &outcome);
        assert!(text.starts_with("Timed out 2 users for 10m. Done in"), "{text}");
    }
}
