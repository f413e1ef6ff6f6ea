//! The review hook: a site's own service that decides about comments, asked over HTTP.
//!
//! In: a comment, and what the stages before found. Out: the service's decision, or the configured
//! one (`moderation.hook.on_failure`) if it gives none: it does not answer in time, or anything
//! else than a documented answer. If the deadline of the comment ends the wait first, the finding
//! is late: the comment was not checked, unless the configured decision is stricter than accept.
//!
//! Always holds: a check ends within twice `moderation.hook.timeout`, once for a free place and
//! once for the answer, and by the deadline of its comment, if that is earlier. A service that
//! fails is not asked again before its circuit breaker permits it, and operators are told. The text
//! of a comment is never logged, nor is the address beyond its host and port.
//!
//! When full: at most `moderation.hook.max_in_flight` requests are under way, each on a connection
//! of its own. A comment that finds no free place within `moderation.hook.timeout` is decided as if
//! the service failed, without being a failure for the breaker.

mod answer;
mod connections;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod question;
mod reasons;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use self::answer::Answer;
use self::failure::{Failure, NoAnswer};
use self::question::Question;
use self::reasons::Reasons;
use self::service::Service;
use super::pipeline::{Explanation, Finding, Stage, Subject, Verdict};
use crate::daemon::base::config::{HookAsk, HookConfig, ModerationConfig};
use crate::daemon::base::http_client::UnusableAddress;
use crate::daemon::base::metrics::{Metrics, count};
use crate::daemon::base::problems::Problems;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::protocol::admin::dependency::REVIEW_HOOK;
use crate::protocol::admin::{BreakerState, ProblemCode};
use crate::protocol::events::Decision;

/// The reasons this stage gives; part of the protocol.
pub mod reason {
    /// The service gave no reason of its own.
    pub const REVIEW_HOOK: &str = "review_hook";
    /// The service gave no decision.
    pub const REVIEW_HOOK_FAILED: &str = "review_hook_failed";
}

/// The name under which the service's score is recorded.
const SCORE: &str = "hook";

