//! Questions to the service.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::daemon::stages::moderation::pipeline::{Subject, Verdict};
use crate::protocol::events::Decision;
use crate::protocol::json;
use crate::protocol::{Badges, Comment, CommentId, Role, StreamId, UserId};

/// The body that is posted to the service, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    #[serde(flatten)]
    comment: &'a Comment,
    /// The sender's role, if known.
    role: Option<Role>,
    /// The decision of the stages before, and its reason; empty with `accept`.
    decision: Decision,
    reason: &'a str,
    /// All that the stages before measured, by name.
    scores: &'a BTreeMap<&'static str, f32>,
    /// Set for a text that somebody tries, and for the question whether the service works: the
    /// comment does not exist, and the answer decides nothing.
    dry_run: bool,
}

impl<'a> Question<'a> {
    pub(super) fn new(subject: &Subject<'a>, so_far: &'a Verdict, dry_run: bool) -> Self {
        Self {
            comment: subject.comment,
            role: subject.role,
            decision: so_far.finding.decision,
            reason: so_far.finding.reason,
            scores: &so_far.scores,
            dry_run,
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        json::to_vec(self).expect("a question has string keys").into()
    }
}

/// Returns the question whether the service works. No stream and no user has the number 0.
pub(super) fn trial() -> Bytes {
    let comment = Comment {
        stream_id: StreamId(0),
        comment_id: CommentId::from_unix_ticks(0, 0, [0; 6]),
        user_id: UserId(0),
        name: "lcd".into(),
        message: "Does this service work?".into(),
        created_at: 0,
        badges: Badges::default(),
        parent_id: None,
    };
    let subject =
        Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
    Question::new(&subject, &Verdict::accept(), true).encode()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::stages::moderation::pipeline::Finding;
    use crate::daemon::stages::moderation::samples::comment;

    #[test]
    fn a_question_has_the_documented_fields() {
        let comment = comment(7, 42, "hi \"you\"");
        let subject = Subject {
            comment: &comment,
            role: Some(Role::Viewer),
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        };
        let mut so_far = Verdict::accept();
        let scores = vec![("toxicity", 0.55), ("spam", 0.1)];
        so_far.add("model", Finding { scores, ..Finding::new(Decision::Flag, "high_toxicity") });
        let body = Question::new(&subject, &so_far, false).encode();
        let expected = json!({
            "comment_id": comment.comment_id,
            "stream_id": "7",
            "user_id": "42",
            "name": "user42",
            "message": "hi \"you\"",
            "created_at": 1000,
            "role": "viewer",
            "decision": "flag",
            "reason": "high_toxicity",
            "scores": {"spam": 0.1, "toxicity": 0.55},
            "dry_run": false,
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        let trial: Value = serde_json::from_slice(&trial()).unwrap();
        assert_eq!((&trial["dry_run"], &trial["role"]), (&json!(true), &Value::Null));
    }
}
