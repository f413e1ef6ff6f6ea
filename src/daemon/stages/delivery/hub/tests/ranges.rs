//! Ranges of comments: in order, once, with their holes filled, and without what an earlier epoch
//! has shown.

use super::missed::MAX_HOLE_EVENTS;
use super::*;
use crate::daemon::engines::recent::EarlierPlaces;
use crate::daemon::stages::delivery::audience::{Audience, EARLIER_KEPT_FOR};
use crate::protocol::{StreamPosition, UserId};

#[tokio::test(start_paused = true)]
async fn batch_of_another_epoch_is_not_shown() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let other = Batch { epoch: Epoch(rig.log.epoch().0 + 1), ..batch(1, 2, &[]) };
    rig.bus.publish(STREAM, vec![BusMessage::Batch(Arc::new(other))]).await.unwrap();
    assert_eq!(rig.frames(0).await, []);
    rig.broadcast(batch(1, 2, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2)]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_overlap_are_shown_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    for (from_seq, to_seq) in [(1, 3), (1, 3), (2, 5), (1, 4), (6, 6)] {
        rig.broadcast(batch(from_seq, to_seq, &[])).await;
    }
    assert_eq!(rig.frames(0).await, [range(1, 3), range(4, 5), range(6, 6)]);
}

#[tokio::test(start_paused = true)]
async fn hole_is_filled_from_the_cache_with_deletions() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.cache(&batch(3, 6, &[5])).await;
    rig.broadcast(batch(7, 8, &[])).await;
    let filled = Shown::Range(3, 6, vec![3, 6]);
    let deleted = Shown::Deleted(sample_comment_id(4));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted, filled, range(7, 8)]);
}

#[tokio::test(start_paused = true)]
async fn hole_in_the_cache_is_filled_from_the_log() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.append(STREAM, 4).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.broadcast(batch(5, 6, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), range(3, 4), range(5, 6)]);
}

#[tokio::test(start_paused = true)]
async fn places_of_other_streams_are_no_hole() {
    let rig = Rig::start().await;
    rig.append(STREAM, 2).await;
    rig.cache(&batch(1, 2, &[])).await;
    assert_eq!(rig.watch(0).await.covered_to, 2);
    // The broadcast stage begins again behind what others wrote meanwhile.
    rig.append(OTHER, 50).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(50, 53, &[])))).await;
    let frames = rig.frames(0).await;
    assert_eq!(frames, [Shown::Range(3, 53, vec![50, 51, 52, 53])]);
}

#[tokio::test(start_paused = true)]
async fn unfillable_hole_stays_visible() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(50, 51, &[])))).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), range(50, 51)]);
}

#[tokio::test(start_paused = true)]
async fn of_a_huge_hole_the_deletions_are_sent() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    let end = 3 * MAX_HOLE_EVENTS as u64;
    rig.append(STREAM, end + 100).await;
    rig.cache(&batch(3, end - 1, &[])).await;
    rig.cache(&batch(end, end + 9, &[end + 5])).await;
    rig.publish(BusMessage::Batch(Arc::new(batch(end + 10, end + 11, &[])))).await;
    let frames = rig.frames(0).await;
    assert!(frames.contains(&Shown::Deleted(sample_comment_id(end + 4))));
    assert_eq!(frames.last(), Some(&range(end + 10, end + 11)), "and a gap before it");
    let shown = |frame: &Shown| match frame {
        Shown::Range(_, _, seqs) => seqs.len(),
        Shown::Deleted(_) | Shown::Room(_) | Shown::Stream(_) | Shown::Pinned(_) => 0,
    };
    assert!(frames.iter().map(shown).sum::<usize>() < 2 * MAX_HOLE_EVENTS);
}

#[tokio::test(start_paused = true)]
async fn empty_range_joins_the_next_frame() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.broadcast(Batch { comments: Vec::new(), ..batch(3, 9, &[]) }).await;
    rig.broadcast(batch(10, 10, &[])).await;
    assert_eq!(rig.frames(0).await, [range(1, 2), Shown::Range(3, 10, vec![10])]);
}

#[tokio::test(start_paused = true)]
async fn hidden_comment_alone_covers_no_range_for_others() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let own = vec![sample_comment(1).sequenced(1)];
    rig.broadcast(Batch { comments: Vec::new(), own: own.clone(), ..batch(1, 1, &[]) }).await;
    rig.broadcast(batch(2, 2, &[])).await;
    let comments = vec![sample_comment(3).sequenced(3)];
    let both = vec![sample_comment(4).sequenced(4)];
    rig.broadcast(Batch { comments, own: both, ..batch(3, 4, &[]) }).await;
    let frame_of = |command| match command {
        Command::Frame { frame, .. } => Some(frame),
        _ => None,
    };
    let frames: Vec<_> = rig.commands(0).await.into_iter().filter_map(frame_of).collect();
    let ranges = |user: Option<UserId>| -> Vec<_> {
        let sent = frames.iter().filter_map(|frame| frame.batch_for(user.into()));
        sent.map(|batch| (batch.from_seq, batch.to_seq, batch.comments.len())).collect()
    };
    let author = own[0].user_id;
    assert_eq!(ranges(Some(author)), [(1, 1, 1), (1, 2, 1), (3, 4, 2)]);
    assert_eq!(ranges(None), [(1, 2, 1), (3, 4, 1)]);
}

