//! The polls of streams, with their votes as this node shows them.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Streams;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::{PollState, RoomPoll, StreamId};

/// The time between two readings of votes, and so between two messages about them.
const INTERVAL: Duration = Duration::from_secs(1);
/// Votes are read for this long after a poll has closed: those that were being counted then, also
/// by nodes whose clocks are behind.
const SETTLE_MS: u64 = 10_000;
/// A poll is shown as open for at most this long after its end, until its votes are read once more.
const FINAL_READ_MS: u64 = 3_000;

/// Reads the votes of open polls every second, whatever number of viewers vote. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RoomPolls {
    store: SharedMetadataStore,
    streams: Streams,
    clock: SharedClock,
    reading: Arc<ArcSwap<Reading>>,
    read: Arc<watch::Sender<()>>,
}

/// The votes as the store had them at a time.
#[derive(Debug, Default)]
struct Reading {
    /// Just before the store was asked.
    at_ms: u64,
    /// By poll; those that were open, or had closed lately.
    votes: AHashMap<u64, Arc<[u64]>>,
}

impl Reading {
    /// Returns whether no vote is missing that was counted before a poll closed.
    fn is_final(&self, poll: &RoomPoll) -> bool {
        !poll.is_open(self.at_ms)
    }
}

impl RoomPolls {
    pub fn new(store: SharedMetadataStore, streams: Streams, clock: SharedClock) -> Self {
        Self { store, streams, clock, reading: Arc::default(), read: Arc::default() }
    }

    /// Returns the latest poll of a stream, if it had one. It is closed once the votes of its end
    /// are known, so that the first that is told of its end is complete. While the store does not
    /// answer, it is closed a little later, with the votes that are known.
    pub fn state(&self, stream_id: StreamId) -> Option<PollState> {
        let poll = self.streams.get(stream_id)?.poll.clone()?;
        let now_ms = self.clock.now_ms();
        let reading = self.reading.load();
        let votes = reading.votes.get(&poll.poll_id).map_or(&[][..], |votes| votes);
        let state = PollState::at(RoomPoll::clone(&poll), votes, now_ms);
        let has_waited = now_ms >= poll.closes_at.saturating_add(FINAL_READ_MS);
        let closed = state.closed && (reading.is_final(&poll) || has_waited);
        Some(PollState { closed, ..state })
    }

    /// Returns a receiver that is told when votes were read, whether or not there are new ones, and
    /// when a poll may have closed.
    pub fn readings(&self) -> watch::Receiver<()> {
        self.read.subscribe()
    }

    /// Reads votes until `stop`: at once, every second, and when a poll was closed before its time.
    pub async fn follow(self, stop: CancellationToken) {
        let mut reloads = self.streams.reloads();
        let mut ticks = ticker_from_now(INTERVAL);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.read_votes().await,
                // Fails only without a sender, and the streams here have one.
                Ok(()) = reloads.changed() => {
                    if self.is_final_read_due() {
                        self.read_votes().await;
                    }
                }
            }
        }
    }

    /// Returns whether a poll has closed whose last votes are not known.
    fn is_final_read_due(&self) -> bool {
        let now_ms = self.clock.now_ms();
        let reading = self.reading.load();
        let all = self.streams.all();
        all.iter().filter_map(|stream| stream.poll.as_ref()).any(|poll| {
            let has_closed = !poll.is_open(now_ms) && is_followed(poll, now_ms);
            has_closed && !reading.is_final(poll)
        })
    }

    async fn read_votes(&self) {
        let now_ms = self.clock.now_ms();
        let all = self.streams.all();
        let polls = all.iter().filter_map(|stream| stream.poll.as_ref());
        let followed: Vec<_> = polls.filter(|poll| is_followed(poll, now_ms)).collect();
        if followed.is_empty() {
            return;
        }
        let ids: Vec<_> = followed.iter().map(|poll| poll.poll_id).collect();
        match self.store.poll_votes(&ids).await {
            Ok(votes) => {
                let votes =
                    votes.into_iter().map(|of_poll| (of_poll.poll_id, of_poll.by_option.into()));
                let reading = Reading { at_ms: now_ms, votes: votes.collect() };
                self.reading.store(Arc::new(reading));
            }
            Err(error) => debug!(%error, "votes of polls not read; trying again"),
        }
        self.read.send_replace(());
    }
}

