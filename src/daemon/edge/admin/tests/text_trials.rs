//! A text that is tried is explained, and counted nowhere.

use super::*;
use crate::protocol::events::Decision;

async fn test(served: &Served, request: &Value) -> TextTrial {
    let (status, body) =
        served.send("POST", "/v1/mod/test", request.to_string()).await.whole().await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_tried_text_is_explained() {
    let served = Served::new().await;
    let before = served.world.state();
    let tried = test(&served, &json!({"text": "b4dword at evil . ru"})).await;
    assert_eq!((tried.decision, tried.reason.as_deref()), (Decision::Reject, Some("blocked_word")));
    assert_eq!((tried.node.as_str(), tried.user_id), ("a", None));
    let [rules] = &tried.stages[..] else { panic!("{tried:?}") };
    assert!(rules.decides && rules.stage == "rules");
    let broken: Vec<_> = rules
        .rules
        .iter()
        .map(|broken| (&*broken.rule, broken.decision, broken.matched.as_deref().unwrap()))
        .collect();
    let expected =
        [("blocked_word", Decision::Reject, "badword"), ("link", Decision::Flag, "evil.ru")];
    assert_eq!(broken, expected);
    assert_eq!(rules.rules[0].setting, "moderation.rules.blocked_word_action");
    let fine = test(&served, &json!({"text": "a good word on example.com"})).await;
    assert_eq!((fine.decision, fine.reason), (Decision::Accept, None));
    assert!(fine.stages[0].rules.is_empty() && !fine.stages[0].decides);
    assert_eq!(served.world.state(), before);
}

#[tokio::test]
async fn a_tried_text_is_counted_nowhere() {
    let served = Served::new().await;
    for _ in 0..20 {
        let request = json!({"text": "again and again", "stream_id": 1, "user": "42"});
        let tried = test(&served, &request).await;
        assert_eq!(tried.user_id, Some(UserId(42)));
        assert_eq!(tried.stages[0].rules, [], "no repeat");
    }
}
