//! The stages of moderation as a list.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tracing::error;

use crate::protocol::events::Decision;
use crate::protocol::{Comment, Role};

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub comment: &'a Comment,
    /// The sender's role, where it is known.
    pub role: Option<Role>,
}

/// What one stage thinks of a comment.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub decision: Decision,
    /// A stable word such as `blocked_word`; empty with [`Decision::Accept`].
    pub reason: &'static str,
    /// How sure the stage is, 0 to 1, if it measures that.
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

/// One kind of judgement: rules, a model, a user's reputation.
///
/// A stage that depends on something that may fail accepts while it fails: comments pass rather than
/// wait for it.
#[async_trait]
pub trait Stage: Send + Sync + std::fmt::Debug + 'static {
    /// Stable; recorded as who decided.
    fn name(&self) -> &'static str;

    /// Judges one comment. May remember it, to judge later ones; is called once for each comment.
    async fn check(&self, subject: &Subject<'_>) -> Finding;
}

/// What the pipeline decided, and which stage it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub finding: Finding,
    /// `None` when every stage accepted.
    pub decided_by: Option<&'static str>,
}

/// The stages, in order. The first decision other than accept ends the check; a stage that panics
/// is passed over.
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
                // One comment that trips a stage must stop neither its stream nor those behind it.
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
        asked: AtomicU32,
    }

    #[async_trait]
    impl Stage for Fixed {
        fn name(&self) -> &'static str {
            self.name
        }

        async fn check(&self, subject: &Subject<'_>) -> Finding {
            assert_ne!(&*subject.comment.message, self.name, "a comment that trips this stage");
            self.asked.fetch_add(1, Ordering::Relaxed);
            Finding::new(self.decision, "because")
        }
    }

    fn fixed(name: &'static str, decision: Decision) -> Arc<Fixed> {
        Arc::new(Fixed { name, decision, asked: AtomicU32::new(0) })
    }

    #[tokio::test]
    async fn the_first_decision_other_than_accept_ends_the_check() {
        let (first, second) = (fixed("first", Decision::Accept), fixed("second", Decision::Flag));
        let third = fixed("third", Decision::Reject);
        let pipeline = Pipeline::new(vec![first.clone(), second, third.clone()]);
        let comment = comment(1, 2, "hi");
        let verdict = pipeline.check(&Subject { comment: &comment, role: None }).await;
        assert_eq!(verdict.decided_by, Some("second"));
        assert_eq!(verdict.finding.decision, Decision::Flag);
        assert_eq!(first.asked.load(Ordering::Relaxed), 1);
        assert_eq!(third.asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_stage_that_panics_is_passed_over() {
        let (first, second) = (fixed("first", Decision::Reject), fixed("second", Decision::Flag));
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
