//! The promises of every recent cache. `recent_suite!(open())` tests an engine against them; see
//! [`crate::daemon::testing::engine_suite`]. The engine is opened empty and complete.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::DeletionState::{Deleted, HiddenFromOthers, NotDeleted, Restored};
use super::{RecentCache, RecentEvent, RecentPage};
use crate::daemon::engines::StoreError;
use crate::daemon::testing::engine_suite::check_property;
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::{Removal, Told};
use crate::protocol::{CommentId, Seq, StreamId, UserId};

const STREAM: StreamId = StreamId(7);
const OTHER: StreamId = StreamId(8);

macro_rules! recent_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::recent::conformance],
                an_unknown_stream_has_no_answer,
                events_after_a_seq_come_in_order,
                a_limit_ends_a_page_where_the_next_begins,
                a_range_behind_a_hole_replaces_the_stream,
                a_range_already_known_is_ignored,
                an_overlapping_range_adds_what_is_new,
                a_takeover_keeps_known_events,
                an_empty_range_moves_the_head,
                deleted_comments_are_never_handed_out,
                restored_comments_are_handed_out_at_their_place,
                hidden_comments_are_handed_out_as_their_authors,
                the_last_mark_of_a_comment_counts,
                streams_do_not_mix,
                it_is_complete_once_marked,
                pages_leave_nothing_out,
        }
    };
}
pub(crate) use recent_suite;

pub(crate) fn comment_id(seq: Seq) -> CommentId {
    CommentId::from_unix_ticks(17_500_000_000_000_000 + seq * 1000, 5, [2, 0, 0, 0, 0, 1])
}

pub(crate) fn comment(seq: Seq) -> RecentEvent {
    RecentEvent::Comment(SequencedComment {
        comment_id: comment_id(seq),
        user_id: UserId(1),
        name: "ann".into(),
        message: format!("comment {seq}").into(),
        created_at: 1,
        seq,
        badges: Default::default(),
        parent_id: None,
    })
}

pub(crate) fn comments(range: RangeInclusive<Seq>) -> Vec<RecentEvent> {
    range.map(comment).collect()
}

fn deleted(seq: Seq, which: Seq) -> RecentEvent {
    let comment_id = comment_id(which);
    let deletion =
        Removal { comment_id, reason: "blocked_word".into(), timestamp: 1, told: Told::Everybody };
    RecentEvent::Deleted { seq, deletion }
}

pub(crate) fn seqs(page: &RecentPage) -> Vec<Seq> {
    page.events.iter().map(RecentEvent::seq).collect()
}

async fn append(cache: &impl RecentCache, from: Seq, to: Seq) {
    cache.append(STREAM, from, to, comments(from..=to)).await.unwrap();
}

async fn after(cache: &impl RecentCache, seq: Seq, limit: usize) -> (Vec<Seq>, Seq) {
    let page = cache.after(STREAM, seq, limit).await.unwrap().expect("it is kept that far back");
    (seqs(&page), page.covered_to)
}

pub(crate) async fn an_unknown_stream_has_no_answer(cache: &impl RecentCache) {
    assert_eq!(cache.after(STREAM, 0, 10).await.unwrap(), None);
    assert_eq!(cache.head(STREAM).await.unwrap(), None);
}

pub(crate) async fn events_after_a_seq_come_in_order(cache: &impl RecentCache) {
    // Sequence numbers between the events belong to other streams of the partition.
    cache.append(STREAM, 10, 19, vec![comment(10), comment(15)]).await.unwrap();
    cache.append(STREAM, 20, 29, vec![comment(21), deleted(22, 3), comment(29)]).await.unwrap();
    assert_eq!(cache.head(STREAM).await.unwrap(), Some(29));
    assert_eq!(after(cache, 9, 100).await, (vec![10, 15, 21, 22, 29], 29));
    assert_eq!(after(cache, 10, 100).await, (vec![15, 21, 22, 29], 29));
    assert_eq!(after(cache, 17, 100).await, (vec![21, 22, 29], 29));
    assert_eq!(after(cache, 29, 100).await, (vec![], 29));
    assert_eq!(after(cache, 31, 100).await, (vec![], 31), "never below the requested seq");
    assert_eq!(cache.after(STREAM, 8, 100).await.unwrap(), None, "seq 9 is not covered");
    let page = cache.after(STREAM, 20, 1).await.unwrap().unwrap();
    assert_eq!(page.events, [comment(21)]);
}

