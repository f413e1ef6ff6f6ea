//! `lc mod`: lists the comments that wait for review, claims them, decides on them, and tells what
//! was decided. `lc mod test` is in [`super::text_trial`], the commands for the model are in
//! [`evaluate`] and [`calibrate`].

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::arguments::path;
use super::calibrate::{self, CalibrateArgs};
use super::change::{UserArgs, submit, undo_hint};
use super::context::Context;
use super::evaluate::{self, EvaluateArgs};
use super::list::{List, ListArgs, left, right, text};
use super::output::{show_ago, show_time};
use super::text_trial::{self, TextTrialArgs};
use super::training_data;
use crate::client::outcome_text;
use crate::protocol::CommentId;
use crate::protocol::admin::{
    ClaimRequest, Cluster, ModerationDecision, Offender, RestoreRequest, ReviewItem, ReviewRequest,
    UserRequest, short_actor,
};

/// Review the comments that moderation has flagged
#[derive(Debug, Args)]
pub(super) struct ModerationArgs {
    #[command(subcommand)]
    command: ModerationCommand,
}

#[derive(Debug, Subcommand)]
enum ModerationCommand {
    /// List the comments that wait for review, oldest first
    Queue(ListArgs),
    /// Claim a comment for a minute, so that nobody else decides it meanwhile
    ///
    /// Claiming again renews the claim. A decision by somebody else is refused until the claim runs
    /// out or is released.
    Claim(ClaimArgs),
    /// Keep a comment, or show it if it was held back
    Approve(ApproveArgs),
    /// Delete a comment, or discard it if it was held back
    Reject(RejectArgs),
    /// Take back the deletion of a comment, whether moderation or a person deleted it
    ///
    /// The comment is in the history again, at its place, for those who join later. Viewers that
    /// saw it vanish must reload.
    Restore(RestoreArgs),
    /// Set the points of a user to none, so that the thresholds are those of everybody
    ///
    /// Removed comments, timeouts and bans add points, which lower the thresholds of moderation for
    /// the user; `lc user` shows them. What was removed stays removed, and bans stay in force.
    Forgive(UserArgs),
    /// List what moderation and moderators decided, latest first
    ///
    /// Without --limit, the latest 50; at most 1000.
    Decisions(DecisionsArgs),
    /// List the users whose comments were removed in the last hour, most first
    Offenders(ListArgs),
    /// Tell what moderation would decide about a text, and why
    ///
    /// Nothing is sent, stored or counted. Repeats and floods are those that the answering node has
    /// counted, and are told with --stream and --user only.
    Test(TextTrialArgs),
    Eval(EvaluateArgs),
    Calibrate(CalibrateArgs),
}

