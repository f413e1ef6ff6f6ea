//! Streams whose room has a message delay.

use std::sync::Arc;
use std::time::Duration;

use super::deletions::restoration_of;
use super::{STREAM, Stage, assert_ranges_join, deletion_of, record, submitted};
use crate::daemon::base::clock::TokioClock;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::directory::{Delays, Streams};
use crate::daemon::engines::eventlog::{ConsumerGroup, EventLog as _, Topic};
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::Role;
use crate::protocol::events::{CommentSubmitted, Event};
use crate::protocol::stream::ModerationMode;

/// Comments of the stream are shown five seconds late.
async fn delays() -> Delays {
    let metadata = InMemoryMetadata::default();
    let mut delayed = stream(STREAM.0, ModerationMode::Async);
    delayed.room.delay_ms = Some(5_000);
    metadata.put_stream(delayed);
    let streams = Streams::load(Arc::new(metadata)).await.unwrap();
    // The comments of these tests are of the first millisecond.
    Delays::new(streams, Arc::new(TokioClock::starting_at(Duration::from_millis(1))))
}

fn shown(stage: &Stage) -> Vec<u64> {
    let batches = stage.journal.batches();
    assert_ranges_join(&batches);
    batches.iter().flat_map(|batch| &batch.comments).map(|comment| comment.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn comments_are_published_after_the_delay() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    stage.comments(2, Duration::from_millis(4_900)).await;
    assert_eq!(shown(&stage), [0; 0]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(shown(&stage), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_comment_deleted_in_time_is_never_shown() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    let (bad, bad_id) = stage.comment(Role::Viewer, false);
    let (good, _) = stage.comment(Role::Viewer, false);
    stage.log.append(Topic::CommentEvents, vec![bad, good]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stage.log.append(Topic::CommentEvents, vec![deletion_of(bad_id)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let published = stage.journal.published();
    assert!(matches!(published[..], [BusMessage::Deleted { .. }]), "at once: {published:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(shown(&stage), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_taken_back_in_time_is_in_no_batch() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    let (comment, comment_id) = stage.comment(Role::Viewer, false);
    let records = vec![comment, deletion_of(comment_id), restoration_of(comment_id)];
    stage.log.append(Topic::CommentEvents, records).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shown(&stage), [1]);
    assert!(stage.journal.batches().iter().all(|batch| batch.deletions.is_empty()));
    let published = stage.journal.published();
    let at_once = [
        matches!(published[0], BusMessage::Deleted { .. }),
        published[1] == BusMessage::Restored { comment_id },
    ];
    assert_eq!(at_once, [true; 2], "viewers that are there are told: {published:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_shown_by_the_next_coordinator() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    stage.comments(2, Duration::from_secs(2)).await;
    let (log, journal) = stage.stop().await;
    assert!(journal.batches().is_empty());
    let committed = log.committed(Topic::CommentEvents, ConsumerGroup::Coordinator).await.unwrap();
    assert!(committed.iter().all(|position| position.offset <= 1), "{committed:?}");
    let next = Stage::start_with(log, Some(delays().await));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shown(&next), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_neither_late_nor_lag() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    stage.comments(2, Duration::from_secs(2)).await;
    let held: Vec<_> = stage.board.held_records().into_values().collect();
    assert_eq!(held, [2]);
    let received = || stage.board.stream(STREAM).unwrap().received;
    assert_eq!(received(), 0, "after a restart they are read again");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shown(&stage), [1, 2]);
    assert_eq!(received(), 2);
    assert!(stage.board.held_records().is_empty());
    let delays_ms = stage.journal.batches().iter().map(|batch| batch.held_back.delay_ms).max();
    assert_eq!(delays_ms, Some(5_000), "edges do not count it as latency");
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_a_run_nothing_is_held() {
    for bus_fails in [false, true] {
        let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
        stage.comments(2, Duration::from_secs(2)).await;
        let board = stage.board.clone();
        assert_eq!(board.held_records().into_values().collect::<Vec<_>>(), [2]);
        if bus_fails {
            stage.bus.set_down(true);
            let (_, comment_id) = stage.comment(Role::Viewer, false);
            let deletion = vec![deletion_of(comment_id)];
            stage.log.append(Topic::CommentEvents, deletion).await.unwrap();
            assert!(stage.task.await.unwrap().is_err());
        } else {
            stage.stop().await;
        }
        assert!(board.held_records().is_empty(), "a failure: {bus_fails}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_comment_is_marked_for_edges() {
    let mut stage = Stage::start();
    let number = 71;
    let comment = submitted(STREAM, number, Role::Viewer, false);
    let released = CommentSubmitted {
        client_ref: Some(CommentSubmitted::released_ref(comment.comment.comment_id)),
        ..comment
    };
    let forged = CommentSubmitted {
        client_ref: Some("review:mine".into()),
        ..submitted(STREAM, number + 1, Role::Viewer, false)
    };
    let records = [released, forged].map(|event| record(&Event::CommentSubmitted(event)));
    stage.log.append(Topic::CommentEvents, records.into()).await.unwrap();
    stage.comments(1, Duration::from_millis(100)).await;
    let batches = stage.journal.batches();
    let released: Vec<_> = batches.iter().flat_map(|batch| &batch.held_back.released).collect();
    assert_eq!(released, [&1]);
}

#[tokio::test(start_paused = true)]
async fn replayed_comments_do_not_throttle() {
    let mut stage = Stage::start_with(InMemoryLog::new(), Some(delays().await));
    stage.rate(4_000, 4).await;
    assert_eq!(stage.journal.rates(), [0.0; 0]);
    let (log, _) = stage.stop().await;
    let next = Stage::start_with(log, Some(delays().await));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(next.journal.rates(), [0.0; 0], "they are of earlier");
}