/// An append whose answer was lost with the log is repeated into the next one. Viewers that saw the
/// comment before are not sent it again; those that were not told of it are.
#[tokio::test(start_paused = true)]
async fn comment_shown_in_an_earlier_epoch_is_not_again() {
    const BEFORE: Epoch = Epoch(6);
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(2, 242), (4, 244)].map(|(seq, place)| (sample_comment_id(seq), place));
    rig.recent.set_earlier(EarlierPlaces { epoch: BEFORE, places: places.into_iter().collect() });
    for (from_seq, to_seq) in [(1, 3), (4, 4), (5, 5)] {
        rig.broadcast(batch(from_seq, to_seq, &[])).await;
    }
    let frame_of = |command| match command {
        Command::Frame { frame, .. } => Some(frame),
        _ => None,
    };
    let frames: Vec<_> = rig.commands(0).await.into_iter().filter_map(frame_of).collect();
    let sent = |came_from: Option<StreamPosition>| -> Vec<_> {
        let audience = Audience { user: None, came_from };
        let sent = frames.iter().filter_map(|frame| frame.batch_for(audience));
        sent.map(|batch| Shown::of(&ServerMessage::Comments(batch.into_owned()))).collect()
    };
    let from = |seq| Some(StreamPosition { epoch: BEFORE, seq });
    assert_eq!(sent(from(244)), [Shown::Range(1, 3, vec![1, 3]), Shown::Range(4, 5, vec![5])]);
    let again = || Shown::Range(4, 4, vec![4]);
    let last = || Shown::Range(4, 5, vec![5]);
    assert_eq!(sent(from(243)), [Shown::Range(1, 3, vec![1, 3]), again(), last()]);
    let other = Some(StreamPosition { epoch: Epoch(5), seq: 300 });
    for unseen in [from(241), other, None] {
        assert_eq!(sent(unseen), [range(1, 3), again(), last()], "{unseen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn holes_are_filled_without_what_was_shown_before() {
    const BEFORE: Epoch = Epoch(6);
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(sample_comment_id(2), 242)].into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: BEFORE, places });
    rig.cache(&batch(1, 2, &[])).await;
    rig.broadcast(batch(3, 3, &[])).await;
    let sent = [Shown::Range(1, 2, vec![1]), range(3, 3)];
    assert_eq!(rig.frames(0).await, sent, "to viewers that saw it");
}

#[tokio::test(start_paused = true)]
async fn new_comments_are_not_looked_up() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let places = [(sample_comment_id(1), 242)].into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: Epoch(6), places });
    let created_at = OPENED.as_millis() as u64 + 5_000;
    let new = SequencedComment { created_at, ..sample_comment(1).sequenced(1) };
    rig.broadcast(Batch { comments: vec![new], ..batch(1, 1, &[]) }).await;
    assert_eq!(rig.frames(0).await, [range(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn places_of_an_earlier_epoch_are_dropped_in_time() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    let opened_ms = OPENED.as_millis() as u64;
    let kept_ms = EARLIER_KEPT_FOR.as_millis() as u64;
    let old = CommentId::from_unix_ticks((opened_ms - kept_ms - 1_000) * 10_000, 1, [3; 6]);
    let places = [(old, 241), (sample_comment_id(2), 242), (sample_comment_id(3), 243)];
    let places = places.into_iter().collect();
    rig.recent.set_earlier(EarlierPlaces { epoch: Epoch(6), places });
    let comment = SequencedComment { comment_id: old, ..sample_comment(1).sequenced(1) };
    rig.broadcast(Batch { comments: vec![comment], ..batch(1, 1, &[]) }).await;
    assert_eq!(rig.frames(0).await, [range(1, 1)], "its place is not kept");
    rig.broadcast(batch(2, 2, &[])).await;
    tokio::time::sleep(EARLIER_KEPT_FOR).await;
    rig.broadcast(batch(3, 3, &[])).await;
    let frames = rig.frames(0).await;
    assert!(!frames.contains(&range(2, 2)), "it was shown before: {frames:?}");
    assert_eq!(frames.last(), Some(&range(3, 3)), "nothing is looked up any more");
}

#[tokio::test(start_paused = true)]
async fn unwatched_stream_sends_no_frames() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.watch(1).await;
    rig.requests.send(HubRequest::Unwatch { stream_id: STREAM, worker: 0 }).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    rig.broadcast(batch(1, 1, &[])).await;
    assert_eq!(rig.frames(0).await, []);
    assert_eq!(rig.frames(1).await, [range(1, 1)]);
}
