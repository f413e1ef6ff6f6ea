//! `lc mod test`: tells what moderation would decide about a text, and why.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use crate::client::admin::TEXT_TRIAL;
use crate::protocol::StreamId;
use crate::protocol::admin::{
    BrokenRule, TextTrial, TextTrialRequest, ThresholdShift, TriedScore, TriedStage, UserRef,
};
use crate::protocol::events::Decision;
use crate::protocol::printable::printable;

#[derive(Debug, Args)]
pub(super) struct TextTrialArgs {
    /// Text as a viewer would send it
    #[arg(allow_hyphen_values = true)]
    text: String,
    /// Count the recent comments of this stream, and how loud it is
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamId>,
    /// Count the recent comments and the points of this user, by id or latest name
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

pub(super) async fn run(args: TextTrialArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let TextTrialArgs { text, stream, user } = args;
    let request = TextTrialRequest { text, stream_id: stream, user: user.map(UserRef) };
    let trial: TextTrial = context.admin().post(TEXT_TRIAL, &request).await?;
    context.output().item(&trial, || as_text(&trial))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the decision, and below it each stage with the rules that the text breaks, its scores
/// and their thresholds.
fn as_text(trial: &TextTrial) -> String {
    let reason = printable(trial.reason.as_deref().unwrap_or_default());
    let mut text = match trial.decision {
        Decision::Accept => "The text is accepted.\n".to_owned(),
        Decision::Reject => format!("The text is rejected: {reason}.\n"),
        Decision::Flag => format!("The text is flagged for review: {reason}.\n"),
        Decision::ShadowBan => format!("Only its sender sees the text: {reason}.\n"),
    };
    text.push_str(&trial.thresholds.as_ref().and_then(thresholds_text).unwrap_or_default());
    let deciding = trial.stages.iter().position(|stage| stage.decides);
    for (index, stage) in trial.stages.iter().enumerate() {
        let is_earlier = deciding.is_some_and(|deciding| index < deciding);
        text.push_str(&stage_text(stage, is_earlier));
        stage.rules.iter().for_each(|rule| text.push_str(&rule_text(rule)));
        stage.scores.iter().for_each(|score| text.push_str(&score_text(score)));
        if let Some(lowered) = stage.lowered {
            text.push_str(&lowered_text(lowered));
        }
        if let Some(model) = &stage.model {
            text.push_str(&format!("  model {}\n", printable(model)));
        }
    }
    text
}

/// Writes by how much the thresholds are shifted, and why; `None` if they are as always.
fn thresholds_text(shift: &ThresholdShift) -> Option<String> {
    let ThresholdShift { lowered, points, by_points, by_account_age, raised_by_crowd } = *shift;
    let mut reasons = Vec::new();
    if by_points > 0.0 {
        reasons.push(format!("-{by_points:.2} by {points:.1} points of the user"));
    }
    if by_account_age > 0.0 {
        reasons.push(format!("-{by_account_age:.2} by a new account"));
    }
    if raised_by_crowd > 0.0 {
        reasons.push(format!("+{raised_by_crowd:.2} by a shouting crowd, for flags only"));
    }
    let way = if lowered < 0.0 { "higher" } else { "lower" };
    let amount = lowered.abs();
    let reasons = (!reasons.is_empty()).then(|| reasons.join(", "));
    reasons.map(|reasons| format!("Thresholds are {amount:.2} {way}: {reasons}.\n"))
}

/// Writes the decision of a stage. `is_earlier`: a stage behind it decides.
fn stage_text(stage: &TriedStage, is_earlier: bool) -> String {
    let mut text = format!("{}: {}", printable(&stage.stage), stage.decision.as_str());
    if !stage.reason.is_empty() {
        text.push_str(&format!(", {}", printable(&stage.reason)));
    }
    if let Some(score) = stage.score {
        text.push_str(&format!(", score {score:.2}"));
    }
    if stage.decision != Decision::Accept && !stage.decides {
        let other = if is_earlier { "a later" } else { "an earlier" };
        text.push_str(&format!(" ({other} stage decides)"));
    }
    if let Some(note) = &stage.note {
        text.push_str(&format!("; {}", printable(note)));
    }
    text + "\n"
}

fn rule_text(rule: &BrokenRule) -> String {
    let BrokenRule { rule: name, decision, setting, matched } = rule;
    let matched = matched.as_deref().map(printable);
    let matched = matched.map_or_else(String::new, |matched| format!(": {matched}"));
    let name = printable(name);
    let setting = printable(setting);
    format!("  {name}{matched} ({setting} is {})\n", decision.as_str())
}

fn score_text(score: &TriedScore) -> String {
    let TriedScore { name, score, flag_from, action_from, action, setting } = score;
    let name = printable(name);
    let setting = printable(setting);
    let action = action.as_str();
    format!(
        "  {name} {score:.2} (flag from {flag_from:.2}, {action} from {action_from:.2} by \
         {setting})\n"
    )
}

fn lowered_text(lowered: f32) -> String {
    let direction = if lowered > 0.0 { "lower" } else { "higher" };
    let by = lowered.abs();
    format!("  the thresholds are {by:.2} {direction} for this user at this moment\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    fn stage(decision: Decision, decides: bool) -> TriedStage {
        let reason = if decision == Decision::Accept { "" } else { "blocked_word" };
        TriedStage {
            stage: "rules".into(),
            decision,
            reason: reason.into(),
            score: None,
            decides,
            rules: Vec::new(),
            scores: Vec::new(),
            lowered: None,
            model: None,
            note: None,
        }
    }

    fn rule(rule: &str, decision: Decision, matched: &str) -> BrokenRule {
        let setting = format!("moderation.rules.{rule}_action");
        BrokenRule { rule: rule.into(), decision, setting, matched: Some(matched.into()) }
    }

    #[test]
    fn a_trial_names_what_decides() {
        let rules = TriedStage {
            rules: vec![
                rule("blocked_word", Decision::Reject, "badword"),
                rule("link", Decision::Accept, "evil.ru"),
            ],
            ..stage(Decision::Reject, true)
        };
        let model = TriedStage {
            stage: "model".into(),
            reason: "high_toxicity".into(),
            score: Some(0.5678),
            ..stage(Decision::Flag, false)
        };
        let trial = TextTrial {
            node: NodeId::new("a"),
            decision: Decision::Reject,
            reason: Some("blocked_word".into()),
            user_id: None,
            stages: vec![rules, model],
            thresholds: None,
        };
        assert_eq!(
            as_text(&trial),
            "The text is rejected: blocked_word.\n\
             rules: reject, blocked_word\n  \
             blocked_word: badword (moderation.rules.blocked_word_action is reject)\n  \
             link: evil.ru (moderation.rules.link_action is accept)\n\
             model: flag, high_toxicity, score 0.57 (an earlier stage decides)\n"
        );
        let thresholds = ThresholdShift {
            lowered: 0.075,
            points: 4.0,
            by_points: 0.121,
            by_account_age: 0.0,
            raised_by_crowd: 0.046,
        };
        let offender = TextTrial { stages: vec![], thresholds: Some(thresholds), ..trial.clone() };
        assert_eq!(
            as_text(&offender),
            "The text is rejected: blocked_word.\n\
             Thresholds are 0.07 lower: -0.12 by 4.0 points of the user, +0.05 by a shouting \
             crowd, for flags only.\n"
        );
        let note = Some("staff is exempt".to_owned());
        let exempt = TriedStage { note, ..stage(Decision::Accept, false) };
        let trial =
            TextTrial { decision: Decision::Accept, reason: None, stages: vec![exempt], ..trial };
        assert_eq!(as_text(&trial), "The text is accepted.\nrules: accept; staff is exempt\n");
    }

    #[test]
    fn scores_stand_beside_their_thresholds() {
        let rules = TriedStage { reason: "starter_list".into(), ..stage(Decision::Flag, false) };
        let score = |name: &str, score, flag_from| TriedScore {
            name: name.into(),
            score,
            flag_from,
            action_from: flag_from + 0.2,
            action: Decision::Reject,
            setting: format!("moderation.model.{name}_action"),
        };
        let model = TriedStage {
            stage: "model".into(),
            reason: "high_toxicity".into(),
            score: Some(0.8349),
            scores: vec![score("toxicity", 0.8349, 0.4), score("spam", 0.0123, 0.5)],
            lowered: Some(0.1),
            model: Some("1 (3f9a0c12)".into()),
            ..stage(Decision::Reject, true)
        };
        let trial = TextTrial {
            node: NodeId::new("a"),
            decision: Decision::Reject,
            reason: Some("high_toxicity".into()),
            user_id: None,
            stages: vec![rules, model],
            thresholds: None,
        };
        assert_eq!(
            as_text(&trial),
            "The text is rejected: high_toxicity.\n\
             rules: flag, starter_list (a later stage decides)\n\
             model: reject, high_toxicity, score 0.83\n  \
             toxicity 0.83 (flag from 0.40, reject from 0.60 by \
             moderation.model.toxicity_action)\n  \
             spam 0.01 (flag from 0.50, reject from 0.70 by moderation.model.spam_action)\n  \
             the thresholds are 0.10 lower for this user at this moment\n  \
             model 1 (3f9a0c12)\n"
        );
    }
}
