//! Acts that can be taken back.

use super::action::Action;
use super::batch_text;
use crate::protocol::admin::UndoRequest;

/// Acts that are remembered.
const MAX_ENTRIES: usize = 20;

/// An act of this console, and what takes it back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UndoEntry {
    pub(crate) text: String,
    pub(crate) reversals: Vec<Action>,
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

    pub(crate) fn latest(&self) -> Option<&UndoEntry> {
        self.entries.last()
    }

    /// Returns the act whose undo is shown for longest from now on, with the milliseconds left.
    pub(crate) fn within_window(&self, now_ms: u64) -> Option<(&UndoEntry, u64)> {
        let open = self.entries.iter().filter_map(|entry| Some((entry, entry.left_ms(now_ms)?)));
        open.max_by_key(|(_, left_ms)| *left_ms)
    }

    pub(crate) fn take(&mut self) -> Option<UndoEntry> {
        self.entries.pop()
    }
}

/// Returns what takes back an action that was done, with the number of its audit entry; `None` if
/// nothing does.
pub(crate) fn undo_of(action: &Action, audit_id: u64) -> Option<Action> {
    match action {
        Action::Ban(_)
        | Action::Timeout(_)
        | Action::Unban(_)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undo_that_failed_is_the_next_one_again() {
        let act = |at_ms| UndoEntry {
            text: format!("act at {at_ms}"),
            reversals: Vec::new(),
            at_ms,
            window_ms: 10_000,
        };
        let mut acts = UndoList::default();
        (1..=MAX_ENTRIES as u64).for_each(|at_ms| acts.push(act(at_ms)));
        let failed = acts.take().unwrap();
        acts.put_back(failed.clone());
        assert_eq!(acts.latest(), Some(&failed));
        let failed = acts.take().unwrap();
        acts.push(act(100));
        acts.put_back(failed.clone());
        assert_eq!(acts.take(), Some(act(100)), "acts made meanwhile come first");
        assert_eq!(acts.take(), Some(failed));
    }
}
