//! From a key that acts to a request: the form, the question, the request.

use crate::protocol::admin::{
    AckRequest, DeleteRequest, DrainRequest, ReviewRequest, UserRef, Who,
};
use crate::tui::act::{
    Action, Consent, Form, FormKind, UndoEntry, confirmation, needs_lookup, undo_of,
};
use crate::tui::commands::Command;
use crate::tui::state::{Console, Effect, Mode, Notice, Panel};
use crate::tui::table::RowKey;

/// Starts what a key acts, unless acts are off.
pub(super) fn act(console: &mut Console, command: Command) -> Option<Effect> {
    if let Some(why) = console.acts_off() {
        console.notice = Some(Notice::Failed(why));
        return None;
    }
    match command {
        Command::Ban => open_user_form(console, FormKind::Ban),
        Command::Timeout => open_user_form(console, FormKind::Timeout),
        Command::Kick => open_user_form(console, FormKind::Kick),
        Command::Unban => open_user_form(console, FormKind::Unban),
        Command::Throttle => {
            open_stream_form(console, |stream_id, title| FormKind::Throttle { stream_id, title });
        }
        Command::Announce => {
            open_stream_form(console, |stream_id, title| FormKind::Announce { stream_id, title });
        }
        Command::Approve | Command::Remove => return decide(console, command),
        Command::Drain => return drain(console),
        Command::Undo => return undo(console),
        Command::Acknowledge => return acknowledge(console),
        _ => {}
    }
    None
}

fn open_user_form(console: &mut Console, kind: FormKind) {
    let users = console.acted_users();
    console.mode = Mode::Form(Form::about(kind, &users));
}

fn open_stream_form(
    console: &mut Console,
    kind: impl FnOnce(crate::protocol::StreamId, String) -> FormKind,
) {
    match console.acted_stream() {
        Some((stream_id, title)) => {
            console.mode = Mode::Form(Form::new(kind(stream_id, title)));
        }
        None => {
            let text = "select a stream first: 2 lists them".to_owned();
            console.notice = Some(Notice::Failed(text));
        }
    }
}

/// Lets comments to review stand, or removes comments.
fn decide(console: &mut Console, command: Command) -> Option<Effect> {
    let comments = console.acted_comments();
    let reviewing = console.panel() == Panel::Reviews;
    if comments.is_empty() || (command == Command::Approve && !reviewing) {
        let text = "select a comment first: 5 lists those to review".to_owned();
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    let action = |comment_id| {
        let review = ReviewRequest { comment_id, reason: None, note: None };
        match command {
            Command::Approve => Action::Approve(review),
            _ if reviewing => Action::Reject(review),
            _ => Action::Delete(DeleteRequest { comment_id, reason: None, note: None }),
        }
    };
    let actions = comments.into_iter().map(action).collect();
    request(console, actions)
}

/// Acknowledges the selected alert for everybody.
fn acknowledge(console: &mut Console) -> Option<Effect> {
    let listing = console.alarms();
    let id = listing.selection().and_then(|row| row.alarm.id.clone());
    let Some(id) = id else {
        let text = "select an alert of the daemon first: 1 lists them".to_owned();
        console.notice = Some(Notice::Failed(text));
        return None;
    };
    request(console, vec![Action::Acknowledge(AckRequest { id, note: None })])
}

/// Only the node that the console is attached to can be drained.
fn drain(console: &mut Console) -> Option<Effect> {
    let moment = console.moment()?;
    let own = moment.snapshot.node.clone();
    let undo = moment.snapshot.draining;
    if let Some(RowKey::Node(node)) = console.selected_key()
        && node != own
    {
        let text = format!("this console is attached to {own}: drain {node} with lc drain there");
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    request(console, vec![Action::Drain(DrainRequest { undo })])
}

fn undo(console: &mut Console) -> Option<Effect> {
    let Some(entry) = console.undo.take() else {
        console.notice = Some(Notice::Failed("nothing to take back".to_owned()));
        return None;
    };
    console.notice = Some(Notice::Running(format!("taking back: {} …", entry.text)));
    Some(Effect::TakeBack(entry.reversals))
}

/// Asks what must be known about actions, then the operator.
pub(super) fn request(console: &mut Console, actions: Vec<Action>) -> Option<Effect> {
    let users = needs_lookup(&actions);
    if users.is_empty() {
        return ask(console, actions, &[]);
    }
    console.mode = Mode::Asking(actions);
    Some(Effect::LookUp(users))
}

/// Asks the operator whether to do what was computed. What is small is done at once.
pub(crate) fn ask(console: &mut Console, actions: Vec<Action>, users: &[Who]) -> Option<Effect> {
    let (hidden_marks, about_marks) = hidden_marks(console);
    let hidden_marks = if about_marks { hidden_marks } else { 0 };
    let moment = console.moment().cloned();
    let question = confirmation(actions, users, hidden_marks, moment.as_deref());
    if question.consent == Consent::None {
        console.mode = Mode::Watching;
        return Some(Effect::Run(question.actions));
    }
    console.mode = Mode::Confirm(question);
    None
}

/// Returns how many marked rows the filter hides, and whether there are marks at all.
fn hidden_marks(console: &Console) -> (usize, bool) {
    let hidden = match console.panel() {
        Panel::Comments => console.comments().hidden_marks,
        Panel::Reviews => console.reviews().hidden_marks,
        Panel::Talkers => console.talkers().hidden_marks,
        _ => 0,
    };
    (hidden, !console.table(console.panel()).marked.is_empty())
}

/// Notes what takes back actions that were done, each with its audit entry.
pub(crate) fn undo_done(console: &mut Console, done: &[(Action, u64)], text: String) {
    let reversals: Vec<_> =
        done.iter().rev().filter_map(|(action, audit_id)| undo_of(action, *audit_id)).collect();
    if !reversals.is_empty() {
        console.undo.push(UndoEntry { text, reversals, at_ms: console.clock_ms });
    }
    let is_view =
        |(action, _): &(Action, u64)| matches!(action, Action::SaveView(_) | Action::ForgetView(_));
    if done.iter().all(is_view) {
        return;
    }
    // The marks were for this act.
    let panel = console.panel();
    console.table_mut(panel).marked.clear();
}

/// Returns a reference to a user as an operator writes it.
pub(super) fn user_ref(text: &str) -> UserRef {
    UserRef(text.to_owned())
}