pub(crate) async fn a_limit_ends_a_page_where_the_next_begins(cache: &impl RecentCache) {
    append(cache, 1, 10).await;
    cache.append(STREAM, 11, 15, Vec::new()).await.unwrap();
    assert_eq!(after(cache, 0, 4).await, (vec![1, 2, 3, 4], 4));
    assert_eq!(after(cache, 4, 6).await, (vec![5, 6, 7, 8, 9, 10], 15));
    assert_eq!(after(cache, 4, 0).await, (vec![], 4));
}

pub(crate) async fn a_range_behind_a_hole_replaces_the_stream(cache: &impl RecentCache) {
    append(cache, 1, 10).await;
    append(cache, 12, 20).await;
    assert_eq!(cache.after(STREAM, 5, 100).await.unwrap(), None);
    assert_eq!(after(cache, 11, 100).await, ((12..=20).collect(), 20));
}

pub(crate) async fn a_range_already_known_is_ignored(cache: &impl RecentCache) {
    append(cache, 1, 10).await;
    append(cache, 3, 10).await;
    append(cache, 1, 5).await;
    assert_eq!(after(cache, 0, 100).await, ((1..=10).collect(), 10));
}

pub(crate) async fn an_overlapping_range_adds_what_is_new(cache: &impl RecentCache) {
    append(cache, 1, 10).await;
    append(cache, 8, 15).await;
    assert_eq!(after(cache, 0, 100).await, ((1..=15).collect(), 15));
}

pub(crate) async fn a_takeover_keeps_known_events(cache: &impl RecentCache) {
    cache.append(STREAM, 1, 10, vec![comment(2), comment(9)]).await.unwrap();
    // The next coordinator starts at the last commit and cuts batches elsewhere.
    append(cache, 5, 8).await;
    append(cache, 9, 10).await;
    append(cache, 7, 12).await;
    assert_eq!(cache.head(STREAM).await.unwrap(), Some(12));
    assert_eq!(after(cache, 0, 100).await, (vec![2, 9, 11, 12], 12));
    append(cache, 13, 13).await;
    assert_eq!(after(cache, 9, 100).await, (vec![11, 12, 13], 13));
}

pub(crate) async fn an_empty_range_moves_the_head(cache: &impl RecentCache) {
    cache.append(STREAM, 5, 5, Vec::new()).await.unwrap();
    assert_eq!(cache.head(STREAM).await.unwrap(), Some(5));
    assert_eq!(after(cache, 4, 100).await, (vec![], 5));
    append(cache, 6, 7).await;
    assert_eq!(after(cache, 4, 100).await, (vec![6, 7], 7));
}

pub(crate) async fn deleted_comments_are_never_handed_out(cache: &impl RecentCache) {
    cache.add_tombstone(STREAM, comment_id(2), 7).await.unwrap();
    append(cache, 1, 6).await;
    assert_eq!(after(cache, 0, 100).await, (vec![1, 3, 4, 5, 6], 6));
    cache.add_tombstone(STREAM, comment_id(4), 7).await.unwrap();
    cache.add_tombstone(STREAM, comment_id(4), 7).await.unwrap();
    cache.append(STREAM, 7, 7, vec![deleted(7, 4)]).await.unwrap();
    assert_eq!(
        after(cache, 0, 3).await,
        (vec![1, 3, 5], 5),
        "a deleted comment takes no room on a page"
    );
    assert_eq!(after(cache, 3, 100).await, (vec![5, 6, 7], 7), "the deletion itself is an event");
    let ids = [1, 2, 3, 4].map(comment_id);
    assert_eq!(
        cache.deletion_states(STREAM, &ids).await.unwrap(),
        [NotDeleted, Deleted, NotDeleted, Deleted]
    );
    assert_eq!(cache.deletion_states(STREAM, &[]).await.unwrap(), [NotDeleted; 0]);
}

