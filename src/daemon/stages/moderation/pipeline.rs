//! Moderation as an ordered list of stages.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tracing::error;

use crate::protocol::events::Decision;
use crate::protocol::{Comment, Role};

/// A comment to be checked.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub comment: &'a Comment,
    /// The sender's role, if known.
    pub role: Option<Role>,
}

/// The result of one stage for a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub decision: Decision,
    /// A stable word such as `blocked_word`; empty with [`Decision::Accept`].
    pub reason: &'static str,
    /// The confidence of the stage, 0 to 1, if it measures one.
    pub score: Option<f32>,
}

impl Finding {
    pub fn accept() -> Self {
        Self { decision: Decision::Accept, reason: "", score: None }
    }

    pub fn new(decision: Decision, reason: &'static str) -> Self {
        Self { decision, reason, score: None }
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
}

/// The decision of the pipeline, and the stage that made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub finding: Finding,
    /// `None` when every stage accepted.
    pub decided_by: Option<&'static str>,
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
        for stage in &self.stages {
            let check = AssertUnwindSafe(stage.check(subject)).catch_unwind();
            let Ok(finding) = check.await else {
                // A comment that makes a stage panic must not stop its stream or later comments.
                let comment_id = subject.comment.comment_id;
                error!(stage = stage.name(), %comment_id, "a moderation stage panicked");
                continue;
            };
            if finding.decision != Decision::Accept {
                return Verdict { finding, decided_by: Some(stage.name()) };
            }
        }
        Verdict { finding: Finding::accept(), decided_by: None }
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
        let verdict = pipeline.check(&Subject { comment: &comment, role: None }).await;
        assert_eq!(verdict.decided_by, Some("second"));
        assert_eq!(verdict.finding.decision, Decision::Flag);
        assert_eq!(first.checks.load(Ordering::Relaxed), 1);
        assert_eq!(third.checks.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_stage_that_panics_is_skipped() {
        let first = fixed("first", Decision::Reject);
        let second = fixed("second", Decision::Flag);
        let pipeline = Pipeline::new(vec![first, second]);
        let comment = comment(1, 2, "first");
        let verdict = pipeline.check(&Subject { comment: &comment, role: None }).await;
        assert_eq!(verdict.decided_by, Some("second"));
    }

    #[tokio::test]
    async fn without_stages_everything_passes() {
        let comment = comment(1, 2, "hi");
        let verdict = Pipeline::new(vec![]).check(&Subject { comment: &comment, role: None }).await;
        assert_eq!(verdict, Verdict { finding: Finding::accept(), decided_by: None });
    }
}
