//! Counts the votes of viewers in the polls of their streams.
//!
//! In: votes of viewers over WebSockets and HTTP. Out: an answer to each. The metadata store has
//! the totals, which every node reads (`engines/directory`).
//!
//! Always holds: a vote is answered after it is stored. Of each user one vote counts, the first,
//! over all nodes, also after a restart; a repetition of it is acknowledged again, also after the
//! poll has closed, while it is the latest of its stream and the store knows who voted. A vote
//! counts if the poll was open when the vote came to this node, though it may be counted up to
//! [`GRACE_MS`] later. Votes that wait are stored together, so that a crowd costs few transactions.
//! A user whose vote was counted lately is answered from memory, and so is everyone once the poll
//! has been closed for [`SWEEP_AFTER_MS`]: the store may have forgotten its voters. While the store
//! is down, votes are refused with a retryable error.
//!
//! When full: the senders of the queue, of [`MAX_WAITING`] votes, answer `overloaded`.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::{ViewerSink, Vote, VoteReplyTo};
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::two_generations::TwoGenerations;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::metadata::{PollVote, SWEEP_AFTER_MS, SharedMetadataStore};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::message::ServerMessage;
use crate::protocol::{ErrorCode, UserId};

/// Votes that may wait to be counted.
pub const MAX_WAITING: usize = 16_384;
/// Votes that are stored together.
const MAX_BATCH: usize = 1024;
/// A vote that has waited for longer is taken for one that came this long ago, in milliseconds.
const GRACE_MS: u64 = 5_000;
/// Votes that were counted are remembered for at least this long, in milliseconds, unless more than
/// [`MAX_COUNTED`] others were counted since.
const COUNTED_MS: u64 = 600_000;
const MAX_COUNTED: usize = 65_536;

/// The options that count, by poll and user.
type CountedVotes = TwoGenerations<(u64, UserId), u8>;

/// The stage.
#[derive(Debug)]
pub struct VoteCounter {
    pub metadata: SharedMetadataStore,
    /// Guards the metadata store.
    pub breaker: Arc<Breaker>,
    pub streams: Streams,
    pub clock: SharedClock,
    /// Answers viewers with a WebSocket.
    pub sink: Arc<dyn ViewerSink>,
}

