//! Rules of rooms, as viewers and moderators meet them, over real sockets.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{AuditEntry, Cluster, Outcome, Room, TextTrial};
use live_comments::protocol::events::Decision;
use live_comments::protocol::room::{RoomPatch, RoomRules, RoomTerm};
use live_comments::protocol::{
    Badge, ClientMessage, ErrorCode, ModerationAct, Role, ServerMessage,
};
use serde_json::json;

use crate::support::moderation::check_before_showing;
use crate::support::{
    self, Daemon, STREAM, Viewer, archived, comment, history, history_becomes, msgpack,
};

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
        (status, body["code"].as_str().map(str::to_owned))
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

/// The viewer `mod`, with the role moderator.
async fn moderator(daemon: &Daemon) -> Viewer {
    let token = daemon.token_of(7, "mod", Role::Moderator);
    Viewer::join(ViewerOptions { token: Some(token.into()), ..daemon.options() }).await
}

async fn deletion_reason(viewer: &mut Viewer) -> String {
    let reason = viewer.until(|message| match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.reason.to_string()),
        _ => None,
    });
    reason.await
}

#[tokio::test]
async fn terms_of_a_room_hold_until_undone() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let terms = json!({"add": [{"term": "Spoiler"}, {"term": "cheater", "action": "flag"}]});
    let path = "/v1/streams/1/room/terms";
    let added: Outcome = daemon.admin().post(path, &terms).await.unwrap();
    assert_eq!(added.now.as_deref(), Some("stream 1 has 2 blocked terms"));
    ann.comment("here comes a sp0iler").await;
    assert_eq!(deletion_reason(&mut ann).await, "room_term");
    let trial = json!({"text": "spoiler", "stream_id": 1});
    let tried: TextTrial = daemon.admin().post("/v1/mod/test", &trial).await.unwrap();
    assert_eq!((tried.decision, tried.reason.as_deref()), (Decision::Reject, Some("room_term")));
    let elsewhere: TextTrial =
        daemon.admin().post("/v1/mod/test", &json!({"text": "spoiler"})).await.unwrap();
    assert_eq!(elsewhere.decision, Decision::Accept);

    let daemon = daemon.kill_and_restart();
    let listed: Cluster<RoomTerm> = daemon.admin().get(path).await.unwrap();
    let listed: Vec<_> = listed.items.iter().map(|term| term.term.as_str()).collect();
    assert_eq!(listed, ["cheater", "spoiler"]);
    let bad = json!({"add": [{"term": "***"}]});
    let error = daemon.admin().post::<_, Outcome>(path, &bad).await.unwrap_err();
    assert!(error.to_string().contains("no letter or digit"), "{error}");
    let undo = json!({ "audit_id": added.audit_id });
    let _: Outcome = daemon.admin().post("/v1/undo", &undo).await.unwrap();
    let mut bob = daemon.join(43, "bob").await;
    bob.comment("spoiler").await;
    support::moderated(&daemon).await;
    archived(&daemon).await;
    history_becomes(&daemon, &["spoiler".to_owned()]).await;
}

#[tokio::test]
async fn a_screened_room_refuses_its_terms() {
    let daemon = Daemon::start("");
    check_before_showing(&daemon).await;
    let terms = json!({"add": [{"term": "spoiler"}]});
    let _: Outcome = daemon.admin().post("/v1/streams/1/room/terms", &terms).await.unwrap();
    let mut ann = daemon.join(42, "ann").await;
    assert_eq!(refused(&mut ann, "a spoiler").await.0, ErrorCode::ModerationRejected);
    ann.comment("fine").await;
}

#[tokio::test]
async fn comments_in_other_languages_are_removed() {
    let daemon = Daemon::start("");
    set(&daemon, json!({"languages": {"allowed": ["en"], "action": "reject"}})).await;
    let mut ann = daemon.join(42, "ann").await;
    ann.comment("that was a really beautiful game by all of you").await;
    ann.comment("das war heute wirklich ein sehr schönes Spiel von euch").await;
    assert_eq!(deletion_reason(&mut ann).await, "language");
    archived(&daemon).await;
    let english = "that was a really beautiful game by all of you".to_owned();
    history_becomes(&daemon, &[english]).await;
}

#[tokio::test]
async fn badges_reach_viewers_and_the_history() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    let token = daemon.token_with(7, "mod", |claims| {
        claims.role = Role::Moderator;
        claims.subscriber = true;
    });
    let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
    let mut moderator = Viewer::join(options).await;
    moderator.comment("hello").await;
    let expected = [Badge::Moderator, Badge::Subscriber];
    for viewer in [&mut plain, &mut packed] {
        let badges = viewer.until(|message| match message {
            ServerMessage::Comments(batch) => batch.comments.first().map(|first| first.badges),
            _ => None,
        });
        assert_eq!(badges.await.iter().collect::<Vec<_>>(), expected);
    }
    daemon.join(42, "ann").await.comment("hi").await;
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    let badges: Vec<_> = stored.iter().map(|comment| comment.badges.iter().count()).collect();
    assert_eq!(badges, [2, 0], "oldest first");
}

