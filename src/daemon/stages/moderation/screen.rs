//! Synchronous moderation: the same stages, before a comment is appended.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::warn;

use super::context::ModerationContext;
use super::hold_queue::HoldQueue;
use super::pipeline::{Pipeline, Subject};
use super::reviews::review_item;
use super::worker::moderated;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::handoff::{Held, Screen, Screened, Screening};
use crate::daemon::base::metrics::{Metrics, count, count_decided};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::eventlog::{NewRecord, SharedLog, Topic};
use crate::protocol::admin::ReviewItem;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::events::{CommentModerated, Decision, Event};
use crate::protocol::{Comment, ErrorCode, Role, UserId};

/// Checks comments of streams in synchronous mode. Decisions other than accept are also recorded in
/// `moderation_events`, like the worker's, as long as the log accepts them.
#[derive(Debug)]
pub struct ModerationScreen {
    pipeline: Arc<Pipeline>,
    context: Arc<ModerationContext>,
    holds: HoldQueue,
    log: SharedLog,
    metrics: Metrics,
    clock: SharedClock,
}

/// The dependencies of a [`ModerationScreen`].
#[derive(Debug)]
pub struct ModerationScreenParts {
    /// May be the worker's own: its history counts a comment once, also one that is checked again
    /// because its first check was late.
    pub pipeline: Arc<Pipeline>,
    pub context: Arc<ModerationContext>,
    pub log: SharedLog,
    /// Stores the comments that are held.
    pub holds: HoldQueue,
    pub metrics: Metrics,
    pub clock: SharedClock,
}

impl ModerationScreen {
    pub fn new(parts: ModerationScreenParts) -> Self {
        let ModerationScreenParts { pipeline, context, log, holds, metrics, clock } = parts;
        Self { pipeline, context, holds, log, metrics, clock }
    }

    /// Appends a decision to the topic of moderation.
    async fn append(&self, decided: CommentModerated) {
        let comment_id = decided.comment_id;
        let record = NewRecord {
            key: decided.user_id.0,
            timestamp_ms: self.clock.now_ms(),
            payload: Event::CommentModerated(decided).encode().into(),
        };
        if let Err(error) = self.log.append(Topic::ModerationEvents, vec![record]).await {
            // The decision still holds; only the user's record lacks an entry.
            warn!(%error, %comment_id, "moderation decision not recorded");
        }
    }
}

#[async_trait]
impl Screen for ModerationScreen {
    async fn prepare(&self, users: &[UserId]) {
        self.context.look_up(users).await;
    }

    async fn screen(
        &self,
        comment: &Comment,
        role: Role,
        deadline: Instant,
    ) -> Result<Option<Screened>, ErrorBody> {
        let role = Some(role);
        let context = self.context.of_comment(comment, role);
        let deadline = Some(deadline);
        let subject = Subject {
            comment,
            role,
            lowered: context.lowered(),
            raised: context.raised(),
            deadline,
        };
        let verdict = self.pipeline.check(&subject).await;
        if verdict.is_unchecked() {
            return Ok(None);
        }
        let has_points = self.context.record(&subject, &context, &verdict);
        let finding = &verdict.finding;
        self.metrics.moderation_checked.inc();
        self.metrics.moderation_scores.observe(&verdict.scores);
        count(&self.metrics.moderation_decisions, finding.decision.as_str());
        if finding.decision == Decision::Accept {
            let screening = Screening::Accept;
            return Ok(Some(Screened { screening, decided: None, has_points }));
        }
        count(&self.metrics.moderation_reasons, finding.reason);
        let stage = verdict.decided_by.unwrap_or("pipeline");
        count_decided(&self.metrics, stage, finding.reason, finding.decision.as_str());
        let decided = Some(moderated(comment, &verdict, self.clock.now_ms()));
        let reason: Arc<str> = finding.reason.into();
        let screening = match finding.decision {
            Decision::Accept => Screening::Accept,
            Decision::Reject => Screening::Reject(reason),
            Decision::ShadowBan => Screening::Shadow(reason),
            Decision::Flag => Screening::Hold(Held { reason, evidence: verdict.evidence() }),
        };
        Ok(Some(Screened { screening, decided, has_points }))
    }

    async fn record(&self, decided: Option<CommentModerated>) {
        if let Some(decided) = decided {
            self.append(decided).await;
        }
        self.context.store_points().await;
    }

