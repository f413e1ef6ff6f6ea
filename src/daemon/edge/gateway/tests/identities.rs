//! Tests of users whose tokens name them by a text, and of roles on single streams.

use serde_json::{Value, json};

use super::client::{RefusalCodes, Reply, open, request};
use super::rig::{Rig, sign};
use crate::daemon::engines::metadata::FIRST_SUBJECT_ID;
use crate::daemon::stages::auth::fixtures::NOW_S;
use crate::daemon::stages::control::Actor;
use crate::protocol::admin::{GrantRequest, RevokeRequest, SanctionKind, UserRef};
use crate::protocol::{Identity, Role, StreamId};

const JSON: &str = "Content-Type: application/json";

fn token_of(sub: &str, more: &Value) -> String {
    let mut claims = json!({"sub": sub, "name": "ann", "exp": NOW_S + 60});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    sign(&claims)
}

/// Returns the identity with which delivery gets the viewer.
async fn connect(rig: &mut Rig, stream: u64, token: &str) -> Identity {
    open(rig.address, &format!("/ws/{stream}?token={token}"), &[]).await;
    let bearer = rig.viewer().await.bearer.expect("a token was sent");
    (*bearer.identity).clone()
}

async fn send(rig: &Rig, line: &str, token: &str, body: &Value) -> Reply {
    let bearer = format!("Authorization: Bearer {token}");
    request(rig.address, line, &[JSON, &bearer], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_user_named_by_a_text_keeps_its_id() {
    let mut rig = Rig::start().await;
    let token = token_of("auth0|5f7c", &json!({"picture": "https://img.example/a.png"}));
    let first = connect(&mut rig, 1, &token).await;
    assert!(first.user_id.0 >= FIRST_SUBJECT_ID && first.user_id.is_valid(), "{first:?}");
    assert_eq!(first.avatar.as_deref(), Some("https://img.example/a.png"));
    assert_eq!(connect(&mut rig, 2, &token).await.user_id, first.user_id);
    let other = connect(&mut rig, 1, &token_of("auth0|5f7d", &json!({}))).await;
    assert_ne!(other.user_id, first.user_id);
    let number = connect(&mut rig, 1, &token_of("42", &json!({}))).await;
    assert_eq!(number.user_id.0, 42, "a number is the id");
    rig.sanction(first.user_id.0, SanctionKind::Ban).await;
    let banned = send(&rig, "GET /api/streams", &token, &json!({})).await;
    assert_eq!((banned.status, banned.code().as_str()), (403, "banned"));
}

#[tokio::test]
async fn new_users_wait_while_the_store_is_away() {
    let mut rig = Rig::start().await;
    let known = token_of("known", &json!({}));
    let id = connect(&mut rig, 1, &known).await.user_id;
    rig.metadata.set_down(true);
    assert_eq!(connect(&mut rig, 1, &known).await.user_id, id);
    assert_eq!(connect(&mut rig, 1, &token_of("42", &json!({}))).await.user_id.0, 42);
    let new = token_of("new", &json!({}));
    let refusal = open(rig.address, &format!("/ws/1?token={new}"), &[]).await.refusal().await;
    let expected = RefusalCodes {
        error: "identity_unavailable".to_owned(),
        bye: "identity_unavailable".to_owned(),
        close: 4007,
        reconnect_after_ms: Some(5_000),
    };
    assert_eq!(refusal, expected);
    let refused = send(&rig, "POST /api/streams/1/comments", &new, &json!({"message": "hi"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(rig.no_viewer());
    rig.metadata.set_down(false);
    assert_ne!(connect(&mut rig, 1, &new).await.user_id, id);
}

#[tokio::test]
async fn a_role_on_a_stream_counts_there_only() {
    let mut rig = Rig::start().await;
    let moderator = token_of("7", &json!({"streams": {"1": "moderator"}}));
    assert_eq!(connect(&mut rig, 1, &moderator).await.role, Role::Moderator);
    assert_eq!(connect(&mut rig, 2, &moderator).await.role, Role::Viewer);
    let slow = json!({"slow_ms": 30_000});
    let user = json!({"user": "id:42"});
    for (stream, status) in [(1, 200), (2, 403), (4, 403)] {
        for (line, body) in [
            (format!("PATCH /api/streams/{stream}/room"), &slow),
            (format!("POST /api/streams/{stream}/moderation/timeout"), &user),
            (format!("GET /api/streams/{stream}/moderation/queue"), &json!({})),
            (format!("GET /api/streams/{stream}/room/terms"), &json!({})),
        ] {
            let reply = send(&rig, &line, &moderator, body).await;
            assert_eq!(reply.status, status, "{line}: {reply:?}");
        }
    }
    let title = json!({"title": "new"});
    let refused = send(&rig, "PATCH /api/streams/1", &moderator, &title).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
}

#[tokio::test]
async fn a_broadcaster_of_a_stream_changes_only_it() {
    let rig = Rig::start().await;
    let owner = token_of("8", &json!({"streams": {"2": "broadcaster"}, "role": "moderator"}));
    let title = json!({"title": "new"});
    let changed = send(&rig, "PATCH /api/streams/2", &owner, &title).await;
    assert_eq!((changed.status, changed.json()["title"].as_str()), (200, Some("new")));
    let before = rig.metadata.dump();
    for line in ["PATCH /api/streams/1", "PATCH /api/streams/4", "POST /api/streams"] {
        let refused = send(&rig, line, &owner, &title).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{line}");
    }
    assert_eq!(rig.metadata.dump(), before);
}

#[tokio::test]
async fn settings_of_a_room_are_shown_to_its_staff() {
    let rig = Rig::start().await;
    let moderator = token_of("7", &json!({"streams": {"1": "moderator"}}));
    for stream in [1, 2] {
        let admin = token_of("9", &json!({"role": "admin"}));
        let shield = json!({"shield": true, "timeouts_ms": [60_000]});
        send(&rig, &format!("PATCH /api/streams/{stream}/room"), &admin, &shield).await;
    }
    let listed = send(&rig, "GET /api/streams", &moderator, &json!({})).await.json();
    let settings = |index: usize| &listed["streams"][index]["room"]["timeouts_ms"];
    assert_eq!(settings(0), &json!([60_000]), "{listed}");
    assert_eq!(settings(1), &Value::Null, "{listed}");
}

#[tokio::test]
async fn a_given_role_counts_beside_the_token() {
    let mut rig = Rig::start().await;
    let ann = token_of("auth0|ann", &json!({}));
    let id = connect(&mut rig, 1, &ann).await.user_id;
    let operator = Actor::operator(Some("op"), 0);
    let stream_id = StreamId(1);
    let user = UserRef(format!("id:{id}"));
    let grant = GrantRequest { user: user.clone(), role: Role::Moderator, stream_id, note: None };
    rig.control.grant(&operator, &grant).await.unwrap();
    assert_eq!(connect(&mut rig, 1, &ann).await.role, Role::Moderator);
    assert_eq!(connect(&mut rig, 2, &ann).await.role, Role::Viewer);
    let higher = token_of("auth0|ann", &json!({"streams": {"1": "broadcaster"}}));
    assert_eq!(connect(&mut rig, 1, &higher).await.role, Role::Broadcaster);
    let slow = json!({"slow_ms": 30_000});
    let patch = async |rig: &Rig, stream: u64| {
        send(rig, &format!("PATCH /api/streams/{stream}/room"), &ann, &slow).await.status
    };
    assert_eq!((patch(&rig, 1).await, patch(&rig, 2).await), (200, 403));
    let revoke = RevokeRequest { user, stream_id, note: None };
    rig.control.revoke(&operator, &revoke).await.unwrap();
    assert_eq!(patch(&rig, 1).await, 403, "at once");
    assert_eq!(connect(&mut rig, 1, &ann).await.role, Role::Viewer);
}