impl VoteCounter {
    /// Runs until `stop`, or until every sender of the queue is gone. What waits then is counted.
    pub async fn run(self, mut queue: mpsc::Receiver<Vote>, stop: CancellationToken) {
        let mut counted = CountedVotes::new(COUNTED_MS, MAX_COUNTED);
        let mut taken = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                count = queue.recv_many(&mut taken, MAX_BATCH) => count,
            };
            if count == 0 {
                return;
            }
            self.count(&mut taken, &mut counted).await;
        }
        queue.close();
        while queue.recv_many(&mut taken, MAX_BATCH).await > 0 {
            self.count(&mut taken, &mut counted).await;
        }
    }

    async fn count(&self, taken: &mut Vec<Vote>, counted: &mut CountedVotes) {
        let now_ms = self.clock.now_ms();
        counted.advance(now_ms);
        let mut by_poll: BTreeMap<u64, Vec<(Vote, PollVote)>> = BTreeMap::new();
        for vote in taken.drain(..) {
            let checked = match self.check(&vote, now_ms) {
                Ok(checked) => checked,
                Err(error) => {
                    self.answer(vote, Err(error));
                    continue;
                }
            };
            match counted.get(&(vote.poll_id, vote.user_id)) {
                Some(option) => self.answer(vote, outcome(checked, Some(*option))),
                None => by_poll.entry(vote.poll_id).or_default().push((vote, checked)),
            }
        }
        for (poll_id, votes) in by_poll {
            let checked: Vec<_> = votes.iter().map(|(_, checked)| *checked).collect();
            let stored = self.store(poll_id, &checked).await;
            for (at, (vote, checked)) in votes.into_iter().enumerate() {
                let option = match &stored {
                    Ok(options) => options.get(at).copied().flatten(),
                    Err(error) => {
                        self.answer(vote, Err(error.clone()));
                        continue;
                    }
                };
                if let Some(option) = option {
                    counted.insert((poll_id, vote.user_id), option);
                }
                self.answer(vote, outcome(checked, option));
            }
        }
    }

    /// Checks all but whether a vote is late: only the store knows whether a late one repeats one
    /// that counts. Once the store may have forgotten that, the poll is closed for everyone.
    fn check(&self, vote: &Vote, now_ms: u64) -> Result<PollVote, ErrorBody> {
        let at_ms = vote.arrived_ms.max(now_ms.saturating_sub(GRACE_MS));
        let poll = self.streams.get(vote.stream_id).and_then(|stream| stream.poll.clone());
        let poll = poll.filter(|poll| poll.poll_id == vote.poll_id).ok_or_else(poll_closed)?;
        if now_ms >= poll.closes_at.saturating_add(SWEEP_AFTER_MS) {
            return Err(poll_closed());
        }
        match u8::try_from(vote.option) {
            Ok(option) if usize::from(option) < poll.options.len() => {
                Ok(PollVote { user_id: vote.user_id, option, at_ms })
            }
            Ok(_) | Err(_) => {
                let text = format!("the poll has the options 0 to {}", poll.options.len() - 1);
                Err(ErrorBody::new(ErrorCode::UnknownOption, text))
            }
        }
    }

    async fn store(&self, poll_id: u64, votes: &[PollVote]) -> Result<Vec<Option<u8>>, ErrorBody> {
        if !self.breaker.permits() {
            return Err(not_counted());
        }
        let counted = self.metadata.count_votes(poll_id, votes).await;
        match &counted {
            Err(error @ StoreError::Unavailable(_)) => self.breaker.failed(error),
            // The store answered.
            _ => self.breaker.succeeded(),
        }
        counted.map_err(|error| {
            warn!(poll_id, %error, "votes not counted, as far as is known");
            not_known()
        })
    }

    fn answer(&self, vote: Vote, outcome: Result<(), ErrorBody>) {
        match vote.reply_to {
            VoteReplyTo::Connection { connection, client_ref } => {
                let ack = ServerMessage::VoteAck { client_ref: client_ref.clone() };
                self.sink.room_changed(connection, client_ref, outcome.map(|()| ack));
            }
            // A caller that went away needs no answer.
            VoteReplyTo::Caller(caller) => drop(caller.send(outcome)),
        }
    }
}

fn poll_closed() -> ErrorBody {
    ErrorBody::new(ErrorCode::PollClosed, "no poll with this id is open on the stream")
}

/// Returns the outcome of a vote for whose user this option counts.
fn outcome(vote: PollVote, counts: Option<u8>) -> Result<(), ErrorBody> {
    match counts {
        Some(option) if option == vote.option => Ok(()),
        Some(option) => {
            let text = format!("you have voted in this poll already, for the option {option}");
            Err(ErrorBody::new(ErrorCode::AlreadyVoted, text))
        }
        None => Err(poll_closed()),
    }
}

fn not_counted() -> ErrorBody {
    let text = "the vote was not counted: the store does not answer";
    ErrorBody::new(ErrorCode::StoreUnavailable, text).retry_after_ms(RETRY_AFTER_MS)
}

