//! A bus that closes, and one that is away while the log has the comments.

use super::*;
use crate::daemon::engines::eventlog::{Position, StartAt};

/// Whoever publishes is stopped at the same time, which closes the bus. The hub sees one or the
/// other first.
#[tokio::test]
async fn a_bus_that_closes_at_the_stop_is_no_failure() {
    for _ in 0..20 {
        let rig = Rig::start().await;
        rig.stop.cancel();
        drop(rig.bus);
        rig.task.await.unwrap().unwrap();
    }
    let rig = Rig::start().await;
    drop(rig.bus);
    assert!(matches!(rig.task.await.unwrap(), Err(HubError::Bus(BusError::Closed))));
}

/// Says that the broadcast stage has shown everything below `next`.
async fn commit_broadcast(rig: &Rig, next: u64) {
    let topic = Topic::CommentEvents;
    let mut consumer =
        rig.log.consume(topic, ConsumerGroup::Coordinator, StartAt::Earliest).await.unwrap();
    consumer.poll(0, Duration::ZERO).await.unwrap();
    consumer.commit(&[Position { partition: 0, offset: next }]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bus_outage_is_bridged_from_the_log_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2)]);
    rig.append(STREAM, 9).await;
    rig.bus.report_outage(BusEvent::Interrupted);
    commit_broadcast(&rig, 5).await;
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(3, 4)], "and no further than it was broadcast");
    commit_broadcast(&rig, 7).await;
    rig.bus.report_outage(BusEvent::Restored);
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(5, 6)], "what was published while it came back");
    rig.broadcast(batch(6, 8, &[])).await;
    assert_eq!(rig.frames(0).await, [range(7, 8)]);
    commit_broadcast(&rig, 10).await;
    tokio::time::sleep(4 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [], "with the bus back the log is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_room_delays_no_other_in_an_outage() {
    let rig = Rig::start().await;
    let mut delayed = stream(OTHER.0, ModerationMode::Async);
    delayed.room.delay_ms = Some(30_000);
    rig.metadata.put_stream(delayed);
    rig.streams.reload().await.unwrap();
    rig.watch(0).await;
    rig.bus.report_outage(BusEvent::Interrupted);
    rig.append(STREAM, 3).await;
    rig.cache(&batch(1, 3, &[])).await;
    // The oldest comment that is held back is the first.
    commit_broadcast(&rig, 1).await;
    tokio::time::sleep(2 * LOG_READ_INTERVAL).await;
    assert_eq!(rig.frames(0).await, [range(1, 3)]);
}
