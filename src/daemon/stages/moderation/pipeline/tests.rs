//! Pipelines of stages with fixed findings.

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
async fn the_strictest_decision_counts() {
    use Decision::{Accept, Flag, Reject, ShadowBan};
    let comment = comment(1, 2, "hi");
    let subject =
        Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
    for (decisions, expected, asked) in [
        ([Accept, Flag, Reject], Some("third"), 3),
        ([Flag, Accept, Flag], Some("first"), 3),
        ([Flag, ShadowBan, Reject], Some("second"), 2),
        ([Reject, Flag, Accept], Some("first"), 1),
        ([Accept, Accept, Accept], None, 3),
    ] {
        let names = ["first", "second", "third"];
        let stages: Vec<_> = names
            .into_iter()
            .zip(decisions)
            .map(|(name, decision)| fixed(name, decision))
            .collect();
        let shared = stages.iter().cloned().map(|stage| stage as Arc<dyn Stage>).collect();
        let pipeline = Pipeline::new(shared);
        let verdict = pipeline.check(&subject).await;
        assert_eq!(verdict.decided_by, expected, "{decisions:?}");
        let checks = stages.iter().map(|stage| stage.checks.load(Ordering::Relaxed));
        assert_eq!(checks.sum::<u32>(), asked, "{decisions:?}");
        let tried = pipeline.explain(&subject).await;
        let decides = tried.iter().filter(|stage| stage.decides);
        let decides: Vec<_> = decides.map(|stage| &*stage.stage).collect();
        assert_eq!(decides, expected.as_slice(), "{decisions:?}");
    }
}

/// Of a batch of comments that are checked one after another, other tasks wait for a part only.
#[tokio::test]
async fn a_batch_lets_other_tasks_run() {
    let stage = fixed("first", Decision::Accept);
    let pipeline = Pipeline::new(vec![stage.clone()]);
    let seen = stage.clone();
    let other = tokio::spawn(async move { seen.checks.load(Ordering::Relaxed) });
    let long = comment(1, 2, &"hi ".repeat(600));
    for _ in 0..512 {
        pipeline
            .check(&Subject {
                comment: &long,
                role: None,
                lowered: 0.0,
                raised: 0.0,
                deadline: None,
            })
            .await;
    }
    assert!(other.await.unwrap() <= 16, "1800 bytes are 15 units of 128");
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
    let verdict = pipeline
        .check(&Subject {
            comment: &comment,
            role: None,
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        })
        .await;
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
    let verdict = pipeline
        .check(&Subject {
            comment: &comment,
            role: None,
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        })
        .await;
    assert_eq!(verdict.decided_by, Some("second"));
    assert!(verdict.is_incomplete && !verdict.is_unchecked(), "a finding counts");

    let failing = Pipeline::new(vec![fixed("first", Decision::Reject)]);
    let verdict = failing
        .check(&Subject {
            comment: &comment,
            role: None,
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        })
        .await;
    assert!(verdict.is_unchecked());
    let failures = failing.metrics.moderation_stage_failures.totals();
    assert_eq!(failures.into_iter().collect::<Vec<_>>(), [("first".to_owned(), 1)]);
}

#[derive(Debug)]
struct Slow;

#[async_trait]
impl Stage for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    async fn check(&self, _: &Subject<'_>) -> Finding {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        Finding::new(Decision::Flag, "link")
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_check_keeps_what_was_found() {
    let last = fixed("last", Decision::Reject);
    let comment = comment(1, 2, "hi");
    let in_ms = |ms| {
        let deadline = Some(Instant::now() + std::time::Duration::from_millis(ms));
        Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline }
    };
    let pipeline = Pipeline::new(vec![Arc::new(Slow), last.clone()]);
    let verdict = pipeline.check(&in_ms(50)).await;
    assert_eq!((verdict.decided_by, verdict.is_unchecked()), (Some("slow"), false));
    assert_eq!(last.checks.load(Ordering::Relaxed), 0, "its turn came too late");
    assert!(pipeline.check(&in_ms(0)).await.is_unchecked());
    assert_eq!(pipeline.check(&in_ms(500)).await.decided_by, Some("last"));
}

#[tokio::test]
async fn every_stage_is_explained() {
    let first = fixed("first", Decision::Accept);
    let second = fixed("second", Decision::Flag);
    let third = fixed("third", Decision::Reject);
    let pipeline = Pipeline::new(vec![first, second, third]);
    let comment = comment(1, 2, "first");
    let tried = pipeline
        .explain(&Subject {
            comment: &comment,
            role: None,
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        })
        .await;
    let decisions: Vec<_> = tried.iter().map(|stage| (stage.decision, stage.decides)).collect();
    let expected = [(Decision::Accept, false), (Decision::Flag, false), (Decision::Reject, true)];
    assert_eq!(decisions, expected);
    assert!(tried[0].note.as_ref().unwrap().contains("failed"));
    assert_eq!(pipeline.reload(), [], "none has files");
}

#[tokio::test]
async fn without_stages_everything_passes() {
    let comment = comment(1, 2, "hi");
    let verdict = Pipeline::new(vec![])
        .check(&Subject {
            comment: &comment,
            role: None,
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        })
        .await;
    assert_eq!((verdict.finding, verdict.decided_by), (Finding::accept(), None));
}