    async fn hold(&self, comment: Arc<Comment>, held: Held) -> Result<(), ErrorBody> {
        let now_ms = self.clock.now_ms();
        let item = review_item(&comment, &held.reason, &held.evidence, now_ms);
        let item = ReviewItem { held: true, ..item };
        self.holds.store(item).await.map_err(|error| match error {
            StoreError::Unavailable(_) => {
                let wait_ms = self.holds.retry_after().as_millis() as u64;
                let text = "the comment needs a moderator's approval, and the store that queues it does not answer";
                ErrorBody::new(ErrorCode::StoreUnavailable, text).retry_after_ms(wait_ms.max(RETRY_AFTER_MS))
            }
            other => {
                warn!(error = %other, comment_id = %comment.comment_id, "comment could not be held");
                ErrorBody::new(ErrorCode::Internal, "the comment could not be queued for a moderator")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::base::config::{RuleAction, RulesConfig};
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
    use crate::daemon::stages::moderation::pipeline::{Finding, Stage};
    use crate::daemon::stages::moderation::rules::{RulesStage, reason};
    use crate::daemon::stages::moderation::samples::{self, comment, moderated};
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::protocol::events::Evidence;
    use crate::protocol::{Badge, Badges};
    use std::time::Duration;

    struct Bench {
        screen: ModerationScreen,
        log: Arc<InMemoryLog>,
        store: Arc<InMemoryMetadata>,
        metrics: Metrics,
    }

    impl Bench {
        async fn screen(&self, text: &str) -> Option<Screened> {
            let deadline = Instant::now() + Duration::from_secs(1);
            self.screen.screen(&comment(1, 2, text), Role::Viewer, deadline).await.unwrap()
        }
    }

    fn bench(blocked_word_action: RuleAction) -> Bench {
        let blocked_words = vec!["badword".into()];
        let rules = RulesConfig { blocked_words, blocked_word_action, ..RulesConfig::default() };
        bench_of(Pipeline::new(vec![Arc::new(RulesStage::new(&rules).unwrap())]))
    }

    fn bench_of(pipeline: Pipeline) -> Bench {
        let (log, store) =
            (Arc::new(InMemoryLog::shaped(1, 0)), Arc::new(InMemoryMetadata::default()));
        let clock = Arc::new(TokioClock::starting_at(Duration::from_secs(5)));
        let metrics = Metrics::default();
        let screen = ModerationScreen::new(ModerationScreenParts {
            pipeline: Arc::new(pipeline),
            context: samples::context(store.clone(), clock.clone()),
            log: log.clone(),
            holds: samples::holds(store.clone()),
            metrics: metrics.clone(),
            clock,
        });
        Bench { screen, log, store, metrics }
    }

    /// As the rules hold a comment.
    fn held() -> Held {
        let evidence = Evidence { stage: "rules".into(), ..Evidence::default() };
        Held { reason: reason::BLOCKED_WORD.into(), evidence }
    }

    #[tokio::test(start_paused = true)]
    async fn decisions_are_returned_and_recorded_by_user() {
        let cases = [
            (RuleAction::Accept, Screening::Accept, None),
            (
                RuleAction::Reject,
                Screening::Reject(reason::BLOCKED_WORD.into()),
                Some(Decision::Reject),
            ),
            (
                RuleAction::ShadowBan,
                Screening::Shadow(reason::BLOCKED_WORD.into()),
                Some(Decision::ShadowBan),
            ),
            (RuleAction::Flag, Screening::Hold(held()), Some(Decision::Flag)),
        ];
        for (action, screening, recorded) in cases {
            let bench = bench(action);
            let screened = bench.screen("b4dword").await.unwrap();
            assert_eq!(screened.screening, screening);
            bench.screen.record(screened.decided).await;
            let events = moderated(&bench.log, Topic::ModerationEvents);
            let decisions: Vec<_> =
                events.iter().map(|(key, event)| (*key, event.decision)).collect();
            assert_eq!(
                decisions,
                recorded.map(|decision| (2, decision)).into_iter().collect::<Vec<_>>()
            );
            assert!(
                moderated(&bench.log, Topic::CommentEvents).is_empty(),
                "it was never appended"
            );
            assert_eq!(bench.metrics.moderation_checked.get(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_down_does_not_let_a_bad_comment_pass() {
        let bench = bench(RuleAction::Reject);
        bench.log.set_down(true);
        let screened = bench.screen("badword").await.unwrap();
        assert_eq!(screened.screening, Screening::Reject(reason::BLOCKED_WORD.into()));
        assert!(screened.decided.is_some());
        bench.screen.record(screened.decided).await;
    }

    #[derive(Debug)]
    struct Panics;

    #[async_trait]
    impl Stage for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }

        async fn check(&self, _: &Subject<'_>) -> Finding {
            panic!("a stage fails")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_fails_lets_nothing_pass_as_checked() {
        let bench = bench_of(Pipeline::new(vec![Arc::new(Panics)]));
        assert_eq!(bench.screen("hi").await, None);
        assert_eq!(bench.metrics.moderation_checked.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_comment_is_queued_once_as_held() {
        let bench = bench(RuleAction::Flag);
        let badges = Badges::from_iter([Badge::Subscriber]);
        let comment = Arc::new(Comment { badges, ..comment(1, 2, "badword") });
        for _ in 0..2 {
            bench.screen.hold(comment.clone(), held()).await.unwrap();
        }
        let queued = bench.store.reviews();
        assert_eq!(queued.len(), 1);
        assert!(queued[0].held);
        assert_eq!((queued[0].comment_id, queued[0].flagged_at), (comment.comment_id, 5000));
        assert_eq!((&*queued[0].reason, queued[0].badges), (reason::BLOCKED_WORD, badges));
        assert_eq!(queued[0].evidence.stage.as_deref(), Some("rules"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_that_cannot_be_held_is_retryable() {
        let bench = bench(RuleAction::Flag);
        bench.store.set_down(true);
        for _ in 0..10 {
            let error = bench.screen.hold(Arc::new(comment(1, 2, "badword")), held()).await;
            let error = error.unwrap_err();
            assert_eq!(error.code, ErrorCode::StoreUnavailable);
            assert!(error.retry_after_ms.unwrap() >= 1000);
        }
        assert!(bench.store.calls() < 5, "the breaker answers: {} calls", bench.store.calls());
        bench.store.set_down(false);
        tokio::time::advance(Duration::from_secs(6)).await;
        bench.screen.hold(Arc::new(comment(1, 2, "badword")), held()).await.unwrap();
    }
}
