//! Repeats the acts of operators during the recording: deletes comments and fixes shares through
//! the admin socket.
//!
//! In: recorded deletions and settings at their times, and the answers to replayed comments. Out:
//! requests to the daemon, one after the other. Always holds: a deletion goes to the latest replay
//! of its comment, once that is acked; at the end the stream has the share that it had before.
//! When full: the [`MAX_REMEMBERED`] latest comments can be deleted; with [`MAX_READY`] deletions
//! that wait for the daemon, the replay waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::overlay::{PlayedDeletion, RecordedId};
use crate::cli::output::{note, now_ms};
use crate::client::admin::{AdminClient, AdminError};
use crate::loadgen::AckListener;
use crate::protocol::admin::{DeleteRequest, Outcome, ThrottleRequest};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{CommentId, StreamId};

/// The latest comments that can be deleted.
const MAX_REMEMBERED: usize = 100_000;
/// Deletions that may wait for the daemon before the replay does.
const MAX_READY: usize = 1_000;
/// The most characters of a reason, as the daemon takes it.
const MAX_REASON: usize = 32;

/// The outcome of the recorded deletions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct DeletionCounts {
    /// Replayed comments that were deleted.
    pub(super) deleted: u64,
    /// Of comments that were not replayed or not accepted, or are too far back.
    pub(super) without_comment: u64,
    /// Refused by the daemon, or without an answer.
    pub(super) failed: u64,
}

/// The ids of replayed comments by their recorded ids.
#[derive(Debug, Default)]
pub(super) struct ReplayedIds {
    state: Mutex<IdState>,
    /// Wakes the task that deletes.
    changed: Notify,
    /// Wakes the replay when deletions that waited have been taken.
    taken: Notify,
}

#[derive(Debug, Default)]
struct IdState {
    /// The number of the latest replay of each comment.
    numbers: AHashMap<RecordedId, u64>,
    /// By number, the oldest first.
    comments: BTreeMap<u64, ReplayedComment>,
    ready: VecDeque<DeleteRequest>,
    counts: DeletionCounts,
    /// Nothing is added any more.
    closed: bool,
}

#[derive(Debug)]
struct ReplayedComment {
    recorded_id: RecordedId,
    fate: CommentFate,
}

#[derive(Debug)]
enum CommentFate {
    /// Not answered yet; with the deletion that waits for the ack.
    Unanswered(Option<PlayedDeletion>),
    Posted(CommentId),
}

impl IdState {
    fn forget(&mut self, number: u64) -> Option<ReplayedComment> {
        let comment = self.comments.remove(&number)?;
        if self.numbers.get(&comment.recorded_id) == Some(&number) {
            self.numbers.remove(&comment.recorded_id);
        }
        Some(comment)
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.comments.keys().next().copied() else { return };
        if let Some(ReplayedComment { fate: CommentFate::Unanswered(Some(_)), .. }) =
            self.forget(oldest)
        {
            self.counts.without_comment += 1;
        }
    }

    fn delete(&mut self, comment_id: CommentId, deletion: PlayedDeletion) {
        let reason = deletion.reason.filter(|reason| is_public_word(reason));
        self.ready.push_back(DeleteRequest { comment_id, reason, note: None });
    }
}

/// Returns whether the daemon takes a reason, which viewers are shown. Other platforms have others.
fn is_public_word(reason: &str) -> bool {
    let is_of_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=MAX_REASON).contains(&reason.len()) && reason.bytes().all(is_of_word)
}

impl ReplayedIds {
    /// Remembers a comment that is about to be sent.
    pub(super) fn remember(&self, number: u64, recorded_id: RecordedId) {
        let mut state = self.state.lock();
        if state.comments.len() >= MAX_REMEMBERED {
            state.forget_oldest();
        }
        state.numbers.insert(recorded_id.clone(), number);
        let fate = CommentFate::Unanswered(None);
        state.comments.insert(number, ReplayedComment { recorded_id, fate });
    }

    /// Deletes the latest replay of a comment, once it is acked.
    fn delete(&self, deletion: PlayedDeletion) {
        let mut state = self.state.lock();
        let number = state.numbers.get(&deletion.recorded_id).copied().unwrap_or(u64::MAX);
        match state.comments.get_mut(&number).map(|comment| &mut comment.fate) {
            Some(CommentFate::Unanswered(waiting)) => {
                let is_second = waiting.replace(deletion).is_some();
                state.counts.without_comment += u64::from(is_second);
            }
            Some(&mut CommentFate::Posted(comment_id)) => {
                state.forget(number);
                state.delete(comment_id, deletion);
                self.changed.notify_one();
            }
            None => state.counts.without_comment += 1,
        }
    }