#[tokio::test]
async fn moderators_change_the_room_by_websocket() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let patch = RoomPatch { slow_ms: Some(Some(600_000)), ..RoomPatch::default() };
    let change = ClientMessage::Room { patch: patch.into(), client_ref: Some("r1".to_owned()) };
    ann.send(&change).await;
    let error = |message: &ServerMessage| match message {
        ServerMessage::Error { code, client_ref, .. } => Some((*code, client_ref.clone())),
        _ => None,
    };
    assert_eq!(ann.until(error).await, (ErrorCode::Forbidden, Some("r1".into())));
    for packed in [false, true] {
        let token = daemon.token_of(7, "mod", Role::Moderator);
        let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
        let options = if packed { msgpack(options) } else { options };
        let mut moderator = Viewer::join(options).await;
        moderator.send(&change).await;
        let acked = moderator.until(|message| match message {
            ServerMessage::RoomAck { client_ref } => Some(client_ref.clone()),
            _ => None,
        });
        assert_eq!(acked.await.as_deref(), Some("r1"));
    }
    assert_eq!(told_rules(&mut ann).await.slow_ms, Some(600_000));
    let log: Cluster<AuditEntry> = daemon.admin().get("/v1/audit?limit=1").await.unwrap();
    let newest = &log.items[0];
    assert_eq!((newest.action.as_str(), newest.actor.as_str()), ("room", "mod (user 7)"));
    let room: Room = daemon.admin().get("/v1/streams/1/room").await.unwrap();
    assert_eq!(room.in_force.slow_ms, Some(600_000));
    let mut moderator = moderator(&daemon).await;
    moderator.comment("exempt").await;
}

#[tokio::test]
async fn moderators_act_by_websocket_and_http() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (bad, _) = ann.comment("bad").await;
    let mut moderator = moderator(&daemon).await;
    let fields = json!({"comment_id": bad, "reason": "spam"});
    let act = ModerationAct::named("delete", fields).unwrap();
    let delete = ClientMessage::Moderate { act: act.into(), client_ref: Some("d1".to_owned()) };
    ann.send(&delete).await;
    let error = |message: &ServerMessage| match message {
        ServerMessage::Error { code, .. } => Some(*code),
        _ => None,
    };
    assert_eq!(ann.until(error).await, ErrorCode::Forbidden);
    moderator.send(&delete).await;
    let acked = moderator.until(|message| match message {
        ServerMessage::ModerateAck { client_ref } => Some(client_ref.clone()),
        _ => None,
    });
    assert_eq!(acked.await.as_deref(), Some("d1"));
    assert_eq!(deletion_reason(&mut ann).await, "spam");

    let token = daemon.token_of(7, "mod", Role::Moderator);
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let body = json!({"user": "id:42"}).to_string();
    let path = "/api/streams/1/moderation/timeout";
    let (status, done) = support::http(&daemon, "POST", path, &headers, Some(&body)).await;
    assert_eq!((status, &done["user_id"]), (200, &json!("42")), "{done}");
    assert_eq!(refused(&mut ann, "still here").await.0, ErrorCode::TimedOut);
    let log: Cluster<AuditEntry> = daemon.admin().get("/v1/audit?limit=2").await.unwrap();
    let audited: Vec<_> = log.items.iter().map(|it| (&*it.action, &*it.actor)).collect();
    assert_eq!(audited, [("timeout", "mod (user 7)"), ("delete", "mod (user 7)")]);
}

#[tokio::test]
async fn a_delayed_comment_can_be_deleted_before_it_is_seen() {
    let daemon = Daemon::start("");
    set(&daemon, json!({"delay_ms": 3_000})).await;
    let mut watching = daemon.watch().await;
    let mut ann = daemon.join(42, "ann").await;
    let started = std::time::Instant::now();
    let (bad, _) = ann.comment("bad").await;
    let own = ann.until(|message| match message {
        ServerMessage::Comments(batch) if batch.echo => batch.comments.first().cloned(),
        _ => None,
    });
    assert_eq!(&*own.await.message, "bad");
    assert!(started.elapsed() < std::time::Duration::from_secs(3), "at once");
    ann.comment("good").await;
    archived(&daemon).await;
    let page = support::http(&daemon, "GET", "/api/streams/1/comments", &[], None).await.1;
    assert_eq!(page["comments"], json!([]), "not before its time");
    let delete = json!({ "comment_id": bad });
    let _: Outcome = daemon.admin().post("/v1/delete", &delete).await.unwrap();
    let shown = watching.until(|message| match message {
        ServerMessage::Comments(batch) => batch.comments.first().cloned(),
        _ => None,
    });
    assert_eq!(&*shown.await.message, "good");
    assert!(started.elapsed() >= std::time::Duration::from_secs(3));
    history_becomes(&daemon, &["good".to_owned()]).await;
}
