//! Tests on real servers: the conformance suite on one node and on three, and failures of Redis.

mod outages;
mod sharing;

use super::*;
use crate::daemon::engines::recent::conformance::{self, comment_id, comments, seqs};
use crate::daemon::testing::redis_server::Prefixed;
use crate::protocol::events::{Removal, Told};

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);

fn bounds() -> Bounds {
    Bounds { events: 20_000, tombstones: MAX_TOMBSTONES, lifetime: Duration::from_secs(60) }
}

async fn complete(cache: &RedisRecent) {
    assert!(!cache.is_complete().await.unwrap(), "nothing was restored yet");
    cache.mark_complete().await.unwrap();
}

async fn open_on(nodes: usize, bounds: Bounds) -> (RedisRecent, Prefixed) {
    let stack = Prefixed::on_stack(nodes);
    let cache = RedisRecent::with_bounds(stack.nodes(), bounds);
    complete(&cache).await;
    (cache, stack)
}

mod on_one_node {
    use super::*;

    conformance::recent_suite!(
        #[ignore = "needs scripts/stack up"]
        open_on(1, bounds())
    );
}

mod on_three_nodes {
    use super::*;

    conformance::recent_suite!(
        #[ignore = "needs scripts/stack up"]
        open_on(3, bounds())
    );
}

async fn append(cache: &RedisRecent, stream_id: StreamId, range: std::ops::RangeInclusive<Seq>) {
    let from = *range.start();
    let to = *range.end();
    cache.append(stream_id, from, to, comments(range)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_stream_keeps_its_newest_events() {
    let (cache, _stack) = open_on(1, Bounds { events: 100, ..bounds() }).await;
    append(&cache, A, 1..=1000).await;
    assert_eq!(cache.after(A, 899, 1000).await.unwrap(), None);
    let page = cache.after(A, 900, 1000).await.unwrap().expect("the last hundred are kept");
    assert_eq!(seqs(&page), (901..=1000).collect::<Vec<_>>());
    for seq in 1001..=1250 {
        append(&cache, A, seq..=seq).await;
    }
    let page = cache.after(A, 1150, 1000).await.unwrap().expect("kept");
    assert_eq!(seqs(&page), (1151..=1250).collect::<Vec<_>>());
    assert_eq!(cache.after(A, 1000, 1000).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_page_of_many_chunks_leaves_nothing_out() {
    let (cache, _stack) = open_on(3, bounds()).await;
    append(&cache, A, 1..=3000).await;
    for seq in (1..=3000).step_by(7) {
        cache.add_tombstone(A, comment_id(seq), 4).await.unwrap();
    }
    let page = cache.after(A, 0, 2000).await.unwrap().unwrap();
    let shown: Vec<_> = (1..=3000).filter(|seq| seq % 7 != 1).take(2000).collect();
    assert_eq!(seqs(&page), shown);
    assert_eq!(Some(&page.covered_to), shown.last());
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_restoration_finds_its_deletion_in_a_long_stream() {
    let (cache, _stack) = open_on(1, bounds()).await;
    append(&cache, A, 1..=1500).await;
    for (seq, which) in [(1501, 700), (1502, 701)] {
        let comment_id = comment_id(which);
        let deletion =
            Removal { comment_id, reason: "spam".into(), timestamp: 1, told: Told::Everybody };
        cache.add_tombstone(A, comment_id, seq).await.unwrap();
        let events = vec![RecentEvent::Deleted { seq, deletion }];
        cache.append(A, seq, seq, events).await.unwrap();
    }
    cache.restore_comment(A, comment_id(700), 1503).await.unwrap();
    let page = cache.after(A, 0, 2000).await.unwrap().expect("the stream is still whole");
    let shown: Vec<_> = (1..=1500).filter(|seq| *seq != 701).chain([1502]).collect();
    assert_eq!(seqs(&page), shown);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn a_quiet_stream_is_forgotten_after_its_lifetime() {
    let lifetime = Duration::from_millis(500);
    let (cache, stack) = open_on(1, Bounds { lifetime, ..bounds() }).await;
    append(&cache, A, 1..=3).await;
    for key in ["recent:stream:1:1", "recent:stream:1:1:events"] {
        let left: i64 = stack.ask(0, redis::cmd("PTTL").arg(stack.key(key))).await;
        assert!((1..=500).contains(&left), "{key} lives for {left} ms more");
    }
    cache.add_tombstone(A, comment_id(1), 4).await.unwrap();
    let left: i64 = stack.ask(0, redis::cmd("TTL").arg(stack.key("recent:stream:1:buried"))).await;
    assert!((86_000..=86_400).contains(&left), "tombstones outlive it: {left} s");
    let gone = async {
        while cache.after(A, 0, 10).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("it expires");
    assert_eq!(cache.head(A).await.unwrap(), None);
    let states = cache.deletion_states(A, &[comment_id(1)]).await.unwrap();
    assert_eq!(states, [DeletionState::Deleted]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn comments_older_than_the_horizon_are_uncertain() {
    let (cache, _stack) = open_on(1, Bounds { tombstones: 10, ..bounds() }).await;
    // Comments ten sequence numbers apart were created a millisecond apart.
    append(&cache, A, 1..=400).await;
    for seq in [205, 300, 310, 320, 330, 340, 350, 360, 370, 380, 390] {
        cache.add_tombstone(A, comment_id(seq), 4).await.unwrap();
    }
    // The tombstone of 205 was dropped.
    let unknown = cache.deletion_states(A, &[comment_id(205)]).await;
    assert!(matches!(unknown, Err(StoreError::Incomplete(_))), "{unknown:?}");
    let known = cache.deletion_states(A, &[comment_id(399), comment_id(300)]).await.unwrap();
    assert_eq!(known, [DeletionState::NotDeleted, DeletionState::Deleted]);
    assert_eq!(cache.after(A, 100, 200).await.unwrap(), None, "205 would be in it");
    let page = cache.after(A, 295, 10).await.unwrap().expect("all of them certain");
    assert_eq!(seqs(&page), [296, 297, 298, 299, 301, 302, 303, 304, 305, 306]);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn evicted_events_are_noticed() {
    let (cache, stack) = open_on(1, bounds()).await;
    append(&cache, A, 1..=10).await;
    let _: u64 = stack.ask(0, redis::cmd("DEL").arg(stack.key("recent:stream:1:1:events"))).await;
    assert_eq!(cache.after(A, 0, 10).await.unwrap(), None);
    append(&cache, A, 8..=12).await;
    let page = cache.after(A, 7, 10).await.unwrap().expect("the stream starts again");
    assert_eq!((seqs(&page), page.covered_to), ((8..=12).collect(), 12));
    assert_eq!(cache.after(A, 6, 10).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs scripts/stack up"]
async fn sequence_numbers_beyond_lua_integers_stay_exact() {
    let (cache, _stack) = open_on(1, Bounds { events: 2, ..bounds() }).await;
    let far = (1_u64 << 53) - 100;
    append(&cache, A, far..=far + 1).await;
    append(&cache, A, far + 2..=far + 3).await;
    assert_eq!(cache.head(A).await.unwrap(), Some(far + 3));
    let page = cache.after(A, far + 1, 10).await.unwrap().expect("the last two");
    assert_eq!((seqs(&page), page.covered_to), (vec![far + 2, far + 3], far + 3));
    assert_eq!(cache.after(A, far, 10).await.unwrap(), None);
}
