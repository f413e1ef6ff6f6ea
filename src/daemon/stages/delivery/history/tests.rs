//! The history while the recent cache is unavailable.

use super::*;
use crate::daemon::engines::eventlog::{EventLog as _, NewRecord};
use crate::daemon::testing::comments::{
    SAMPLE_STREAM as STREAM, comment_record, event_record, sample_comment, sample_comment_id,
};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::UserId;
use crate::protocol::events::{CommentModerated, Decision};

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
        }),
    )
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
    let ids: Vec<_> = page.events.iter().filter_map(comment_id).collect();
    assert!(ids.contains(&sample_comment_id(1)) && ids.contains(&sample_comment_id(11)));
    for gone in [3, 7, 20] {
        assert!(!ids.contains(&sample_comment_id(gone)), "{gone} was deleted");
    }
    assert_eq!(page.covered_to, PAGE_EVENTS as Seq, "one page at a time");
}
