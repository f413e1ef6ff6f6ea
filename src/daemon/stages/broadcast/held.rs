//! The records of a stream that wait because its room has a message delay.
//!
//! In: records of one stream in the order of the log, each with the time from which it may be
//! shown. Out: the same records in the same order, when they are due. A record behind a comment
//! waits for it, so that ranges join. A comment that is deleted meanwhile is never shown.
//!
//! When full: the oldest records are due early, see [`MAX_BYTES`] and [`MAX_TOTAL_BYTES`].

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use ahash::AHashMap;
use tokio::time::Instant;

use crate::protocol::events::{CommentSubmitted, HiddenFrom, Removal};
use crate::protocol::{CommentId, Seq};

/// The most bytes that wait per stream, texts included. 30 s of 1,500 comments per second of usual
/// length fit; beyond that the delay is in effect shorter.
pub(super) const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The most bytes that wait in all streams of a node together, and the records of one poll. Beyond
/// that the streams with the most wait for less.
pub(super) const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of a record besides its texts, with its entry in a map.
const RECORD_BYTES: usize = 280;

/// A record of the log as the broadcast stage uses it.
#[derive(Debug)]
pub(super) enum StreamRecord {
    Comment {
        event: CommentSubmitted,
        times: CommentTimes,
    },
    Deletion(Removal),
    Restoration(CommentId),
    /// It shows nothing.
    Nothing,
}

/// Times of a comment in this stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommentTimes {
    /// When it was read or, if it was held back, when that ended. Its latency counts from then.
    pub(super) ready_at: Instant,
    /// The message delay of its room when it was read, in milliseconds.
    pub(super) delay_ms: u64,
}

/// A record that is due.
#[derive(Debug)]
pub(super) struct DueRecord {
    pub(super) seq: Seq,
    pub(super) record: StreamRecord,
    /// The removal that hides the comment, if it is one that was deleted while it waited.
    pub(super) removal: Option<Removal>,
}

#[derive(Debug)]
struct Held {
    due: Instant,
    bytes: usize,
    waiting: DueRecord,
}

/// The records that wait. A record is found by its comment without a walk over the queue.
#[derive(Debug, Default)]
pub(super) struct HeldRecords {
    queue: VecDeque<Held>,
    bytes: usize,
    /// Index of the oldest record. Indices count all records ever pushed.
    first: u64,
    /// Index of each comment that waits.
    comments: AHashMap<CommentId, u64>,
    /// Indices of the deletions that wait, by comment.
    deletions: AHashMap<CommentId, Vec<u64>>,
}

