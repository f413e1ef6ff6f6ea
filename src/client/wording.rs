//! What happened, in one sentence: the same words on the command line and in the console.

use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, UserRef};
use crate::protocol::quantity::{show_duration, show_share};
use crate::protocol::throttle::SampleRate;

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

/// ` in 3.1 ms. Audit entry 17.`
fn ending(outcome: &Outcome) -> String {
    let elapsed_ms = outcome.elapsed_us as f64 / 1e3;
    format!(" in {elapsed_ms:.1} ms. Audit entry {}.", outcome.audit_id)
}

fn closed(outcome: &Outcome) -> String {
    match outcome.connections {
        0 => "was not connected; done".to_owned(),
        some => format!("{} closed", counted(some, "connection")),
    }
}

fn told(outcome: &Outcome) -> String {
    match outcome.connections {
        0 => "was not connected; done".to_owned(),
        some => format!("told on {}", counted(some, "connection")),
    }
}

pub fn banned(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let (who, span) = (person(user, outcome), span(duration_ms));
    format!("Banned {who} {span}: {}{}", closed(outcome), ending(outcome))
}

pub fn timed_out(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let (who, span) = (person(user, outcome), span(duration_ms));
    format!("{who} may watch but not comment {span}: {}{}", told(outcome), ending(outcome))
}

pub fn kicked(user: &UserRef, outcome: &Outcome) -> String {
    format!("Kicked {}: {}{}", person(user, outcome), closed(outcome), ending(outcome))
}

pub fn unbanned(user: &UserRef, outcome: &Outcome) -> String {
    format!("{} may connect and comment again{}", person(user, outcome), ending(outcome))
}

pub fn messaged(user: &UserRef, outcome: &Outcome) -> String {
    let who = person(user, outcome);
    match outcome.connections {
        0 => format!("{who} is not connected: nobody got it. Audit entry {}.", outcome.audit_id),
        some => format!("Sent to {who} on {}{}", counted(some, "connection"), ending(outcome)),
    }
}

pub fn announced(stream_id: StreamId, outcome: &Outcome) -> String {
    let viewers = counted(outcome.connections, "connection");
    format!("Announced on stream {stream_id} to {viewers}{}", ending(outcome))
}

pub fn throttled(stream_id: StreamId, rate: Option<SampleRate>, outcome: &Outcome) -> String {
    let what = rate.map_or_else(
        || format!("Stream {stream_id}: the throttle decides again; done"),
        |rate| {
            let shown = show_share(rate);
            format!("Stream {stream_id} shows {shown} of its comments until `auto`; done")
        },
    );
    format!("{what}{}", ending(outcome))
}

/// What a partial answer has to say about itself, if anything.
pub fn missing_nodes(unreachable: &[crate::protocol::NodeId]) -> Option<String> {
    let names: Vec<_> = unreachable.iter().map(ToString::to_string).collect();
    let count = counted(names.len() as u64, "node");
    (!names.is_empty())
        .then(|| format!("{count} could not be reached and took no part: {}", names.join(", ")))
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
            "Banned troll42 (user 4711) for good: 2 connections closed in 3.1 ms. Audit entry 17."
        );
        assert_eq!(
            timed_out(&UserRef("4711".into()), Some(600_000), &outcome),
            "user 4711 may watch but not comment for 10m: told on 2 connections in 3.1 ms. \
             Audit entry 17."
        );
        let absent = Outcome { connections: 0, ..outcome };
        assert_eq!(
            kicked(&UserRef("troll42".into()), &absent),
            "Kicked troll42 (user 4711): was not connected; done in 3.1 ms. Audit entry 17."
        );
    }
}
