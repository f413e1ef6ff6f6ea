//! Describes the outcome of an operator's change in one sentence, for `lc` and its console.

use crate::protocol::admin::{
    Alert, GrantRequest, Outcome, ProblemCode, ReviewItem, RevokeRequest, SanctionRequest,
    ShadowRequest, ThrottleRequest, UnbanRequest, UserRef,
};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{counted, show_clock, show_duration, show_share};
use crate::protocol::room::{RoomPatch, TermsPatch};
use crate::protocol::{CommentId, NodeId, StreamId, on_stream};

/// Writes `for 10m`, or `permanently`.
fn duration_text(duration_ms: Option<u64>) -> String {
    duration_ms.map_or("permanently".to_owned(), |ms| format!("for {}", show_duration(ms)))
}

/// Writes `troll42 (user 7)`: the user that was found, whatever the operator wrote. Without a known
/// name, `user 7 (name unknown)`, because the operator may have meant a name of digits.
fn user_text(user: &UserRef, outcome: &Outcome) -> String {
    match (&outcome.user_name, outcome.user_id) {
        (Some(name), Some(id)) => format!("{} (user {id})", printable(name)),
        (None, Some(id)) => format!("user {id} (name unknown)"),
        (_, None) => printable(&user.0),
    }
}

/// Writes `Done in 3.1 ms, audit entry 17.`
fn done_text(outcome: &Outcome) -> String {
    format!("Done in {:.1} ms, audit entry {}.", outcome.elapsed_us as f64 / 1e3, outcome.audit_id)
}

fn closed_text(outcome: &Outcome) -> String {
    match outcome.connections {
        None | Some(0) => "not connected".to_owned(),
        Some(some) => format!("{} closed", counted(some, "connection")),
    }
}

/// Writes ` It replaces the ban until 2026-11-21 09:46:48.`, or nothing.
fn replaced_text(outcome: &Outcome) -> String {
    let replaced = outcome.replaced.as_ref();
    replaced.map(|it| format!(" It replaces {}.", it.text())).unwrap_or_default()
}

/// Writes what was not carried out: ` Left out: …; and 1 more.`, or nothing.
fn left_out_text(outcome: &Outcome) -> String {
    const SHOWN: usize = 3;
    let left_out = &outcome.left_out;
    if left_out.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = left_out.iter().take(SHOWN).map(|text| printable(text)).collect();
    let more = match left_out.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(" Left out: {}{more}.", shown.join("; "))
}

pub fn banned(request: &SanctionRequest, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let place = on_stream(request.stream_id);
    let duration = duration_text(request.duration_ms);
    let replaced = replaced_text(outcome);
    let closed = closed_text(outcome);
    format!("Banned {user}{place} {duration}: {closed}.{replaced} {}", done_text(outcome))
}

/// A ban that closes the user's connections after a time.
pub fn banned_with_delay(request: &SanctionRequest, after_ms: u64, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let place = on_stream(request.stream_id);
    let duration = duration_text(request.duration_ms);
    let replaced = replaced_text(outcome);
    let closed = closing_text(after_ms, outcome);
    format!("Banned {user}{place} {duration}: {closed}.{replaced} {}", done_text(outcome))
}

fn closing_text(after_ms: u64, outcome: &Outcome) -> String {
    match outcome.connections {
        None | Some(0) => "not connected".to_owned(),
        Some(1) => format!("1 connection closes in {}", show_duration(after_ms)),
        Some(some) => {
            let connections = counted(some, "connection");
            format!("{connections} close in {}", show_duration(after_ms))
        }
    }
}

/// Several changes that were made as one. `done` is what was done, such as `Banned`, and `noun`
/// what it was done to, such as `user`.
pub fn batched(done: &str, noun: &str, after_ms: u64, outcome: &Outcome) -> String {
    let things = counted(outcome.changes.unwrap_or(0), noun);
    many_done(done, &things, after_ms, outcome)
}

/// Bans or timeouts of several users with one duration.
pub fn sanctioned(
    done: &str,
    duration_ms: Option<u64>,
    after_ms: u64,
    outcome: &Outcome,
) -> String {
    let users = counted(outcome.changes.unwrap_or(0), "user");
    let lasting = format!("{users} {}", duration_text(duration_ms));
    many_done(done, &lasting, after_ms, outcome)
}

