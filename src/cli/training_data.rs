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
use crate::classifier::Task;
use crate::protocol::CommentId;
use crate::protocol::admin::{Cluster, EXPIRED, ModerationDecision};
use crate::protocol::events::Decision;
use crate::protocol::json;
use crate::protocol::quantity::counted;

/// All that the daemon answers at a time.
const PAGE: u64 = 1_000;
/// Reasons of stages, and words that moderators give, that say whether a text is toxic.
const OF_TOXICITY: [&str; 10] = [
    "high_toxicity",
    "starter_list",
    "toxic",
    "toxicity",
    "insult",
    "abuse",
    "harassment",
    "hate",
    "slur",
    "threat",
];
/// The same for spam.
const OF_SPAM: [&str; 4] = ["spam", "viewer_seller", "scam", "advertising"];

/// One line of the file.
#[derive(Debug, PartialEq, Serialize)]
struct LabelledText<'a> {
    text: &'a str,
    /// 1 if the comment was removed or hidden, 0 if it was approved or restored.
    label: u8,
    /// The task that the label is for; null if the reason does not say.
    task: Option<Task>,
    decision: Decision,
    reason: &'a str,
    /// The moderation stage that decided or flagged the comment; null if none did.
    stage: Option<&'a str>,
    /// The confidence of that stage; null if it measures none.
    score: Option<f64>,
    /// Whether a person decided.
    by_person: bool,
}

impl<'a> LabelledText<'a> {
    /// Returns `None` if the text is not known, or nobody has decided about it: it says nothing
    /// about a text that it was held until it expired, or that its whole room was cleared.
    fn of(made: &'a ModerationDecision) -> Option<Self> {
        if made.in_bulk || (made.reason == EXPIRED && !made.by_person) {
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
            task: task_of(&made.reason),
            decision: made.decision,
            reason: &made.reason,
            stage: made.stage.as_deref(),
            score: made.score,
            by_person: made.by_person,
        })
    }
}

fn task_of(reason: &str) -> Option<Task> {
    if OF_TOXICITY.contains(&reason) {
        Some(Task::Toxicity)
    } else {
        OF_SPAM.contains(&reason).then_some(Task::Spam)
    }
}

/// Returns the lines of decisions, newest first. Only the latest decision on a comment counts: if
/// that gives no line, an earlier one does not either.
fn lines<'a>(
    decisions: &'a [ModerationDecision],
    known: &mut HashSet<CommentId>,
) -> Vec<LabelledText<'a>> {
    let is_latest = |made: &&ModerationDecision| known.insert(made.comment_id);
    decisions.iter().filter(is_latest).filter_map(LabelledText::of).collect()
}

/// Writes the decisions that the daemon knows, newest first, to a new file. Nothing is created
/// before the daemon has answered.
pub(super) async fn export(path: &Path, context: &Context) -> anyhow::Result<ExitCode> {
    let shown = path.display();
    let mut page = read_page(context, None).await?;
    let file = File::create_new(path).with_context(|| format!("cannot create {shown}"))?;
    let mut file = BufWriter::new(file);
    let mut seen = HashSet::new();
    let mut known = HashSet::new();
    let mut written = 0;
    loop {
        for line in lines(&page.items, &mut known) {
            written += 1;
            writeln!(file, "{}", json::to_string(&line)?)
                .with_context(|| format!("cannot write {shown}"))?;
        }
        // Of several decisions in one millisecond, some may have been on the page before.
        let is_new = |made: &&ModerationDecision| {
            seen.insert((made.comment_id, made.decision, made.decided_at))
        };
        let new = page.items.iter().filter(is_new).count();
        let Some(oldest) = page.items.last().filter(|_| new > 0) else { break };
        page = read_page(context, Some(oldest.decided_at.saturating_add(1))).await?;
    }
    file.flush().with_context(|| format!("cannot write {shown}"))?;
    note(&format!("Wrote {} to {shown}.", counted(written, "decision")));
    Ok(ExitCode::SUCCESS)
}

