//! Acts that can be taken back.

use super::action::Action;
use super::batch_text;
use crate::protocol::admin::{
    BatchChange, DrainRequest, RestoreRequest, SanctionRequest, ShadowRequest, ThrottleRequest,
    UnbanRequest, UndoRequest, UserRef, UserRequest,
};
use crate::tui::feed::Moment;

/// Acts that are remembered.
const MAX_ENTRIES: usize = 20;

/// An act of this console, and what takes it back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UndoEntry {
    pub(crate) text: String,
    pub(crate) reversals: Vec<Action>,
    /// The acts that taking it back amounts to, as far as their size must be judged.
    pub(crate) equivalents: Vec<Action>,
    /// When it was done, by the console's clock.
    pub(crate) at_ms: u64,
    /// The time for which the undo is shown.
    pub(crate) window_ms: u64,
}

impl UndoEntry {
    /// Returns the rest of the time for which the undo is shown, in milliseconds; `None` after it.
    pub(crate) fn left_ms(&self, now_ms: u64) -> Option<u64> {
        let past = now_ms.saturating_sub(self.at_ms);
        self.window_ms.checked_sub(past).filter(|left| *left > 0)
    }

    /// Returns the audit entry of its latest part.
    pub(crate) fn audit_id(&self) -> Option<u64> {
        self.reversals.iter().find_map(|reversal| match reversal {
            Action::Undo(request) => Some(request.audit_id),
            _ => None,
        })
    }
}

/// The acts that can be taken back, the latest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct UndoList {
    entries: Vec<UndoEntry>,
}

impl UndoList {
    pub(crate) fn push(&mut self, entry: UndoEntry) {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries.push(entry);
    }

    /// Keeps an act whose undo did not succeed, in its place, so that the next undo is of this act
    /// and not of an earlier one.
    pub(crate) fn put_back(&mut self, entry: UndoEntry) {
        let place = self.entries.partition_point(|other| other.at_ms <= entry.at_ms);
        self.entries.insert(place, entry);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.remove(0);
        }
    }

    /// Returns the latest act, however old it is.
    pub(crate) fn latest(&self) -> Option<&UndoEntry> {
        self.entries.last()
    }

    /// Returns the latest act whose undo is still shown. Older ones are not taken back by a key
    /// that is pressed once too often.
    pub(crate) fn latest_within_window(&self, now_ms: u64) -> Option<&UndoEntry> {
        self.entries.iter().rev().find(|entry| entry.left_ms(now_ms).is_some())
    }

    /// Returns the act whose undo is shown for longest from now on, with the milliseconds left.
    pub(crate) fn within_window(&self, now_ms: u64) -> Option<(&UndoEntry, u64)> {
        let open = self.entries.iter().filter_map(|entry| Some((entry, entry.left_ms(now_ms)?)));
        open.max_by_key(|(_, left_ms)| *left_ms)
    }

    /// Removes an act that is being taken back.
    pub(crate) fn remove(&mut self, entry: &UndoEntry) {
        self.entries.retain(|other| other != entry);
    }
}

/// Returns what takes back an action that was done, with the number of its audit entry; `None` if
/// nothing does.
pub(crate) fn undo_of(action: &Action, audit_id: u64) -> Option<Action> {
    match action {
        Action::Ban(_)
        | Action::Timeout(_)
        | Action::Unban(_)
        | Action::Shadow(_)
        | Action::Unshadow(_)
        | Action::Room { .. }
        | Action::RoomTerms { .. }
        | Action::ClearRoom { .. }
        | Action::Throttle(_)
        | Action::Drain(_)
        | Action::Delete(_)
        | Action::DeleteOfUser(_)
        | Action::Reject(_) => Some(Action::Undo(UndoRequest { audit_id, note: None })),
        Action::Batch(request) if batch_text::can_be_undone(request) => {
            Some(Action::Undo(UndoRequest { audit_id, note: None }))
        }
        // The user is back by itself, the message or the comment was read; a restored comment is
        // deleted again; a claim runs out by itself; a view is saved again under its name.
        Action::Kick(_)
        | Action::Announce(_)
        | Action::Direct(_)
        | Action::Restore(_)
        | Action::Approve(_)
        | Action::Claim(_)
        | Action::Acknowledge(_)
        | Action::AcknowledgeLoss(_)
        | Action::Batch(_)
        | Action::Undo(_)
        | Action::SaveView(_)
        | Action::ForgetView(_) => None,
    }
}