fn many_done(done: &str, things: &str, after_ms: u64, outcome: &Outcome) -> String {
    let closed = match (outcome.connections, after_ms) {
        (None | Some(0), _) => String::new(),
        (Some(_), 0) => format!(": {}", closed_text(outcome)),
        (Some(_), after_ms) => format!(": {}", closing_text(after_ms, outcome)),
    };
    format!("{done} {things}{closed}.{} {}", left_out_text(outcome), done_text(outcome))
}

pub fn shadowed(request: &ShadowRequest, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let duration = duration_text(request.duration_ms);
    let place = on_stream(request.stream_id);
    let done = done_text(outcome);
    format!("Shadowed {user}{place} {duration}: new comments are shown to the user only. {done}")
}

pub fn unshadowed(user: &UserRef, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    format!("New comments of {user} are shown to everybody again. {}", done_text(outcome))
}

pub fn granted(request: &GrantRequest, outcome: &Outcome) -> String {
    let GrantRequest { user, role, stream_id, .. } = request;
    let user = user_text(user, outcome);
    let done = done_text(outcome);
    format!("Made {user} {role} of stream {stream_id}: {}. {done}", closed_text(outcome))
}

pub fn revoked(request: &RevokeRequest, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let closed = closed_text(outcome);
    let done = done_text(outcome);
    format!("Took the role of {user} on stream {}: {closed}. {done}", request.stream_id)
}

pub fn forgiven(user: &UserRef, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    format!("Forgave {user}: no points lower the thresholds now. {}", done_text(outcome))
}

pub fn deleted_of_user(outcome: &Outcome) -> String {
    let comments = counted(outcome.changes.unwrap_or(0), "comment");
    let left_out = left_out_text(outcome);
    format!("Deleted {comments}{}.{left_out} {}", of_user(outcome), done_text(outcome))
}

pub fn undone(audit_id: u64, outcome: &Outcome) -> String {
    let changes = outcome.changes.map(|changes| format!(", {}", counted(changes, "change")));
    // A change that no report shows yet is not said to be so.
    let is_seen = outcome.reported != Some(false);
    let now = outcome.now.as_ref().filter(|_| is_seen);
    let now = now.map(|now| format!(": {}", printable(now)));
    format!(
        "Took back entry {audit_id}{}{}{}.{}{} {}",
        changes.unwrap_or_default(),
        of_user(outcome),
        now.unwrap_or_default(),
        left_out_text(outcome),
        unseen_text(outcome),
        done_text(outcome)
    )
}

/// An acknowledged loss is listed further on. The text repeats it and says what ends it.
pub fn alert_acknowledged(alert: &str, outcome: &Outcome) -> String {
    let shown = printable(alert);
    let done = format!("Acknowledged {shown} for everybody. {}", done_text(outcome));
    let Some(loss) = ProblemCode::loss(Alert::rule_of(alert)) else { return done };
    let mut lines: Vec<_> =
        outcome.losses.iter().map(|text| format!("Acknowledged: {}", printable(text))).collect();
    lines.push(done);
    lines.push(format!("It is listed until it is ended: lc acknowledge {}", loss.as_str()));
    lines.join("\n")
}

pub fn view_saved(name: &str, outcome: &Outcome) -> String {
    format!("Saved this view as @{} for all operators. {}", printable(name), done_text(outcome))
}

pub fn view_forgotten(name: &str, outcome: &Outcome) -> String {
    format!("Forgot @{}. {}", printable(name), done_text(outcome))
}

pub fn timed_out(request: &SanctionRequest, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let place = on_stream(request.stream_id);
    let duration = duration_text(request.duration_ms);
    let replaced = replaced_text(outcome);
    format!(
        "Timed out {user}{place} {duration}: may watch but not comment.{replaced} {}",
        done_text(outcome)
    )
}

pub fn kicked(user: &UserRef, outcome: &Outcome) -> String {
    format!("Kicked {}: {}. {}", user_text(user, outcome), closed_text(outcome), done_text(outcome))
}

pub fn unbanned(request: &UnbanRequest, outcome: &Outcome) -> String {
    let user = user_text(&request.user, outcome);
    let place = on_stream(request.stream_id);
    let left_out = left_out_text(outcome);
    // Another sanction may still keep the user from that.
    let may = if left_out.is_empty() { ": may watch and comment again" } else { "" };
    format!("Unbanned {user}{place}{may}.{left_out} {}", done_text(outcome))
}