/// Why the hook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("`moderation.hook.url` {0}")]
    Address(&'static str),
    #[error("`moderation.hook.url` {0}")]
    Endpoint(#[from] UnusableAddress),
    /// A sentence with the setting.
    #[error("{0}")]
    Secret(String),
    #[error("`moderation.hook.tls_ca`: cannot use {path}: {reason}")]
    Authorities { path: String, reason: String },
}

/// The stage.
#[derive(Debug)]
pub struct HookStage {
    hook: Arc<Hook>,
}

/// The state that requests share with the stage, which they may outlive.
#[derive(Debug)]
struct Hook {
    config: HookConfig,
    service: Service,
    /// One per request that may be under way.
    places: Arc<Semaphore>,
    reasons: Reasons,
    breaker: Arc<Breaker>,
    metrics: Metrics,
    problems: Problems,
    /// Whether operators were told that the service fails.
    is_told: AtomicBool,
}

impl HookStage {
    /// Reads the files that the settings name. Blocks on the disk; connects to nothing.
    ///
    /// # Errors
    /// The address or a file cannot be used.
    pub fn new(config: &HookConfig, board: &StatusBoard) -> Result<Self, HookError> {
        let hook = Hook {
            service: Service::new(config)?,
            places: Arc::new(Semaphore::new(config.max_in_flight)),
            config: config.clone(),
            reasons: Reasons::default(),
            breaker: board.add_breaker(REVIEW_HOOK),
            metrics: board.metrics().clone(),
            problems: board.problems().clone(),
            is_told: AtomicBool::new(false),
        };
        Ok(Self { hook: Arc::new(hook) })
    }

    /// Asks about a comment, and records the outcome for operators. The request does not end with
    /// this future: a caller with a shorter patience must not hide that the service fails.
    async fn ask(
        &self,
        deadline: Option<Instant>,
        question: impl FnOnce() -> Bytes,
    ) -> Result<Answer, NoAnswer> {
        let place = by_deadline(deadline, self.hook.place()).await??;
        if !self.hook.breaker.permits() {
            return Err(Failure::BreakerOpen.into());
        }
        let hook = self.hook.clone();
        let question = question();
        let asked = tokio::spawn(async move {
            let outcome = hook.exchange(question).await;
            drop(place);
            hook.record(&outcome);
            outcome
        });
        // The message of a panic may quote the comment.
        let broken = |_| Err(Failure::Broken("the request ended early".to_owned()));
        Ok(by_deadline(deadline, asked).await?.unwrap_or_else(broken)?)
    }

    /// Returns why the service would not be asked about a comment.
    fn reason_not_to_ask(&self, subject: &Subject<'_>, so_far: &Verdict) -> Option<&'static str> {
        if so_far.is_final() {
            return Some("a stage before removes the comment");
        }
        if subject.role.is_some_and(|role| role.is_staff()) {
            return Some("staff is exempt");
        }
        let is_flagged = so_far.finding.decision == Decision::Flag;
        match self.hook.config.ask {
            HookAsk::All => None,
            HookAsk::Flagged => {
                (!is_flagged).then_some("moderation.hook.ask is flagged, and no stage flags it")
            }
            HookAsk::Borderline => {
                let [from, to] = self.hook.config.borderline;
                let highest = so_far.scores.values().copied().reduce(f32::max);
                let highest = highest.map(|score| score + subject.lowered - subject.raised);
                let is_borderline = highest.is_some_and(|score| score >= from && score < to);
                (!is_flagged && !is_borderline)
                    .then_some("moderation.hook.ask is borderline, and the comment is not")
            }
        }
    }
}

/// Waits for something, not beyond the deadline of a comment.
async fn by_deadline<T>(
    deadline: Option<Instant>,
    awaited: impl Future<Output = T>,
) -> Result<T, NoAnswer> {
    match deadline {
        Some(deadline) => timeout_at(deadline, awaited).await.map_err(|_| NoAnswer::Late),
        None => Ok(awaited.await),
    }
}

impl Hook {
    /// Waits for a free place.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let patience = self.config.timeout;
        match timeout(patience, self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::Busy(patience)),
        }
    }

    async fn exchange(&self, question: Bytes) -> Result<Answer, Failure> {
        let patience = self.config.timeout;
        let answer = timeout(patience, self.service.exchange(question)).await;
        Answer::decode(&answer.unwrap_or(Err(Failure::Timeout(patience)))?)
    }

    /// Tells the breaker the outcome of a request, and operators what it means.
    fn record(&self, outcome: &Result<Answer, Failure>) {
        match outcome {
            Ok(_) => {
                self.breaker.succeeded();
                if self.is_told.swap(false, Ordering::Relaxed) {
                    self.problems.clear(ProblemCode::ReviewHookFailing, REVIEW_HOOK);
                }
            }
            Err(failure) => {
                self.breaker.failed(failure);
                let fails = self.breaker.state() != BreakerState::Closed;
                if fails && !self.is_told.swap(true, Ordering::Relaxed) {
                    let text = self.problem_text();
                    self.problems.raise(ProblemCode::ReviewHookFailing, REVIEW_HOOK, text);
                }
            }
        }
    }

    fn problem_text(&self) -> String {
        let lasts = Duration::from_millis(self.breaker.status().since_ms);
        let since = humantime::format_rfc3339_seconds(SystemTime::now() - lasts);
        let done = match Decision::from(self.config.on_failure) {
            Decision::Accept => "accepted",
            Decision::Flag => "flagged",
            Decision::ShadowBan => "hidden from others than their authors",
            Decision::Reject => "rejected",
        };
        format!(
            "the review hook {} has given no valid answers since {since}: comments that it should \
             review are {done} (moderation.hook.on_failure); it is tried every few seconds",
            self.service.origin
        )
    }

    fn finding(&self, answer: &Answer) -> Finding {
        let Answer { decision, reason, score } = answer;
        let word = match (decision, reason) {
            (Decision::Accept, _) => "",
            (_, Some(word)) => self.reasons.keep(word, reason::REVIEW_HOOK),
            (_, None) => reason::REVIEW_HOOK,
        };
        let scores = score.iter().map(|score| (SCORE, *score)).collect();
        Finding { score: *score, scores, ..Finding::new(*decision, word) }
    }

    /// Returns what happens to a comment that the service did not decide about.
    fn fallback(&self) -> Finding {
        match self.config.on_failure.into() {
            Decision::Accept => Finding::accept(),
            decision => Finding::new(decision, reason::REVIEW_HOOK_FAILED),
        }
    }
}

