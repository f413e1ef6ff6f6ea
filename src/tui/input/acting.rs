//! From a key that acts to a request: the form, the question, the request.

use crate::protocol::admin::{
    AckRequest, ClaimRequest, DeleteRequest, DrainRequest, MAX_CHANGES, Preview, PreviewRequest,
    RestoreRequest, ReviewItem, ReviewRequest, UserRef, needed_role, short_actor,
};
use crate::tui::act::{
    Action, Confirmation, Consent, Form, FormKind, UndoEntry, acted_against, equivalents_of_undo,
    role_for, undo_of, undo_window_ms,
};
use crate::tui::commands::Command;
use crate::tui::figures;
use crate::tui::state::{Console, Effect, Mode, Notice, Panel, Place};
use crate::tui::table::RowKey;

/// Returns the path that a command posts to in the end; `None` for one that does not act.
fn path_of(command: Command) -> Option<&'static str> {
    Some(match command {
        Command::Ban => "/v1/ban",
        Command::Timeout => "/v1/timeout",
        Command::Kick => "/v1/kick",
        Command::Unban => "/v1/unban",
        Command::Shadow => "/v1/shadow",
        Command::Unshadow => "/v1/unshadow",
        Command::Throttle => "/v1/throttle",
        Command::Announce => "/v1/announce",
        Command::Approve => "/v1/mod/approve",
        Command::Remove => "/v1/mod/reject",
        Command::Drain => "/v1/drain",
        Command::Acknowledge => "/v1/alerts/ack",
        Command::Undo => "/v1/undo",
        _ => return None,
    })
}

