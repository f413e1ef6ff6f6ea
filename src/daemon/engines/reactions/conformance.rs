//! The promises of every engine of the reaction totals. `reactions_suite!(open())` tests an engine
//! against them; see [`crate::daemon::testing::engine_suite`].

use super::{ReactionTotals, Totals};
use crate::protocol::StreamId;

const A: StreamId = StreamId(1);
const B: StreamId = StreamId(i64::MAX as u64);

macro_rules! reactions_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::reactions::conformance],
                adding_returns_the_totals_that_changed,
                adding_nothing_changes_nothing,
                duplicate_entries_are_added_up,
                many_streams_at_once_are_all_added,
                concurrent_additions_are_all_counted,
        }
    };
}
pub(crate) use reactions_suite;

pub(crate) fn totals(counts: &[(&str, u64)]) -> Totals {
    counts.iter().map(|(reaction, count)| ((*reaction).into(), *count)).collect()
}

fn by_stream(mut changed: Vec<(StreamId, Totals)>) -> Vec<(StreamId, Totals)> {
    changed.sort();
    changed
}

pub(crate) async fn adding_returns_the_totals_that_changed(store: &impl ReactionTotals) {
    assert_eq!(store.all().await.unwrap(), []);
    assert_eq!(store.totals(A).await.unwrap(), totals(&[]));
    let first = [(A, totals(&[("fire", 2), ("heart", 5)])), (B, totals(&[("fire", 1)]))];
    assert_eq!(by_stream(store.add(&first).await.unwrap()), first);
    let changed = store.add(&[(A, totals(&[("fire", 10), ("l'été", 1)]))]).await.unwrap();
    assert_eq!(changed, [(A, totals(&[("fire", 12), ("l'été", 1)]))]);
    let of_a = totals(&[("fire", 12), ("heart", 5), ("l'été", 1)]);
    assert_eq!(store.totals(A).await.unwrap(), of_a);
    assert_eq!(by_stream(store.all().await.unwrap()), [(A, of_a), (B, totals(&[("fire", 1)]))]);
}

pub(crate) async fn adding_nothing_changes_nothing(store: &impl ReactionTotals) {
    assert_eq!(store.add(&[]).await.unwrap(), []);
    assert_eq!(store.add(&[(A, totals(&[("fire", 0)])), (B, totals(&[]))]).await.unwrap(), []);
    assert_eq!(store.all().await.unwrap(), []);
}

pub(crate) async fn duplicate_entries_are_added_up(store: &impl ReactionTotals) {
    let counts = [(A, totals(&[("fire", 2)])), (A, totals(&[("fire", 3), ("wow", 1)]))];
    let changed = store.add(&counts).await.unwrap();
    assert_eq!(changed, [(A, totals(&[("fire", 5), ("wow", 1)]))]);
}

pub(crate) async fn many_streams_at_once_are_all_added(store: &impl ReactionTotals) {
    let counts: Vec<_> = (1..=300)
        .map(|stream| (StreamId(stream), totals(&[("fire", stream), ("wow", 1)])))
        .collect();
    assert_eq!(by_stream(store.add(&counts).await.unwrap()), counts);
    store.add(&counts).await.unwrap();
    assert_eq!(store.totals(StreamId(300)).await.unwrap(), totals(&[("fire", 600), ("wow", 2)]));
    assert_eq!(store.all().await.unwrap().len(), 300);
}

pub(crate) async fn concurrent_additions_are_all_counted(store: &impl ReactionTotals) {
    let counts = [(A, totals(&[("fire", 1)]))];
    let additions = (0..50).map(|_| store.add(&counts));
    for added in futures_util::future::join_all(additions).await {
        added.unwrap();
    }
    assert_eq!(store.totals(A).await.unwrap(), totals(&[("fire", 50)]));
}