pub fn messaged(user: &UserRef, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    match outcome.connections {
        None | Some(0) if outcome.kept => format!(
            "{user} is not connected; the message is kept until the user reads it, \
             for at most 30 days. {}",
            done_text(outcome)
        ),
        None | Some(0) => format!(
            "{user} is not connected; the message was not delivered and is not kept. {}",
            done_text(outcome)
        ),
        Some(some) => {
            format!("Sent to {user} on {}. {}", counted(some, "connection"), done_text(outcome))
        }
    }
}

pub fn announced(stream_id: StreamId, outcome: &Outcome) -> String {
    format!("Announced to all viewers of stream {stream_id}. {}", done_text(outcome))
}

pub fn throttled(request: &ThrottleRequest, outcome: &Outcome) -> String {
    let ThrottleRequest { stream_id, sample_rate, for_ms } = request;
    let change = match sample_rate {
        None => format!("Stream {stream_id}: the throttle sets the share again."),
        Some(rate) => {
            let share = show_share(*rate);
            let end = match for_ms {
                Some(for_ms) => format!("for {}", show_duration(*for_ms)),
                None => "until it is set to auto".to_owned(),
            };
            format!("Stream {stream_id} shows {share} of its comments {end}.")
        }
    };
    format!("{change} {}", done_text(outcome))
}

/// Writes `Stream 7: slow mode is 30s.`
pub fn room_changed(stream_id: StreamId, patch: &RoomPatch, outcome: &Outcome) -> String {
    format!("Stream {stream_id}: {}. {}", patch.texts().join(", "), done_text(outcome))
}

/// Writes `Stream 7: 2 terms added, 1 removed; it has 12 blocked terms.`
pub fn terms_changed(stream_id: StreamId, patch: &TermsPatch, outcome: &Outcome) -> String {
    let added = (!patch.add.is_empty())
        .then(|| format!("{} added", counted(patch.add.len() as u64, "term")));
    let removed = (!patch.remove.is_empty())
        .then(|| format!("{} removed", counted(patch.remove.len() as u64, "term")));
    let done: Vec<_> = added.into_iter().chain(removed).collect();
    let now = outcome.now.as_ref().map(|now| format!("; {}", printable(now)));
    let now = now.unwrap_or_default();
    format!("Stream {stream_id}: {}{now}. {}", done.join(", "), done_text(outcome))
}

pub fn room_cleared(stream_id: StreamId, outcome: &Outcome) -> String {
    let comments = counted(outcome.changes.unwrap_or(0), "comment");
    let left_out = left_out_text(outcome);
    format!("Deleted {comments} of stream {stream_id}.{left_out} {}", done_text(outcome))
}

/// Writes `Pinned comment … of ann in stream 7: "the rules".`
pub fn pinned(stream_id: StreamId, comment_id: CommentId, outcome: &Outcome) -> String {
    let comment = outcome.stream.as_ref().and_then(|stream| stream.pinned.as_ref());
    let author = comment.map(|comment| format!(" of {}", printable(&comment.name)));
    let text = comment.map(|comment| format!(": {}", quoted(&comment.message)));
    format!(
        "Pinned comment {comment_id}{} in stream {stream_id}{}. {}",
        author.unwrap_or_default(),
        text.unwrap_or_default(),
        done_text(outcome)
    )
}

pub fn unpinned(stream_id: StreamId, outcome: &Outcome) -> String {
    format!("No comment is pinned in stream {stream_id} now. {}", done_text(outcome))
}

pub fn poll_opened(stream_id: StreamId, duration_ms: u64, outcome: &Outcome) -> String {
    let time = show_duration(duration_ms);
    let poll = poll_text(outcome);
    format!("Opened a poll in stream {stream_id} for {time}{poll}. {}", done_text(outcome))
}

pub fn poll_closed(stream_id: StreamId, outcome: &Outcome) -> String {
    let poll = poll_text(outcome);
    format!("Closed the poll of stream {stream_id}{poll}. {}", done_text(outcome))
}

/// Writes `: "Who wins?" with the options "red", "blue"` for the poll of the changed stream.
fn poll_text(outcome: &Outcome) -> String {
    let poll = outcome.stream.as_ref().and_then(|stream| stream.poll.as_ref());
    let Some(poll) = poll else { return String::new() };
    let options: Vec<_> = poll.options.iter().map(|option| quoted(option)).collect();
    format!(": {} with the options {}", quoted(&poll.question), options.join(", "))
}

/// Writes a text of a user in quotes, of a long one the start.
fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 80;
    let shown = printable(text);
    match shown.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("\"{}…\"", &shown[..end]),
        None => format!("\"{shown}\""),
    }
}

