//! Moderation as an ordered list of stages.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tracing::error;

use crate::daemon::base::metrics::{Metrics, count};
use crate::protocol::admin::{BrokenRule, TriedScore, TriedStage};
use crate::protocol::events::{Decision, Evidence, Score};
use crate::protocol::{Comment, Role};

/// A comment to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub comment: &'a Comment,
    /// The sender's role, if known.
    pub role: Option<Role>,
    /// By how much scores reach the thresholds earlier for this user, at least 0; 0 for users of
    /// which nothing is known.
    pub lowered: f32,
    /// By how much scores are flagged later at this moment, at least 0; 0 for streams of which
    /// nothing is known. A stage with thresholds shifts them by both with
    /// [`Thresholds::shifted`](crate::policy::reputation::Thresholds::shifted), so that a crowd
    /// makes nothing pass that would be rejected.
    pub raised: f32,
    /// The time by which the verdict is needed, in synchronous mode. A stage that waits returns its
    /// finding by then; if it has none, one that [is late](Finding::is_late).
    pub deadline: Option<Instant>,
}

/// The reason of a comment that was held, and is left to a person because a stage fails on it.
pub const CHECK_FAILED: &str = "check_failed";

/// The result of one stage for a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub decision: Decision,
    /// A stable word such as `blocked_word`; empty with [`Decision::Accept`].
    pub reason: &'static str,
    /// The confidence of the stage, 0 to 1, if it measures one.
    pub score: Option<f32>,
    /// All that the stage measured, by name, such as `toxicity`, each 0 to 1. Recorded also when
    /// another stage decides.
    pub scores: Vec<(&'static str, f32)>,
    /// The version of the model that measured it.
    pub model: Option<Arc<str>>,
    /// Whether the deadline of the comment ended the check, so that the decision is no result of
    /// it.
    pub is_late: bool,
}

impl Finding {
    pub fn accept() -> Self {
        Self::new(Decision::Accept, "")
    }

    pub fn new(decision: Decision, reason: &'static str) -> Self {
        Self { decision, reason, score: None, scores: Vec::new(), model: None, is_late: false }
    }
}

/// The answer of a stage about a text that somebody tries.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The result that [`Stage::check`] would return.
    pub finding: Finding,
    /// The rules that the text breaks, those whose action is `accept` included.
    pub rules: Vec<BrokenRule>,
    /// All that the stage measured, with the thresholds that hold for this user at this moment.
    pub scores: Vec<TriedScore>,
    /// A remark for the moderator, in words.
    pub note: Option<String>,
}

impl From<Finding> for Explanation {
    fn from(finding: Finding) -> Self {
        Self { finding, rules: Vec::new(), scores: Vec::new(), note: None }
    }
}

/// One kind of check: rules, a model, a user's reputation.
///
/// A stage whose dependency fails accepts comments meanwhile, so that they do not have to wait.
#[async_trait]
pub trait Stage: Send + Sync + std::fmt::Debug + 'static {
    /// Returns a stable name, which is recorded with decisions.
    fn name(&self) -> &'static str;

    /// Checks one comment. Called once per comment; may remember it to check later ones.
    async fn check(&self, subject: &Subject<'_>) -> Finding;

    /// Explains what [`Self::check`] would find, and remembers nothing. A stage that remembers
    /// comments, or knows more than its finding says, has to override this.
    async fn explain(&self, subject: &Subject<'_>) -> Explanation {
        self.check(subject).await.into()
    }

    /// Checks a comment, knowing what the stages before found. Only a stage whose check depends on
    /// it overrides this.
    async fn check_after(&self, subject: &Subject<'_>, _so_far: &Verdict) -> Finding {
        self.check(subject).await
    }

    /// Explains what [`Self::check_after`] would find. Only a stage that overrides that one
    /// overrides this.
    async fn explain_after(&self, subject: &Subject<'_>, _so_far: &Verdict) -> Explanation {
        self.explain(subject).await
    }

    /// Returns how many comments may be checked at once if a check waits for an answer from
    /// elsewhere. `None` if it only computes: comments are then checked one by one in the log's
    /// order.
    fn concurrent_checks(&self) -> Option<usize> {
        None
    }

    /// Asks a dependency that fails whether it works again. Called every few seconds.
    async fn probe(&self) {}

    /// Reads its files again, and says what is in force now; `None` if it has no files. Blocks.
    ///
    /// # Errors
    /// The files cannot be used. What was in force before stays.
    fn reload(&self) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// The outcome of a reload of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    pub stage: &'static str,
    /// The state that is in force now, or the reason why nothing changed.
    pub result: Result<String, String>,
}

