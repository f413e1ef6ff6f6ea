//! Moderation as an ordered list of stages.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tracing::error;

use crate::protocol::admin::{BrokenRule, TriedStage};
use crate::protocol::events::{Decision, Evidence, Score};
use crate::protocol::{Comment, Role};

/// A comment to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub comment: &'a Comment,
    /// The sender's role, if known.
    pub role: Option<Role>,
    /// By how much scores reach the thresholds earlier for this user and at this moment; negative:
    /// later. 0 for users and streams of which nothing is known. A stage with thresholds shifts
    /// them with [`Thresholds::shifted`](crate::policy::reputation::Thresholds::shifted), so that
    /// a crowd makes nothing pass that would be rejected.
    pub lowered: f32,
}

/// The result of one stage for a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub decision: Decision,
    /// A stable word such as `blocked_word`; empty with [`Decision::Accept`].
    pub reason: &'static str,
    /// The confidence of the stage, 0 to 1, if it measures one.
    pub score: Option<f32>,
    /// All that the stage measured, by name, such as `toxicity`, each 0 to 1. Recorded also when
    /// a later stage decides.
    pub scores: Vec<(&'static str, f32)>,
    /// The version of the model that measured it.
    pub model: Option<Arc<str>>,
}

impl Finding {
    pub fn accept() -> Self {
        Self::new(Decision::Accept, "")
    }

    pub fn new(decision: Decision, reason: &'static str) -> Self {
        Self { decision, reason, score: None, scores: Vec::new(), model: None }
    }
}

/// The answer of a stage about a text that somebody tries.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The result that [`Stage::check`] would return.
    pub finding: Finding,
    /// The rules that the text breaks, those whose action is `accept` included.
    pub rules: Vec<BrokenRule>,
    /// A remark for the moderator, in words.
    pub note: Option<String>,
}

impl From<Finding> for Explanation {
    fn from(finding: Finding) -> Self {
        Self { finding, rules: Vec::new(), note: None }
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
}

impl Verdict {
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

/// The stages, in order. The first decision other than accept ends the check; a stage that panics
/// is skipped.
#[derive(Debug)]
pub struct Pipeline {
    stages: Vec<Arc<dyn Stage>>,
}

impl Pipeline {
    pub fn new(stages: Vec<Arc<dyn Stage>>) -> Self {
        Self { stages }
    }

    pub async fn check(&self, subject: &Subject<'_>) -> Verdict {
        let mut scores = BTreeMap::new();
        let mut model = None;
        for stage in &self.stages {
            let check = AssertUnwindSafe(stage.check(subject)).catch_unwind();
            let Ok(finding) = check.await else {
                // A comment that makes a stage panic must not stop its stream or later comments.
                let comment_id = subject.comment.comment_id;
                error!(stage = stage.name(), %comment_id, "a moderation stage panicked");
                continue;
            };
            scores.extend(finding.scores.iter().copied());
            model = finding.model.clone().or(model);
            if finding.decision != Decision::Accept {
                return Verdict { finding, decided_by: Some(stage.name()), scores, model };
            }
        }
        Verdict { finding: Finding::accept(), decided_by: None, scores, model }
    }

    /// Explains what each stage would find in a comment that nobody sends. Changes nothing, so that
    /// what comes later is decided as if this had not been asked.
    pub async fn explain(&self, subject: &Subject<'_>) -> Vec<TriedStage> {
        let mut tried: Vec<TriedStage> = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let explain = AssertUnwindSafe(stage.explain(subject)).catch_unwind();
            let explanation = explain.await.unwrap_or_else(|_| {
                error!(stage = stage.name(), "a moderation stage panicked");
                let note = Some("the stage failed, and is skipped".to_owned());
                Explanation { note, ..Finding::accept().into() }
            });
            let Explanation { finding, rules, note } = explanation;
            let is_first = tried.iter().all(|before| before.decision == Decision::Accept);
            tried.push(TriedStage {
                stage: stage.name().to_owned(),
                decision: finding.decision,
                reason: finding.reason.to_owned(),
                score: finding.score,
                decides: is_first && finding.decision != Decision::Accept,
                rules,
                note,
            });
        }
        tried
    }

