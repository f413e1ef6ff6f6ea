//! The sentences of the events that tell of operators' changes: `stream 1 fixed at 25%`.
//!
//! In: the request, which the audit entry has as its detail, and the outcome. Out: a clause without
//! the actor. Always holds: no text of a viewer, and no message, is in it.

use crate::protocol::admin::{
    AcknowledgeRequest, AnnounceRequest, BatchChange, BatchRequest, ClearRoomRequest,
    DeleteOfUserRequest, DeleteRequest, DirectRequest, DrainRequest, ForgetViewRequest,
    GrantRequest, Outcome, PinRequest, RestoreRequest, ReviewRequest, RevokeRequest,
    SanctionRequest, SaveViewRequest, ShadowRequest, ThrottleRequest, UnbanRequest, UndoRequest,
    UserRef, UserRequest,
};
use crate::protocol::quantity::{counted, show_duration, show_share};
use crate::protocol::room::{RoomPatch, TermsPatch};
use crate::protocol::stream::{NewStream, StreamPatch};
use crate::protocol::{StreamId, on_stream};

/// Writes `ann (user 42)`, or `user 42` without a known name.
fn user(user: &UserRef, outcome: &Outcome) -> String {
    user_of(outcome).unwrap_or_else(|| format!("user {}", user.0))
}

fn user_of(outcome: &Outcome) -> Option<String> {
    let id = outcome.user_id?;
    Some(match &outcome.user_name {
        Some(name) => format!("{name} (user {id})"),
        None => format!("user {id}"),
    })
}

/// Writes ` of ann (user 42)`, or nothing if the user is not known.
fn of_user(outcome: &Outcome) -> String {
    user_of(outcome).map(|user| format!(" of {user}")).unwrap_or_default()
}

fn lasting(duration_ms: Option<u64>) -> String {
    let for_time = |ms| format!("for {}", show_duration(ms));
    duration_ms.map_or_else(|| "permanently".to_owned(), for_time)
}

pub(super) fn ban(request: &SanctionRequest, outcome: &Outcome) -> String {
    let stream = on_stream(request.stream_id);
    format!("banned {}{stream} {}", user(&request.user, outcome), lasting(request.duration_ms))
}

pub(super) fn timeout(request: &SanctionRequest, outcome: &Outcome) -> String {
    let stream = on_stream(request.stream_id);
    format!("timed out {}{stream} {}", user(&request.user, outcome), lasting(request.duration_ms))
}

pub(super) fn unban(request: &UnbanRequest, outcome: &Outcome) -> String {
    format!("unbanned {}{}", user(&request.user, outcome), on_stream(request.stream_id))
}

pub(super) fn shadow(request: &ShadowRequest, outcome: &Outcome) -> String {
    let stream = on_stream(request.stream_id);
    let lasting = lasting(request.duration_ms);
    format!("shadow-banned {}{stream} {lasting}", user(&request.user, outcome))
}

pub(super) fn unshadow(request: &UserRequest, outcome: &Outcome) -> String {
    format!("ended the shadow bans of {}", user(&request.user, outcome))
}

pub(super) fn grant(request: &GrantRequest, outcome: &Outcome) -> String {
    let user = user(&request.user, outcome);
    format!("made {user} {} of stream {}", request.role, request.stream_id)
}

pub(super) fn revoke(request: &RevokeRequest, outcome: &Outcome) -> String {
    let user = user(&request.user, outcome);
    format!("took the role of {user} on stream {}", request.stream_id)
}

pub(super) fn forgive(request: &UserRequest, outcome: &Outcome) -> String {
    format!("forgave {}", user(&request.user, outcome))
}

pub(super) fn kick(request: &UserRequest, outcome: &Outcome) -> String {
    format!("kicked {}", user(&request.user, outcome))
}

pub(super) fn direct(request: &DirectRequest, outcome: &Outcome) -> String {
    let user = user(&request.user, outcome);
    match outcome.connections {
        Some(0) => format!("sent a message to {user}, who is not connected"),
        _ => format!("sent a message to {user}"),
    }
}

pub(super) fn announce(request: &AnnounceRequest, _: &Outcome) -> String {
    format!("announced to all viewers of stream {}", request.stream_id)
}

pub(super) fn delete(request: &DeleteRequest, outcome: &Outcome) -> String {
    format!("deleted comment {}{}", request.comment_id, of_user(outcome))
}

pub(super) fn delete_of_user(request: &DeleteOfUserRequest, outcome: &Outcome) -> String {
    let comments = counted(outcome.changes.unwrap_or(0), "comment");
    format!("deleted {comments} of {}", user(&request.user, outcome))
}

