//! Restoration of tombstones in a cache that records them.

use std::sync::Arc;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::engines::comments::Tombstone;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::eventlog::ConsumerGroup;
use crate::daemon::engines::recent::{DeletionState, RecentCache as _};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::UserId;
use crate::protocol::events::{CommentModerated, CommentRestored, Decision};

const STREAM: StreamId = StreamId(5);

fn id(n: u64) -> CommentId {
    CommentId::from_unix_ticks(17_000_000_000_000_000 + n, 1, [3; 6])
}

fn ids(range: impl IntoIterator<Item = u64>) -> Vec<CommentId> {
    range.into_iter().map(id).collect()
}

struct Rig {
    cache: Arc<TestRecent>,
    store: Arc<InMemoryComments>,
    log: InMemoryLog,
    restorer: TombstoneRestorer,
}

impl Rig {
    fn new() -> Self {
        Self::on(InMemoryLog::new())
    }

    fn on(log: InMemoryLog) -> Self {
        let cache = Arc::<TestRecent>::default();
        cache.set_incomplete(true);
        let store = Arc::<InMemoryComments>::default();
        let clock = Arc::new(TokioClock::starting_at(TOMBSTONE_AGE * 100));
        let restorer = TombstoneRestorer {
            log: Arc::new(log.clone()),
            comments: store.clone(),
            recent: cache.clone(),
            clock,
        };
        Self { cache, store, log, restorer }
    }

    async fn store(&self, n: u64, age: Duration) {
        let deleted_at = self.restorer.clock.now_ms() - age.as_millis() as u64;
        let stream_id = STREAM;
        let comment_id = id(n);
        let reason = "spam".into();
        let hidden_from = HiddenFrom::Everybody;
        let tombstone = Tombstone { stream_id, comment_id, reason, deleted_at, hidden_from };
        self.store.write_rows(&[], &[tombstone]).await.unwrap();
    }

    fn log(&self, n: u64, decision: Decision) {
        let event = Event::CommentModerated(CommentModerated {
            stream_id: STREAM,
            comment_id: id(n),
            user_id: UserId(1),
            decision,
            reason: "spam".into(),
            timestamp: 2,
            decided_by: "rules".into(),
            text: None,
            was_hidden: false,
            in_bulk: false,
        });
        self.log.put(Topic::CommentEvents, STREAM.0, 1, event.encode());
    }

    fn restored_in_log(&self, n: u64) {
        self.log.put(Topic::CommentEvents, STREAM.0, 1, restored(n).encode());
    }
}

fn restored(n: u64) -> Event {
    Event::CommentRestored(CommentRestored {
        stream_id: STREAM,
        comment_id: id(n),
        user_id: UserId(1),
        reason: None,
        timestamp: 3,
        restored_by: "ann".into(),
        stays_hidden: false,
    })
}

#[tokio::test]
async fn tombstones_come_from_the_store_and_the_log_tail() {
    let rig = Rig::new();
    rig.store(1, Duration::from_secs(60)).await;
    rig.store(2, TOMBSTONE_AGE - Duration::from_secs(60)).await;
    rig.store(3, TOMBSTONE_AGE + Duration::from_secs(60)).await;
    for n in 10..15 {
        rig.log(n, Decision::Reject);
    }
    rig.log(15, Decision::Flag);
    rig.log(16, Decision::ShadowBan);
    rig.log.put(Topic::CommentEvents, STREAM.0, 1, b"no event".to_vec());
    // The archiver has stored the first three.
    rig.log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 4);
    assert!(!rig.restorer.recent.is_complete().await.unwrap());
    assert_eq!(rig.restorer.restore().await.unwrap(), 5);
    assert_eq!(rig.cache.take_tombstones(), ids([1, 2, 13, 14, 16]));
    assert!(rig.restorer.recent.is_complete().await.unwrap());
}

