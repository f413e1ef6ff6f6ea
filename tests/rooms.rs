//! Rules of rooms, as viewers and moderators meet them, over real sockets.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod support;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{Outcome, Room};
use live_comments::protocol::room::RoomRules;
use live_comments::protocol::{ErrorCode, Role, ServerMessage};
use serde_json::json;
use support::{Daemon, Viewer, archived, comment, history, msgpack};

async fn set(daemon: &Daemon, rules: serde_json::Value) -> Outcome {
    daemon.admin().post("/v1/streams/1/room", &rules).await.unwrap()
}

async fn told_rules(viewer: &mut Viewer) -> RoomRules {
    let rules = |message: &ServerMessage| match message {
        ServerMessage::Room(rules) => Some(*rules),
        _ => None,
    };
    viewer.until(rules).await
}

/// Sends a comment that is refused, and returns the code and the wait.
async fn refused(viewer: &mut Viewer, text: &str) -> (ErrorCode, Option<u64>) {
    viewer.send(&comment(text, text)).await;
    let error = |message: &ServerMessage| match message {
        ServerMessage::Error { code, retry_after_ms, .. } => Some((*code, *retry_after_ms)),
        _ => None,
    };
    viewer.until(error).await
}

#[tokio::test]
async fn viewers_are_told_the_rules_and_held_to_them() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    set(&daemon, json!({"slow_ms": 600_000})).await;
    for viewer in [&mut ann, &mut packed] {
        assert_eq!(told_rules(viewer).await.slow_ms, Some(600_000));
    }
    ann.comment("first").await;
    let (code, wait_ms) = refused(&mut ann, "second").await;
    assert_eq!(code, ErrorCode::SlowMode);
    assert!(wait_ms.is_some_and(|ms| (500_000..=600_000).contains(&ms)), "{wait_ms:?}");

    let token = daemon.token_of(7, "mod", Role::Moderator);
    let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
    let mut moderator = Viewer::join(options).await;
    moderator.comment("one").await;
    moderator.comment("two").await;

    let daemon = daemon.kill_and_restart();
    let mut ann = daemon.join(42, "ann").await;
    assert_eq!(refused(&mut ann, "third").await.0, ErrorCode::SlowMode, "a restart frees nobody");
    set(&daemon, json!({"slow_ms": null, "unique_ms": 600_000})).await;
    ann.comment_as("fourth", "r4").await;
    assert_eq!(refused(&mut ann, "Fourth!").await.0, ErrorCode::SaidBefore);
}

#[tokio::test]
async fn http_is_held_to_the_rules_of_the_room() {
    let daemon = Daemon::start("");
    let outcome = set(&daemon, json!({"shield": true})).await;
    let room: Room = daemon.admin().get("/v1/streams/1/room").await.unwrap();
    assert_eq!((room.in_force.slow_ms, room.in_force.no_links), (Some(30_000), true));
    let token = daemon.token(42, "ann");
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let post = async |text: &str| {
        let body = json!({ "message": text }).to_string();
        let path = "/api/streams/1/comments";
        let (status, body) = support::http(&daemon, "POST", path, &headers, Some(&body)).await;
        (status, body["error"]["code"].as_str().map(str::to_owned))
    };
    assert_eq!(post("see evil.net").await, (422, Some("links_refused".to_owned())));
    assert_eq!(post("hello").await, (201, None), "what was refused took no turn");
    assert_eq!(post("again").await, (429, Some("slow_mode".to_owned())));
    let undo = json!({ "audit_id": outcome.audit_id });
    let _: Outcome = daemon.admin().post("/v1/undo", &undo).await.unwrap();
    assert_eq!(post("again").await, (201, None));
}

#[tokio::test]
async fn a_cleared_room_is_empty_until_it_is_undone() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let mut bob = daemon.join(43, "bob").await;
    ann.comment("one").await;
    bob.comment("two").await;
    let clear = json!({"last_ms": 600_000, "reason": "raid"});
    let path = "/v1/streams/1/room/clear";
    let cleared: Outcome = daemon.admin().post(path, &clear).await.unwrap();
    assert_eq!(cleared.changes, Some(2));
    for _ in 0..2 {
        let reason = ann.until(|message| match message {
            ServerMessage::CommentDeleted(deletion) => Some(deletion.reason.clone()),
            _ => None,
        });
        assert_eq!(&*reason.await, "raid");
    }
    archived(&daemon).await;
    assert!(history(&daemon, support::STREAM).await.is_empty());
    let undo = json!({ "audit_id": cleared.audit_id });
    let undone: Outcome = daemon.admin().post("/v1/undo", &undo).await.unwrap();
    assert_eq!(undone.changes, Some(2));
    archived(&daemon).await;
    assert_eq!(history(&daemon, support::STREAM).await.len(), 2);
}
