//! Tests of the acts of moderators over HTTP.

use std::sync::Arc;

use serde_json::json;

use super::client::{Reply, request};
use super::rig::{Rig, token};
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::protocol::{Comment, CommentId, ModerationAct, StreamId, UserId};

const JSON: &str = "Content-Type: application/json";

fn comment_id(n: u64) -> CommentId {
    CommentId::from_unix_ticks(17_500_000_000_000_000 + n, 1, [7; 6])
}

async fn act(rig: &Rig, role: &str, path: &str, body: &serde_json::Value) -> Reply {
    let line = format!("POST /api/streams/{path}");
    let bearer = format!("Authorization: Bearer {}", token(7, role));
    request(rig.address, &line, &[JSON, &bearer], body.to_string().as_bytes()).await
}

async fn queue(rig: &Rig, stream: u64) -> Vec<serde_json::Value> {
    let line = format!("GET /api/streams/{stream}/moderation/queue");
    let bearer = format!("Authorization: Bearer {}", token(7, "moderator"));
    let reply = request(rig.address, &line, &[&bearer], b"").await;
    reply.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_moderator_deletes_comments_of_its_stream() {
    let rig = Rig::start().await;
    let comment = Comment {
        stream_id: StreamId(1),
        comment_id: comment_id(1),
        user_id: UserId(42),
        name: "ann".into(),
        message: "bad".into(),
        created_at: 0,
        badges: Default::default(),
    };
    let row = ArchivedComment { comment: Arc::new(comment), seq: 1, shadow: false };
    rig.comments.write_rows(&[row], &[]).await.unwrap();
    let body = json!({"comment_id": comment_id(1), "reason": "spam"});
    let foreign = act(&rig, "moderator", "2/moderation/delete", &body).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"));
    assert!(rig.metadata.audits().is_empty(), "a comment of another stream is not theirs");
    let done = act(&rig, "moderator", "1/moderation/delete", &body).await;
    assert_eq!((done.status, done.json()["user_id"].as_str()), (200, Some("42")), "{done:?}");
    let entry = rig.metadata.audits().pop().unwrap();
    assert_eq!((&*entry.action, &*entry.actor), ("delete", "user7 (user 7)"));
    assert_eq!(done.json()["audit_id"], json!(entry.audit_id));
}

#[tokio::test]
async fn moderators_decide_the_queue_of_a_stream() {
    let rig = Rig::start().await;
    for stream in [1, 2] {
        let item = json!({
            "comment_id": comment_id(stream), "stream_id": stream.to_string(), "user_id": "42",
            "name": "ann", "message": "buy", "reason": "link", "flagged_at": 1, "held": true,
        });
        let item = serde_json::from_value(item).unwrap();
        rig.metadata.queue_review(item, stream as i64).await.unwrap();
    }
    let listed = queue(&rig, 1).await;
    assert_eq!((listed.len(), &listed[0]["message"]), (1, &json!("buy")));
    let second = json!({ "comment_id": comment_id(2) });
    let foreign = act(&rig, "moderator", "1/moderation/approve", &second).await;
    assert_eq!(foreign.status, 404, "{foreign:?}");
    let done = act(&rig, "moderator", "2/moderation/reject", &second).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!((queue(&rig, 1).await.len(), queue(&rig, 2).await.len()), (1, 0));
}

#[tokio::test]
async fn only_moderators_act_and_only_as_documented() {
    let rig = Rig::start().await;
    let user = json!({"user": "id:42"});
    for name in ModerationAct::NAMES {
        let refused = act(&rig, "viewer", &format!("1/moderation/{name}"), &user).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{name}");
    }
    let line = "GET /api/streams/1/moderation/queue";
    assert_eq!(request(rig.address, line, &[], b"").await.status, 401);
    for (path, body, status, code) in [
        ("1/moderation/shout", user.clone(), 404, "not_found"),
        ("9/moderation/ban", user.clone(), 404, "unknown_stream"),
        ("x/moderation/ban", user.clone(), 400, "bad_request"),
        ("1/moderation/ban", json!({"user": "id:42", "why": "x"}), 400, "bad_message"),
        ("1/moderation/ban", json!([]), 400, "bad_message"),
        ("1/moderation/timeout", json!({"user": "id:42", "duration_ms": 1}), 400, "bad_message"),
        ("1/moderation/unban", user.clone(), 404, "not_found"),
        ("1/moderation/queue", user.clone(), 405, "method_not_allowed"),
    ] {
        let reply = act(&rig, "moderator", path, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path} {body}");
    }
    assert!(rig.metadata.audits().is_empty());
    for name in ["timeout", "ban", "unban"] {
        let done = act(&rig, "moderator", &format!("1/moderation/{name}"), &user).await;
        assert_eq!((done.status, done.json()["user_id"].as_str()), (200, Some("42")), "{name}");
        assert_eq!(done.json()["expires_at"].is_u64(), name == "timeout", "{done:?}");
    }
}

#[tokio::test]
async fn a_moderator_shadows_and_takes_acts_back() {
    let rig = Rig::start().await;
    let user = json!({"user": "id:42"});
    let shadow = act(&rig, "moderator", "1/moderation/shadow", &user).await;
    assert_eq!((shadow.status, shadow.json()["user_id"].as_str()), (200, Some("42")), "{shadow:?}");
    let entry = rig.metadata.audits().pop().unwrap();
    assert_eq!((&*entry.action, &*entry.actor), ("shadow", "user7 (user 7)"));
    assert_eq!(entry.detail["stream_id"], json!("1"), "on this stream only");
    let undo = json!({"audit_id": shadow.json()["audit_id"], "note": "a mistake"});
    let foreign = act(&rig, "moderator", "2/moderation/undo", &undo).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"), "{foreign:?}");
    let undone = act(&rig, "moderator", "1/moderation/undo", &undo).await;
    assert_eq!(undone.status, 200, "{undone:?}");
    let entry = rig.metadata.audits().pop().unwrap();
    assert_eq!((&*entry.action, &*entry.actor), ("undo", "user7 (user 7)"));
    let again = act(&rig, "moderator", "1/moderation/undo", &undo).await;
    assert_eq!((again.status, again.code().as_str()), (400, "bad_request"), "{again:?}");
    let unknown = act(&rig, "moderator", "1/moderation/undo", &json!({"audit_id": 999})).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"), "{unknown:?}");
    let lifted = act(&rig, "moderator", "1/moderation/unshadow", &user).await;
    assert_eq!((lifted.status, lifted.code().as_str()), (404, "not_found"), "{lifted:?}");
    let own = act(&rig, "moderator", "1/moderation/shadow", &json!({"user": "id:7"})).await;
    assert_eq!((own.status, own.code().as_str()), (403, "forbidden"), "{own:?}");
}
