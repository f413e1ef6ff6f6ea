//! Comments that are sent again with their ref, on the same node and on another.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_repeated_ref_is_one_comment_even_in_flight() {
    let mut stage = Stage::start().await;
    let twice = || submission(LIVE, "hi", Some("r"));
    stage.send(vec![twice(), twice()]).await;
    let first = stage.outcome().await.unwrap();
    let on_its_way = stage.outcome().await.unwrap();
    let later = stage.ask(twice()).await.unwrap();
    for repeated in [on_its_way, later] {
        assert_eq!((repeated.comment_id, repeated.seq), (first.comment_id, first.seq));
        assert_eq!(repeated.comment, None, "its sender has been shown it");
    }
    assert_eq!(stage.stored().await.len(), 1);
    let mut other = submission(LIVE, "hi", Some("r"));
    other.identity = identity(UserId(8), Role::Viewer);
    assert_ne!(stage.ask(other).await.unwrap().comment_id, first.comment_id);
}

/// Reservations that have forgotten everything; the field says whether they know that.
#[derive(Debug)]
struct Forgotten {
    certain: bool,
}

#[async_trait]
impl Reservations for Forgotten {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved> {
        let certain = self.certain;
        let reserved = |proposal: Proposal| Reserved { comment_id: proposal.comment_id, certain };
        proposals.into_iter().map(reserved).collect()
    }

    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        vec![Claimed::Unknown; claims.len()]
    }

    async fn release(&self, _: Vec<Claim>) {}
}

/// Accepts a comment on one node, and the same one, between others, on a second node.
async fn repeat_on_another_node(certain: bool) -> (Accepted, Vec<Accepted>, Vec<CommentSubmitted>) {
    let log = InMemoryLog::new();
    let forgotten = || Some(Arc::new(Forgotten { certain }) as SharedReservations);
    let mut first = Stage::start_with(log.clone(), forgotten()).await;
    let original = first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    let mut second = Stage::start_with(log, forgotten()).await;
    let batch = [Some("q"), Some("r"), None, Some("s"), Some("r")];
    second.send(batch.map(|name| submission(LIVE, "hi", name)).into()).await;
    let mut outcomes = Vec::new();
    for _ in 0..batch.len() {
        outcomes.push(second.outcome().await.unwrap());
    }
    let stored = second.stored().await;
    (original, outcomes, stored)
}

#[tokio::test(start_paused = true)]
async fn a_lost_reservation_is_read_back_from_the_log() {
    let (original, outcomes, stored) = repeat_on_another_node(false).await;
    for repeat in [&outcomes[1], &outcomes[4]] {
        assert_eq!((repeat.comment_id, repeat.seq), (original.comment_id, original.seq));
    }
    let ids: Vec<_> = stored.iter().map(|event| event.comment.comment_id).collect();
    let expected = [&original, &outcomes[0], &outcomes[2], &outcomes[3]];
    assert_eq!(ids, expected.map(|accepted| accepted.comment_id), "each is appended once");
}