pub(super) fn batch(request: &BatchRequest, outcome: &Outcome) -> String {
    let named = |change: &BatchChange| match change {
        BatchChange::Ban(_) => ("banned", "user"),
        BatchChange::Timeout(_) => ("timed out", "user"),
        BatchChange::Unban(_) => ("unbanned", "user"),
        BatchChange::Kick(_) => ("kicked", "user"),
        BatchChange::Delete(_) => ("deleted", "comment"),
        BatchChange::Approve(_) => ("approved", "comment"),
        BatchChange::Reject(_) => ("rejected", "comment"),
    };
    let made = outcome.changes.unwrap_or(request.changes.len() as u64);
    let mut kinds = request.changes.iter().map(named);
    match kinds.next() {
        Some((done, noun)) if kinds.all(|kind| kind == (done, noun)) => {
            format!("{done} {}", counted(made, noun))
        }
        _ => format!("made {} of users and comments as one", counted(made, "change")),
    }
}

pub(super) fn throttle(request: &ThrottleRequest, _: &Outcome) -> String {
    let ThrottleRequest { stream_id, sample_rate, for_ms } = request;
    let Some(rate) = sample_rate else {
        return format!("the throttle decides about stream {stream_id} again");
    };
    let end = for_ms.map(|ms| format!(" for {}", show_duration(ms))).unwrap_or_default();
    format!("stream {stream_id} fixed at {}{end}", show_share(*rate))
}

pub(super) fn drain(request: &DrainRequest, outcome: &Outcome) -> String {
    let node = outcome.node.as_ref().or(request.node.as_ref());
    let node = node.map_or_else(|| "the node".to_owned(), ToString::to_string);
    let change = if request.undo { "accepts viewers again" } else { "drains" };
    format!("{node} {change}")
}

pub(super) fn acknowledge(request: &AcknowledgeRequest, _: &Outcome) -> String {
    format!("acknowledged the loss {}", request.problem)
}

pub(super) fn approve(request: &ReviewRequest, outcome: &Outcome) -> String {
    format!("approved comment {}{}", request.comment_id, of_user(outcome))
}

pub(super) fn reject(request: &ReviewRequest, outcome: &Outcome) -> String {
    format!("rejected comment {}{}", request.comment_id, of_user(outcome))
}

pub(super) fn restore(request: &RestoreRequest, outcome: &Outcome) -> String {
    format!("restored comment {}{}", request.comment_id, of_user(outcome))
}

pub(super) fn create_stream(request: &NewStream, outcome: &Outcome) -> String {
    match outcome.stream.as_ref().map(|stream| stream.stream_id).or(request.stream_id) {
        Some(stream_id) => format!("created stream {stream_id}"),
        None => "created a stream".to_owned(),
    }
}

/// Names the settings that were changed. Their values are in the audit entry.
pub(super) fn update_stream(patch: &StreamPatch, outcome: &Outcome) -> String {
    let StreamPatch { title, description, state, starts_at, anonymous, moderation } = patch;
    let changed = [
        title.is_some().then_some("title"),
        description.is_some().then_some("description"),
        starts_at.is_some().then_some("start time"),
        state.is_some().then_some("state"),
        anonymous.is_some().then_some("anonymous"),
        moderation.is_some().then_some("moderation"),
    ];
    let stream = outcome.stream.as_ref().map(|stream| format!("stream {}", stream.stream_id));
    changed_text(&changed, &stream.unwrap_or_else(|| "a stream".to_owned()))
}

pub(super) fn delete_stream(stream_id: StreamId) -> String {
    format!("deleted stream {stream_id}")
}

fn changed_text(names: &[Option<&str>], of: &str) -> String {
    let names: Vec<_> = names.iter().copied().flatten().collect();
    match names.as_slice() {
        [] => format!("changed nothing of {of}"),
        names => format!("changed {} of {of}", names.join(", ")),
    }
}

/// Names the rules that were changed. Their values are in the audit entry.
pub(super) fn update_room(patch: &RoomPatch, stream_id: StreamId) -> String {
    let RoomPatch {
        slow_ms,
        followers_ms,
        subscribers_only,
        emotes_only,
        unique_ms,
        no_links,
        shield,
        timeouts_ms,
        checks,
        delay_ms,
        languages,
    } = patch;
    let changed = [
        slow_ms.is_some().then_some("slow mode"),
        followers_ms.is_some().then_some("followers only"),
        subscribers_only.is_some().then_some("subscribers only"),
        emotes_only.is_some().then_some("emotes only"),
        unique_ms.is_some().then_some("unique texts"),
        no_links.is_some().then_some("links"),
        shield.is_some().then_some("shield mode"),
        timeouts_ms.is_some().then_some("presets of timeouts"),
        checks.is_some().then_some("checks"),
        languages.is_some().then_some("languages"),
        delay_ms.is_some().then_some("message delay"),
    ];
    changed_text(&changed, &format!("the room of stream {stream_id}"))
}