/// The decision of the pipeline, and the stage that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub finding: Finding,
    /// `None` when every stage accepted.
    pub decided_by: Option<&'static str>,
    /// All that the stages that were asked measured, by name.
    pub scores: BTreeMap<&'static str, f32>,
    /// The version of the model that measured it; of several, the last.
    pub model: Option<Arc<str>>,
    /// Whether a stage gave no finding: it panicked, its turn came after the deadline, or the
    /// deadline ended its check.
    pub is_incomplete: bool,
}

impl Verdict {
    /// Returns the verdict on a comment that no stage has checked.
    pub fn accept() -> Self {
        let finding = Finding::accept();
        let scores = BTreeMap::new();
        Self { finding, decided_by: None, scores, model: None, is_incomplete: false }
    }

    /// Adds what a stage found. The most severe decision holds; of equal ones the first.
    pub fn add(&mut self, stage: &'static str, finding: Finding) {
        self.is_incomplete |= finding.is_late;
        self.scores.extend(finding.scores.iter().copied());
        if finding.model.is_some() {
            self.model.clone_from(&finding.model);
        }
        if severity(finding.decision) > severity(self.finding.decision) {
            self.finding = finding;
            self.decided_by = Some(stage);
        }
    }

    /// Returns whether no later stage is asked: the comment is removed.
    pub fn is_final(&self) -> bool {
        self.finding.decision.deletes()
    }

    /// Returns whether a stage gave no finding, and no other found anything: that the comment is
    /// harmless is not known.
    pub fn is_unchecked(&self) -> bool {
        self.is_incomplete && self.finding.decision == Decision::Accept
    }

    /// Returns what the decision is recorded with.
    pub fn evidence(&self) -> Evidence {
        let scores = self.scores.iter();
        Evidence {
            stage: self.decided_by.unwrap_or("pipeline").into(),
            score: self.finding.score.map(Score::new),
            scores: scores.map(|(name, score)| ((*name).into(), Score::new(*score))).collect(),
            model: self.model.clone(),
        }
    }
}

/// Ranks decisions: of several, the most severe counts.
pub(super) fn severity(decision: Decision) -> u8 {
    match decision {
        Decision::Accept => 0,
        Decision::Flag => 1,
        Decision::ShadowBan => 2,
        Decision::Reject => 3,
    }
}

/// Bytes of text whose check costs one unit of a task's budget. A task gives way to others after
/// 128 units (tokio's budget), which all stages together take one to two milliseconds for.
const BYTES_PER_UNIT: usize = 128;

/// Lets other tasks run once this one has checked enough text.
async fn give_way(text: &str) {
    for _ in 0..text.len().div_ceil(BYTES_PER_UNIT).max(1) {
        consume_budget().await;
    }
}

/// The stages, in order. A decision that deletes ends the check. A flag does not, because a later
/// stage may find worse: the most severe decision counts, of equal ones the first. A stage that
/// panics is skipped, as are those whose turn comes after the deadline; the verdict remembers it.
///
/// Stages that wait ([`Stage::concurrent_checks`]) come after those that compute.
#[derive(Debug)]
pub struct Pipeline {
    /// The stages that compute.
    in_order: Vec<Arc<dyn Stage>>,
    /// The stages that wait.
    waiting: Vec<Arc<dyn Stage>>,
    metrics: Metrics,
}

impl Pipeline {
    /// Puts the stages that wait behind the others, each group in its order.
    pub fn new(stages: Vec<Arc<dyn Stage>>) -> Self {
        let waits = |stage: &Arc<dyn Stage>| stage.concurrent_checks().is_some();
        let (waiting, in_order) = stages.into_iter().partition(waits);
        Self { in_order, waiting, metrics: Metrics::default() }
    }

