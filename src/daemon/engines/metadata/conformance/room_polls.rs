//! Promises about polls.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{
    MetadataStore, NewPoll, PollVote, PollVotes, SWEEP_AFTER_MS,
};
use crate::protocol::stream::NewStream;
use crate::protocol::{StreamId, UserId};

const STREAM: StreamId = StreamId(7);

fn new(question: &str) -> NewPoll {
    let options = ["<b>yes</b>", "no'; --", "\u{1F600}"].map(Into::into).to_vec();
    NewPoll { question: question.into(), options, duration_ms: 10_000 }
}

async fn with_stream(store: &impl MetadataStore) {
    let stream = NewStream { stream_id: Some(STREAM), ..NewStream::default() };
    store.create_stream(stream, audit(1, "create")).await.unwrap();
}

fn vote(user: u64, option: u8, at_ms: u64) -> PollVote {
    PollVote { user_id: UserId(user), option, at_ms }
}

fn votes_of<const N: usize>(poll_id: u64, by_option: [u64; N]) -> PollVotes {
    PollVotes { poll_id, by_option: by_option.to_vec() }
}

pub(crate) async fn one_poll_of_a_stream_is_open(store: &impl MetadataStore) {
    with_stream(store).await;
    let open = async |question: &str, at| {
        store.open_poll(STREAM, new(question), audit(at, "open_poll")).await
    };
    let (first, stream) = open("First?", 100).await.unwrap();
    let poll = stream.poll.clone().expect("it is the poll of the stream");
    assert_eq!((poll.poll_id, poll.opened_at, poll.closes_at), (first, 100, 10_100));
    assert_eq!((&*poll.question, &*poll.options[1]), ("First?", "no'; --"));
    assert_eq!(store.stream(STREAM).await.unwrap(), Some(stream));
    let again = open("Again?", 10_099).await;
    assert!(matches!(again, Err(StoreError::Exists("open poll"))), "{again:?}");
    let (second, _) = open("Second?", 10_100).await.unwrap();
    let close = async |at| store.close_poll(STREAM, audit(at, "close_poll")).await;
    let (_, closed) = close(10_200).await.unwrap();
    assert_eq!(closed.poll.unwrap().closes_at, 10_200);
    let twice = close(10_201).await;
    assert!(matches!(twice, Err(StoreError::NotFound("open poll"))), "{twice:?}");
    let listed = store.polls(STREAM, 9).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|poll| (poll.poll_id, poll.closes_at)).collect();
    assert_eq!(listed, [(second, 10_200), (first, 10_100)]);
    assert_eq!(store.polls(STREAM, 1).await.unwrap().len(), 1);
    assert!(store.polls(StreamId(8), 9).await.unwrap().is_empty());
    let unknown = store.open_poll(StreamId(8), new("?"), audit(1, "open_poll")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    assert_eq!(actions(store).await, ["close_poll", "open_poll", "open_poll", "create"]);
}

pub(crate) async fn each_user_votes_once_until_a_poll_closes(store: &impl MetadataStore) {
    with_stream(store).await;
    let (poll, _) = store.open_poll(STREAM, new("?"), audit(100, "open_poll")).await.unwrap();
    assert!(store.poll_votes(&[poll]).await.unwrap().is_empty());
    let count = async |votes: &[PollVote]| store.count_votes(poll, votes).await.unwrap();
    let first = [vote(2, 2, 100), vote(1, 0, 100), vote(2, 0, 101), vote(3, 2, 100)];
    assert_eq!(count(&first).await, [2, 0, 2, 2].map(Some), "the first of each user");
    let again = [vote(1, 2, 200), vote(3, 2, 200), vote(4, 0, 200)];
    assert_eq!(count(&again).await, [0, 2, 0].map(Some), "a repetition changes nothing");
    assert!(count(&[]).await.is_empty());
    assert_eq!(store.poll_votes(&[poll, 99]).await.unwrap(), [votes_of(poll, [2, 0, 2])]);
    let late = [vote(5, 0, 10_100), vote(6, 0, 10_099)];
    assert_eq!(count(&late).await, [None, Some(0)], "by the time of each vote");
    let late = [vote(1, 0, 10_100), vote(5, 0, 10_100), vote(1, 2, 10_100)];
    assert_eq!(count(&late).await, [Some(0), None, Some(0)], "its vote counts, whenever it asks");
    assert_eq!(store.count_votes(99, &[vote(5, 0, 100)]).await.unwrap(), [None]);
    let (next, _) = store.open_poll(STREAM, new("!"), audit(20_000, "open_poll")).await.unwrap();
    let again = store.count_votes(next, &[vote(1, 1, 20_000)]).await.unwrap();
    assert_eq!(again, [Some(1)], "each poll has votes of its own");
    store.close_poll(STREAM, audit(20_100, "close_poll")).await.unwrap();
    let late = [vote(1, 1, 20_100), vote(2, 1, 20_100)];
    assert_eq!(store.count_votes(next, &late).await.unwrap(), [Some(1), None], "closed early");
    let mut both = store.poll_votes(&[poll, next]).await.unwrap();
    both.sort_unstable();
    assert_eq!(both, [votes_of(poll, [3, 0, 2]), votes_of(next, [0, 1])], "results are kept");
}