/// Returns whether the votes of a poll may still change.
fn is_followed(poll: &RoomPoll, now_ms: u64) -> bool {
    now_ms < poll.closes_at.saturating_add(SETTLE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
    use crate::daemon::engines::metadata::{NewAudit, NewPoll, PollVote, RoomLife as _};
    use crate::protocol::UserId;
    use crate::protocol::stream::ModerationMode;

    const STREAM: StreamId = StreamId(7);

    struct Rig {
        metadata: Arc<InMemoryMetadata>,
        streams: Streams,
        polls: RoomPolls,
        poll_id: u64,
    }

    fn entry(at: u64) -> NewAudit {
        NewAudit {
            at,
            actor: "ann".to_owned(),
            action: "open_poll",
            target: "stream 7".to_owned(),
            detail: serde_json::Value::Null,
            points: None,
        }
    }

    impl Rig {
        /// A poll that is open from second 1 to second 11.
        async fn start() -> Self {
            let metadata = Arc::new(InMemoryMetadata::default());
            metadata.put_stream(stream(STREAM.0, ModerationMode::Async));
            let streams = Streams::load(metadata.clone()).await.unwrap();
            let clock = TokioClock::starting_at(Duration::from_secs(1));
            let polls = RoomPolls::new(metadata.clone(), streams.clone(), Arc::new(clock));
            assert_eq!(polls.state(STREAM), None);
            let options = vec!["a".into(), "b".into()];
            let new = NewPoll { question: "?".into(), options, duration_ms: 10_000 };
            let (poll_id, _) = metadata.open_poll(STREAM, new, entry(1_000)).await.unwrap();
            streams.reload().await.unwrap();
            Self { metadata, streams, polls, poll_id }
        }

        async fn vote(&self, user: u64) {
            let vote = PollVote { user_id: UserId(user), option: 1, at_ms: 1_000 };
            self.metadata.count_votes(self.poll_id, &[vote]).await.unwrap();
        }

        fn shown(&self) -> (Vec<u64>, bool) {
            let state = self.polls.state(STREAM).unwrap();
            (state.votes, state.closed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn votes_are_read_until_a_poll_has_settled() {
        let rig = Rig::start().await;
        assert_eq!(rig.shown(), (vec![0, 0], false), "told at once");
        rig.vote(1).await;
        let mut readings = rig.polls.readings();
        let following = tokio::spawn(rig.polls.clone().follow(CancellationToken::new()));
        readings.changed().await.unwrap();
        assert_eq!(rig.shown(), (vec![0, 1], false), "read before the first second is over");
        rig.vote(2).await;
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(rig.shown(), (vec![0, 2], true), "it closed by itself");
        rig.vote(3).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(rig.shown(), (vec![0, 3], true), "it was being counted");
        tokio::time::sleep(Duration::from_secs(8)).await;
        readings.mark_unchanged();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!readings.has_changed().unwrap(), "nothing is open");
        following.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_closed_once_its_votes_are_known() {
        let rig = Rig::start().await;
        let mut readings = rig.polls.readings();
        let following = tokio::spawn(rig.polls.clone().follow(CancellationToken::new()));
        readings.changed().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        rig.vote(1).await;
        let at = rig.polls.clock.now_ms();
        rig.metadata.close_poll(STREAM, entry(at)).await.unwrap();
        rig.streams.reload().await.unwrap();
        assert_eq!(rig.shown(), (vec![0, 0], false), "the last vote is not read yet");
        readings.changed().await.unwrap();
        assert_eq!(rig.shown(), (vec![0, 1], true));
        assert_eq!(rig.polls.clock.now_ms(), at, "without waiting for the next second");
        following.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_closes_though_the_store_is_down() {
        let rig = Rig::start().await;
        rig.metadata.set_down(true);
        let following = tokio::spawn(rig.polls.clone().follow(CancellationToken::new()));
        tokio::time::sleep(Duration::from_millis(12_500)).await;
        assert_eq!(rig.shown(), (vec![0, 0], false));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(rig.shown(), (vec![0, 0], true));
        following.abort();
    }
}