/// Returns the latest decisions, restored comments included, or those before a time.
async fn read_page(
    context: &Context,
    before: Option<u64>,
) -> anyhow::Result<Cluster<ModerationDecision>> {
    let before = before.map_or_else(String::new, |before| format!("&before={before}"));
    let path = format!("/v1/mod/decisions?restored=true&limit={PAGE}{before}");
    Ok(context.admin().get(&path).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::recipe::{Material, spam_examples, toxicity_examples};
    use crate::classifier::samples::{Sample, read_decisions};
    use crate::classifier::training::Example;
    use crate::protocol::admin::names_person;
    use crate::protocol::{StreamId, UserId};

    const BOB: &str = "bob (uid 1001)";

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
            by_person: names_person(decided_by),
            in_bulk: false,
            decided_at: 1,
            stage: Some("model".to_owned()),
            score: Some(0.55),
            scores: Default::default(),
            model: None,
        }
    }

    #[test]
    fn decisions_become_labelled_texts() {
        let line =
            |made: &ModerationDecision| json::to_string(&LabelledText::of(made).unwrap()).unwrap();
        let approved = line(&made(Decision::Accept, BOB));
        let text = r#"{"text":"you \"fool\"","label":0,"task":"toxicity","decision":"accept","#;
        assert!(approved.starts_with(text), "{approved}");
        let rest = r#""reason":"high_toxicity","stage":"model","score":0.55,"by_person":true}"#;
        assert!(approved.ends_with(rest), "{approved}");
        let by_stage = line(&made(Decision::ShadowBan, "model"));
        assert!(by_stage.contains(r#""label":1,"task":"toxicity","decision":"shadow_ban""#));
        assert!(by_stage.ends_with(r#""by_person":false}"#), "{by_stage}");
        let checked = line(&made(Decision::Reject, "moderation"));
        assert!(checked.ends_with(r#""by_person":false}"#), "{checked}");
        let late = made(Decision::Reject, "moderation");
        let late = ModerationDecision { reason: EXPIRED.to_owned(), ..late };
        assert_eq!(LabelledText::of(&late), None, "nobody has looked at it");
        let cleared = ModerationDecision { in_bulk: true, ..made(Decision::Reject, BOB) };
        assert_eq!(LabelledText::of(&cleared), None, "nobody has looked at each of them");
        let unknown = ModerationDecision { message: None, ..made(Decision::Reject, "model") };
        assert_eq!(LabelledText::of(&unknown), None);
        assert_eq!(LabelledText::of(&made(Decision::Flag, "model")), None);
    }

    /// Returns the decision of bob about comment `number`.
    fn by_bob(number: u8, decision: Decision, reason: &str) -> ModerationDecision {
        ModerationDecision {
            comment_id: CommentId::from_unix_ticks(17_500_000_000_000_000, 1, [number; 6]),
            message: Some(format!("text {number}")),
            reason: reason.to_owned(),
            ..made(decision, BOB)
        }
    }

    #[test]
    fn only_the_latest_decision_gives_a_line() {
        let earlier = |number| by_bob(number, Decision::Accept, "high_toxicity");
        let cleared =
            ModerationDecision { in_bulk: true, ..by_bob(1, Decision::Reject, "moderator") };
        let unknown =
            ModerationDecision { message: None, ..by_bob(2, Decision::Reject, "moderator") };
        let decisions = [cleared, unknown, earlier(1), earlier(2), earlier(3)];
        let mut known = HashSet::new();
        let exported = lines(&decisions, &mut known);
        let texts: Vec<_> = exported.iter().map(|line| line.text).collect();
        assert_eq!(texts, ["text 3"]);
    }

    #[test]
    fn exported_decisions_train_their_task() {
        let by_model =
            ModerationDecision { by_person: false, ..by_bob(5, Decision::Reject, "high_toxicity") };
        let decisions = [
            by_bob(1, Decision::Accept, "high_toxicity"),
            by_bob(1, Decision::Reject, "high_toxicity"),
            by_bob(2, Decision::Reject, "insult"),
            by_bob(3, Decision::Reject, "spam"),
            by_bob(4, Decision::Reject, "off_topic"),
            by_model,
        ];
        let mut known = HashSet::new();
        let exported = lines(&decisions, &mut known);
        assert!(lines(&decisions, &mut known).is_empty(), "one line per comment");
        let exported: Vec<_> = exported.iter().map(|line| json::to_string(line).unwrap()).collect();
        let decided = read_decisions(exported.join("\n").as_bytes()).unwrap();
        let [toxicity, spam] = decided.of_tasks;
        let examples = |samples: &[Sample], of: fn(&Material<'_>, u64) -> Vec<Example>| {
            let labelled: Vec<_> = samples.iter().collect();
            let examples = of(&Material { labelled: &labelled, ..Material::default() }, 1);
            // Copies with stars weigh less.
            let whole = examples.into_iter().filter(|example| example.weight == 1.0);
            whole.map(|one| (one.text, one.positive, one.weight)).collect::<Vec<_>>()
        };
        let expected = [("text 1".to_owned(), false, 1.0), ("text 2".to_owned(), true, 1.0)];
        assert_eq!(examples(&toxicity, toxicity_examples), expected);
        assert_eq!(examples(&spam, spam_examples), [("text 3".to_owned(), true, 1.0)]);
    }
}