/// Tells how many terms were named. The terms are in the audit entry.
pub(super) fn update_terms(patch: &TermsPatch, stream_id: StreamId) -> String {
    let terms = counted((patch.add.len() + patch.remove.len()) as u64, "blocked term");
    format!("changed {terms} of the room of stream {stream_id}")
}

pub(super) fn clear_room(
    request: &ClearRoomRequest,
    stream_id: StreamId,
    outcome: &Outcome,
) -> String {
    let comments = counted(outcome.changes.unwrap_or(0), "comment");
    let time = show_duration(request.last_ms);
    format!("deleted {comments} of stream {stream_id} from the last {time}")
}

pub(super) fn pin(request: &PinRequest, stream_id: StreamId) -> String {
    format!("pinned comment {} in stream {stream_id}", request.comment_id)
}

pub(super) fn unpin(stream_id: StreamId) -> String {
    format!("unpinned the comment of stream {stream_id}")
}

pub(super) fn open_poll(stream_id: StreamId) -> String {
    format!("opened a poll in stream {stream_id}")
}

pub(super) fn close_poll(stream_id: StreamId) -> String {
    format!("closed the poll of stream {stream_id}")
}

pub(super) fn save_view(request: &SaveViewRequest, _: &Outcome) -> String {
    format!("saved the view @{}", request.name)
}

pub(super) fn forget_view(request: &ForgetViewRequest, _: &Outcome) -> String {
    format!("forgot the view @{}", request.name)
}

