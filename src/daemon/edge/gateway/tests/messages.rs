//! Tests of direct messages and polls over HTTP.

use serde_json::json;

use super::client::{Reply, request};
use super::rig::{Rig, token};

const JSON: &str = "Content-Type: application/json";

async fn ask(rig: &Rig, user: u64, line: &str, body: &serde_json::Value) -> Reply {
    let bearer = format!("Authorization: Bearer {}", token(user, "viewer"));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request(rig.address, line, &[JSON, &bearer], body.as_bytes()).await
}

#[tokio::test]
async fn users_read_their_messages_only_so_often() {
    let rig = Rig::start().await;
    let list = "GET /api/streams/1/messages";
    let acknowledge = "POST /api/streams/1/messages/acknowledged";
    let up_to = json!({ "up_to": 9 });
    for _ in 0..10 {
        assert_eq!(ask(&rig, 7, list, &json!(null)).await.status, 200);
        assert_eq!(ask(&rig, 7, acknowledge, &up_to).await.status, 204);
    }
    for (line, body) in [(list, &json!(null)), (acknowledge, &up_to)] {
        let refused = ask(&rig, 7, line, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{line}");
    }
    assert_eq!(ask(&rig, 8, list, &json!(null)).await.status, 200, "another user");
}

#[tokio::test]
async fn users_send_each_other_nothing_by_default() {
    let rig = Rig::start().await;
    let body = json!({ "user": "id:8", "message": "hi" });
    let refused = ask(&rig, 7, "POST /api/streams/1/messages", &body).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "messages_off"));
}

#[tokio::test]
async fn a_list_has_at_most_a_hundred_polls() {
    let rig = Rig::start().await;
    for (limit, status) in [("1", 200), ("100", 200), ("101", 400), ("0", 400), ("x", 400)] {
        let line = format!("GET /api/streams/1/polls?limit={limit}");
        assert_eq!(ask(&rig, 7, &line, &json!(null)).await.status, status, "{limit}");
    }
}