    /// Counts stages that fail there.
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Checks one comment by all stages.
    pub async fn check(&self, subject: &Subject<'_>) -> Verdict {
        let mut verdict = self.check_in_order(subject).await;
        self.check_waiting(subject, &mut verdict).await;
        verdict
    }

    /// Checks a comment by the stages that compute, which must see comments in the log's order.
    /// Lets other tasks run between the comments of a batch.
    pub async fn check_in_order(&self, subject: &Subject<'_>) -> Verdict {
        give_way(&subject.comment.message).await;
        let mut verdict = Verdict::accept();
        self.run(&self.in_order, subject, &mut verdict).await;
        verdict
    }

    /// Completes the verdict of [`Self::check_in_order`] by the stages that wait. May be called
    /// for as many comments at once as [`Self::concurrent_checks`] says, in any order.
    pub async fn check_waiting(&self, subject: &Subject<'_>, verdict: &mut Verdict) {
        self.run(&self.waiting, subject, verdict).await;
    }

    /// Lets stages check a comment until one removes it.
    async fn run(&self, stages: &[Arc<dyn Stage>], subject: &Subject<'_>, verdict: &mut Verdict) {
        for stage in stages {
            if verdict.is_final() {
                return;
            }
            if subject.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                verdict.is_incomplete = true;
                return;
            }
            let check = AssertUnwindSafe(stage.check_after(subject, verdict)).catch_unwind();
            match check.await {
                Ok(finding) => verdict.add(stage.name(), finding),
                Err(_) => {
                    // A comment that makes a stage panic must not stop its stream or later ones.
                    verdict.is_incomplete = true;
                    count(&self.metrics.moderation_stage_failures, stage.name());
                    let comment_id = subject.comment.comment_id;
                    error!(stage = stage.name(), %comment_id, "a moderation stage panicked");
                }
            }
        }
    }

    /// Returns how many comments the stages that wait check at once; `None` without such a stage.
    pub fn concurrent_checks(&self) -> Option<usize> {
        self.waiting.iter().filter_map(|stage| stage.concurrent_checks()).min()
    }

    /// Lets the stages ask their dependencies that fail whether they work again.
    pub async fn probe(&self) {
        for stage in &self.waiting {
            stage.probe().await;
        }
    }

    /// Explains what each stage would find in a comment that nobody sends. Changes nothing, so that
    /// what comes later is decided as if this had not been asked.
    pub async fn explain(&self, subject: &Subject<'_>) -> Vec<TriedStage> {
        let mut so_far = Verdict::accept();
        let mut tried: Vec<TriedStage> = Vec::new();
        for stage in self.stages() {
            let explain = AssertUnwindSafe(stage.explain_after(subject, &so_far)).catch_unwind();
            let explanation = explain.await.unwrap_or_else(|_| {
                error!(stage = stage.name(), "a moderation stage panicked");
                let note = Some("the stage failed, and is skipped".to_owned());
                Explanation { note, ..Finding::accept().into() }
            });
            let Explanation { finding, rules, scores, note } = explanation;
            let lowered = subject.lowered - subject.raised;
            let is_shifted = lowered != 0.0 && !scores.is_empty();
            tried.push(TriedStage {
                stage: stage.name().to_owned(),
                decision: finding.decision,
                reason: finding.reason.to_owned(),
                score: finding.score,
                decides: false,
                rules,
                scores,
                lowered: is_shifted.then_some(lowered),
                model: finding.model.as_deref().map(str::to_owned),
                note,
            });
            if !so_far.is_final() {
                so_far.add(stage.name(), finding);
            }
        }
        if let Some(stage) = tried.iter_mut().find(|it| Some(&*it.stage) == so_far.decided_by) {
            stage.decides = true;
        }
        tried
    }

    fn stages(&self) -> impl Iterator<Item = &Arc<dyn Stage>> {
        self.in_order.iter().chain(&self.waiting)
    }

    /// Reads the files of all stages again. Blocks. A stage whose files cannot be used keeps what
    /// it has.
    pub fn reload(&self) -> Vec<Reloaded> {
        let reload = |stage: &Arc<dyn Stage>| {
            let result = stage.reload().transpose()?;
            Some(Reloaded { stage: stage.name(), result })
        };
        self.stages().filter_map(reload).collect()
    }
}

#[cfg(test)]
mod tests;
