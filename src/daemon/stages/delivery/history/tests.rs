//! The history while the recent cache is unavailable, and of rooms with a message delay.

use std::time::Duration;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::{EventLog as _, NewRecord};
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::engines::recent::RecentCache as _;
use crate::daemon::testing::comments::{
    SAMPLE_STREAM as STREAM, comment_record, event_record, sample_comment, sample_comment_id,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::events::{CommentModerated, CommentRestored, Decision};
use crate::protocol::stream::ModerationMode;
use crate::protocol::{Comment, UserId};

fn submitted(n: u64) -> NewRecord {
    comment_record(sample_comment(n))
}

fn deleted(n: u64) -> NewRecord {
    event_record(
        STREAM,
        &Event::CommentModerated(CommentModerated {
            stream_id: STREAM,
            comment_id: sample_comment_id(n),
            user_id: UserId(1),
            decision: Decision::Reject,
            reason: "spam".into(),
            timestamp: 2,
            decided_by: "rules".into(),
            text: None,
            was_hidden: false,
            in_bulk: false,
        }),
    )
}

fn restored(n: u64) -> NewRecord {
    event_record(
        STREAM,
        &Event::CommentRestored(CommentRestored {
            stream_id: STREAM,
            comment_id: sample_comment_id(n),
            user_id: UserId(1),
            reason: None,
            timestamp: 3,
            restored_by: "ann".into(),
            stays_hidden: false,
        }),
    )
}

/// The ids of the comments of a page, and of those that it says are deleted.
fn split(page: &RecentPage) -> (Vec<CommentId>, Vec<CommentId>) {
    let mut comments = Vec::new();
    let mut deletions = Vec::new();
    for event in &page.events {
        match event {
            RecentEvent::Comment(comment) => comments.push(comment.comment_id),
            RecentEvent::Deleted { deletion, .. } => deletions.push(deletion.comment_id),
            RecentEvent::Own(comment) => panic!("not of this test: {comment:?}"),
        }
    }
    (comments, deletions)
}

#[tokio::test]
async fn restored_comments_are_read_from_the_log() {
    let log = InMemoryLog::new();
    // 1 was restored at once, 2 far behind the page, 3 was deleted again.
    let first = (1..=4).map(submitted).chain([deleted(1), restored(1), deleted(2), deleted(3)]);
    log.append(Topic::CommentEvents, first.collect()).await.unwrap();
    let more = (11..=11 + PAGE_EVENTS as u64 * 2).map(submitted);
    let more = more.chain([restored(2), restored(3), deleted(3)]);
    log.append(Topic::CommentEvents, more.collect()).await.unwrap();
    let cache = Arc::new(TestRecent::default());
    for (n, seq) in [(1, 5), (2, 7), (3, 8), (3, 3_000)] {
        cache.add_tombstone(STREAM, sample_comment_id(n), seq).await.unwrap();
    }
    for (n, seq) in [(1, 6), (2, 2_000), (3, 2_001)] {
        cache.restore_comment(STREAM, sample_comment_id(n), seq).await.unwrap();
    }
    let history = History::new(cache.clone(), Arc::new(log));
    for is_away in [false, true] {
        cache.set_down(is_away);
        let HistoryRead::Page(page) = history.after(STREAM, 0, u64::MAX).await.unwrap() else {
            panic!("the log has all of it")
        };
        let (comments, deletions) = split(&page);
        let [one, two, three, four] = [1, 2, 3, 4].map(sample_comment_id);
        assert!([one, two, four].iter().all(|id| comments.contains(id)), "away: {is_away}");
        assert!(!comments.contains(&three));
        assert_eq!(deletions, [three], "away: {is_away}");
    }
}

#[tokio::test]
async fn deleted_comments_stay_hidden_without_the_cache() {
    let log = InMemoryLog::new();
    let comments = (1..=10).map(submitted).chain([deleted(3)]);
    log.append(Topic::CommentEvents, comments.collect()).await.unwrap();
    // Far behind the first page.
    let more = (11..=11 + PAGE_EVENTS as u64 * 3).map(submitted).chain([deleted(7), deleted(20)]);
    log.append(Topic::CommentEvents, more.collect()).await.unwrap();
    let cache = TestRecent::default();
    cache.set_down(true);
    let history = History::new(Arc::new(cache), Arc::new(log));
    let HistoryRead::Page(page) = history.after(STREAM, 0, u64::MAX).await.unwrap() else {
        panic!("the log has all of it")
    };
    let (ids, _) = split(&page);
    assert!(ids.contains(&sample_comment_id(1)) && ids.contains(&sample_comment_id(11)));
    for gone in [3, 7, 20] {
        assert!(!ids.contains(&sample_comment_id(gone)), "{gone} was deleted");
    }
    assert_eq!(page.covered_to, PAGE_EVENTS as Seq, "one page at a time");
}

/// For viewers that resume or unpause, from the cache and from the log.
#[tokio::test(start_paused = true)]
async fn pages_end_before_comments_that_wait() {
    let metadata = InMemoryMetadata::default();
    let mut delayed = stream(STREAM.0, ModerationMode::Async);
    delayed.room.delay_ms = Some(5_000);
    metadata.put_stream(delayed);
    let streams = Streams::load(Arc::new(metadata)).await.unwrap();
    let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(100)));
    let comments = [(1, 90_000), (2, 94_900), (3, 98_000), (4, 94_900)]
        .map(|(n, created_at)| Comment { created_at, ..sample_comment(n) });
    let log = InMemoryLog::new();
    let records = comments.iter().cloned().map(comment_record).collect();
    log.append(Topic::CommentEvents, records).await.unwrap();
    let cache = Arc::new(TestRecent::default());
    let events = (1..).zip(&comments).map(|(seq, c)| RecentEvent::Comment(c.sequenced(seq)));
    cache.append(STREAM, 1, 4, events.collect()).await.unwrap();
    let history =
        History::new(cache.clone(), Arc::new(log)).with_delays(Delays::new(streams, clock));
    let resumed = async |until| match history.after_for_viewer(STREAM, 0, until, 0).await.unwrap() {
        HistoryRead::Page(page) => (split(&page).0.len(), page.covered_to),
        expired @ HistoryRead::Expired { .. } => panic!("{expired:?}"),
    };
    for is_away in [false, true] {
        cache.set_down(is_away);
        assert_eq!(resumed(2).await, (2, 2), "away: {is_away}");
        assert_eq!(resumed(3).await, (4, 4), "the third was broadcast; away: {is_away}");
    }
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(resumed(2).await, (4, 4), "its time has come");
}
