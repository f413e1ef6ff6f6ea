//! Tests of the acts of moderators over HTTP.

use std::sync::Arc;

use serde_json::json;

use super::client::{Reply, get, request};
use super::rig::{Rig, token};
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::protocol::admin::SanctionKind;
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
        parent_id: None,
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
async fn acts_without_fields_need_no_body() {
    let rig = Rig::start().await;
    let bearer = format!("Authorization: Bearer {}", token(7, "moderator"));
    let send = async |name: &str, headers: &[&str], body: &str| {
        let line = format!("POST /api/streams/1/moderation/{name}");
        let headers = [&[&*bearer][..], headers].concat();
        request(rig.address, &line, &headers, body.as_bytes()).await
    };
    let poll = json!({"question": "Who wins?", "options": ["a", "b"], "duration_ms": 60_000});
    for headers in [&[][..], &["Content-Type: text/plain"], &[JSON]] {
        let opened = act(&rig, "moderator", "1/moderation/open_poll", &poll).await;
        assert_eq!(opened.status, 200, "{opened:?}");
        let poll_id = opened.json()["poll_id"].clone();
        assert_eq!(poll_id, opened.json()["audit_id"], "{opened:?}");
        let closed = send("close_poll", headers, "").await;
        assert_eq!((closed.status, closed.json()["poll_id"].clone()), (200, poll_id), "{closed:?}");
    }
    let unpinned = send("unpin", &[], "").await;
    assert_eq!((unpinned.status, unpinned.code().as_str()), (404, "not_found"), "nothing pinned");
    for (name, headers, body, status, code) in [
        ("unpin", &[][..], "{}", 415, "unsupported_media_type"),
        ("unpin", &[JSON][..], "{", 400, "bad_json"),
        ("unpin", &[JSON][..], r#"{"why":"x"}"#, 400, "bad_message"),
        ("open_poll", &[][..], "", 415, "unsupported_media_type"),
        ("open_poll", &[JSON][..], "", 400, "bad_json"),
    ] {
        let refused = send(name, headers, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{name} {body}");
    }
    let document = get(rig.address, "/openapi.json").await.json();
    for name in ModerationAct::NAMES {
        let path = format!("/api/streams/{{stream_id}}/moderation/{name}");
        let required = &document["paths"][path]["post"]["requestBody"]["required"];
        // The schema cannot say that one of the fields of these is needed.
        let needs_one_field = matches!(name, "shadow" | "unshadow");
        let needs_fields = ModerationAct::named(name, json!({})).is_err() || needs_one_field;
        assert_eq!(*required, json!(needs_fields), "{name}");
    }
}

#[tokio::test]
async fn a_ban_refuses_reading_with_the_token() {
    let rig = Rig::start().await;
    rig.sanction(13, SanctionKind::Ban).await;
    let bearer = format!("Authorization: Bearer {}", token(13, "viewer"));
    let replies = format!("/api/streams/1/comments/{}/replies", comment_id(1));
    for path in [
        "/api/streams",
        "/api/streams/1",
        "/api/streams/1/room",
        "/api/streams/1/comments",
        &replies,
        "/api/streams/1/polls",
        "/api/streams/1/messages",
    ] {
        let refused = request(rig.address, &format!("GET {path}"), &[&bearer], b"").await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "banned"), "{path}");
    }
    assert_eq!(get(rig.address, "/api/streams/1").await.status, 200, "open to everybody");
}

#[tokio::test]
async fn comments_of_a_user_are_for_its_moderators() {
    let rig = Rig::start().await;
    let get = async |role: &str, path: &str| {
        let bearer = format!("Authorization: Bearer {}", token(7, role));
        request(rig.address, &format!("GET /api/streams/{path}"), &[&bearer], b"").await
    };
    let listed = get("moderator", "1/users/42/comments?limit=5").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let expected = json!({"user_id": "42", "said": 0, "removed": 0, "comments": []});
    let mut answer = listed.json();
    assert!(answer["since"].is_u64(), "{answer}");
    answer.as_object_mut().unwrap().remove("since");
    assert_eq!(answer, expected);
    for (role, path, status, code) in [
        ("viewer", "1/users/42/comments", 403, "forbidden"),
        ("moderator", "9/users/42/comments", 404, "unknown_stream"),
        ("moderator", "1/users/ann/comments", 400, "bad_request"),
        ("moderator", "1/users/0/comments", 400, "bad_request"),
        ("moderator", "1/users/42/comments?limit=0", 400, "bad_request"),
        ("moderator", "x/users/42/comments", 400, "bad_request"),
    ] {
        let refused = get(role, path).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{role} {path}");
    }
    let line = "GET /api/streams/1/users/42/comments";
    assert_eq!(request(rig.address, line, &[], b"").await.status, 401);
    assert!(rig.metadata.audits().is_empty(), "reading changes nothing");
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