/// Starts what a key acts, unless acts are off or the role does not allow it.
pub(super) fn act(console: &mut Console, command: Command) -> Option<Effect> {
    let by_role = || path_of(command).and_then(|path| console.refused_role(needed_role(path)));
    if let Some(why) = console.acts_off().or_else(by_role) {
        console.notice = Some(Notice::Failed(why));
        return None;
    }
    match command {
        Command::Ban => open_user_form(console, FormKind::Ban),
        Command::Timeout => {
            let presets_ms = presets_of(console);
            open_user_form(console, FormKind::Timeout { presets_ms });
        }
        Command::Shadow => open_user_form(console, FormKind::Shadow),
        Command::Unshadow => open_user_form(console, FormKind::Unshadow),
        Command::Kick => open_user_form(console, FormKind::Kick),
        Command::Unban => open_user_form(console, FormKind::Unban),
        Command::Throttle => {
            open_stream_form(console, |stream_id, title| FormKind::Throttle { stream_id, title });
        }
        Command::Announce => {
            open_stream_form(console, |stream_id, title| FormKind::Announce { stream_id, title });
        }
        Command::Approve | Command::Remove => return decide(console, command),
        Command::Claim => return claim(console),
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

/// Returns the presets of timeouts of the room that the acted users are in: that of the opened
/// stream, or of the stream of the marked or selected comments, if it is one.
fn presets_of(console: &Console) -> Vec<u64> {
    let streams = console.streams_of_acted_comments();
    let stream_id = match (console.place(), &streams[..]) {
        (Place::Stream(stream_id), _) => Some(*stream_id),
        (_, [one]) => Some(*one),
        _ => None,
    };
    let moment = console.moment();
    let stream = stream_id.and_then(|stream_id| moment?.stream(stream_id));
    stream.map_or_else(Vec::new, |stream| stream.room.timeouts_ms.clone())
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

/// Lets comments to review stand, restores removed ones among the decisions, or removes comments.
fn decide(console: &mut Console, command: Command) -> Option<Effect> {
    let comments = console.acted_comments();
    let reviewing = console.panel() == Panel::Reviews;
    let restoring = console.panel() == Panel::Decisions;
    let may_stand = reviewing || restoring;
    if comments.is_empty() || (command == Command::Approve && !may_stand) {
        let text = "select a comment first: 5 lists those to review".to_owned();
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    let held = held_by_others(&console.acted_reviews(), console.now_ms());
    if let Some(text) = held {
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    let action = |comment_id| {
        let review = ReviewRequest { comment_id, reason: None, note: None };
        match command {
            Command::Approve if restoring => {
                Action::Restore(RestoreRequest { comment_id, note: None })
            }
            Command::Approve => Action::Approve(review),
            _ if reviewing => Action::Reject(review),
            _ => Action::Delete(DeleteRequest { comment_id, reason: None, note: None }),
        }
    };
    let actions = comments.into_iter().map(action).collect();
    request(console, actions)
}

/// Says who holds comments to review, if others than this operator do.
fn held_by_others(items: &[&ReviewItem], now_ms: u64) -> Option<String> {
    let mut held = items.iter().filter_map(|item| Some((item.other_holder(now_ms)?, *item)));
    let (by, item) = held.next()?;
    let more = held.count();
    let by = short_actor(by);
    let left_ms = item.claim_expires_at.unwrap_or_default().saturating_sub(now_ms);
    let left = figures::age(left_ms);
    Some(match more {
        0 => format!("{by} holds comment {} for another {left}", item.comment_id),
        more => format!(
            "others hold {} of these {}, {by} comment {} for another {left}: unmark them",
            more + 1,
            items.len(),
            item.comment_id
        ),
    })
}

/// Claims comments to review; releases them if all are this operator's.
fn claim(console: &mut Console) -> Option<Effect> {
    let now_ms = console.now_ms();
    let items = console.acted_reviews();
    let held = held_by_others(&items, now_ms);
    let release = items.iter().all(|item| item.holder(now_ms).is_some());
    let claim =
        |item: &&ReviewItem| Action::Claim(ClaimRequest { comment_id: item.comment_id, release });
    let actions: Vec<_> = items.iter().map(claim).collect();
    if let Some(text) = held {
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    if actions.is_empty() {
        let text = "select a comment to review first: 5 lists them".to_owned();
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    request(console, actions)
}

/// Claims the comment to review that was opened, or says why it is not claimed.
pub(super) fn claim_opened(console: &mut Console) -> Option<Effect> {
    if console.panel() != Panel::Reviews {
        return None;
    }
    let listing = console.reviews();
    let item = listing.selection()?.item;
    let request = ClaimRequest { comment_id: item.comment_id, release: false };
    let held = held_by_others(&[item], console.now_ms());
    if let Some(why) = held.or_else(|| console.acts_off()) {
        console.notice = Some(Notice::Failed(format!("not claimed: {why}")));
        return None;
    }
    Some(Effect::Run(vec![Action::Claim(request)]))
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

/// Drains the node that is opened or selected, or the one that the console is attached to; a node
/// that drains accepts viewers again.
fn drain(console: &mut Console) -> Option<Effect> {
    let moment = console.moment()?;
    let node = match (console.place(), console.selected_key()) {
        (Place::Node(node), _) => node.clone(),
        (_, Some(RowKey::Node(node))) => node,
        _ => moment.snapshot.node.clone(),
    };
    let Some(status) = moment.node(&node) else {
        let text = format!("{node} does not report: it cannot be told to drain");
        console.notice = Some(Notice::Failed(text));
        return None;
    };
    let undo = status.draining;
    request(console, vec![Action::Drain(DrainRequest { node: Some(node), undo })])
}

fn undo(console: &mut Console) -> Option<Effect> {
    let Some(entry) = console.undo.latest_within_window(console.clock_ms).cloned() else {
        let text = match console.undo.latest().and_then(UndoEntry::audit_id) {
            Some(id) => format!("nothing to take back; lc undo {id} takes back older acts"),
            None => "nothing of this console to take back; lc undo N takes back other acts, lc \
                     audit lists them"
                .to_owned(),
        };
        console.notice = Some(Notice::Failed(text));
        return None;
    };
    let moment = console.moment().cloned();
    let Some(question) = Confirmation::of_undo(&entry, moment.as_deref()) else {
        return Some(take_back(console, entry));
    };
    let asked = question.asked().cloned();
    console.mode = Mode::Confirm(question);
    asked.map(Effect::Preview)
}

/// Takes an act back that the operator was asked about, if that was needed.
pub(super) fn take_back(console: &mut Console, entry: UndoEntry) -> Effect {
    console.undo.remove(&entry);
    console.notice = Some(Notice::Running(format!("taking back: {} …", entry.text)));
    Effect::TakeBack(entry)
}

/// Asks the operator whether to do actions, and the daemon for their effect. What is small is done
/// at once.
pub(super) fn request(console: &mut Console, actions: Vec<Action>) -> Option<Effect> {
    if let Some(why) = console.refused_role(role_for(&actions)) {
        console.mode = Mode::Watching;
        console.notice = Some(Notice::Failed(why));
        return None;
    }
    let users = acted_against(&actions).map_or(0, |users| users.len());
    if users > MAX_CHANGES {
        console.mode = Mode::Watching;
        let text = format!("an act takes at most {MAX_CHANGES} users, not {users}");
        console.notice = Some(Notice::Failed(text));
        return None;
    }
    let (hidden_marks, about_marks) = hidden_marks(console);
    let hidden_marks = if about_marks { hidden_marks } else { 0 };
    let moment = console.moment().cloned();
    let question = Confirmation::new(actions, hidden_marks, moment.as_deref());
    if question.consent == Consent::None {
        console.mode = Mode::Watching;
        return Some(Effect::Run(question.actions));
    }
    let asked = question.asked().cloned();
    console.mode = Mode::Confirm(question);
    asked.map(Effect::Preview)
}

/// Shows the effect of the act that the operator is asked about, or why it is not known. An answer
/// to a question that is no longer asked is dropped.
pub(crate) fn show_effect(
    console: &mut Console,
    asked: &PreviewRequest,
    answer: Result<Preview, String>,
) {
    if let Mode::Confirm(question) = &mut console.mode {
        question.answer(asked, answer);
    }
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
    // Marked rows stay marked: they are claimed to be decided.
    if done.iter().all(|(action, _)| matches!(action, Action::Claim(_))) {
        return;
    }
    let reversals: Vec<_> =
        done.iter().rev().filter_map(|(action, audit_id)| undo_of(action, *audit_id)).collect();
    if !reversals.is_empty() {
        let users: usize = done.iter().map(|(action, _)| action.parts()).sum();
        let window_ms = undo_window_ms(users);
        let moment = console.moment().cloned();
        let equivalent =
            |(action, _): &(Action, u64)| equivalents_of_undo(action, moment.as_deref());
        let equivalents = done.iter().rev().flat_map(equivalent).collect();
        let at_ms = console.clock_ms;
        console.undo.push(UndoEntry { text, reversals, equivalents, at_ms, window_ms });
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
