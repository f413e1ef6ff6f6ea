//! Previews: what a change would do, against what it does.

use super::*;
use crate::protocol::Role;

async fn preview(served: &Served, request: Value) -> Preview {
    let (status, body) =
        served.send("POST", "/v1/preview", request.to_string()).await.whole().await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn another_node_is_previewed_and_drained() {
    let served = Served::new().await;
    let mut report = report(&NodeId::new("b"));
    served.world.registry.set_report("b", report.clone());
    let told = preview(&served, json!({"action": "drain", "node": "b"})).await;
    assert!(told.effect.starts_with("Drain b: 6 viewers and 1 sender move"), "{told:?}");
    let silent = preview(&served, json!({"action": "drain", "node": "c"})).await;
    assert_eq!(silent.effect, "Drain c: it does not report, and may not hear of it.");

    report.node.draining = false;
    served.world.registry.set_report("b", report);
    let outcome = served.post("/v1/drain", &json!({"node": "b", "undo": true})).await;
    assert_eq!((outcome.node, outcome.reported), (Some(NodeId::new("b")), Some(true)));
    assert!(!served.world.board.is_draining());
    let path = "/v1/events?where=kind%3Daudit";
    let events: Cluster<EventItem> = served.get(path).await;
    assert_eq!(events.items[0].subject, "node b");
}

#[tokio::test]
async fn a_preview_leaves_out_whom_the_batch_leaves_out() {
    let served = Served::new().await;
    let registry = &served.world.registry;
    registry.place(42, "a").await;
    registry.place_as(Role::Moderator, 7, "b").await;
    let users = json!(["id:42", "id:7", "id:99"]);
    let told = preview(&served, json!({"action": "ban", "users": users})).await;
    assert_eq!((told.users, told.moderators, told.connections), (2, 1, 1));
    assert!(told.effect.contains("1 moderator among them: left out."), "{told:?}");
    let all = json!({"action": "kick", "users": users, "include_moderators": true});
    let all = preview(&served, all).await;
    assert_eq!((all.users, all.moderators, all.connections), (3, 1, 2));

    let ban = |user: &Value| json!({"action": "ban", "user": user});
    let changes: Vec<_> = users.as_array().unwrap().iter().map(ban).collect();
    let banned = served.post("/v1/batch", &json!({"changes": changes})).await;
    assert_eq!((banned.changes, banned.left_out.len() as u64), (Some(told.users), 1));
    assert!(banned.left_out[0].starts_with("twin (user 7) has the role moderator"), "{banned:?}");
    let alone = preview(&served, json!({"action": "ban", "users": ["id:7"]})).await;
    assert!(alone.effect.ends_with("The user is a moderator."), "{alone:?}");
    assert_eq!((alone.users, alone.connections), (1, 1));
}

#[tokio::test]
async fn a_ban_that_closes_later_is_previewed_so() {
    let served = Served::new().await;
    served.world.registry.place(42, "b").await;
    let request = json!({"action": "ban", "users": ["ann"], "disconnect_after_ms": 10_000});
    let told = preview(&served, request).await;
    let expected = "Ban ann (user 42) permanently: 1 connection on b. All close in 10s;";
    assert!(told.effect.starts_with(expected), "{told:?}");
}

#[tokio::test]
async fn a_preview_does_not_wait_for_a_slow_store() {
    let served = Served::new().await;
    served.world.registry.set_hanging(true);
    let begun = std::time::Instant::now();
    let request = json!({"action": "kick", "users": ["42"]}).to_string();
    let (status, body) = served.send("POST", "/v1/preview", request).await.whole().await;
    // Far less than the two seconds that other requests wait for the registry.
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    let error: ProblemDetails = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, error.code), (503, ErrorCode::StoreUnavailable));
    assert!(error.detail.contains("within 50ms"), "{error:?}");
    let who = json!({"action": "announce", "stream_id": 1});
    assert_eq!(preview(&served, who).await.viewers, 12, "it needs nobody's connections");
}