    /// Waits until fewer than [`MAX_READY`] deletions wait for the daemon.
    async fn wait_for_room(&self) {
        while self.state.lock().ready.len() >= MAX_READY {
            self.taken.notified().await;
        }
    }

    /// Returns the next deletion; `None` once there is none and none can follow.
    async fn next(&self) -> Option<DeleteRequest> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(request) = state.ready.pop_front() {
                    self.taken.notify_one();
                    return Some(request);
                }
                if state.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Ends with the deletions that are ready. Those of comments without an ack have no comment.
    fn close(&self) {
        let mut state = self.state.lock();
        let is_waiting =
            |comment: &&ReplayedComment| matches!(comment.fate, CommentFate::Unanswered(Some(_)));
        state.counts.without_comment += state.comments.values().filter(is_waiting).count() as u64;
        state.comments.clear();
        state.numbers.clear();
        state.closed = true;
        self.changed.notify_one();
    }

    fn record(&self, result: &Result<Outcome, AdminError>) {
        let mut state = self.state.lock();
        match result {
            Ok(_) => state.counts.deleted += 1,
            Err(_) => state.counts.failed += 1,
        }
    }

    fn counts(&self) -> DeletionCounts {
        self.state.lock().counts
    }
}

impl AckListener for ReplayedIds {
    fn acked(&self, number: u64, comment_id: CommentId) {
        let mut state = self.state.lock();
        let Some(comment) = state.comments.get_mut(&number) else { return };
        let before = std::mem::replace(&mut comment.fate, CommentFate::Posted(comment_id));
        if let CommentFate::Unanswered(Some(deletion)) = before {
            state.forget(number);
            state.delete(comment_id, deletion);
            self.changed.notify_one();
        }
    }

    fn rejected(&self, number: u64) {
        let mut state = self.state.lock();
        if let Some(ReplayedComment { fate: CommentFate::Unanswered(Some(_)), .. }) =
            state.forget(number)
        {
            state.counts.without_comment += 1;
        }
    }
}

/// Repeats deletions and settings of the throttle on one stream.
#[derive(Debug)]
pub(super) struct Operator {
    client: AdminClient,
    stream_id: StreamId,
    pub(super) ids: Arc<ReplayedIds>,
    deleting: JoinHandle<()>,
    /// The setting of the stream before the replay.
    before: Option<FixedRate>,
    /// The setting of the stream now; `None` after a request without an answer, which the daemon
    /// may have carried out.
    setting: Option<Option<FixedRate>>,
}

impl Operator {
    /// `before` is the share that is fixed for the stream now, if one is.
    pub(super) fn new(client: AdminClient, stream_id: StreamId, before: Option<FixedRate>) -> Self {
        let ids = Arc::new(ReplayedIds::default());
        let deleting = tokio::spawn(delete_all(client.clone(), ids.clone()));
        Self { client, stream_id, ids, deleting, before, setting: Some(before) }
    }

    pub(super) async fn delete(&self, deletion: PlayedDeletion) {
        self.ids.wait_for_room().await;
        self.ids.delete(deletion);
    }

    /// Fixes the share that viewers are shown, or leaves it to the throttle. A failure is a
    /// warning: the comments continue.
    pub(super) async fn set_throttle(&mut self, setting: Option<SampleRate>) {
        self.fix(setting.map(FixedRate::from), now_ms()).await;
    }

    async fn fix(&mut self, setting: Option<FixedRate>, now_ms: u64) {
        if self.setting == Some(setting) {
            return;
        }
        let request = ThrottleRequest {
            stream_id: self.stream_id,
            sample_rate: setting.map(|fixed| fixed.rate),
            for_ms: setting.and_then(|fixed| fixed.until_ms).map(|end| end.saturating_sub(now_ms)),
        };
        match self.client.post::<_, Outcome>("/v1/throttle", &request).await {
            Ok(_) => self.setting = Some(setting),
            Err(error) => {
                self.setting = None;
                note(&format!("warning: the throttle was not set: {error}"));
            }
        }
    }

    /// Waits for the daemon's answers to the deletions, for at most `patience`, and sets the share
    /// that the stream had before.
    pub(super) async fn finish(mut self, patience: Duration) -> DeletionCounts {
        self.ids.close();
        let unfinished = tokio::time::timeout(patience, &mut self.deleting).await.is_err();
        self.deleting.abort();
        let now_ms = now_ms();
        let before = self.before.filter(|fixed| fixed.is_in_force(now_ms));
        self.fix(before, now_ms).await;
        let mut counts = self.ids.counts();
        if unfinished {
            let left = self.ids.state.lock().ready.len() as u64;
            // One more is with the daemon.
            counts.failed += left + 1;
        }
        counts
    }
}