#[async_trait]
impl Stage for HookStage {
    fn name(&self) -> &'static str {
        "hook"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        self.check_after(subject, &Verdict::accept()).await
    }

    async fn check_after(&self, subject: &Subject<'_>, so_far: &Verdict) -> Finding {
        if self.reason_not_to_ask(subject, so_far).is_some() {
            return Finding::accept();
        }
        let metrics = &self.hook.metrics;
        let question = || Question::new(subject, so_far, false).encode();
        match self.ask(subject.deadline, question).await {
            Ok(answer) => {
                metrics.moderation_hook_answers.inc();
                self.hook.finding(&answer)
            }
            Err(NoAnswer::Failed(failure)) => {
                count(&metrics.moderation_hook_failures, failure.reason());
                self.hook.fallback()
            }
            Err(NoAnswer::Late) => Finding { is_late: true, ..self.hook.fallback() },
        }
    }

    async fn explain(&self, subject: &Subject<'_>) -> Explanation {
        self.explain_after(subject, &Verdict::accept()).await
    }

    /// Asks the service with `dry_run`. The outcome is not counted, and does not touch the breaker.
    async fn explain_after(&self, subject: &Subject<'_>, so_far: &Verdict) -> Explanation {
        let remark = |finding: Finding, note| Explanation { note: Some(note), ..finding.into() };
        if let Some(why) = self.reason_not_to_ask(subject, so_far) {
            return remark(Finding::accept(), format!("the service is not asked: {why}"));
        }
        let hook = &self.hook;
        let began = Instant::now();
        let outcome = match (hook.breaker.state(), hook.place().await) {
            (BreakerState::Closed, Ok(_place)) => {
                hook.exchange(Question::new(subject, so_far, true).encode()).await
            }
            (BreakerState::Closed, Err(failure)) => Err(failure),
            _ => Err(Failure::BreakerOpen),
        };
        let origin = &hook.service.origin;
        match outcome {
            Ok(answer) => {
                let ms = began.elapsed().as_millis();
                remark(hook.finding(&answer), format!("{origin} answered in {ms} ms"))
            }
            Err(failure) => remark(
                hook.fallback(),
                format!("{origin}: {failure}; moderation.hook.on_failure decides"),
            ),
        }
    }

    fn reload(&self) -> Result<Option<String>, String> {
        let done = "the token and the signing key of the review hook were read again";
        Ok(self.hook.service.reload()?.then(|| done.to_owned()))
    }

    fn concurrent_checks(&self) -> Option<usize> {
        Some(self.hook.config.max_in_flight)
    }

    async fn probe(&self) {
        let works = self.hook.breaker.state() == BreakerState::Closed;
        if !works || self.hook.is_told.load(Ordering::Relaxed) {
            // The breaker has the outcome.
            let _ = self.ask(None, question::trial).await;
        }
    }
}

/// Asks the service of a configuration once whether it works, for `lcd check`. `None` if the
/// configuration asks no service, or has a fault that is told elsewhere.
pub async fn try_hook(config: &ModerationConfig) -> Option<Result<String, String>> {
    if !config.uses_hook() {
        return None;
    }
    let HookStage { hook } = HookStage::new(&config.hook, &StatusBoard::default()).ok()?;
    let origin = &hook.service.origin;
    let began = Instant::now();
    Some(match hook.exchange(question::trial()).await {
        Ok(_) => Ok(format!("{origin} answers in {} ms", began.elapsed().as_millis())),
        Err(failure) => Err(format!("{origin} (moderation.hook.url): {failure}")),
    })
}

#[cfg(test)]
mod tests;