pub(crate) async fn restored_comments_are_handed_out_at_their_place(cache: &impl RecentCache) {
    append(cache, 1, 5).await;
    for number in [2, 4] {
        cache.add_tombstone(STREAM, comment_id(number), 5 + number).await.unwrap();
    }
    cache.append(STREAM, 6, 9, vec![deleted(7, 2), deleted(9, 4)]).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![1, 3, 5, 7, 9], 9));
    cache.restore_comment(STREAM, comment_id(2), 10).await.unwrap();
    cache.append(STREAM, 10, 10, Vec::new()).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![1, 2, 3, 5, 9], 10), "its deletion is gone");
    assert_eq!(after(cache, 0, 2).await, (vec![1, 2], 2));
    assert_eq!(after(cache, 5, 100).await, (vec![9], 10), "the range has no hole");
    let ids = [2, 3, 4].map(comment_id);
    let states = cache.deletion_states(STREAM, &ids).await.unwrap();
    assert_eq!(states, [Restored, NotDeleted, Deleted]);
    append(cache, 11, 12).await;
    assert_eq!(after(cache, 9, 100).await, (vec![11, 12], 12));
    cache.add_tombstone(STREAM, comment_id(2), 13).await.unwrap();
    cache.append(STREAM, 13, 13, vec![deleted(13, 2)]).await.unwrap();
    assert_eq!(after(cache, 0, 3).await.0, [1, 3, 5], "deleted once more");
    assert_eq!(after(cache, 11, 100).await, (vec![12, 13], 13));
}

/// Returns the sequence numbers of the comments that only their authors are shown.
fn own(page: &RecentPage) -> Vec<Seq> {
    let own = page.events.iter().filter(|event| matches!(event, RecentEvent::Own(_)));
    own.map(RecentEvent::seq).collect()
}

pub(crate) async fn hidden_comments_are_handed_out_as_their_authors(cache: &impl RecentCache) {
    let RecentEvent::Comment(shadowed) = comment(2) else { unreachable!("it is one") };
    let events = vec![comment(1), RecentEvent::Own(shadowed), comment(3), comment(4)];
    cache.append(STREAM, 1, 4, events).await.unwrap();
    cache.hide_from_others(STREAM, comment_id(3), 5).await.unwrap();
    let RecentEvent::Deleted { seq, deletion } = deleted(5, 3) else { unreachable!("it is one") };
    let told = Told::AllBut(UserId(1));
    let except = RecentEvent::Deleted { seq, deletion: Removal { told, ..deletion } };
    cache.append(STREAM, 5, 5, vec![except.clone()]).await.unwrap();
    let page = cache.after(STREAM, 0, 100).await.unwrap().unwrap();
    assert_eq!((seqs(&page), own(&page)), (vec![1, 2, 3, 4, 5], vec![2, 3]));
    assert_eq!(page.events[4], except, "the author is remembered");
    let ids = [1, 3].map(comment_id);
    let states = cache.deletion_states(STREAM, &ids).await.unwrap();
    assert_eq!(states, [NotDeleted, HiddenFromOthers]);
    // Deleted for everybody, whatever hides them from others later.
    for (number, seq) in [(2, 6), (3, 7)] {
        cache.add_tombstone(STREAM, comment_id(number), seq).await.unwrap();
        cache.hide_from_others(STREAM, comment_id(number), seq + 2).await.unwrap();
    }
    let page = cache.after(STREAM, 0, 100).await.unwrap().unwrap();
    assert_eq!((seqs(&page), own(&page)), (vec![1, 4, 5], vec![]));
    cache.restore_comment(STREAM, comment_id(3), 10).await.unwrap();
    let page = cache.after(STREAM, 0, 4).await.unwrap().unwrap();
    assert_eq!((seqs(&page), own(&page)), (vec![1, 3, 4], vec![]));
    cache.hide_from_others(STREAM, comment_id(3), 8).await.unwrap();
    assert_eq!(cache.deletion_states(STREAM, &[comment_id(3)]).await.unwrap(), [Restored]);
}

pub(crate) async fn the_last_mark_of_a_comment_counts(cache: &impl RecentCache) {
    append(cache, 1, 3).await;
    cache.add_tombstone(STREAM, comment_id(1), 10).await.unwrap();
    cache.restore_comment(STREAM, comment_id(1), 12).await.unwrap();
    // A coordinator that was cut off for a while, and a restoration from the stores.
    cache.add_tombstone(STREAM, comment_id(1), 10).await.unwrap();
    cache.add_tombstone(STREAM, comment_id(1), 0).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![1, 2, 3], 3));
    cache.add_tombstone(STREAM, comment_id(1), 20).await.unwrap();
    cache.restore_comment(STREAM, comment_id(1), 12).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![2, 3], 3));
    cache.restore_comment(STREAM, comment_id(2), 30).await.unwrap();
    cache.add_tombstone(STREAM, comment_id(2), 25).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![2, 3], 3), "restored before it was deleted");
}

