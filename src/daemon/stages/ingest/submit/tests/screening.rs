//! Comments that wait for moderation before they are appended.

use super::*;
use crate::protocol::room::{RoomChecks, UNCHECKED, WhenDown, WhenLate};

const OTHER: StreamId = StreamId(5);

impl Stage {
    async fn set_checks(&self, stream_id: StreamId, mode: ModerationMode, checks: RoomChecks) {
        let mut changed = stream(stream_id.0, mode);
        changed.room.checks = checks;
        self.store.put_stream(changed);
        self.streams.reload().await.unwrap();
    }

    async fn texts(&self) -> Vec<String> {
        let stored = self.stored().await;
        stored.iter().map(|event| event.comment.message.to_string()).collect()
    }

    async fn next_ref(&mut self) -> (String, Option<ErrorCode>) {
        let reply = self.replies.recv().await.unwrap();
        let code = reply.outcome.err().map(|error| error.code);
        (reply.client_ref.unwrap_or_default().to_string(), code)
    }
}

fn named(stream_id: StreamId, text: &str) -> Submission {
    submission(stream_id, text, Some(text))
}

fn late(late: WhenLate) -> RoomChecks {
    RoomChecks { late, ..RoomChecks::default() }
}

#[tokio::test(start_paused = true)]
async fn a_slow_check_delays_no_other_stream() {
    let mut stage = Stage::start().await;
    let patient = RoomChecks { deadline_ms: Some(10_000), ..RoomChecks::default() };
    stage.set_checks(SCREENED, ModerationMode::Sync, patient).await;
    stage.set_checks(OTHER, ModerationMode::Sync, RoomChecks::default()).await;
    let started = Instant::now();
    let slow = named(SCREENED, "slow 3000");
    stage.send(vec![slow, named(LIVE, "published first"), named(OTHER, "checked first")]).await;
    for _ in 0..2 {
        let (_, code) = stage.next_ref().await;
        assert_eq!(code, None);
    }
    let others = started.elapsed();
    assert!(others < Duration::from_millis(50), "{others:?}");
    assert_eq!(stage.next_ref().await, ("slow 3000".to_owned(), None));
    let waited = started.elapsed();
    assert!((3_000..3_100).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_up_takes_half_of_the_deadline() {
    let mut stage = Stage::start().await;
    stage.screen.look_up_ms.store(5_000, Ordering::SeqCst);
    let started = Instant::now();
    stage.send(vec![named(SCREENED, "quick"), named(LIVE, "elsewhere")]).await;
    assert_eq!(stage.next_ref().await, ("elsewhere".to_owned(), None));
    let others = started.elapsed();
    assert!(others < Duration::from_millis(50), "{others:?}");
    assert_eq!(stage.next_ref().await, ("quick".to_owned(), None));
    let waited = started.elapsed();
    assert!((250..300).contains(&waited.as_millis()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn comments_of_a_checked_stream_keep_their_order() {
    let mut stage = Stage::start().await;
    let texts = ["slow 400", "quick", "bad", "slow 200", "odd", "last"];
    let sent = texts.iter().map(|text| named(SCREENED, text)).collect();
    let started = Instant::now();
    stage.send(sent).await;
    let mut staff = named(SCREENED, "by staff");
    staff.identity = identity(UserId(9), Role::Moderator);
    stage.send(vec![staff]).await;
    let mut answered = Vec::new();
    for _ in 0..7 {
        answered.push(stage.next_ref().await.0);
    }
    assert_eq!(answered[..6], texts, "answers have the order of the submissions");
    assert_eq!(answered[6], "by staff");
    assert!(started.elapsed() < Duration::from_millis(450), "checks run side by side");
    let stored = ["slow 400", "quick", "slow 200", "last", "by staff"];
    assert_eq!(stage.texts().await, stored);
    let ids: Vec<_> =
        stage.stored().await.iter().map(|event| event.comment.comment_id.sort_key()).collect();
    assert!(ids.is_sorted(), "and so have ids");
}

#[tokio::test(start_paused = true)]
async fn a_late_check_ends_as_the_room_says() {
    let mut stage = Stage::start().await;
    for (choice, code) in [
        (WhenLate::Pass, None),
        (WhenLate::Hold, Some(ErrorCode::HeldForReview)),
        (WhenLate::Refuse, Some(ErrorCode::ModerationLate)),
    ] {
        stage.set_checks(SCREENED, ModerationMode::Sync, late(choice)).await;
        let started = Instant::now();
        let client_ref = format!("{choice:?}");
        stage.send(vec![submission(SCREENED, "slow 700", Some(&client_ref))]).await;
        let reply = stage.replies.recv().await.unwrap();
        let error = reply.outcome.err();
        assert_eq!(error.as_ref().map(|error| error.code), code, "{choice:?}");
        let waited = started.elapsed().as_millis();
        assert!((500..550).contains(&waited), "{choice:?} after {waited} ms");
        if choice == WhenLate::Refuse {
            assert!(error.unwrap().retry_after_ms.is_some(), "it may be sent again");
        }
    }
    let stored = stage.stored().await;
    assert_eq!(stored.len(), 1);
    assert!(!stored[0].screened, "moderation checks it afterwards");
    assert_eq!(stage.screen.reasons.lock()[..], [Arc::<str>::from(UNCHECKED)]);
    let counted = stage.board.metrics().moderation_late.totals();
    assert_eq!(counted.values().sum::<u64>(), 3);
    let failed = stage.ask(submission(SCREENED, "fails", None)).await;
    assert_eq!(failed, Err(ErrorCode::ModerationLate), "as if it were late");

    // One that was refused can be sent again with its ref.
    let again = stage.ask(submission(SCREENED, "quick", Some("Refuse"))).await.unwrap();
    assert_ne!(again.comment_id, stored[0].comment.comment_id);
    assert_eq!(stage.texts().await, ["slow 700", "quick"]);
}

#[tokio::test(start_paused = true)]
async fn operators_are_told_of_late_checks() {
    let mut stage = Stage::start().await;
    assert_eq!(stage.ask(named(SCREENED, "slow 700")).await, Err(ErrorCode::HeldForReview));
    let problems = stage.board.problems().list();
    let told: Vec<_> = problems.iter().map(|problem| (&*problem.code, &*problem.subject)).collect();
    assert_eq!(told, [("checks_late", "stream 2")]);
    assert!(problems[0].text.ends_with("are held for review"), "{}", problems[0].text);
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(stage.board.problems().list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn repeats_get_the_answer_of_the_comment_that_waits() {
    let mut stage = Stage::start().await;
    stage.set_checks(SCREENED, ModerationMode::Sync, late(WhenLate::Refuse)).await;
    let send = |text: &str| submission(SCREENED, text, Some("r"));
    stage.send(vec![send("slow 300"), send("slow 300")]).await;
    let first = stage.outcome().await.unwrap();
    let second = stage.outcome().await.unwrap();
    assert_eq!((first.comment_id, first.seq), (second.comment_id, second.seq));
    let send = |text: &str| submission(SCREENED, text, Some("s"));
    stage.send(vec![send("slow 800"), send("slow 800"), named(SCREENED, "next")]).await;
    assert_eq!(stage.outcome().await, Err(ErrorCode::ModerationLate));
    assert_eq!(stage.outcome().await, Err(ErrorCode::ModerationLate), "not another error");
    assert!(stage.outcome().await.is_ok());
    assert!(stage.ask(send("slow 10")).await.is_ok(), "the ref is free again");
    assert_eq!(stage.texts().await, ["slow 300", "next", "slow 10"]);
}

#[tokio::test(start_paused = true)]
async fn rooms_hold_or_pass_while_moderation_is_down() {
    let mut stage = Stage::start().await;
    let hold = RoomChecks { down: WhenDown::Hold, ..RoomChecks::default() };
    stage.set_checks(OTHER, ModerationMode::Async, hold).await;
    let pass_late = RoomChecks { late: WhenLate::Pass, ..hold };
    stage.set_checks(SCREENED, ModerationMode::Sync, pass_late).await;
    assert!(stage.ask(named(OTHER, "before")).await.is_ok());
    stage.moderation.set_down(true);
    assert_eq!(stage.ask(named(OTHER, "held")).await, Err(ErrorCode::HeldForReview));
    assert!(stage.ask(named(LIVE, "passes")).await.is_ok());
    assert!(stage.ask(named(SCREENED, "checked here")).await.is_ok());
    assert_eq!(stage.ask(named(SCREENED, "slow 900")).await, Err(ErrorCode::HeldForReview));
    let mut staff = named(OTHER, "by staff");
    staff.identity = identity(UserId(9), Role::Moderator);
    assert!(stage.ask(staff).await.is_ok());
    stage.moderation.set_down(false);
    assert!(stage.ask(named(OTHER, "after")).await.is_ok());
    let stored = ["before", "passes", "checked here", "by staff", "after"];
    assert_eq!(stage.texts().await, stored);
    assert_eq!(stage.screen.reasons.lock().len(), 2);
    assert!(stage.screen.reasons.lock().iter().all(|reason| &**reason == UNCHECKED));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_leaves_places_to_others() {
    let mut stage = Stage::start().await;
    stage.set_checks(SCREENED, ModerationMode::Sync, late(WhenLate::Pass)).await;
    stage.set_checks(OTHER, ModerationMode::Sync, late(WhenLate::Pass)).await;
    let flood = (0..MAX_WAITING).map(|n| named(SCREENED, &format!("slow 400 {n}"))).collect();
    stage.send(flood).await;
    for _ in 0..MAX_WAITING / 2 {
        assert_eq!(stage.next_ref().await.1, Some(ErrorCode::Overloaded));
    }
    stage.send(vec![named(SCREENED, "slow 400 0")]).await;
    let repeat = stage.replies.recv().await.unwrap().outcome.unwrap_err();
    assert_eq!(repeat.code, ErrorCode::Overloaded);
    assert!(!repeat.message.contains("nothing was stored"), "{}", repeat.message);
    let started = Instant::now();
    assert!(stage.ask(named(OTHER, "another stream")).await.is_ok());
    assert!(started.elapsed() < Duration::from_millis(50));
    for _ in 0..MAX_WAITING / 2 {
        assert_eq!(stage.next_ref().await.1, None);
    }
    assert!(stage.ask(named(SCREENED, "quick")).await.is_ok(), "there is place again");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_during_a_check_refuses() {
    let mut stage = Stage::start().await;
    stage.send(vec![named(SCREENED, "slow 300"), named(SCREENED, "slow 300")]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut ended = stream(SCREENED.0, ModerationMode::Sync);
    ended.state = StreamState::Ended;
    stage.store.put_stream(ended);
    stage.streams.reload().await.unwrap();
    assert_eq!(stage.outcome().await, Err(ErrorCode::StreamNotLive));
    assert_eq!(stage.outcome().await, Err(ErrorCode::StreamNotLive), "its repeat too");
    assert!(stage.stored().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_or_refuses_what_waits() {
    let mut stage = Stage::start().await;
    let patient = RoomChecks { deadline_ms: Some(10_000), ..RoomChecks::default() };
    stage.set_checks(SCREENED, ModerationMode::Sync, patient).await;
    let texts = ["slow 1000", "slow 9000", "behind it"];
    stage.send(texts.iter().map(|text| named(SCREENED, text)).collect()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    stage.stop.cancel();
    stage.task.await.unwrap();
    assert!(started.elapsed() <= DRAIN_FOR + Duration::from_millis(100));
    let mut codes = Vec::new();
    while let Ok(reply) = stage.replies.try_recv() {
        codes.push(reply.outcome.err().map(|error| (error.code, error.retry_after_ms.is_some())));
    }
    let refused = Some((ErrorCode::ShuttingDown, true));
    // The last one had been accepted, and only waited for its turn.
    assert_eq!(codes, [None, refused, None]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_points_for_a_time() {
    for (record_ms, recorded) in [(3_500, 1), (60_000, 0)] {
        let mut stage = Stage::start().await;
        stage.screen.record_ms.store(record_ms, Ordering::SeqCst);
        stage.ask(named(SCREENED, "troll")).await.unwrap();
        stage.send(vec![named(SCREENED, "slow 9000")]).await;
        let started = Instant::now();
        stage.stop.cancel();
        stage.task.await.unwrap();
        assert_eq!(stage.screen.recorded.load(Ordering::SeqCst), recorded, "{record_ms} ms");
        let limit = DRAIN_FOR + RECORD_FOR + Duration::from_millis(100);
        assert!(started.elapsed() <= limit, "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_ref_sent_again_is_held_once() {
    let mut stage = Stage::start().await;
    for _ in 0..2 {
        let held = stage.ask(submission(SCREENED, "odd", Some("r"))).await;
        assert_eq!(held, Err(ErrorCode::HeldForReview));
    }
    assert_eq!(stage.screen.held.load(Ordering::SeqCst), 1);
}
