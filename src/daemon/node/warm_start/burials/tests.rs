//! Reading back on a cache that remembers what it was told.

use std::sync::Arc;

use super::*;
use crate::daemon::base::clock::TokioClock;
use crate::daemon::engines::comments::in_memory::InMemoryComments;
use crate::daemon::engines::comments::{CommentStore as _, Tombstone};
use crate::daemon::engines::eventlog::ConsumerGroup;
use crate::daemon::testing::event_log::InMemoryLog;
use crate::daemon::engines::recent::RecentCache as _;
use crate::daemon::testing::recent::TestRecent;
use crate::protocol::events::{CommentModerated, Decision};
use crate::protocol::UserId;

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
    burials: Burials,
}

impl Rig {
    fn new() -> Self {
        let cache = Arc::<TestRecent>::default();
        cache.set_incomplete(true);
        let store = Arc::<InMemoryComments>::default();
        let log = InMemoryLog::new();
        let clock = Arc::new(TokioClock::starting_at(TOMBSTONE_AGE * 100));
        let burials = Burials {
            log: Arc::new(log.clone()),
            comments: store.clone(),
            recent: cache.clone(),
            clock,
        };
        Self { cache, store, log, burials }
    }

    async fn store(&self, n: u64, age: Duration) {
        let deleted_at = self.burials.clock.now_ms() - age.as_millis() as u64;
        let (stream_id, comment_id) = (STREAM, id(n));
        let tombstone = Tombstone { stream_id, comment_id, reason: "spam".into(), deleted_at };
        self.store.write(&[], &[tombstone]).await.unwrap();
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
        });
        self.log.put(Topic::CommentEvents, STREAM.0, 1, event.encode());
    }
}

#[tokio::test]
async fn what_the_store_and_the_end_of_the_log_know_is_buried() {
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
    // The first three are in the store already.
    rig.log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 4);
    assert!(!rig.burials.recent.is_complete().await.unwrap());
    assert_eq!(rig.burials.rebuild_burials().await.unwrap(), 5);
    assert_eq!(rig.cache.take_tombstones(), ids([1, 2, 13, 14, 16]));
    assert!(rig.burials.recent.is_complete().await.unwrap());
}

#[tokio::test]
async fn more_tombstones_than_a_page_are_all_buried() {
    let rig = Rig::new();
    let count = PAGE_TOMBSTONES as u64 * 2 + 10;
    let now_ms = rig.burials.clock.now_ms();
    // Most of them of one millisecond.
    let tombstones = (0..count).map(|n| Tombstone {
        stream_id: STREAM,
        comment_id: id(n),
        reason: "spam".into(),
        deleted_at: now_ms - 1000 + n.saturating_sub(count - 100),
    });
    rig.store.write(&[], &tombstones.collect::<Vec<_>>()).await.unwrap();
    rig.burials.rebuild_burials().await.unwrap();
    assert_eq!(rig.cache.take_tombstones().len(), count as usize);
}

#[tokio::test]
async fn without_the_store_the_cache_stays_incomplete() {
    let rig = Rig::new();
    rig.store.set_down(true);
    assert!(!rig.burials.look(false).await);
    assert!(!rig.cache.is_marked_complete());
    rig.store.set_down(false);
    assert!(rig.burials.look(false).await);
    assert!(rig.cache.is_marked_complete());
}

#[tokio::test]
async fn deletions_are_read_back_at_start_after_a_loss_and_after_an_outage() {
    let rig = Rig::new();
    rig.store(1, Duration::from_secs(60)).await;
    rig.cache.set_incomplete(false);
    let mut sure = rig.burials.look(false).await;
    assert_eq!(rig.cache.take_tombstones(), ids([1]), "at start, whatever the mark says");
    sure = rig.burials.look(sure).await;
    assert_eq!(rig.cache.take_tombstones(), [], "nothing to do");
    rig.cache.set_incomplete(true);
    sure = rig.burials.look(sure).await;
    assert_eq!(rig.cache.take_tombstones(), ids([1]), "after a loss");
    rig.cache.set_down(true);
    sure = rig.burials.look(sure).await;
    assert!(!sure);
    rig.cache.set_down(false);
    assert!(rig.burials.look(sure).await);
    assert_eq!(rig.cache.take_tombstones(), ids([1]), "after an outage");
}

#[tokio::test(start_paused = true)]
async fn it_looks_again_and_again_until_stopped() {
    let rig = Rig::new();
    let stop = CancellationToken::new();
    let task = tokio::spawn(rig.burials.clone().keep_complete(stop.clone()));
    for round in 0..3 {
        tokio::time::sleep(INTERVAL + Duration::from_millis(10)).await;
        assert!(rig.cache.is_marked_complete(), "round {round}");
        rig.cache.set_incomplete(true);
    }
    stop.cancel();
    task.await.unwrap();
}