pub(super) fn undo(request: &UndoRequest, outcome: &Outcome) -> String {
    let now = outcome.now.as_ref().map(|now| format!(": {now}")).unwrap_or_default();
    format!("took back entry {}{}{now}", request.audit_id, of_user(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{CommentId, NodeId, Role, UserId};

    fn of_42() -> Outcome {
        Outcome { user_id: Some(UserId(42)), ..Outcome::default() }
    }

    fn sanction(duration_ms: Option<u64>) -> SanctionRequest {
        let user = UserRef("42".to_owned());
        SanctionRequest { user, stream_id: None, reason: None, note: None, duration_ms }
    }

    #[test]
    fn a_change_of_a_user_names_user_and_duration() {
        let known = Outcome { user_name: Some("ann".to_owned()), ..of_42() };
        let request = UserRequest { user: UserRef("ann".to_owned()), note: None };
        let on_seven = Some(StreamId(7));
        let there = |duration_ms| SanctionRequest { stream_id: on_seven, ..sanction(duration_ms) };
        let lifted =
            |stream_id| UnbanRequest { user: UserRef("ann".to_owned()), stream_id, note: None };
        let direct = |outcome: &Outcome| {
            let user = UserRef("ann".to_owned());
            super::direct(&DirectRequest { user, message: "secret".to_owned() }, outcome)
        };
        for (text, expected) in [
            (ban(&sanction(Some(300_000)), &of_42()), "banned user 42 for 5m"),
            (ban(&sanction(None), &known), "banned ann (user 42) permanently"),
            (timeout(&sanction(Some(60_000)), &known), "timed out ann (user 42) for 1m"),
            (unban(&lifted(None), &known), "unbanned ann (user 42)"),
            (unban(&lifted(on_seven), &known), "unbanned ann (user 42) on stream 7"),
            (ban(&there(None), &of_42()), "banned user 42 on stream 7 permanently"),
            (timeout(&there(Some(60_000)), &of_42()), "timed out user 42 on stream 7 for 1m"),
            (kick(&request, &Outcome::default()), "kicked user ann"),
            (direct(&known), "sent a message to ann (user 42)"),
        ] {
            assert_eq!(text, expected);
        }
        let shadow = |stream_id, duration_ms| {
            let user = UserRef("42".to_owned());
            super::shadow(&ShadowRequest { user, stream_id, note: None, duration_ms }, &of_42())
        };
        assert_eq!(shadow(None, None), "shadow-banned user 42 permanently");
        let on_one = shadow(Some(StreamId(7)), Some(60_000));
        assert_eq!(on_one, "shadow-banned user 42 on stream 7 for 1m");
        assert_eq!(unshadow(&request, &known), "ended the shadow bans of ann (user 42)");
        assert_eq!(forgive(&request, &known), "forgave ann (user 42)");
        let user = UserRef("ann".to_owned());
        let stream_id = StreamId(7);
        let role = Role::Moderator;
        let given = GrantRequest { user: user.clone(), role, stream_id, note: None };
        assert_eq!(grant(&given, &known), "made ann (user 42) moderator of stream 7");
        let taken = RevokeRequest { user, stream_id, note: None };
        assert_eq!(revoke(&taken, &known), "took the role of ann (user 42) on stream 7");
        let absent = Outcome { connections: Some(0), ..of_42() };
        assert_eq!(direct(&absent), "sent a message to user 42, who is not connected");
    }

    #[test]
    fn a_change_of_a_stream_says_what_it_is_now() {
        let throttle = |sample_rate, for_ms| {
            let request = ThrottleRequest { stream_id: StreamId(1), sample_rate, for_ms };
            super::throttle(&request, &Outcome::default())
        };
        let quarter = SampleRate::from_share(0.25);
        assert_eq!(throttle(quarter, None), "stream 1 fixed at 25%");
        assert_eq!(throttle(quarter, Some(300_000)), "stream 1 fixed at 25% for 5m");
        assert_eq!(throttle(None, None), "the throttle decides about stream 1 again");
        let message = "secret".to_owned();
        let request = AnnounceRequest { stream_id: StreamId(1), message };
        let announced = announce(&request, &Outcome::default());
        assert_eq!(announced, "announced to all viewers of stream 1");
        let patch = StreamPatch {
            title: Some("secret".to_owned()),
            anonymous: Some(true),
            ..StreamPatch::default()
        };
        let changed = update_stream(&patch, &Outcome::default());
        assert_eq!(changed, "changed title, anonymous of a stream");
    }

    #[test]
    fn a_change_of_a_room_names_its_rules() {
        let patch = RoomPatch { slow_ms: Some(None), shield: Some(true), ..RoomPatch::default() };
        let text = update_room(&patch, StreamId(7));
        assert_eq!(text, "changed slow mode, shield mode of the room of stream 7");
        let request = ClearRoomRequest { last_ms: 300_000, reason: None, note: None };
        let outcome = Outcome { changes: Some(12), ..Outcome::default() };
        let text = clear_room(&request, StreamId(7), &outcome);
        assert_eq!(text, "deleted 12 comments of stream 7 from the last 5m");
    }

    #[test]
    fn the_end_of_a_drain_is_no_drain() {
        let node = Some(NodeId::new("vm"));
        let outcome = Outcome { node: node.clone(), ..Outcome::default() };
        let drain = |undo| super::drain(&DrainRequest { node: node.clone(), undo }, &outcome);
        assert_eq!(drain(false), "vm drains");
        assert_eq!(drain(true), "vm accepts viewers again");
        let local = DrainRequest::default();
        assert_eq!(super::drain(&local, &Outcome::default()), "the node drains");
    }

    #[test]
    fn a_change_of_comments_names_them_and_the_user() {
        let comment_id = CommentId::from_unix_ticks(17_952_544_080_000_000, 7, [1; 6]);
        let deletion = DeleteRequest { comment_id, reason: None, note: None };
        let review = ReviewRequest { comment_id, reason: None, note: None };
        let restoration = RestoreRequest { comment_id, note: None };
        for (text, done) in [
            (delete(&deletion, &of_42()), "deleted"),
            (approve(&review, &of_42()), "approved"),
            (reject(&review, &of_42()), "rejected"),
            (restore(&restoration, &of_42()), "restored"),
        ] {
            assert_eq!(text, format!("{done} comment {comment_id} of user 42"));
        }
        let three = Outcome { changes: Some(3), ..of_42() };
        let latest = DeleteOfUserRequest {
            user: UserRef("42".to_owned()),
            last_ms: 60_000,
            stream_id: None,
            reason: None,
            note: None,
        };
        assert_eq!(delete_of_user(&latest, &three), "deleted 3 comments of user 42");
    }

    #[test]
    fn changes_made_or_taken_back_as_one_are_counted() {
        let two = Outcome { changes: Some(2), ..Outcome::default() };
        let mut request = BatchRequest {
            changes: vec![BatchChange::Ban(sanction(None)), BatchChange::Ban(sanction(None))],
            disconnect_after_ms: None,
            include_moderators: false,
        };
        assert_eq!(batch(&request, &two), "banned 2 users");
        request.changes[1] = BatchChange::Timeout(sanction(None));
        assert_eq!(batch(&request, &two), "made 2 changes of users and comments as one");
        let request = UndoRequest { audit_id: 12, note: None };
        let now = Some("stream 1 shows 25% again".to_owned());
        let undone = undo(&request, &Outcome { now, ..Outcome::default() });
        assert_eq!(undone, "took back entry 12: stream 1 shows 25% again");
        assert_eq!(undo(&request, &of_42()), "took back entry 12 of user 42");
    }

    #[test]
    fn losses_and_views_are_named() {
        let problem = "store_missing".to_owned();
        let acknowledged = acknowledge(&AcknowledgeRequest { problem }, &Outcome::default());
        assert_eq!(acknowledged, "acknowledged the loss store_missing");
        let request = ForgetViewRequest { name: "night".to_owned() };
        assert_eq!(forget_view(&request, &Outcome::default()), "forgot the view @night");
    }
}
