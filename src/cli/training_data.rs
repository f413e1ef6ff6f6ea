//! `lc mod decisions --export`: decisions as labelled texts, to retrain models on.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use super::context::Context;
use super::output::note;
use crate::protocol::admin::{Cluster, EXPIRED, ModerationDecision};
use crate::protocol::events::Decision;
use crate::protocol::json;
use crate::protocol::quantity::counted;

/// All that the daemon answers at a time.
const PAGE: u64 = 1_000;

/// One line of the file.
#[derive(Debug, PartialEq, Serialize)]
struct LabelledText<'a> {
    text: &'a str,
    /// 1 if the comment was removed or hidden, 0 if it was approved.
    label: u8,
    decision: Decision,
    /// The moderation stage that decided or flagged the comment; null if none did.
    stage: Option<&'a str>,
    /// The confidence of that stage; null if it measures none.
    score: Option<f64>,
    /// Whether a person decided.
    by_person: bool,
}

impl<'a> LabelledText<'a> {
    /// Returns `None` if the text is not known, or nobody has decided: a held comment that expired
    /// says nothing about its text.
    fn of(made: &'a ModerationDecision) -> Option<Self> {
        if made.reason == EXPIRED && !made.by_person {
            return None;
        }
        let label = match made.decision {
            Decision::Accept => 0,
            Decision::Reject | Decision::ShadowBan => 1,
            Decision::Flag => return None,
        };
        Some(Self {
            text: made.message.as_deref()?,
            label,
            decision: made.decision,
            stage: made.stage.as_deref(),
            score: made.score,
            by_person: made.by_person,
        })
    }
}

/// Writes the decisions that the daemon knows, newest first, to a new file.
pub(super) async fn export(path: &Path, context: &Context) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let file = File::create_new(path).with_context(|| format!("cannot create {shown}"))?;
    let mut file = BufWriter::new(file);
    let mut seen = HashSet::new();
    let mut written = 0;
    let mut before = String::new();
    loop {
        let path = format!("/v1/mod/decisions?limit={PAGE}{before}");
        let page: Cluster<ModerationDecision> = context.admin().get(&path).await?;
        // Of several decisions in one millisecond, some may have been on the page before.
        let is_new = |made: &&ModerationDecision| seen.insert((made.comment_id, made.decision));
        let new: Vec<_> = page.items.iter().filter(is_new).collect();
        for line in new.iter().filter_map(|made| LabelledText::of(made)) {
            writeln!(file, "{}", json::to_string(&line)?)
                .with_context(|| format!("cannot write {shown}"))?;
            written += 1;
        }
        let Some(oldest) = new.last() else { break };
        before = format!("&before={}", oldest.decided_at.saturating_add(1));
    }
    file.flush().with_context(|| format!("cannot write {shown}"))?;
    note(&format!("Wrote {} to {shown}.", counted(written, "decision")));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{CommentId, StreamId, UserId};

    fn made(decision: Decision, decided_by: &str) -> ModerationDecision {
        ModerationDecision {
            comment_id: CommentId::from_unix_ticks(17_500_000_000_000_000, 1, [3; 6]),
            stream_id: StreamId(7),
            user_id: UserId(42),
            name: Some("ann".to_owned()),
            message: Some("you \"fool\"".to_owned()),
            decision,
            reason: "high_toxicity".to_owned(),
            decided_by: decided_by.to_owned(),
            by_person: decided_by.ends_with(')'),
            decided_at: 1,
            stage: Some("models".to_owned()),
            score: Some(0.55),
            scores: Default::default(),
            model: None,
        }
    }

    #[test]
    fn decisions_become_labelled_texts() {
        let line =
            |made: &ModerationDecision| json::to_string(&LabelledText::of(made).unwrap()).unwrap();
        let approved = line(&made(Decision::Accept, "bob (uid 1001)"));
        let text = r#"{"text":"you \"fool\"","label":0,"decision":"accept""#;
        assert!(approved.starts_with(text), "{approved}");
        let rest = r#""stage":"models","score":0.55,"by_person":true}"#;
        assert!(approved.ends_with(rest), "{approved}");
        let by_stage = line(&made(Decision::ShadowBan, "models"));
        assert!(by_stage.contains(r#""label":1,"decision":"shadow_ban""#), "{by_stage}");
        assert!(by_stage.ends_with(r#""by_person":false}"#), "{by_stage}");
        let checked = line(&made(Decision::Reject, "moderation"));
        assert!(checked.ends_with(r#""by_person":false}"#), "{checked}");
        let late = made(Decision::Reject, "moderation");
        let late = ModerationDecision { reason: EXPIRED.to_owned(), ..late };
        assert_eq!(LabelledText::of(&late), None, "nobody has looked at it");
        let unknown = ModerationDecision { message: None, ..made(Decision::Reject, "models") };
        assert_eq!(LabelledText::of(&unknown), None);
        assert_eq!(LabelledText::of(&made(Decision::Flag, "models")), None);
    }
}