/// The reservations are uncertain and the log answers too slowly. Comments of all streams wait
/// behind each other, so they wait for it once, not once per batch.
#[tokio::test(start_paused = true)]
async fn a_slow_log_is_waited_for_once_in_a_while() {
    let log = InMemoryLog::new();
    let forgotten = Some(Arc::new(Forgotten { certain: false }) as SharedReservations);
    let mut stage = Stage::start_with(log.clone(), forgotten).await;
    log.delay_bounds(Duration::from_secs(60));
    let started = tokio::time::Instant::now();
    for n in 0..50 {
        stage.ask(submission(LIVE, "hi", Some(&format!("r{n}")))).await.unwrap();
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(1_100), "{waited:?}");
    log.delay_bounds(Duration::ZERO);
    let mut other = Stage::start_with(log, None).await;
    let original = other.ask(submission(LIVE, "hi", Some("elsewhere"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let repeat = stage.ask(submission(LIVE, "hi", Some("elsewhere"))).await.unwrap();
    assert_eq!(repeat.comment_id, original.comment_id, "it is read again");
}

#[tokio::test(start_paused = true)]
async fn an_unnoticed_loss_leaves_both_records_to_the_log() {
    let (original, outcomes, stored) = repeat_on_another_node(true).await;
    assert_ne!(outcomes[1].comment_id, original.comment_id);
    assert_eq!(outcomes[4].comment_id, outcomes[1].comment_id, "this node remembers it");
    let refs: Vec<_> = stored.iter().filter_map(|event| event.client_ref.as_deref()).collect();
    assert_eq!(refs, ["r", "q", "r", "s"], "readers keep the first of them");
}

#[tokio::test(start_paused = true)]
async fn a_ref_repeated_on_another_node_keeps_its_id() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    let original = first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut second = Stage::start_with(log, Some(reservations)).await;
    let batch = [None, Some("r"), Some("s")].map(|name| submission(LIVE, "hi", name));
    second.send(batch.into()).await;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(second.outcome().await.unwrap());
    }
    assert_eq!(outcomes[1].comment_id, original.comment_id);
    let stored = second.stored().await;
    let ids: Vec<_> = stored.iter().map(|event| event.comment.comment_id).collect();
    let expected: Vec<_> = outcomes.iter().map(|accepted| accepted.comment_id).collect();
    assert_eq!(ids[1..], expected, "what was acknowledged is what was stored");
    assert_eq!(stored[0].comment, stored[2].comment, "created when it was first sent");
    assert_ne!(ids[1], ids[3]);
}

/// A comment that was stored although its sender was told an error, with others behind it, is sent
/// again to `retried_on`. Every reader keeps the first record.
async fn assert_acknowledged_where_it_is_kept(log: &InMemoryLog, retried_on: &mut Stage) {
    let first = retried_on.stored().await.remove(0).comment;
    for _ in 0..3 {
        retried_on.ask(submission(LIVE, "another", None)).await.unwrap();
    }
    let end = log.bounds(Topic::CommentEvents, 0).await.unwrap().end;
    let retry = || submission(LIVE, "hi", Some("r"));
    let acked = retried_on.ask(retry()).await.unwrap();
    assert_eq!((acked.comment_id, acked.seq), (first.comment_id, 1));
    assert_eq!(acked.comment, None, "viewers were shown it at that place");
    let repeat = &retried_on.stored().await[end as usize - 1];
    assert_eq!(repeat.comment, first, "under its id");
    assert_eq!(retried_on.ask(retry()).await.unwrap(), acked, "known from now on");
}

#[tokio::test(start_paused = true)]
async fn a_retry_elsewhere_is_acked_at_its_first_record() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    log.lose_answers(true);
    let lost = first.ask(submission(LIVE, "hi", Some("r"))).await;
    assert_eq!(lost, Err(ErrorCode::LogUnavailable));
    log.lose_answers(false);
    let mut second = Stage::start_with(log.clone(), Some(reservations)).await;
    assert_acknowledged_where_it_is_kept(&log, &mut second).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_on_one_node_is_acked_at_its_first_record() {
    let mut stage = Stage::start().await;
    let log = stage.log.clone();
    log.lose_answers(true);
    let lost = stage.ask(submission(LIVE, "hi", Some("r"))).await;
    assert_eq!(lost, Err(ErrorCode::LogUnavailable));
    log.lose_answers(false);
    assert_acknowledged_where_it_is_kept(&log, &mut stage).await;
}

#[tokio::test(start_paused = true)]
async fn retries_in_several_batches_are_read_at_once() {
    let mut stage = Stage::start().await;
    let each = || ["r1", "r2", "r3"].map(|name| submission(LIVE, "hi", Some(name)));
    stage.log.lose_answers(true);
    stage.send(each().into()).await;
    for _ in each() {
        assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    }
    stage.log.lose_answers(false);
    stage.log.delay_bounds(Duration::from_millis(600));
    let started = tokio::time::Instant::now();
    for retry in each() {
        stage.send(vec![retry]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for seq in 1..=3 {
        assert_eq!(stage.outcome().await.unwrap().seq, seq, "in order, each at its first place");
    }
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(700), "{waited:?}");
    assert_eq!(stage.stored().await.len(), 6, "each was a batch of its own");
}

/// The first record reaches the log after the retry was taken, as from a node that still had it in
/// flight when a deleted topic was created again.
#[tokio::test(start_paused = true)]
async fn a_record_in_flight_before_its_retry_is_found() {
    let log = InMemoryLog::new();
    let reservations = Arc::<FirstProposalWins>::default();
    let mut first = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    log.fail_appends_with(down());
    first.ask(submission(LIVE, "hi", Some("r"))).await.unwrap_err();
    log.fail_appends_with(None);
    let mut second = Stage::start_with(log.clone(), Some(reservations.clone())).await;
    // It was not there when the second node began to read the partition.
    let other = || submission(LIVE, "other", Some("other"));
    log.lose_answers(true);
    first.ask(other()).await.unwrap_err();
    log.lose_answers(false);
    assert_eq!(second.ask(other()).await.unwrap().seq, 1);
    let key = (UserId(7), LIVE, Arc::from("r"));
    let comment_id = reservations.0.lock()[&key];
    let comment =
        Arc::new(Comment { comment_id, ..Comment::clone(&second.stored().await[0].comment) });
    let late = CommentSubmitted {
        comment,
        client_ref: Some("r".into()),
        ..second.stored().await[0].clone()
    };
    let now_ms = 1_700_000_000;
    log.put(Topic::CommentEvents, LIVE.0, now_ms, Event::CommentSubmitted(late).encode());
    let acked = second.ask(submission(LIVE, "hi", Some("r"))).await.unwrap();
    assert_eq!((acked.comment_id, acked.seq), (comment_id, 3));
    assert_eq!(second.stored().await.len(), 4, "readers drop the last");
}

#[tokio::test(start_paused = true)]
async fn a_failed_original_fails_its_repeat_and_frees_ref() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(down());
    let twice = || submission(LIVE, "hi", Some("r"));
    stage.send(vec![twice(), twice()]).await;
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    stage.log.fail_appends_with(None);
    assert!(stage.ask(twice()).await.unwrap().comment.is_some(), "a comment of its own");
    assert_eq!(stage.stored().await.len(), 1);
}