pub(crate) async fn votes_of_closed_polls_are_swept(store: &impl MetadataStore) {
    with_stream(store).await;
    let (poll, _) = store.open_poll(STREAM, new("?"), audit(100, "open_poll")).await.unwrap();
    let votes: Vec<_> = (1..=5).map(|user| vote(user, (user % 2) as u8, 100)).collect();
    store.count_votes(poll, &votes).await.unwrap();
    let (next, _) = store.open_poll(STREAM, new("!"), audit(20_000, "open_poll")).await.unwrap();
    store.count_votes(next, &[vote(1, 1, 20_000)]).await.unwrap();
    let closed_ms = 10_100 + SWEEP_AFTER_MS;
    assert!(!store.sweep(closed_ms - 1, 2).await.unwrap(), "a clock may be behind");
    assert!(store.sweep(closed_ms, 2).await.unwrap(), "two of five voters are forgotten");
    // Each as before, from a node whose clock is a day behind, and a new one.
    let mut late: Vec<_> = (1..=5).map(|user| vote(user, (user % 2) as u8, 10_099)).collect();
    late.push(vote(6, 0, 10_099));
    let answers = store.count_votes(poll, &late).await.unwrap();
    assert_eq!(answers.iter().flatten().count(), 3, "those that are known: {answers:?}");
    assert_eq!(answers.last(), Some(&None), "nothing new counts between two chunks");
    let results = store.poll_votes(&[poll]).await.unwrap();
    assert_eq!(results, [votes_of(poll, [2, 3])], "nobody counts twice");
    let mut chunks = 1;
    while store.sweep(closed_ms, 2).await.unwrap() {
        chunks += 1;
        assert!(chunks < 9, "it ends");
    }
    assert!(chunks >= 2, "{chunks} chunks of two of five votes");
    // In a poll that is not swept the user is still known. In a swept poll nothing counts any more,
    // also no vote from a node whose clock is a day behind.
    let again = store.count_votes(next, &[vote(1, 0, 20_001)]).await.unwrap();
    assert_eq!(again, [Some(1)], "its first vote");
    let late = [vote(1, 1, 10_100), vote(1, 0, 10_099), vote(6, 0, 10_099)];
    assert_eq!(store.count_votes(poll, &late).await.unwrap(), [None; 3]);
    assert!(!store.sweep(closed_ms, 2).await.unwrap(), "it is swept once");
    let mut results = store.poll_votes(&[poll, next]).await.unwrap();
    results.sort_unstable();
    assert_eq!(results, [votes_of(poll, [2, 3]), votes_of(next, [0, 1])], "results are kept");
}

/// A node whose clock is a day behind closes a poll again.
pub(crate) async fn a_late_close_reopens_no_swept_poll(store: &impl MetadataStore) {
    let poll = poll_with_votes(store).await;
    assert!(store.sweep(10_100 + SWEEP_AFTER_MS, 1).await.unwrap(), "a voter is forgotten");
    store.close_poll(STREAM, audit(10_000, "close_poll")).await.unwrap();
    assert_eq!(store.count_votes(poll, &[vote(6, 0, 9_999)]).await.unwrap(), [None]);
    assert_eq!(store.poll_votes(&[poll]).await.unwrap(), [votes_of(poll, [1, 1])]);
}

/// Opens a poll in which the users 1 and 2 vote for the options 0 and 1.
pub(crate) async fn poll_with_votes(store: &impl MetadataStore) -> u64 {
    with_stream(store).await;
    let (poll, _) = store.open_poll(STREAM, new("?"), audit(100, "open_poll")).await.unwrap();
    store.count_votes(poll, &[vote(1, 0, 100), vote(2, 1, 100)]).await.unwrap();
    poll
}

/// Asks after the close of [`poll_with_votes`].
pub(crate) async fn assert_late_votes_are_answered(store: &impl MetadataStore, poll: u64) {
    let late = [vote(1, 0, 10_100), vote(2, 0, 10_100), vote(3, 0, 10_100)];
    let answers = store.count_votes(poll, &late).await.unwrap();
    assert_eq!(answers, [Some(0), Some(1), None]);
}
