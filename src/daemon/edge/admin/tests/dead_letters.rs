//! Dead letters over the socket, and their alert.

use super::*;
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::{Position, Record};
use crate::daemon::stages::control::fakes::STARTED_MS;
use crate::protocol::events::Event;

fn put(served: &Served, offset: u64, payload: Vec<u8>) {
    let position = Position { partition: 1, offset };
    let record = Record { position, key: 1, timestamp_ms: STARTED_MS, payload: payload.into() };
    let letter =
        DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Archiver, &record, &"no such event");
    let letter = letter.record(1, STARTED_MS + offset);
    served.world.log.put(Topic::DeadLetters, 1, letter.timestamp_ms, letter.payload.to_vec());
}

async fn deal(served: &Served, path: &str, body: &Value) -> DeadLettersOutcome {
    let (status, body) = served.send("POST", path, body.to_string()).await.whole().await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

async fn alerts(served: &Served) -> Vec<String> {
    served.reporter.0.watch_cluster().await;
    let alerts: Cluster<Alert> = served.get("/v1/alerts").await;
    let ids = alerts.items.into_iter().map(|alert| alert.id);
    ids.filter(|id| id == "dead_letters").collect()
}

#[tokio::test]
async fn their_alert_ends_when_they_are_dealt_with() {
    let served = Served::new().await;
    assert_eq!(alerts(&served).await, [""; 0]);
    let readable = Event::CommentSubmitted(submitted(StreamId(1), 5, "found again")).encode();
    put(&served, 7, readable);
    put(&served, 9, b"\xC1".to_vec());
    assert_eq!(alerts(&served).await, ["dead_letters"]);

    let letters: Cluster<DeadLetterItem> = served.get("/v1/dead-letters?stream=1").await;
    let [broken, whole] = &letters.items[..] else { panic!("{letters:?}") };
    assert_eq!(
        (whole.state, whole.message.as_deref()),
        (DeadLetterState::Open, Some("found again"))
    );
    let outcome = deal(&served, "/v1/dead-letters/requeue", &json!({"all": true})).await;
    assert_eq!(outcome.done, std::slice::from_ref(&whole.id));
    assert_eq!(outcome.failed[0].id, broken.id);
    assert_eq!(served.world.log.records(Topic::CommentEvents).len(), 1);
    assert_eq!(alerts(&served).await, ["dead_letters"], "one is left");

    let request = json!({"ids": [broken.id], "note": "a test wrote it"});
    let outcome = deal(&served, "/v1/dead-letters/ack", &request).await;
    assert_eq!(outcome.done, std::slice::from_ref(&broken.id));
    assert_eq!(alerts(&served).await, [""; 0]);
    let audit: Cluster<AuditEntry> = served.get("/v1/audit").await;
    let actions: Vec<_> = audit.items.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["ack_dead_letters", "requeue_dead_letter"]);
    let events: Cluster<EventItem> = served.get("/v1/events").await;
    assert!(events.items.iter().any(|event| event.subject == "dead letters"), "{events:?}");
}