/// Writes ` of ann (user 7)`, or nothing if the user is not known.
fn of_user(outcome: &Outcome) -> String {
    match (&outcome.user_name, outcome.user_id) {
        (Some(name), Some(id)) => format!(" of {} (user {id})", printable(name)),
        (None, Some(id)) => format!(" of user {id}"),
        (_, None) => String::new(),
    }
}

pub fn deleted(comment_id: CommentId, outcome: &Outcome) -> String {
    format!("Deleted comment {comment_id}{}. {}", of_user(outcome), done_text(outcome))
}

/// A deletion that was taken back, whoever had made it.
pub fn restored(comment_id: CommentId, outcome: &Outcome) -> String {
    let now = outcome.now.as_ref().map(|now| format!(": {}", printable(now)));
    let of_user = of_user(outcome);
    let now = now.unwrap_or_default();
    format!("Restored comment {comment_id}{of_user}{now}. {}", done_text(outcome))
}

/// `decided` is `Approved` or `Rejected`.
pub fn reviewed(decided: &str, comment_id: CommentId, outcome: &Outcome) -> String {
    format!("{decided} comment {comment_id}{}. {}", of_user(outcome), done_text(outcome))
}

/// Writes until when a comment is claimed, or that it is no longer.
pub fn claimed(item: &ReviewItem) -> String {
    let comment = format!("comment {} of {}", item.comment_id, printable(&item.name));
    match item.claim_expires_at {
        Some(end) => format!(
            "Claimed {comment} until {} UTC: nobody else decides it meanwhile.",
            show_clock(end)
        ),
        None => format!("Released {comment}: others may decide it."),
    }
}

pub fn drained(undo: bool, outcome: &Outcome) -> String {
    let node = outcome.node.as_ref().map(|node| printable(node.as_str()));
    let node = node.unwrap_or_else(|| "The node".to_owned());
    let is_seen = outcome.reported != Some(false);
    let change = match (undo, outcome.connections) {
        (_, None) if !is_seen => format!("{node} was told, and did not answer."),
        (true, _) => format!("{node} accepts viewers again."),
        (false, None) => format!("{node} drains: new viewers are refused."),
        (false, Some(connections)) => {
            let connections = counted(connections, "connection");
            format!("{node} drains: {connections} asked to reconnect, new ones refused.")
        }
    };
    format!("{change}{} {}", unseen_text(outcome), done_text(outcome))
}

/// Says that a change of a node is not certain: ` No report of edge-2 …`; empty if it is.
fn unseen_text(outcome: &Outcome) -> String {
    match (&outcome.node, outcome.reported) {
        (Some(node), Some(false)) => {
            let node = printable(node.as_str());
            format!(" No report of {node} shows it so far: see lc node {node}.")
        }
        _ => String::new(),
    }
}

/// Writes a line per loss, so that none ends unseen.
pub fn acknowledged(problem: &str, outcome: &Outcome) -> String {
    let mut lines: Vec<_> =
        outcome.losses.iter().map(|text| format!("Acknowledged: {}", printable(text))).collect();
    if lines.is_empty() {
        lines.push(format!("No node shows a loss {problem}."));
    }
    for node in &outcome.unwritten {
        lines.push(format!(
            "{node} cannot write this to its disk and shows its losses again after a restart: see \
             its log, then run the command again."
        ));
    }
    lines.push(done_text(outcome));
    lines.join("\n")
}

