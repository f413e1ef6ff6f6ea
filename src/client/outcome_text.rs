//! Describes the outcome of an operator's change in one sentence, for `lc` and its console.

use crate::protocol::admin::{Alert, Outcome, ProblemCode, UserRef};
use crate::protocol::printable::printable;
use crate::protocol::quantity::{counted, show_duration, show_share};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, NodeId, StreamId};

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

pub fn banned(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    let duration = duration_text(duration_ms);
    format!("Banned {user} {duration}: {}. {}", closed_text(outcome), done_text(outcome))
}

pub fn undone(audit_id: u64, outcome: &Outcome) -> String {
    format!("Took back entry {audit_id}{}. {}", of_user(outcome), done_text(outcome))
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

pub fn timed_out(user: &UserRef, duration_ms: Option<u64>, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    let duration = duration_text(duration_ms);
    format!("Timed out {user} {duration}: may watch but not comment. {}", done_text(outcome))
}

pub fn kicked(user: &UserRef, outcome: &Outcome) -> String {
    format!("Kicked {}: {}. {}", user_text(user, outcome), closed_text(outcome), done_text(outcome))
}

pub fn unbanned(user: &UserRef, outcome: &Outcome) -> String {
    format!(
        "Unbanned {}: may watch and comment again. {}",
        user_text(user, outcome),
        done_text(outcome)
    )
}

pub fn messaged(user: &UserRef, outcome: &Outcome) -> String {
    let user = user_text(user, outcome);
    match outcome.connections {
        None | Some(0) => format!(
            "{user} is not connected: the message was not delivered. {}",
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

pub fn throttled(stream_id: StreamId, rate: Option<SampleRate>, outcome: &Outcome) -> String {
    let change = match rate {
        None => format!("Stream {stream_id}: the throttle sets the share again."),
        Some(rate) => {
            let share = show_share(rate);
            format!("Stream {stream_id} shows {share} of its comments until it is set to auto.")
        }
    };
    format!("{change} {}", done_text(outcome))
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

/// `decided` is `Approved` or `Rejected`.
pub fn reviewed(decided: &str, comment_id: CommentId, outcome: &Outcome) -> String {
    format!("{decided} comment {comment_id}{}. {}", of_user(outcome), done_text(outcome))
}

pub fn drained(undo: bool, outcome: &Outcome) -> String {
    let change = if undo {
        "Accepting viewers again.".to_owned()
    } else {
        let connections = counted(outcome.connections.unwrap_or(0), "connection");
        format!("Draining: {connections} asked to reconnect to another node, new ones refused.")
    };
    format!("{change} {}", done_text(outcome))
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
    use crate::protocol::UserId;

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
            banned(&UserRef("troll42".into()), None, &outcome),
            "Banned troll42 (user 4711) permanently: 2 connections closed. \
             Done in 3.1 ms, audit entry 17."
        );
        assert_eq!(
            timed_out(&UserRef("4711".into()), Some(600_000), &outcome),
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