#[derive(Debug, Args)]
struct DecisionsArgs {
    /// Write the texts with their decisions to a new file, as labelled JSON lines to train on
    ///
    /// Each line has the text, the label (1 if it was removed or hidden, 0 if it was approved or
    /// restored), the task that the label is for (toxicity, spam, or null if the reason does not
    /// say), the decision, its reason, the stage that decided or flagged it, its score, and whether
    /// a person decided. Decisions about flagged comments are written back to the first; of all
    /// others the daemon knows the latest 2000, and the latest 2000 restored comments. Comments
    /// deleted in bulk and expired ones are left out.
    #[arg(long, value_name = "FILE", value_parser = path, conflicts_with_all = ["filter", "sort",
        "columns", "limit", "watch"])]
    export: Option<PathBuf>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ClaimArgs {
    /// Comment id, as shown by `lc mod queue`
    #[arg(required_unless_present = "release")]
    comment_id: Option<CommentId>,
    /// End the claim; without a comment, end all your claims
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Args)]
struct ApproveArgs {
    /// Comment id, as shown by `lc mod queue`
    comment_id: CommentId,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// Comment id, as shown by `lc mod decisions`
    comment_id: CommentId,
    /// Note for the audit log
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

#[derive(Debug, Args)]
struct RejectArgs {
    #[command(flatten)]
    decision: ApproveArgs,
    /// Reason, shown to viewers if they have seen the comment: one word, such as spam
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
}

/// All that the daemon answers.
const QUEUE_PATH: &str = "/v1/mod/queue?limit=1000";
const OFFENDERS_PATH: &str = "/v1/mod/offenders?limit=1000";
/// Decisions that are shown without `--limit`.
const DEFAULT_DECISIONS: u64 = 50;
/// The most that the daemon answers.
const MAX_DECISIONS: u64 = 1_000;

static QUEUE: List<ReviewItem> = List {
    columns: &[
        left("comment", |item, _| item.comment_id.to_string()),
        right("stream", |item, _| item.stream_id.to_string()),
        left("age", |item: &ReviewItem, now_ms| show_ago(item.flagged_at, now_ms))
            .titled("flagged"),
        left("held", |item: &ReviewItem, _| shown_to(item).to_owned()).titled("shown"),
        left("stage", |item: &ReviewItem, _| item.evidence.stage.clone().unwrap_or_default()),
        left("reason", |item, _| item.reason.clone()),
        right("score", |item: &ReviewItem, _| {
            item.evidence.score.map(|score| format!("{score:.2}")).unwrap_or_default()
        }),
        left("claimed", claim_cell),
        right("alike", |item, _| item.alike.to_string()),
        text("name", |item: &ReviewItem, _| format!("{} ({})", item.name, item.user_id))
            .titled("from"),
        text("text", |item, _| item.message.clone()),
    ],
    sort: "",
    if_empty: "No comment waits for review.",
};

static DECISIONS: List<ModerationDecision> = List {
    columns: &[
        left("comment", |made, _| made.comment_id.to_string()),
        left("age", |made: &ModerationDecision, _| show_time(made.decided_at)).titled("at (UTC)"),
        right("stream", |made, _| made.stream_id.to_string()),
        left("verdict", |made: &ModerationDecision, _| made.decision.as_str().to_owned()),
        left("reason", |made, _| made.reason.clone()),
        right("score", |made: &ModerationDecision, _| {
            made.score.map(|score| format!("{score:.2}")).unwrap_or_default()
        }),
        text("by", |made, _| made.decided_by.clone()),
        text("name", |made: &ModerationDecision, _| match &made.name {
            Some(name) => format!("{name} ({})", made.user_id),
            None => format!("user {}", made.user_id),
        })
        .titled("from"),
        text("text", |made: &ModerationDecision, _| made.message.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "Nothing has been decided yet.",
};

static OFFENDERS: List<Offender> = List {
    columns: &[
        right("user", |user, _| user.user_id.to_string()),
        right("removed", |user, _| user.removed.to_string()),
        left("age", |user: &Offender, now_ms| show_ago(user.last_at, now_ms)).titled("last"),
        left("reason", |user, _| user.reason.clone()),
        text("name", |user: &Offender, _| user.name.clone().unwrap_or_default()),
    ],
    sort: "",
    if_empty: "No comment was removed in the last hour.",
};

/// Says who sees a comment to review: `sender` is a shadow-banned user, who sees it alone.
fn shown_to(item: &ReviewItem) -> &'static str {
    match (item.held, item.shadowed) {
        (true, true) => "held back, sender",
        (true, false) => "held back",
        (false, true) => "to sender",
        (false, false) => "yes",
    }
}

/// Writes who has claimed an item, without the number of the account.
fn claim_cell(item: &ReviewItem, now_ms: u64) -> String {
    match item.holder(now_ms) {
        Some(_) if item.claimed_by_you => "you".to_owned(),
        Some(by) => short_actor(by).to_owned(),
        None => String::new(),
    }
}

impl ModerationArgs {
    /// Returns whether a daemon is asked.
    pub(super) fn needs_daemon(&self) -> bool {
        !matches!(self.command, ModerationCommand::Eval(_) | ModerationCommand::Calibrate(_))
    }
}

pub(super) async fn run(args: ModerationArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match args.command {
        ModerationCommand::Queue(args) => QUEUE.view(&args)?.run(QUEUE_PATH, context).await,
        ModerationCommand::Claim(args) => claim(args, context).await,
        ModerationCommand::Decisions(DecisionsArgs { export: Some(file), .. }) => {
            training_data::export(&file, context).await
        }
        ModerationCommand::Decisions(DecisionsArgs { list: args, .. }) => {
            let view = DECISIONS.view(&args)?;
            let limit = args.asked_of_daemon(DEFAULT_DECISIONS, MAX_DECISIONS)?;
            view.run(&format!("/v1/mod/decisions?limit={limit}"), context).await
        }
        ModerationCommand::Offenders(args) => {
            OFFENDERS.view(&args)?.run(OFFENDERS_PATH, context).await
        }
        ModerationCommand::Test(args) => text_trial::run(args, context).await,
        ModerationCommand::Approve(ApproveArgs { comment_id, note }) => {
            let request = ReviewRequest { comment_id, reason: None, note };
            let describe = |outcome: &_| outcome_text::reviewed("Approved", comment_id, outcome);
            submit("/v1/mod/approve", &request, context, describe).await
        }
        ModerationCommand::Reject(RejectArgs { decision, reason }) => {
            let ApproveArgs { comment_id, note } = decision;
            let request = ReviewRequest { comment_id, reason, note };
            submit("/v1/mod/reject", &request, context, |outcome| {
                let done = outcome_text::reviewed("Rejected", comment_id, outcome);
                format!("{done} {}", undo_hint(outcome))
            })
            .await
        }
        ModerationCommand::Restore(RestoreArgs { comment_id, note }) => {
            let request = RestoreRequest { comment_id, note };
            let describe = |outcome: &_| outcome_text::restored(comment_id, outcome);
            submit("/v1/mod/restore", &request, context, describe).await
        }
        ModerationCommand::Forgive(args) => {
            let request = UserRequest::from(args);
            submit("/v1/mod/forgive", &request, context, |outcome| {
                let done = outcome_text::forgiven(&request.user, outcome);
                format!("{done} {}", undo_hint(outcome))
            })
            .await
        }
        ModerationCommand::Eval(args) => evaluate::run(&args, context),
        ModerationCommand::Calibrate(args) => calibrate::run(&args, context),
    }
}

/// Claims a comment, or ends one claim or all of them.
async fn claim(args: ClaimArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let ClaimArgs { comment_id, release } = args;
    let admin = context.admin();
    let comment_ids = match comment_id {
        Some(comment_id) => vec![comment_id],
        None => {
            let queue: Cluster<ReviewItem> = admin.get(QUEUE_PATH).await?;
            let own = queue.items.iter().filter(|item| item.claimed_by_you);
            own.map(|item| item.comment_id).collect()
        }
    };
    let mut items: Vec<ReviewItem> = Vec::with_capacity(comment_ids.len());
    for comment_id in comment_ids {
        let request = ClaimRequest { comment_id, release };
        items.push(admin.post("/v1/mod/claim", &request).await?);
    }
    context.output().items(&items, || claims_text(&items))?;
    Ok(ExitCode::SUCCESS)
}

fn claims_text(items: &[ReviewItem]) -> String {
    if items.is_empty() {
        return "You hold no comment.".to_owned();
    }
    items.iter().map(|item| outcome_text::claimed(item) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::admin::ReviewEvidence;
    use crate::protocol::events::Decision;
    use crate::protocol::{StreamId, UserId};

    const NOW_MS: u64 = 1_795_254_408_000;

    fn comment_id(number: u16) -> CommentId {
        CommentId::from_unix_ticks(17_952_544_080_000_000, number, [1; 6])
    }

    fn item(number: u16) -> ReviewItem {
        ReviewItem {
            comment_id: comment_id(number),
            stream_id: StreamId(7),
            user_id: UserId(42),
            name: "ann".into(),
            message: "is this allowed?".into(),
            reason: "link".into(),
            flagged_at: NOW_MS - 61_000,
            held: true,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: Default::default(),
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
        }
    }

    fn claimed(number: u16, left_ms: u64) -> ReviewItem {
        let claimed_by = Some("bob (uid 1001)".to_owned());
        let claim_expires_at = Some(NOW_MS + left_ms);
        ReviewItem { claimed_by, claim_expires_at, alike: 37, ..item(number) }
    }

    #[test]
    fn the_review_queue_table() {
        assert_columns_are_known(&QUEUE);
        let yours = ReviewItem { claimed_by_you: true, ..claimed(9, 5_000) };
        let evidence = ReviewEvidence {
            stage: Some("models".into()),
            score: Some(0.608),
            ..ReviewEvidence::default()
        };
        let hidden =
            ReviewItem { held: false, shadowed: true, reason: "toxicity".into(), ..item(11) };
        let by_models = ReviewItem { evidence, ..hidden };
        let items = [item(7), claimed(8, 41_000), yours, claimed(10, 0), by_models];
        insta::assert_snapshot!(QUEUE.as_text(&items, NOW_MS));
        assert_eq!(QUEUE.as_text(&[], NOW_MS), "No comment waits for review.");
    }

    #[test]
    fn decisions_and_offenders_are_tables() {
        assert_columns_are_known(&DECISIONS);
        assert_columns_are_known(&OFFENDERS);
        let by_models = ModerationDecision {
            comment_id: comment_id(7),
            stream_id: StreamId(7),
            user_id: UserId(42),
            name: Some("ann".into()),
            message: Some("cheap followers".into()),
            decision: Decision::Reject,
            reason: "link".into(),
            decided_by: "models".into(),
            by_person: false,
            in_bulk: false,
            decided_at: NOW_MS,
            stage: Some("models".into()),
            score: Some(0.87),
            scores: Default::default(),
            model: Some("3".into()),
        };
        let by_bob = ModerationDecision {
            name: None,
            message: None,
            decision: Decision::Accept,
            decided_by: "bob (uid 1001)".into(),
            by_person: true,
            in_bulk: false,
            stage: None,
            score: None,
            ..by_models.clone()
        };
        let decisions = DECISIONS.as_text(&[by_bob, by_models], NOW_MS);
        let offender = Offender {
            user_id: UserId(42),
            name: Some("ann".into()),
            removed: 9,
            reason: "link".into(),
            last_at: NOW_MS - 20_000,
        };
        let offenders = OFFENDERS.as_text(&[offender], NOW_MS);
        insta::assert_snapshot!(format!("{decisions}\n{offenders}"));
    }

    #[test]
    fn a_claim_says_until_when_it_lasts() {
        let text = claims_text(&[claimed(7, 60_000)]);
        assert!(text.contains("of ann until 09:47:48 UTC: nobody else decides it"), "{text}");
        let text = claims_text(&[item(7)]);
        assert!(text.starts_with("Released comment 78353400-"), "{text}");
        assert_eq!(claims_text(&[]), "You hold no comment.");
    }
}