/// Names the nodes that did not answer; `None` if all did.
pub fn missing_nodes(unreachable: &[NodeId]) -> Option<String> {
    let names: Vec<_> = unreachable.iter().map(ToString::to_string).collect();
    let count = counted(names.len() as u64, "node");
    (!names.is_empty()).then(|| format!("{count} did not answer: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{Sanction, SanctionKind};
    use crate::protocol::stream::{NewStream, Stream};
    use crate::protocol::{PinnedComment, RoomPoll, UserId};

    fn sanction(user: &str, duration_ms: Option<u64>) -> SanctionRequest {
        let user = UserRef(user.to_owned());
        SanctionRequest { user, stream_id: None, reason: None, note: None, duration_ms }
    }

    #[test]
    fn sanctions_on_a_stream_name_it() {
        let outcome = Outcome { audit_id: 17, elapsed_us: 3_140, ..Outcome::default() };
        let on_seven = |duration_ms| SanctionRequest {
            stream_id: Some(StreamId(7)),
            ..sanction("ann", duration_ms)
        };
        let done = "Done in 3.1 ms, audit entry 17.";
        assert_eq!(
            banned(&on_seven(None), &outcome),
            format!("Banned ann on stream 7 permanently: not connected. {done}")
        );
        assert_eq!(
            timed_out(&on_seven(Some(60_000)), &outcome),
            format!("Timed out ann on stream 7 for 1m: may watch but not comment. {done}")
        );
        let user = UserRef("ann".into());
        let lifted = UnbanRequest { user, stream_id: Some(StreamId(7)), note: None };
        assert_eq!(
            unbanned(&lifted, &outcome),
            format!("Unbanned ann on stream 7: may watch and comment again. {done}")
        );
        let left_out = vec!["the ban without an end stays in force".to_owned()];
        assert_eq!(
            unbanned(&lifted, &Outcome { left_out, ..outcome }),
            format!(
                "Unbanned ann on stream 7. Left out: the ban without an end stays in force. {done}"
            )
        );
    }

    #[test]
    fn sentences_name_user_duration_and_effect() {
        let outcome = Outcome {
            audit_id: 17,
            user_id: Some(UserId(4711)),
            user_name: Some("troll42".into()),
            connections: Some(2),
            elapsed_us: 3_140,
            ..Outcome::default()
        };
        assert_eq!(
            banned(&sanction("troll42", None), &outcome),
            "Banned troll42 (user 4711) permanently: 2 connections closed. \
             Done in 3.1 ms, audit entry 17."
        );
        assert_eq!(
            timed_out(&sanction("4711", Some(600_000)), &outcome),
            "Timed out troll42 (user 4711) for 10m: may watch but not comment. \
             Done in 3.1 ms, audit entry 17."
        );
        let absent = Outcome { connections: Some(0), user_name: None, ..outcome };
        assert_eq!(
            kicked(&UserRef("troll42".into()), &absent),
            "Kicked user 4711 (name unknown): not connected. Done in 3.1 ms, audit entry 17."
        );
    }

    #[test]
    fn pins_and_polls_repeat_the_texts() {
        let outcome = Outcome { audit_id: 17, elapsed_us: 3_140, ..Outcome::default() };
        let done = "Done in 3.1 ms, audit entry 17.";
        let comment_id = CommentId::from_unix_ticks(9_000, 7, [1; 6]);
        let pin = |message: &str| {
            let pinned = PinnedComment {
                comment_id,
                user_id: UserId(42),
                name: "ann".into(),
                message: message.into(),
                created_at: 1,
                badges: Default::default(),
                pinned_at: 2,
            };
            let poll = RoomPoll {
                poll_id: 17,
                question: "Who wins?\u{1b}[2J".into(),
                options: vec!["red".into(), "blue".into()],
                opened_at: 1,
                closes_at: 2,
            };
            let stream = NewStream::default().begin(StreamId(7), 1);
            let stream = Stream { pinned: Some(pinned.into()), poll: Some(poll.into()), ..stream };
            Outcome { stream: Some(stream), ..outcome.clone() }
        };
        let seven = StreamId(7);
        assert_eq!(
            pinned(seven, comment_id, &pin("the rules")),
            format!("Pinned comment {comment_id} of ann in stream 7: \"the rules\". {done}")
        );
        let long = pinned(seven, comment_id, &pin(&"é".repeat(81)));
        assert!(long.contains(&format!(": \"{}…\". Done", "é".repeat(80))), "{long}");
        let poll = "\"Who wins?\u{FFFD}[2J\" with the options \"red\", \"blue\"";
        assert_eq!(
            poll_opened(seven, 120_000, &pin("x")),
            format!("Opened a poll in stream 7 for 2m: {poll}. {done}")
        );
        assert_eq!(
            poll_closed(seven, &pin("x")),
            format!("Closed the poll of stream 7: {poll}. {done}")
        );
    }

    #[test]
    fn a_drain_that_was_not_seen_says_so() {
        let node = Some(NodeId::new("edge-2"));
        let outcome = Outcome { audit_id: 17, elapsed_us: 3_140, node, ..Outcome::default() };
        let done = "Done in 3.1 ms, audit entry 17.";
        let seen = Outcome { connections: Some(2_100), reported: Some(true), ..outcome.clone() };
        assert_eq!(
            drained(false, &seen),
            format!("edge-2 drains: 2100 connections asked to reconnect, new ones refused. {done}")
        );
        assert_eq!(drained(true, &seen), format!("edge-2 accepts viewers again. {done}"));
        let lost = Outcome { reported: Some(false), ..outcome };
        let unseen = "No report of edge-2 shows it so far: see lc node edge-2.";
        assert_eq!(
            drained(false, &lost),
            format!("edge-2 was told, and did not answer. {unseen} {done}")
        );
        assert_eq!(undone(17, &lost), format!("Took back entry 17. {unseen} {done}"));
        assert_eq!(undone(17, &seen), format!("Took back entry 17. {done}"));
        let now = Some("edge-2 accepts viewers again".to_owned());
        let told = Outcome { now: now.clone(), ..seen };
        assert_eq!(
            undone(17, &told),
            format!("Took back entry 17: edge-2 accepts viewers again. {done}")
        );
        let hoped = Outcome { now, ..lost };
        assert_eq!(undone(17, &hoped), format!("Took back entry 17. {unseen} {done}"));
    }

    #[test]
    fn a_restored_comment_says_who_must_reload() {
        let now = "1 comment is in the history again; viewers that saw it vanish must reload";
        let outcome = Outcome {
            audit_id: 17,
            user_id: Some(UserId(4711)),
            now: Some(now.to_owned()),
            elapsed_us: 3_140,
            ..Outcome::default()
        };
        let done = "Done in 3.1 ms, audit entry 17.";
        assert_eq!(undone(9, &outcome), format!("Took back entry 9 of user 4711: {now}. {done}"));
        let comment_id = CommentId::from_unix_ticks(17_952_544_080_000_000, 7, [1; 6]);
        assert_eq!(
            restored(comment_id, &outcome),
            format!("Restored comment {comment_id} of user 4711: {now}. {done}")
        );
        let many = Outcome { changes: Some(2), user_id: None, ..outcome };
        assert_eq!(undone(9, &many), format!("Took back entry 9, 2 changes: {now}. {done}"));
    }

    #[test]
    fn what_is_replaced_or_left_out_is_said() {
        let before = Sanction {
            user_id: UserId(7),
            kind: SanctionKind::Ban,
            stream_id: None,
            name: None,
            reason: None,
            created_by: "bob".into(),
            created_at: 0,
            expires_at: Some(1_795_254_408_000),
        };
        let outcome = Outcome {
            audit_id: 17,
            connections: Some(2),
            replaced: Some(before),
            elapsed_us: 3_140,
            ..Outcome::default()
        };
        assert_eq!(
            banned_with_delay(&sanction("7", Some(60_000)), 10_000, &outcome),
            "Banned 7 for 1m: 2 connections close in 10s. It replaces the ban until 2026-11-21 \
             09:46:48. Done in 3.1 ms, audit entry 17."
        );
        let left_out = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let many = Outcome { replaced: None, changes: Some(38), left_out, ..outcome };
        assert_eq!(
            batched("Banned", "user", 30_000, &many),
            "Banned 38 users: 2 connections close in 30s. Left out: a; b; c; and 1 more. Done in \
             3.1 ms, audit entry 17."
        );
        assert!(undone(9, &many).starts_with("Took back entry 9, 38 changes. Left out: a;"));
    }

    #[test]
    fn an_acknowledged_alert_says_what_ends_a_loss() {
        let outcome = Outcome { audit_id: 17, elapsed_us: 3_140, ..Outcome::default() };
        assert_eq!(
            alert_acknowledged("lag_high/archiver", &outcome),
            "Acknowledged lag_high/archiver for everybody. Done in 3.1 ms, audit entry 17."
        );
        let losses = vec!["5 records\u{1b}[2J".to_owned()];
        let text = alert_acknowledged("log_replaced/events", &Outcome { losses, ..outcome });
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("Acknowledged: 5 records"), "{text}");
        assert_eq!(lines[2], "It is listed until it is ended: lc acknowledge log_replaced");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn every_acknowledged_loss_is_repeated() {
        let outcome = Outcome {
            audit_id: 17,
            losses: vec!["a\u{1b}[2J".to_owned(), "b".to_owned()],
            unwritten: vec![NodeId::new("edge-2")],
            elapsed_us: 3_140,
            ..Outcome::default()
        };
        let text = acknowledged("store_missing", &outcome);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (4, "Acknowledged: b"));
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(lines[2].starts_with("edge-2 cannot write this"), "{text}");
        let none = acknowledged("store_missing", &Outcome::default());
        assert!(none.starts_with("No node shows a loss store_missing.\nDone"), "{none}");
    }
}
