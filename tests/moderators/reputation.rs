//! The points of users, over real sockets and a kill of the daemon.

#![allow(clippy::unwrap_used)]

use live_comments::protocol::admin::{TextTrial, UserDetail, UserReputation};
use serde_json::json;

use crate::support::moderation::{BLOCKED, post};
use crate::support::{Daemon, moderated};

const TROLL: u64 = 42;

async fn reputation(daemon: &Daemon) -> UserReputation {
    let detail: UserDetail = daemon.admin().get("/v1/users/id:42").await.unwrap();
    detail.reputation.unwrap()
}

/// Returns the points to one decimal: they decay while a test runs.
async fn points(daemon: &Daemon) -> f64 {
    (reputation(daemon).await.points * 10.0).round() / 10.0
}

#[tokio::test]
async fn points_survive_a_kill_until_forgiven() {
    let daemon = Daemon::start(BLOCKED);
    let mut troll = daemon.join(TROLL, "troll").await;
    troll.comment("hello").await;
    moderated(&daemon).await;
    assert_eq!(points(&daemon).await, 0.0);
    troll.comment("one badword here").await;
    troll.comment("another badword there").await;
    troll.comment("one badword here!").await;
    moderated(&daemon).await;
    assert_eq!(points(&daemon).await, 3.5, "the third repeats the first");
    let daemon = daemon.kill_and_restart();
    moderated(&daemon).await;
    assert_eq!(points(&daemon).await, 3.5, "what is read again counts once");
    assert!(reputation(&daemon).await.lowers > 0.1);
    let request = json!({"text": "hi", "user": "id:42", "stream_id": 1});
    let tried: TextTrial = daemon.admin().post("/v1/mod/test", &request).await.unwrap();
    assert!(tried.thresholds.unwrap().by_points > 0.1);

    let forgiven = post(&daemon, "/v1/mod/forgive", json!({"user": "id:42"})).await;
    assert_eq!(points(&daemon).await, 0.0);
    post(&daemon, "/v1/undo", json!({"audit_id": forgiven.audit_id})).await;
    assert_eq!(points(&daemon).await, 3.5);
}

#[tokio::test]
async fn a_timeout_costs_points_until_undone() {
    let daemon = Daemon::start("");
    let request = json!({"user": "id:42", "duration_ms": 60_000});
    let timeout = post(&daemon, "/v1/timeout", request).await;
    assert_eq!(points(&daemon).await, 2.0);
    post(&daemon, "/v1/undo", json!({"audit_id": timeout.audit_id})).await;
    assert_eq!(points(&daemon).await, 0.0);
}

#[tokio::test]
async fn without_reputation_nothing_is_counted() {
    let daemon = Daemon::start("[moderation.reputation]\nenabled = false\n");
    let detail: UserDetail = daemon.admin().get("/v1/users/id:42").await.unwrap();
    assert_eq!(detail.reputation, None);
}
