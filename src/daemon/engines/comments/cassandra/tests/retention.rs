//! That comments go when their time is over, and what hides or lists them not before.

use std::sync::Arc;
use std::time::Duration;

use super::{Keyspace, session};
use crate::daemon::base::clock::{Clock as _, SystemClock};
use crate::daemon::engines::comments::cassandra::bucket::{bucket_of, timeuuid};
use crate::daemon::engines::comments::conformance::{WriteRows as _, comment, shown};
use crate::daemon::engines::comments::{ArchivedComment, CommentStore as _, Tombstone};
use crate::protocol::events::HiddenFrom;
use crate::protocol::{CommentId, Seq, StreamId};

const STREAM: StreamId = StreamId(7);
const RETENTION: Duration = Duration::from_secs(5);

fn made_ago(age: Duration, seq: Seq) -> ArchivedComment {
    let ticks = (SystemClock.now() - age).as_nanos() as u64 / 100;
    let mut archived = comment(STREAM, seq);
    let made = Arc::make_mut(&mut archived.comment);
    made.comment_id = CommentId::from_unix_ticks(ticks, 5, [2, 0, 0, 0, 0, 1]);
    made.created_at = made.comment_id.unix_ms();
    archived
}

fn deletion(archived: &ArchivedComment) -> Tombstone {
    let comment_id = archived.comment.comment_id;
    let reason = "moderator".into();
    Tombstone {
        stream_id: STREAM,
        comment_id,
        reason,
        deleted_at: SystemClock.now_ms(),
        hidden_from: HiddenFrom::Everybody,
    }
}

/// Seconds that a comment and its deletion have left; None: no such columns, or for good.
async fn left_s(keyspace: &Keyspace, archived: &ArchivedComment) -> (Option<i32>, Option<i32>) {
    let cql = format!(
        "SELECT TTL(user_id), TTL(is_deleted) FROM \"{}\".comments
         WHERE stream_id = ? AND bucket = ? AND comment_id = ?",
        keyspace.name
    );
    let id = archived.comment.comment_id;
    let values = (STREAM.0 as i64, bucket_of(id), timeuuid(id));
    let answer = session().await.query_unpaged(cql, values).await.unwrap();
    answer.into_rows_result().unwrap().maybe_first_row().unwrap().unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_deletion_hides_its_comment_until_it_expires() {
    let keyspace = Keyspace::new();
    let store = keyspace.open(RETENTION).await;
    let kept = made_ago(Duration::ZERO, 1);
    let deleted = made_ago(Duration::ZERO, 2);
    let over = made_ago(RETENTION * 2, 3);
    store.write_rows(&[kept.clone(), deleted.clone(), over], &[deletion(&deleted)]).await.unwrap();

    let (of_comment, of_deletion) = left_s(&keyspace, &deleted).await;
    assert!(of_deletion.unwrap() > of_comment.unwrap_or(0) + 3000, "{of_deletion:?}");
    let page_until_empty = async {
        let mut was_shown = false;
        loop {
            let page = store.page(STREAM, None, 10).await.unwrap();
            let seqs: Vec<Seq> = page.iter().map(|comment| comment.seq).collect();
            match seqs.as_slice() {
                [1] => was_shown = true,
                [] => return was_shown,
                other => panic!("neither a deleted nor an expired comment is shown: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let was_shown = tokio::time::timeout(Duration::from_secs(30), page_until_empty).await.unwrap();
    assert!(was_shown, "shown while it lived");
    assert_eq!(store.get(kept.comment.comment_id).await.unwrap(), None);
    assert_eq!(shown(&store, STREAM).await, 0);

    // The server itself has forgotten the comments, not the deletion.
    let forgotten = async {
        while left_s(&keyspace, &deleted).await.0.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await.unwrap();
    assert_eq!(left_s(&keyspace, &kept).await, (None, None));
    assert!(left_s(&keyspace, &deleted).await.1.is_some());
    let of_deleted = store.tombstones_since(0, 10).await.unwrap();
    assert_eq!(of_deleted.len(), 1);

    // The archiver reads it again after a crash. The server counts whole seconds, so it may have
    // forgotten a little early.
    let over_ms = deleted.comment.comment_id.unix_ms() + RETENTION.as_millis() as u64;
    let left_ms = (over_ms + 1).saturating_sub(SystemClock.now_ms());
    tokio::time::sleep(Duration::from_millis(left_ms)).await;
    store.write_rows(&[kept.clone(), deleted.clone()], &[deletion(&deleted)]).await.unwrap();
    assert_eq!(left_s(&keyspace, &kept).await, (None, None), "it does not come back");
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn late_comments_and_shorter_retention_expire_on_time() {
    let keyspace = Keyspace::new();
    let day = Duration::from_secs(24 * 3600);
    let for_good = keyspace.open(Duration::ZERO).await;
    let old = made_ago(day * 6, 1);
    let older = made_ago(day * 8, 2);
    for_good.write_rows(std::slice::from_ref(&older), &[]).await.unwrap();
    assert_eq!(left_s(&keyspace, &older).await, (None, None));

    let week = keyspace.open(day * 7).await;
    week.write_rows(std::slice::from_ref(&old), &[]).await.unwrap();
    let left = left_s(&keyspace, &old).await.0.unwrap();
    assert!((24 * 3600 - 600..=24 * 3600).contains(&left), "{left} s");
    let page = week.page(STREAM, None, 10).await.unwrap();
    assert_eq!(page.len(), 1, "the other is older than a week");
    assert_eq!(shown(&week, STREAM).await, 1);
    assert_eq!(week.get(older.comment.comment_id).await.unwrap(), None);
    assert_eq!(shown(&for_good, STREAM).await, 2);
}