impl HeldRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the place of the oldest record.
    pub(super) fn first_seq(&self) -> Option<Seq> {
        self.queue.front().map(|held| held.waiting.seq)
    }

    /// Returns when the oldest record is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.front().map(|held| held.due)
    }

    /// Adds a record, which is due at a time or with the one before it, whichever is later.
    pub(super) fn push(&mut self, seq: Seq, record: StreamRecord, due: Option<Instant>) {
        let before = self.queue.back().map(|held| held.due);
        let due = due.max(before).unwrap_or_else(Instant::now);
        let index = self.first + self.queue.len() as u64;
        let text_bytes = match &record {
            StreamRecord::Comment { event, .. } => {
                self.comments.insert(event.comment.comment_id, index);
                event.comment.message.len() + event.comment.name.len()
            }
            StreamRecord::Deletion(removal) => {
                self.deletions.entry(removal.comment_id).or_default().push(index);
                0
            }
            StreamRecord::Restoration(_) | StreamRecord::Nothing => 0,
        };
        let bytes = RECORD_BYTES + text_bytes;
        self.bytes += bytes;
        self.queue.push_back(Held {
            due,
            bytes,
            waiting: DueRecord { seq, record, removal: None },
        });
    }

    /// Hides a comment that waits, as its deletion says.
    pub(super) fn hide(&mut self, removal: &Removal) {
        let Some(index) = self.comments.get(&removal.comment_id).copied() else { return };
        let Some(waiting) = self.waiting_mut(index) else { return };
        // A deletion for everybody counts more than one that spares the author.
        if waiting.removal.as_ref().map(Removal::hidden_from) != Some(HiddenFrom::Everybody) {
            waiting.removal = Some(removal.clone());
        }
    }

    /// Takes back what hides a comment that waits, and its deletions that wait.
    pub(super) fn restore(&mut self, comment_id: CommentId) {
        if let Some(index) = self.comments.get(&comment_id).copied()
            && let Some(waiting) = self.waiting_mut(index)
        {
            waiting.removal = None;
        }
        for index in self.deletions.remove(&comment_id).unwrap_or_default() {
            if let Some(waiting) = self.waiting_mut(index) {
                waiting.record = StreamRecord::Nothing;
            }
        }
    }

    fn waiting_mut(&mut self, index: u64) -> Option<&mut DueRecord> {
        let at = index.checked_sub(self.first)?;
        self.queue.get_mut(at as usize).map(|held| &mut held.waiting)
    }

    /// Returns the bytes that wait, texts included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the oldest record if it is due, or if more than `max_bytes` wait.
    pub(super) fn pop_due(&mut self, now: Instant, max_bytes: usize) -> Option<DueRecord> {
        let is_full = self.bytes > max_bytes;
        let held = self.queue.pop_front_if(|held| is_full || held.due <= now)?;
        self.bytes -= held.bytes;
        let index = self.first;
        self.first += 1;
        let Held { due, mut waiting, .. } = held;
        match &mut waiting.record {
            StreamRecord::Comment { event, times } => {
                times.ready_at = due.min(now).max(times.ready_at);
                self.comments.remove(&event.comment.comment_id);
            }
            StreamRecord::Deletion(Removal { comment_id, .. }) => {
                if let Entry::Occupied(mut indices) = self.deletions.entry(*comment_id) {
                    indices.get_mut().retain(|other| *other != index);
                    if indices.get().is_empty() {
                        indices.remove();
                    }
                }
            }
            StreamRecord::Restoration(_) | StreamRecord::Nothing => {}
        }
        Some(waiting)
    }
}

