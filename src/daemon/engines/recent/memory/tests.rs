//! Bounds of the memory engine, beside the contract.

use super::*;
use crate::daemon::engines::recent::conformance::{self, comment, comment_id, comments, seqs};

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(2);
const C: StreamId = StreamId(3);

async fn open() -> (MemoryRecent, ()) {
    (MemoryRecent::new(&StoreConfig::default()), ())
}

conformance::recent_suite!(open());

async fn append(cache: &MemoryRecent, stream_id: StreamId, range: std::ops::RangeInclusive<Seq>) {
    let from = *range.start();
    let to = *range.end();
    cache.append(stream_id, from, to, comments(range)).await.unwrap();
}

#[tokio::test]
async fn a_stream_keeps_its_newest_events() {
    let cache = MemoryRecent::with_bounds(100, usize::MAX, 10);
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
async fn the_least_recently_used_stream_is_dropped() {
    let one = {
        let cache = MemoryRecent::with_bounds(1000, usize::MAX, 10);
        append(&cache, A, 1..=100).await;
        cache.streams().bytes
    };
    let cache = MemoryRecent::with_bounds(1000, one * 5 / 2, 10);
    append(&cache, A, 1..=100).await;
    append(&cache, B, 1..=100).await;
    assert!(cache.after(A, 0, 1).await.unwrap().is_some(), "a read is a use");
    append(&cache, C, 1..=100).await;
    assert!(cache.after(B, 0, 1).await.unwrap().is_none(), "the least recently used");
    assert!(cache.after(A, 0, 1).await.unwrap().is_some());
    assert!(cache.after(C, 0, 1).await.unwrap().is_some());
    assert_eq!(cache.head(B).await.unwrap(), None);
}

#[tokio::test]
async fn one_huge_stream_keeps_its_newest_events() {
    let cache = MemoryRecent::with_bounds(1_000_000, 100_000, 10);
    for first in (1..=10_000).step_by(50) {
        append(&cache, A, first..=first + 49).await;
        assert!(cache.streams().bytes <= 100_000);
    }
    assert_eq!(cache.after(A, 0, 10).await.unwrap(), None);
    let page = cache.after(A, 9_900, 1000).await.unwrap().expect("the newest are kept");
    assert_eq!(seqs(&page), (9_901..=10_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn counted_bytes_match_the_kept_streams() {
    let cache = MemoryRecent::with_bounds(300, 60_000, 10);
    for round in 0..200_u64 {
        let stream_id = StreamId(1 + round % 7);
        let from = 1 + round / 7 * 40 + (round % 3 == 0) as u64;
        append(&cache, stream_id, from..=from + 40).await;
        let streams = cache.streams();
        let kept: usize = streams.by_id.values().map(RecentStream::bytes).sum();
        assert_eq!(streams.bytes, kept);
        assert!(kept <= 60_000, "{kept}");
        assert_eq!(streams.by_use.len(), streams.by_id.len());
    }
}

#[tokio::test]
async fn a_tombstone_is_dropped_only_with_its_stream() {
    let cache = MemoryRecent::with_bounds(1000, usize::MAX, 16);
    append(&cache, A, 1..=3).await;
    append(&cache, B, 1..=3).await;
    cache.add_tombstone(A, comment_id(2), 4).await.unwrap();
    for number in 100..116 {
        cache.add_tombstone(B, comment_id(number), 4).await.unwrap();
    }
    let states = cache.deletion_states(A, &[comment_id(2)]).await.unwrap();
    assert_eq!(states, [DeletionState::NotDeleted], "dropped");
    assert_eq!(cache.after(A, 0, 10).await.unwrap(), None, "and its stream too");
    let kept = cache.deletion_states(B, &[comment_id(100), comment_id(101)]).await.unwrap();
    let [dropped, kept] = kept[..] else { panic!("{kept:?}") };
    assert_eq!(dropped, DeletionState::NotDeleted, "an eighth at once");
    assert_eq!(kept, DeletionState::Deleted);
    assert_eq!(cache.after(B, 0, 10).await.unwrap(), None);
    append(&cache, B, 4..=5).await;
    assert!(cache.after(B, 3, 10).await.unwrap().is_some(), "the stream starts again");
}

#[tokio::test]
async fn a_read_page_outlives_dropped_chunks() {
    let cache = MemoryRecent::with_bounds(10, usize::MAX, 10);
    append(&cache, A, 1..=10).await;
    let page = cache.after(A, 0, 10).await.unwrap().expect("kept");
    append(&cache, A, 11..=20).await;
    assert_eq!(page.events[0], comment(1));
}
