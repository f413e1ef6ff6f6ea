//! What happened, in one sentence: the same words on the command line and in the console.

use crate::protocol::admin::{Outcome, UserRef};
use crate::protocol::quantity::{show_duration, show_share};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, NodeId, StreamId};

/// `3 connections`, `1 connection`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// `for 10m`, or `for good`.
fn span(duration_ms: Option<u64>) -> String {
    duration_ms.map_or("for good".to_owned(), |ms| format!("for {}", show_duration(ms)))
}

/// `troll42 (user 7)`, or `user 7` where the operator gave the number.
fn person(user: &UserRef, outcome: &Outcome) -> String {
    match outcome.user_id {
        Some(id) if id.to_string() == user.0 => format!("user {id}"),
        Some(id) => format!("{} (user {id})", user.0),
        None => user.0.clone(),
    }
}

/// `Done in 3.1 ms, audit entry 17.`
fn done(outcome: &Outcome) -> String {
    format!("Done in {:.1} ms, audit entry {}.", outcome.elapsed_us as f64 / 1e3, outcome.audit_id)
}

fn closed(outcome: &Outcome) -> String {
    match outcome.connections {
        0 => "not connected now".to_owned(),
        some => format!("{} closed", counted(some, "connection")),
    }
}

pub fn banned(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let (who, span) = (person(user, outcome), span(duration_ms));
    format!("Banned {who} {span}: {}. {}", closed(outcome), done(outcome))
}

pub fn timed_out(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let (who, span) = (person(user, outcome), span(duration_ms));
    format!("Timed out {who} {span}: may watch but not comment. {}", done(outcome))
}

pub fn kicked(user: &UserRef, outcome: &Outcome) -> String {
    format!("Kicked {}: {}. {}", person(user, outcome), closed(outcome), done(outcome))
}

pub fn unbanned(user: &UserRef, outcome: &Outcome) -> String {
    format!("Unbanned {}: may watch and comment again. {}", person(user, outcome), done(outcome))
}

pub fn messaged(user: &UserRef, outcome: &Outcome) -> String {
    let who = person(user, outcome);
    match outcome.connections {
        0 => format!("{who} is not connected: nobody got it. {}", done(outcome)),
        some => format!("Sent to {who} on {}. {}", counted(some, "connection"), done(outcome)),
    }
}

pub fn announced(stream_id: StreamId, outcome: &Outcome) -> String {
    format!("Announced to everyone on stream {stream_id}. {}", done(outcome))
}

pub fn throttled(stream_id: StreamId, rate: Option<SampleRate>, outcome: &Outcome) -> String {
    let what = match rate {
        None => format!("Stream {stream_id}: the throttle decides again."),
        Some(rate) => {
            let share = show_share(rate);
            format!("Stream {stream_id} shows {share} of its comments until it is set to auto.")
        }
    };
    format!("{what} {}", done(outcome))
}

pub fn deleted(comment_id: CommentId, outcome: &Outcome) -> String {
    let of = outcome.user_id.map(|id| format!(" of user {id}")).unwrap_or_default();
    format!("Deleted comment {comment_id}{of}. {}", done(outcome))
}

/// `decided` is `Approved` or `Rejected`.
pub fn reviewed(decided: &str, comment_id: CommentId, outcome: &Outcome) -> String {
    format!("{decided} comment {comment_id}. {}", done(outcome))
}

pub fn drained(undo: bool, outcome: &Outcome) -> String {
    let what = if undo {
        "Taking viewers again.".to_owned()
    } else {
        let connections = counted(outcome.connections, "connection");
        format!("Draining: {connections} told to reconnect elsewhere, no new ones taken.")
    };
    format!("{what} {}", done(outcome))
}

/// What a partial answer has to say about itself, if anything.
pub fn missing_nodes(unreachable: &[NodeId]) -> Option<String> {
    let names: Vec<_> = unreachable.iter().map(ToString::to_string).collect();
    let count = counted(names.len() as u64, "node");
    (!names.is_empty()).then(|| format!("{count} did not answer: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;

    #[test]
    fn a_ban_says_who_how_long_what_it_did_and_where_it_is_recorded() {
        let outcome = Outcome {
            audit_id: 17,
            user_id: Some(UserId(4711)),
            connections: 2,
            elapsed_us: 3_140,
            ..Outcome::default()
        };
        assert_eq!(
            banned(&UserRef("troll42".into()), None, &outcome),
            "Banned troll42 (user 4711) for good: 2 connections closed. \
             Done in 3.1 ms, audit entry 17."
        );
        assert_eq!(
            timed_out(&UserRef("4711".into()), Some(600_000), &outcome),
            "Timed out user 4711 for 10m: may watch but not comment. \
             Done in 3.1 ms, audit entry 17."
        );
        let absent = Outcome { connections: 0, ..outcome };
        assert_eq!(
            kicked(&UserRef("troll42".into()), &absent),
            "Kicked troll42 (user 4711): not connected now. Done in 3.1 ms, audit entry 17."
        );
    }
}
