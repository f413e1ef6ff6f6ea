//! Answers to comments: their order, refusals, a log that fails, and a stop.

use tokio::sync::oneshot;

use super::*;
use crate::daemon::base::supervise::breaker::TRIAL_INTERVAL;

#[tokio::test(start_paused = true)]
async fn replies_keep_the_order_of_submissions() {
    let mut stage = Stage::start().await;
    let texts = ["one", "", "two", "\u{7}", "three"];
    let numbered = |(n, text): (usize, &&str)| submission(LIVE, text, Some(&format!("r{n}")));
    stage.send(texts.iter().enumerate().map(numbered).collect()).await;
    for (n, expected) in
        [None, Some(ErrorCode::CommentEmpty), None, Some(ErrorCode::ControlCharacters), None]
            .into_iter()
            .enumerate()
    {
        let reply = stage.replies.recv().await.unwrap();
        assert_eq!(reply.client_ref.as_deref(), Some(&*format!("r{n}")));
        assert_eq!(reply.outcome.err().map(|error| error.code), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_if_the_user_caused_them() {
    let mut stage = Stage::start().await;
    for (stream_id, text) in
        [(LIVE, ""), (LIVE, "good"), (LIVE, "\u{7}"), (SCREENED, "bad"), (StreamId(404), "good")]
    {
        let _ = stage.ask(submission(stream_id, text, None)).await;
    }
    let rows = stage.board.telemetry().talkers().refused_users(Instant::now());
    let rows: Vec<_> = rows.iter().map(|row| (row.stream_id, row.user_id.0, row.refused)).collect();
    assert_eq!(rows, [(LIVE, 7, 2), (SCREENED, 7, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_named_even_with_the_breaker_open() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(Some(LogError::Full("no space left".into())));
    for _ in 0..10 {
        let refused = stage.ask(submission(LIVE, "hi", None)).await;
        assert_eq!(refused, Err(ErrorCode::StorageFull));
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
    stage.log.fail_appends_with(None);
    tokio::time::sleep(TRIAL_INTERVAL).await;
    stage.ask(submission(LIVE, "hi", None)).await.unwrap();
    assert_eq!(stage.breaker(), BreakerState::Closed);
    stage.ask(submission(LIVE, "hi", None)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_open_breaker_refuses_and_lets_one_probe_pass() {
    let mut stage = Stage::start().await;
    stage.log.fail_appends_with(down());
    for _ in 0..3 {
        stage.ask(submission(LIVE, "hi", None)).await.unwrap_err();
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
    stage.log.fail_appends_with(None);
    let refused = stage.ask(submission(LIVE, "hi", None)).await;
    assert_eq!(refused, Err(ErrorCode::LogUnavailable));
    assert!(stage.stored().await.is_empty());
    tokio::time::sleep(TRIAL_INTERVAL).await;
    stage.send((0..3).map(|_| submission(LIVE, "hi", None)).collect()).await;
    assert!(stage.outcome().await.is_ok(), "the trial");
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert_eq!(stage.outcome().await, Err(ErrorCode::LogUnavailable));
    assert!(stage.ask(submission(LIVE, "hi", None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_asks_nothing_of_the_log_does_not_vouch_for_it() {
    let mut stage = Stage::start().await;
    stage.ask(submission(LIVE, "known", Some("r"))).await.unwrap();
    stage.log.fail_appends_with(down());
    for _ in 0..3 {
        stage.ask(submission(LIVE, "hi", None)).await.unwrap_err();
        stage.ask(submission(LIVE, "known", Some("r"))).await.unwrap();
        stage.ask(submission(LIVE, "", None)).await.unwrap_err();
    }
    assert_eq!(stage.breaker(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_shadowed_user_is_answered_like_others() {
    let mut stage = Stage::start().await;
    let by = |user_id, stream_id| {
        let identity = identity(user_id, Role::Viewer);
        Submission { identity, ..submission(stream_id, "hi", None) }
    };
    let shadowed = stage.ask(by(SHADOWED, LIVE)).await.unwrap();
    let other = stage.ask(by(UserId(7), LIVE)).await.unwrap();
    assert!(shadowed.comment.is_some() && other.comment.is_some());
    stage.ask(by(SHADOWED, SCREENED)).await.unwrap();
    let shadows: Vec<_> = stage.stored().await.iter().map(|event| event.shadow).collect();
    assert_eq!(shadows, [true, false, false], "on that stream only");
}

#[tokio::test(start_paused = true)]
async fn a_screened_stream_stores_only_what_may_be_shown() {
    let mut stage = Stage::start().await;
    let refused = stage.ask(submission(SCREENED, "bad", None)).await;
    assert_eq!(refused, Err(ErrorCode::ModerationRejected));
    let held = stage.ask(submission(SCREENED, "odd", None)).await;
    assert_eq!(held, Err(ErrorCode::HeldForReview));
    assert_eq!(stage.screen.held.load(Ordering::SeqCst), 1);
    let troll = stage.ask(submission(SCREENED, "troll", None)).await.unwrap();
    let fine = stage.ask(submission(SCREENED, "fine", None)).await.unwrap();
    assert!(troll.comment.is_some() && fine.comment.is_some(), "the answers are alike");
    let stored = stage.stored().await;
    let seen: Vec<_> = stored.iter().map(|e| (&*e.comment.message, e.shadow, e.screened)).collect();
    assert_eq!(seen, [("troll", true, true), ("fine", false, true)]);
    let asked = stage.screen.asked.load(Ordering::SeqCst);
    stage.ask(submission(LIVE, "bad", None)).await.unwrap();
    let mut staff = submission(SCREENED, "bad", None);
    staff.identity = identity(UserId(9), Role::Moderator);
    stage.ask(staff).await.unwrap();
    assert_eq!(stage.screen.asked.load(Ordering::SeqCst), asked, "neither is screened");
    assert!(stage.screen.roles.lock().iter().all(|role| *role == Role::Viewer));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_comment_and_where_nobody_may_are_told() {
    let mut stage = Stage::start().await;
    let mut banned = submission(LIVE, "hi", None);
    banned.identity = identity(BANNED, Role::Viewer);
    assert_eq!(stage.ask(banned).await, Err(ErrorCode::Banned));
    let nowhere = stage.ask(submission(StreamId(99), "hi", None)).await;
    assert_eq!(nowhere, Err(ErrorCode::UnknownStream));
    assert!(stage.stored().await.is_empty());
}

#[test]
fn the_queue_holds_the_configured_number_of_comments() {
    let config = IngestConfig { queue_comments: 1000, ..IngestConfig::default() };
    let (queue, _waiting) = queue(&config);
    for _ in 0..1000 {
        queue.try_send(submission(LIVE, "hi", None)).unwrap();
    }
    assert!(queue.try_send(submission(LIVE, "hi", None)).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_under_load_answers_everything_taken() {
    let mut stage = Stage::start().await;
    let queue = stage.queue.clone();
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        while queue.send(submission(LIVE, "hi", None)).await.is_ok() {
            sent += 1;
        }
        sent
    });
    let (caller, answer) = oneshot::channel();
    let mut asked = submission(LIVE, "hi", None);
    asked.reply_to = ReplyTo::Caller(caller);
    stage.send(vec![asked]).await;
    assert!(answer.await.unwrap().is_ok());
    stage.stop.cancel();
    stage.task.await.unwrap();
    let sent = flood.await.unwrap();
    let mut answered = 0;
    while stage.replies.try_recv().is_ok() {
        answered += 1;
    }
    assert_eq!(answered, sent, "every submission gets exactly one reply");
    assert_eq!(stage.log.bounds(Topic::CommentEvents, 0).await.unwrap().end, sent + 2);
}