/// The store may have counted it before the connection to it was lost.
fn not_known() -> ErrorBody {
    let text = "it is not known whether the vote was counted: send it again, it counts once";
    ErrorBody::new(ErrorCode::StoreUnavailable, text).retry_after_ms(RETRY_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::base::handoff::NoViewers;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
    use crate::daemon::engines::metadata::{NewAudit, NewPoll, RoomLife as _};
    use crate::protocol::StreamId;
    use crate::protocol::stream::ModerationMode;

    const STREAM: StreamId = StreamId(7);
    const OPENED_MS: u64 = 1_000;

    struct Rig {
        poll_id: u64,
        queue: mpsc::Sender<Vote>,
        metadata: Arc<InMemoryMetadata>,
    }

    impl Rig {
        async fn start() -> Self {
            let metadata = Arc::new(InMemoryMetadata::default());
            metadata.put_stream(stream(STREAM.0, ModerationMode::Async));
            let entry = NewAudit {
                at: OPENED_MS,
                actor: "ann".to_owned(),
                action: "open_poll",
                target: "stream 7".to_owned(),
                detail: serde_json::Value::Null,
                points: None,
            };
            let options = vec!["a".into(), "b".into()];
            let new = NewPoll { question: "?".into(), options, duration_ms: 10_000 };
            let (poll_id, _) = metadata.open_poll(STREAM, new, entry).await.unwrap();
            let counter = VoteCounter {
                metadata: metadata.clone(),
                breaker: Arc::new(Breaker::new("metadata")),
                streams: Streams::load(metadata.clone()).await.unwrap(),
                clock: Arc::new(TokioClock::starting_at(Duration::from_millis(OPENED_MS))),
                sink: Arc::new(NoViewers),
            };
            let (queue, votes) = mpsc::channel(MAX_WAITING);
            tokio::spawn(counter.run(votes, CancellationToken::new()));
            Self { poll_id, queue, metadata }
        }

        /// Returns a vote that comes this long after the poll was opened.
        fn vote(&self, user: u64, option: u64, after_ms: u64) -> SentVote {
            let (reply, outcome) = oneshot::channel();
            let vote = Vote {
                stream_id: STREAM,
                user_id: UserId(user),
                poll_id: self.poll_id,
                option,
                arrived_ms: OPENED_MS + after_ms,
                reply_to: VoteReplyTo::Caller(reply),
            };
            SentVote { vote, outcome }
        }

        async fn send(&self, sent: SentVote) -> Result<(), ErrorBody> {
            self.queue.send(sent.vote).await.unwrap();
            sent.outcome.await.unwrap()
        }

        async fn code(&self, sent: SentVote) -> Result<(), ErrorCode> {
            self.send(sent).await.map_err(|error| error.code)
        }

        async fn votes(&self) -> Vec<u64> {
            let mut votes = self.metadata.poll_votes(&[self.poll_id]).await.unwrap();
            votes.pop().map(|of_poll| of_poll.by_option).unwrap_or_default()
        }
    }

    struct SentVote {
        vote: Vote,
        outcome: oneshot::Receiver<Result<(), ErrorBody>>,
    }

    #[tokio::test(start_paused = true)]
    async fn votes_are_counted_once_while_a_poll_is_open() {
        let rig = Rig::start().await;
        assert_eq!(rig.code(rig.vote(1, 0, 0)).await, Ok(()));
        assert_eq!(rig.code(rig.vote(1, 0, 0)).await, Ok(()), "a repetition");
        assert_eq!(rig.code(rig.vote(1, 1, 0)).await, Err(ErrorCode::AlreadyVoted));
        assert_eq!(rig.votes().await, [1]);
        assert_eq!(rig.code(rig.vote(2, 2, 0)).await, Err(ErrorCode::UnknownOption));
        assert_eq!(rig.code(rig.vote(2, 256, 0)).await, Err(ErrorCode::UnknownOption));
        assert_eq!(rig.code(rig.vote(2, u64::MAX, 0)).await, Err(ErrorCode::UnknownOption));
        let mut elsewhere = rig.vote(2, 0, 0);
        elsewhere.vote.stream_id = StreamId(8);
        assert_eq!(rig.code(elsewhere).await, Err(ErrorCode::PollClosed), "another stream");
        let mut other = rig.vote(2, 0, 0);
        other.vote.poll_id += 1;
        assert_eq!(rig.code(other).await, Err(ErrorCode::PollClosed), "another poll");
        assert_eq!(rig.code(rig.vote(2, 1, 0)).await, Ok(()), "nothing of that was counted");
        assert_eq!(rig.votes().await, [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vote_counts_by_the_time_it_came() {
        let rig = Rig::start().await;
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(rig.code(rig.vote(1, 0, 9_999)).await, Ok(()), "it has waited");
        assert_eq!(rig.code(rig.vote(2, 0, 10_000)).await, Err(ErrorCode::PollClosed));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(rig.code(rig.vote(3, 0, 9_999)).await, Err(ErrorCode::PollClosed), "too long");
        assert_eq!(rig.votes().await, [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vote_can_be_repeated_after_the_close() {
        let rig = Rig::start().await;
        assert_eq!(rig.code(rig.vote(1, 0, 0)).await, Ok(()));
        // Counted by another node, whose answer was lost.
        let counted = PollVote { user_id: UserId(2), option: 1, at_ms: OPENED_MS };
        rig.metadata.count_votes(rig.poll_id, &[counted]).await.unwrap();
        tokio::time::advance(Duration::from_secs(12)).await;
        for (user, option) in [(1, 0), (2, 1)] {
            assert_eq!(rig.code(rig.vote(user, option, 12_000)).await, Ok(()));
            let other = rig.code(rig.vote(user, 1 - option, 12_000)).await;
            assert_eq!(other, Err(ErrorCode::AlreadyVoted));
        }
        assert_eq!(rig.code(rig.vote(3, 0, 12_000)).await, Err(ErrorCode::PollClosed));
        assert_eq!(rig.votes().await, [1, 1]);
        tokio::time::advance(Duration::from_millis(SWEEP_AFTER_MS)).await;
        let now_ms = OPENED_MS + 12_000 + SWEEP_AFTER_MS;
        rig.metadata.sweep(now_ms, 100).await.unwrap();
        let forgotten = rig.code(rig.vote(2, 1, 12_000 + SWEEP_AFTER_MS)).await;
        assert_eq!(forgotten, Err(ErrorCode::PollClosed));
        assert_eq!(rig.votes().await, [1, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_closed_long_ago_needs_no_store() {
        let rig = Rig::start().await;
        // Counted by another node.
        let counted = PollVote { user_id: UserId(1), option: 0, at_ms: OPENED_MS };
        rig.metadata.count_votes(rig.poll_id, &[counted]).await.unwrap();
        // One second before the end of the time in which a vote can be repeated.
        tokio::time::advance(Duration::from_millis(9_000 + SWEEP_AFTER_MS)).await;
        assert_eq!(rig.code(rig.vote(1, 0, 9_000 + SWEEP_AFTER_MS)).await, Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let calls = rig.metadata.calls();
        let after_ms = 10_000 + SWEEP_AFTER_MS;
        for (user, option) in [(1, 0), (2, 0), (2, 9)] {
            let late = rig.code(rig.vote(user, option, after_ms)).await;
            assert_eq!(late, Err(ErrorCode::PollClosed), "user {user}");
        }
        assert_eq!(rig.metadata.calls(), calls, "answered from memory");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vote_without_an_answer_can_be_repeated() {
        let rig = Rig::start().await;
        rig.metadata.fail_next("count_votes");
        let lost = rig.send(rig.vote(1, 0, 0)).await.unwrap_err();
        assert_eq!(lost.code, ErrorCode::StoreUnavailable);
        assert!(lost.message.contains("it is not known"), "{}", lost.message);
        // The store had counted it.
        let counted = PollVote { user_id: UserId(1), option: 0, at_ms: OPENED_MS };
        rig.metadata.count_votes(rig.poll_id, &[counted]).await.unwrap();
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(rig.code(rig.vote(1, 0, 2_000)).await, Ok(()));
        let calls = rig.metadata.calls();
        assert_eq!(rig.code(rig.vote(1, 0, 2_000)).await, Ok(()));
        assert_eq!(rig.code(rig.vote(1, 1, 2_000)).await, Err(ErrorCode::AlreadyVoted));
        assert_eq!(rig.metadata.calls(), calls, "answered from memory");
        assert_eq!(rig.votes().await, [1]);
    }
}