pub(crate) async fn streams_do_not_mix(cache: &impl RecentCache) {
    append(cache, 1, 3).await;
    cache.append(OTHER, 2, 4, vec![comment(4)]).await.unwrap();
    assert_eq!(after(cache, 0, 100).await, (vec![1, 2, 3], 3));
    let page = cache.after(OTHER, 1, 100).await.unwrap().unwrap();
    assert_eq!((seqs(&page), page.covered_to), (vec![4], 4));
    assert_eq!(cache.after(OTHER, 0, 100).await.unwrap(), None);
}

pub(crate) async fn it_is_complete_once_marked(cache: &impl RecentCache) {
    assert!(cache.is_complete().await.unwrap(), "opened complete");
    append(cache, 1, 3).await;
    cache.add_tombstone(STREAM, comment_id(2), 7).await.unwrap();
    cache.mark_incomplete().await.unwrap();
    // While incomplete it hands out nothing.
    let page = cache.after(STREAM, 0, 10).await;
    assert!(matches!(page, Ok(None) | Err(StoreError::Incomplete(_))), "{page:?}");
    if !cache.is_complete().await.unwrap() {
        assert!(cache.deletion_states(STREAM, &[comment_id(1)]).await.is_err());
    }
    cache.mark_complete().await.unwrap();
    assert!(cache.is_complete().await.unwrap());
    let states = cache.deletion_states(STREAM, &[1, 2].map(comment_id)).await.unwrap();
    assert_eq!(states, [NotDeleted, Deleted]);
}

/// For random batches, deletions and page sizes: reading page after page by `covered_to` returns
/// every event that is not deleted, once, in order. Every case has its own stream.
pub(crate) async fn pages_leave_nothing_out(cache: &impl RecentCache) {
    let stream_ids = AtomicU64::new(1);
    let batches =
        prop::collection::vec((0_u64..20, prop::collection::vec(any::<bool>(), 20)), 1..20);
    let deleted = prop::collection::btree_set(0_u64..400, 0..40);
    let inputs = (batches, deleted, 1_usize..50);
    check_property(256, &inputs, async |(batches, deleted, limit)| {
        let stream_id = StreamId(stream_ids.fetch_add(1, Ordering::Relaxed));
        for seq in &deleted {
            cache.add_tombstone(stream_id, unique_id(stream_id, *seq), 1000).await.unwrap();
        }
        let all = append_batches(cache, stream_id, &batches).await;
        let expected: Vec<_> = all.into_iter().filter(|seq| !deleted.contains(seq)).collect();
        let shown = read_pages(cache, stream_id, limit).await;
        prop_assert_eq!(&shown, &expected);
        Ok(())
    });
}

/// Tombstones are keyed by comment id only, so cases must not share ids.
fn unique_id(stream_id: StreamId, seq: Seq) -> CommentId {
    comment_id(stream_id.0 * 1000 + seq)
}

/// Appends adjacent batches and returns the sequence numbers of their events.
async fn append_batches(
    cache: &impl RecentCache,
    stream_id: StreamId,
    batches: &[(u64, Vec<bool>)],
) -> Vec<Seq> {
    let mut all = Vec::new();
    let mut next = 0;
    for (length, is_ours) in batches {
        let to = next + length;
        let seqs: Vec<Seq> =
            (next..=to).zip(is_ours).filter(|(_, is_ours)| **is_ours).map(|(seq, _)| seq).collect();
        let events = seqs.iter().map(|seq| {
            let RecentEvent::Comment(mut event) = comment(*seq) else { unreachable!("it is one") };
            event.comment_id = unique_id(stream_id, *seq);
            RecentEvent::Comment(event)
        });
        cache.append(stream_id, next, to, events.collect()).await.unwrap();
        all.extend(seqs);
        next = to + 1;
    }
    // Sequence number 0 comes before any that a reader can ask for.
    all.retain(|seq| *seq > 0);
    all
}

async fn read_pages(cache: &impl RecentCache, stream_id: StreamId, limit: usize) -> Vec<Seq> {
    let head = cache.head(stream_id).await.unwrap().expect("something was appended");
    let mut read = Vec::new();
    let mut position = 0;
    loop {
        let page = cache.after(stream_id, position, limit).await.unwrap().expect("nothing dropped");
        assert!(page.events.len() <= limit);
        read.extend(seqs(&page));
        assert!(page.covered_to > position || position == head, "no progress at {position}");
        position = page.covered_to;
        if position == head {
            return read;
        }
    }
}