#[tokio::test]
async fn restorations_in_the_log_count_more_than_the_store() {
    let rig = Rig::new();
    for n in [1, 2, 3] {
        rig.store(n, Duration::from_secs(60)).await;
    }
    // The archiver has stored the deletions of 1 to 3, and the restoration of 3 before its last.
    (1..=4).for_each(|n| rig.log(n, Decision::Reject));
    rig.log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 5);
    rig.cache.restore_comment(STREAM, id(3), 2).await.unwrap();
    rig.restored_in_log(1);
    rig.restored_in_log(2);
    rig.log(2, Decision::Reject);
    rig.restorer.restore().await.unwrap();
    let states = rig.cache.deletion_states(STREAM, &ids([1, 2, 3])).await.unwrap();
    let [restored, deleted] = [DeletionState::Restored, DeletionState::Deleted];
    assert_eq!(states, [restored, deleted, deleted]);
}

/// Partitions were added, and the log has restorations in the partition that the stream had.
#[tokio::test]
async fn a_moved_restoration_spares_later_deletions() {
    let rig = Rig::on(InMemoryLog::shaped(2, 1));
    let in_earlier_partition = STREAM.0 + 1;
    rig.log(1, Decision::Reject);
    // Their offsets there are greater than that of the deletion, which came later.
    for n in [1, 2] {
        rig.log.put(Topic::CommentEvents, in_earlier_partition, 1, restored(n).encode());
    }
    rig.restorer.restore().await.unwrap();
    let states = rig.cache.deletion_states(STREAM, &ids([1, 2])).await.unwrap();
    assert_eq!(states, [DeletionState::Deleted, DeletionState::Restored]);
}

#[tokio::test]
async fn all_pages_of_tombstones_are_restored() {
    let rig = Rig::new();
    let count = PAGE_TOMBSTONES as u64 * 2 + 10;
    let now_ms = rig.restorer.clock.now_ms();
    // Most of them within one millisecond.
    let tombstones = (0..count).map(|n| Tombstone {
        stream_id: STREAM,
        comment_id: id(n),
        reason: "spam".into(),
        deleted_at: now_ms - 1000 + n.saturating_sub(count - 100),
        hidden_from: HiddenFrom::Everybody,
    });
    rig.store.write_rows(&[], &tombstones.collect::<Vec<_>>()).await.unwrap();
    rig.restorer.restore().await.unwrap();
    assert_eq!(rig.cache.take_tombstones().len(), count as usize);
}

#[tokio::test]
async fn without_the_store_the_cache_stays_incomplete() {
    let rig = Rig::new();
    rig.store.set_down(true);
    assert!(!rig.restorer.check(false).await);
    assert!(!rig.cache.is_marked_complete());
    rig.store.set_down(false);
    assert!(rig.restorer.check(false).await);
    assert!(rig.cache.is_marked_complete());
}

#[tokio::test]
async fn restores_at_start_after_a_loss_and_an_outage() {
    let rig = Rig::new();
    rig.store(1, Duration::from_secs(60)).await;
    rig.cache.set_incomplete(false);
    let mut restored = rig.restorer.check(false).await;
    assert_eq!(
        rig.cache.take_tombstones(),
        ids([1]),
        "at start, even if the cache is marked complete"
    );
    restored = rig.restorer.check(restored).await;
    assert_eq!(rig.cache.take_tombstones(), [], "nothing to do");
    rig.cache.set_incomplete(true);
    restored = rig.restorer.check(restored).await;
    assert_eq!(rig.cache.take_tombstones(), ids([1]), "after a loss");
    rig.cache.set_down(true);
    restored = rig.restorer.check(restored).await;
    assert!(!restored);
    rig.cache.set_down(false);
    assert!(rig.restorer.check(restored).await);
    assert_eq!(rig.cache.take_tombstones(), ids([1]), "after an outage");
}

#[tokio::test(start_paused = true)]
async fn it_checks_every_interval_until_stopped() {
    let rig = Rig::new();
    let stop = CancellationToken::new();
    let task = tokio::spawn(rig.restorer.clone().run(stop.clone()));
    for round in 0..3 {
        tokio::time::sleep(INTERVAL + Duration::from_millis(10)).await;
        assert!(rig.cache.is_marked_complete(), "round {round}");
        rig.cache.set_incomplete(true);
    }
    stop.cancel();
    task.await.unwrap();
}