/// Returns the bytes that may wait per stream, so that no more than `max_total` of these wait
/// together. Only the largest have to give something up.
pub(super) fn max_bytes_per_stream(mut waiting: Vec<usize>, max_total: usize) -> usize {
    waiting.sort_unstable();
    let mut left = max_total;
    for (at, bytes) in waiting.iter().enumerate() {
        let share = left / (waiting.len() - at);
        if *bytes > share {
            return share.min(MAX_BYTES);
        }
        left -= bytes;
    }
    MAX_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::testing::comments::{sample_comment, sample_deletion, submitted};
    use crate::protocol::Comment;

    fn read(event: CommentSubmitted) -> StreamRecord {
        let times = CommentTimes { ready_at: Instant::now(), delay_ms: 5_000 };
        StreamRecord::Comment { event, times }
    }

    fn comment(number: u64) -> StreamRecord {
        read(submitted(sample_comment(number)))
    }

    fn due_seqs(held: &mut HeldRecords) -> Vec<Seq> {
        let now = Instant::now();
        std::iter::from_fn(|| held.pop_due(now, MAX_BYTES)).map(|due| due.seq).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn records_wait_in_their_order() {
        let mut held = HeldRecords::default();
        let start = Instant::now();
        held.push(1, comment(1), Some(start + Duration::from_secs(5)));
        held.push(2, StreamRecord::Nothing, None);
        held.push(3, comment(3), Some(start + Duration::from_secs(2)));
        assert_eq!((held.first_seq(), due_seqs(&mut held)), (Some(1), vec![]));
        assert_eq!(held.next_due(), Some(start + Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(due_seqs(&mut held), [1, 2, 3]);
        assert!(held.is_empty() && held.bytes == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_the_end_of_the_delay() {
        let mut held = HeldRecords::default();
        let due_at = Instant::now() + Duration::from_secs(5);
        held.push(1, comment(1), Some(due_at));
        tokio::time::advance(Duration::from_secs(4)).await;
        held.push(2, comment(2), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        let ready_at = |due: Option<DueRecord>| match due.unwrap().record {
            StreamRecord::Comment { times, .. } => times.ready_at,
            other => panic!("no comment: {other:?}"),
        };
        let now = Instant::now();
        assert_eq!(ready_at(held.pop_due(now, MAX_BYTES)), due_at);
        assert_eq!(ready_at(held.pop_due(now, MAX_BYTES)), due_at, "it waited for the other");
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_deleted_meanwhile_is_hidden() {
        let mut held = HeldRecords::default();
        let later = Some(Instant::now() + Duration::from_secs(5));
        held.push(1, comment(1), later);
        held.push(2, comment(2), later);
        held.hide(&sample_deletion(1));
        tokio::time::advance(Duration::from_secs(5)).await;
        let hidden = |due: Option<DueRecord>| due.unwrap().removal.is_some();
        assert!(hidden(held.pop_due(Instant::now(), MAX_BYTES)));
        assert!(!hidden(held.pop_due(Instant::now(), MAX_BYTES)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_restored_in_time_is_shown() {
        let mut held = HeldRecords::default();
        held.push(1, comment(1), Some(Instant::now()));
        for (seq, number) in [(2, 1), (3, 7)] {
            let removal = sample_deletion(number);
            held.hide(&removal);
            held.push(seq, StreamRecord::Deletion(removal), None);
        }
        held.restore(sample_comment(1).comment_id);
        let due: Vec<_> = std::iter::from_fn(|| held.pop_due(Instant::now(), MAX_BYTES)).collect();
        assert!(due[0].removal.is_none());
        assert!(matches!(due[1].record, StreamRecord::Nothing));
        assert!(matches!(due[2].record, StreamRecord::Deletion(_)), "of another comment");
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_is_found_behind_those_that_left() {
        let mut held = HeldRecords::default();
        let later = Some(Instant::now() + Duration::from_secs(5));
        held.push(1, comment(1), None);
        held.push(2, StreamRecord::Deletion(sample_deletion(1)), None);
        assert_eq!(due_seqs(&mut held), [1, 2]);
        assert!(held.comments.is_empty() && held.deletions.is_empty());
        for (seq, number) in [(3, 3), (4, 4)] {
            held.push(seq, comment(number), later);
        }
        for (seq, number) in [(5, 3), (6, 4), (7, 4)] {
            held.hide(&sample_deletion(number));
            held.push(seq, StreamRecord::Deletion(sample_deletion(number)), None);
        }
        held.restore(sample_comment(4).comment_id);
        tokio::time::advance(Duration::from_secs(5)).await;
        let due: Vec<_> = std::iter::from_fn(|| held.pop_due(Instant::now(), MAX_BYTES)).collect();
        assert!(due[0].removal.is_some() && due[1].removal.is_none());
        assert!(matches!(due[2].record, StreamRecord::Deletion(_)), "of the other comment");
        assert!(due[3..].iter().all(|due| matches!(due.record, StreamRecord::Nothing)));
        assert!(held.comments.is_empty() && held.deletions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_bounded() {
        let mut held = HeldRecords::default();
        let later = Some(Instant::now() + Duration::from_secs(30));
        let long = "x".repeat(100_000);
        for seq in 1..1_000 {
            let message = long.as_str().into();
            let event = submitted(Comment { message, ..sample_comment(seq) });
            held.push(seq, read(event), later);
            due_seqs(&mut held);
            assert!(held.bytes <= MAX_BYTES);
        }
        assert!(held.first_seq().is_some_and(|first| first > 1));
    }

    #[test]
    fn the_largest_streams_make_room_for_all() {
        assert_eq!(max_bytes_per_stream(vec![10, 300, 500], 1_000), MAX_BYTES);
        assert_eq!(max_bytes_per_stream(vec![500, 10, 700], 1_000), 495);
        assert_eq!(max_bytes_per_stream(vec![300, 900, 100], 1_000), 600);
        assert_eq!(max_bytes_per_stream(vec![900; 10], 1_000), 100);
        assert_eq!(max_bytes_per_stream(Vec::new(), 1_000), MAX_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_leave_a_stream_that_holds_too_much() {
        let mut held = HeldRecords::default();
        let later = Some(Instant::now() + Duration::from_secs(5));
        (1..=10).for_each(|seq| held.push(seq, comment(seq), later));
        let half = held.bytes() / 2;
        let left = std::iter::from_fn(|| held.pop_due(Instant::now(), half)).map(|due| due.seq);
        assert_eq!(left.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
