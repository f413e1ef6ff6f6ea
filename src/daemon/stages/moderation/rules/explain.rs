//! Tells a moderator which rules a text breaks, and by which setting.

use super::RulesStage;
use super::fold::Reading;
use super::history::{Counted, Counts};
use super::identity::identity;
use super::room::RoomFinding;
use super::rule::Rule;
use crate::daemon::stages::moderation::pipeline::{Explanation, Finding, Subject, severity};
use crate::protocol::admin::BrokenRule;
use crate::protocol::events::Decision;

/// The note about a user that no rule applies to.
const EXEMPT: &str = "moderators, broadcasters and admins are exempt from all rules";

impl RulesStage {
    /// Explains what [`judge`](Self::judge) would decide, and adds nothing to the history. Names
    /// also the rules whose action is `accept`.
    pub(super) fn explain_text(&self, subject: &Subject<'_>) -> Explanation {
        if subject.role.is_some_and(|role| role.is_staff()) {
            let note = Some(EXEMPT.to_owned());
            return Explanation { note, ..Finding::accept().into() };
        }
        let comment = subject.comment;
        let reading = Reading::new(&comment.message);
        let text = identity(&comment.message);
        let near = self.near_keys(&reading, comment);
        let counts = self.history.counts_with(Counted { comment, text: &text, near: &near });
        let excesses = self.history.excesses(counts).into_iter();
        let of_history =
            excesses.map(Rule::of_excess).map(|rule| (rule, self.counted(rule, counts)));
        let of_text = Rule::OF_TEXTS
            .into_iter()
            .filter_map(|rule| Some((rule, self.matched(rule, &reading, subject.raised)?)));
        let mut finding = Finding::accept();
        let mut rules = Vec::new();
        for (rule, matched) in of_history.chain(of_text) {
            let decision = rule.decision(&self.config);
            if severity(decision) > severity(finding.decision) {
                finding = Finding::new(decision, rule.reason());
            }
            rules.push(BrokenRule {
                rule: rule.reason().to_owned(),
                decision,
                setting: rule.setting().to_owned(),
                matched: Some(matched),
            });
        }
        let of_room = self
            .rooms
            .iter()
            .flat_map(|rooms| rooms.findings(comment.stream_id, &reading, Decision::Accept));
        for RoomFinding { rule, decision, matched } in of_room {
            if severity(decision) > severity(finding.decision) {
                finding = Finding::new(decision, rule.reason());
            }
            rules.push(BrokenRule {
                rule: rule.reason().to_owned(),
                decision,
                setting: rule.setting().to_owned(),
                matched: Some(matched),
            });
        }
        Explanation { rules, ..finding.into() }
    }

    fn counted(&self, rule: Rule, counts: Counts) -> String {
        let window = humantime::format_duration(self.config.window);
        match rule {
            Rule::Repeat => format!("{} equal comments within {window}", counts.same),
            Rule::UserFlood => format!("{} comments within {window}", counts.comments),
            _ => {
                let users = counts.users.max(counts.near_users);
                format!("{users} users with this text within {window}")
            }
        }
    }
}