/// Sends deletions until there are no more. Warns of the first that fails.
async fn delete_all(client: AdminClient, ids: Arc<ReplayedIds>) {
    let mut warned = false;
    while let Some(request) = ids.next().await {
        let result = client.post::<_, Outcome>("/v1/delete", &request).await;
        ids.record(&result);
        if let Err(error) = result
            && !std::mem::replace(&mut warned, true)
        {
            note(&format!("warning: comment {} was not deleted: {error}", request.comment_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(file: usize, id: &str) -> RecordedId {
        RecordedId { file, id: id.into() }
    }

    fn replayed(number: u64) -> CommentId {
        CommentId::from_unix_ticks(17_000_000_000_000_000 + number, 7, [1; 6])
    }

    fn deletion(file: usize, id: &str, reason: &str) -> PlayedDeletion {
        PlayedDeletion { recorded_id: recorded(file, id), reason: Some(reason.to_owned()) }
    }

    fn ready(ids: &ReplayedIds) -> Vec<(CommentId, Option<String>)> {
        let requests = std::mem::take(&mut ids.state.lock().ready);
        requests.into_iter().map(|request| (request.comment_id, request.reason)).collect()
    }

    #[test]
    fn a_deletion_waits_for_the_ack_of_its_comment() {
        let ids = ReplayedIds::default();
        ids.remember(0, recorded(0, "a"));
        ids.remember(1, recorded(0, "b"));
        ids.acked(0, replayed(0));
        ids.delete(deletion(0, "a", "spam"));
        ids.delete(deletion(0, "b", "Removed by a moderator"));
        assert_eq!(ready(&ids), [(replayed(0), Some("spam".to_owned()))]);
        ids.acked(1, replayed(1));
        assert_eq!(ready(&ids), [(replayed(1), None)], "no daemon takes that reason");
        ids.delete(deletion(0, "a", "spam"));
        ids.delete(deletion(1, "a", "spam"));
        assert_eq!(ids.counts().without_comment, 2, "deleted before, and of another file");
        ids.remember(2, recorded(0, "c"));
        ids.delete(deletion(0, "c", "spam"));
        ids.delete(deletion(0, "c", "spam"));
        ids.rejected(2);
        assert_eq!(ids.counts().without_comment, 4, "each deletion is counted");
        assert!(ready(&ids).is_empty());
    }

    #[test]
    fn a_repeated_part_deletes_the_latest_copy() {
        let ids = ReplayedIds::default();
        for number in [0, 7] {
            ids.remember(number, recorded(0, "a"));
            ids.acked(number, replayed(number));
        }
        ids.delete(deletion(0, "a", "spam"));
        assert_eq!(ready(&ids), [(replayed(7), Some("spam".to_owned()))]);
    }

    #[test]
    fn only_the_latest_comments_are_remembered() {
        let ids = ReplayedIds::default();
        for number in 0..=MAX_REMEMBERED as u64 {
            ids.remember(number, recorded(0, &number.to_string()));
            ids.acked(number, replayed(number));
        }
        {
            let state = ids.state.lock();
            assert_eq!(
                (state.comments.len(), state.numbers.len()),
                (MAX_REMEMBERED, MAX_REMEMBERED)
            );
        }
        ids.delete(deletion(0, "0", "spam"));
        ids.delete(deletion(0, "1", "spam"));
        assert_eq!(ready(&ids), [(replayed(1), Some("spam".to_owned()))]);
        assert_eq!(ids.counts().without_comment, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_replay_waits_for_a_slow_daemon() {
        let ids = Arc::new(ReplayedIds::default());
        for number in 0..=MAX_READY as u64 {
            ids.remember(number, recorded(0, &number.to_string()));
            ids.acked(number, replayed(number));
        }
        for number in 0..MAX_READY {
            ids.wait_for_room().await;
            ids.delete(deletion(0, &number.to_string(), "spam"));
        }
        let waits = tokio::time::timeout(Duration::from_secs(5), ids.wait_for_room()).await;
        assert!(waits.is_err(), "all places are taken");
        assert!(ids.next().await.is_some());
        ids.wait_for_room().await;
        ids.close();
        let rest = async {
            let mut rest = 0;
            while ids.next().await.is_some() {
                rest += 1;
            }
            rest
        };
        assert_eq!(rest.await, MAX_READY - 1);
    }
}