    /// Reads the files of all stages again. Blocks. A stage whose files cannot be used keeps what
    /// it has.
    pub fn reload(&self) -> Vec<Reloaded> {
        let reload = |stage: &Arc<dyn Stage>| {
            let result = stage.reload().transpose()?;
            Some(Reloaded { stage: stage.name(), result })
        };
        self.stages.iter().filter_map(reload).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::moderation::samples::comment;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug)]
    struct Fixed {
        name: &'static str,
        decision: Decision,
        checks: AtomicU32,
    }

    #[async_trait]
    impl Stage for Fixed {
        fn name(&self) -> &'static str {
            self.name
        }

        async fn check(&self, subject: &Subject<'_>) -> Finding {
            assert_ne!(&*subject.comment.message, self.name, "a comment that trips this stage");
            self.checks.fetch_add(1, Ordering::Relaxed);
            Finding::new(self.decision, "because")
        }
    }

    fn fixed(name: &'static str, decision: Decision) -> Arc<Fixed> {
        Arc::new(Fixed { name, decision, checks: AtomicU32::new(0) })
    }

    #[tokio::test]
    async fn the_first_decision_against_ends_the_check() {
        let first = fixed("first", Decision::Accept);
        let second = fixed("second", Decision::Flag);
        let third = fixed("third", Decision::Reject);
        let pipeline = Pipeline::new(vec![first.clone(), second, third.clone()]);
        let comment = comment(1, 2, "hi");
        let verdict =
            pipeline.check(&Subject { comment: &comment, role: None, lowered: 0.0 }).await;
        assert_eq!(verdict.decided_by, Some("second"));
        assert_eq!(verdict.finding.decision, Decision::Flag);
        assert_eq!(first.checks.load(Ordering::Relaxed), 1);
        assert_eq!(third.checks.load(Ordering::Relaxed), 0);
    }

    #[derive(Debug)]
    struct Measuring;

    #[async_trait]
    impl Stage for Measuring {
        fn name(&self) -> &'static str {
            "model"
        }

        async fn check(&self, _: &Subject<'_>) -> Finding {
            let scores = vec![("toxicity", 0.4), ("spam", 0.1)];
            Finding { scores, model: Some("3".into()), ..Finding::accept() }
        }
    }

    #[tokio::test]
    async fn scores_of_stages_before_are_recorded() {
        let pipeline = Pipeline::new(vec![Arc::new(Measuring), fixed("second", Decision::Flag)]);
        let comment = comment(1, 2, "hi");
        let verdict =
            pipeline.check(&Subject { comment: &comment, role: None, lowered: 0.0 }).await;
        let evidence = verdict.evidence();
        assert_eq!((&*evidence.stage, evidence.score), ("second", None));
        assert_eq!(evidence.model.as_deref(), Some("3"));
        let scores: Vec<_> =
            evidence.scores.iter().map(|(name, score)| (&**name, score.share())).collect();
        assert_eq!(scores, [("spam", 0.1), ("toxicity", 0.4)]);
    }

    #[tokio::test]
    async fn a_stage_that_panics_is_skipped() {
        let first = fixed("first", Decision::Reject);
        let second = fixed("second", Decision::Flag);
        let pipeline = Pipeline::new(vec![first, second]);
        let comment = comment(1, 2, "first");
        let verdict =
            pipeline.check(&Subject { comment: &comment, role: None, lowered: 0.0 }).await;
        assert_eq!(verdict.decided_by, Some("second"));
    }

    #[tokio::test]
    async fn every_stage_is_explained() {
        let first = fixed("first", Decision::Accept);
        let second = fixed("second", Decision::Flag);
        let third = fixed("third", Decision::Reject);
        let pipeline = Pipeline::new(vec![first, second, third]);
        let comment = comment(1, 2, "first");
        let tried =
            pipeline.explain(&Subject { comment: &comment, role: None, lowered: 0.0 }).await;
        let decisions: Vec<_> = tried.iter().map(|stage| (stage.decision, stage.decides)).collect();
        let expected =
            [(Decision::Accept, false), (Decision::Flag, true), (Decision::Reject, false)];
        assert_eq!(decisions, expected);
        assert!(tried[0].note.as_ref().unwrap().contains("failed"));
        assert_eq!(pipeline.reload(), [], "none has files");
    }

    #[tokio::test]
    async fn without_stages_everything_passes() {
        let comment = comment(1, 2, "hi");
        let verdict = Pipeline::new(vec![])
            .check(&Subject { comment: &comment, role: None, lowered: 0.0 })
            .await;
        assert_eq!((verdict.finding, verdict.decided_by), (Finding::accept(), None));
    }
}