/// Returns the acts that taking an action back amounts to; none if that is small. The share that a
/// stream had is taken from `moment`, which is as old as the latest snapshot.
pub(crate) fn equivalents_of_undo(action: &Action, moment: Option<&Moment>) -> Vec<Action> {
    let unban = |user: &UserRef, stream_id| {
        Action::Unban(UnbanRequest { user: user.clone(), stream_id, note: None })
    };
    let restore = |comment_id| Action::Restore(RestoreRequest { comment_id, note: None });
    let ban = |user: &UserRef, stream_id| {
        let user = user.clone();
        Action::Ban(SanctionRequest {
            user,
            stream_id,
            reason: None,
            note: None,
            duration_ms: None,
        })
    };
    match action {
        Action::Drain(DrainRequest { node, undo }) => {
            vec![Action::Drain(DrainRequest { node: node.clone(), undo: !undo })]
        }
        Action::Throttle(request) => {
            let stream = moment.and_then(|moment| moment.stream(request.stream_id));
            vec![Action::Throttle(ThrottleRequest {
                stream_id: request.stream_id,
                sample_rate: stream.and_then(|stream| stream.throttle_override),
                for_ms: None,
            })]
        }
        Action::Ban(request) | Action::Timeout(request) => {
            vec![unban(&request.user, request.stream_id)]
        }
        Action::Unban(request) => vec![ban(&request.user, request.stream_id)],
        Action::Shadow(request) => {
            let user = request.user.clone();
            vec![Action::Unshadow(UserRequest { user, note: None })]
        }
        Action::Unshadow(request) => vec![Action::Shadow(ShadowRequest {
            user: request.user.clone(),
            stream_id: None,
            note: None,
            duration_ms: None,
        })],
        Action::Delete(request) => vec![restore(request.comment_id)],
        Action::Reject(request) => vec![restore(request.comment_id)],
        Action::Batch(request) => {
            let of_change = |change: &BatchChange| match change {
                BatchChange::Ban(part) | BatchChange::Timeout(part) => {
                    Some(unban(&part.user, part.stream_id))
                }
                BatchChange::Unban(part) => Some(ban(&part.user, part.stream_id)),
                BatchChange::Delete(part) => Some(restore(part.comment_id)),
                BatchChange::Reject(part) => Some(restore(part.comment_id)),
                BatchChange::Kick(_) | BatchChange::Approve(_) => None,
            };
            request.changes.iter().filter_map(of_change).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_that_failed_is_the_next_one_again() {
        let act = |at_ms| UndoEntry {
            text: format!("act at {at_ms}"),
            reversals: Vec::new(),
            equivalents: Vec::new(),
            at_ms,
            window_ms: 10_000,
        };
        let mut acts = UndoList::default();
        (1..=MAX_ENTRIES as u64).for_each(|at_ms| acts.push(act(at_ms)));
        let take = |acts: &mut UndoList| {
            let latest = acts.latest().cloned().unwrap();
            acts.remove(&latest);
            latest
        };
        let failed = take(&mut acts);
        acts.put_back(failed.clone());
        assert_eq!(acts.latest(), Some(&failed));
        let failed = take(&mut acts);
        acts.push(act(100));
        acts.put_back(failed.clone());
        assert_eq!(take(&mut acts), act(100), "acts made meanwhile come first");
        assert_eq!(take(&mut acts), failed);
    }

    #[test]
    fn an_old_act_is_not_the_next_undo() {
        let act = |at_ms, window_ms| UndoEntry {
            text: "ban zed".to_owned(),
            reversals: Vec::new(),
            equivalents: Vec::new(),
            at_ms,
            window_ms,
        };
        let mut acts = UndoList::default();
        acts.push(act(0, 30_000));
        acts.push(act(5_000, 10_000));
        let next = |now_ms| acts.latest_within_window(now_ms).map(|entry| entry.at_ms);
        assert_eq!(next(14_999), Some(5_000));
        assert_eq!(next(15_000), Some(0), "of many users, for 30 s");
        assert_eq!(next(30_000), None);
    }
}
