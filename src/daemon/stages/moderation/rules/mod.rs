//! The rules stage: blocked words, links, repeats and floods.
//!
//! In: a comment. Out: accept, or the configured action of a broken rule; the most severe action
//! wins.
//!
//! Always holds: the same comments in the same order get the same decisions, because time is the
//! comments' own. Staff is exempt from all rules. A comment costs microseconds, linear in its
//! length.
//!
//! When full: the history of users and texts is bounded and forgets the least recently seen.

mod allowed_word;
mod blocked_words;
mod candidate;
mod character_run;
mod fold;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod glyph;
mod history;
mod identity;
mod innocent;
mod links;
mod pattern;
mod room_links;
mod word_file;

use std::path::PathBuf;

use async_trait::async_trait;
use tracing::warn;

pub use self::blocked_words::WordListError;
pub use self::pattern::BadWord;
pub use self::room_links::RoomLinks;

use self::blocked_words::BlockedWords;
use self::character_run::longest_character_run;
use self::fold::{Folded, Symbols};
use self::history::{Excess, History};
use self::identity::identity;
use self::links::AllowedHosts;
use super::pipeline::{Finding, Stage, Subject};
use crate::daemon::base::config::{RuleAction, RulesConfig};
use crate::protocol::events::Decision;

/// The reasons this stage gives; part of the protocol.
pub mod reason {
    pub const BLOCKED_WORD: &str = "blocked_word";
    pub const LINK: &str = "link";
    pub const REPEAT: &str = "repeat";
    pub const FLOOD: &str = "flood";
    pub const CHARACTER_RUN: &str = "character_run";
}

/// A reason why the configured rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("moderation.rules.blocked_words: {0}")]
    Words(#[from] WordListError),
    #[error("moderation.rules.blocked_words_file: cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
}

/// The stage.
#[derive(Debug)]
pub struct RulesStage {
    config: RulesConfig,
    blocked_words: BlockedWords,
    allowed_hosts: AllowedHosts,
    history: History,
}

impl RulesStage {
    /// Creates the stage; reads the file of blocked words if one is configured.
    pub fn new(config: &RulesConfig) -> Result<Self, RulesError> {
        let mut words = config.blocked_words.clone();
        if let Some(path) = &config.blocked_words_file {
            let file = std::fs::read(path)
                .map_err(|error| RulesError::File { path: path.clone(), error })?;
            let file = word_file::read(&file);
            if !file.bad_lines.is_empty() {
                // The lines are named by number: their text has no place in a log.
                warn!(path = %path.display(), lines = %file.shown_bad_lines(),
                    "lines of the file of blocked words skipped: nothing in them can be matched");
            }
            words.extend(file.words);
        }
        let words = words.iter().map(String::as_str);
        Ok(Self {
            blocked_words: BlockedWords::new(words, &config.allowed_words)?,
            allowed_hosts: AllowedHosts::new(&config.allowed_hosts),
            history: History::new(config),
            config: config.clone(),
        })
    }

    /// Checks a comment against all rules, and adds it to the history.
    fn judge(&self, subject: &Subject<'_>) -> Finding {
        let comment = subject.comment;
        if subject.role.is_some_and(|role| role.is_staff()) {
            return Finding::accept();
        }
        let folded = Folded::new(&comment.message, Symbols::AsLetters);
        let mut finding = Finding::accept();
        let mut broken = |action: RuleAction, reason| {
            let decision = decision(action);
            if severity(decision) > severity(finding.decision) {
                finding = Finding::new(decision, reason);
            }
        };
        let config = &self.config;
        // The history must see every comment, whatever other rules it breaks.
        for excess in self.history.judge(comment, &identity(&comment.message)) {
            match excess {
                Excess::Repeat => broken(config.repeat_action, reason::REPEAT),
                Excess::UserFlood | Excess::ChorusFlood => {
                    broken(config.flood_action, reason::FLOOD);
                }
            }
        }
        if self.blocked_words.find(&comment.message, &folded).is_some() {
            broken(config.blocked_word_action, reason::BLOCKED_WORD);
        }
        if config.link_action != RuleAction::Accept
            && self.allowed_hosts.first_forbidden(&comment.message).is_some()
        {
            broken(config.link_action, reason::LINK);
        }
        let max_run = config.max_character_run;
        if max_run > 0 && longest_character_run(&comment.message) >= max_run {
            broken(config.flood_action, reason::CHARACTER_RUN);
        }
        finding
    }
}

#[async_trait]
impl Stage for RulesStage {
    fn name(&self) -> &'static str {
        "rules"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        self.judge(subject)
    }
}

fn decision(action: RuleAction) -> Decision {
    match action {
        RuleAction::Accept => Decision::Accept,
        RuleAction::Flag => Decision::Flag,
        RuleAction::ShadowBan => Decision::ShadowBan,
        RuleAction::Reject => Decision::Reject,
    }
}

/// Ranks decisions: of several broken rules, the most severe decides.
fn severity(decision: Decision) -> u8 {
    match decision {
        Decision::Accept => 0,
        Decision::Flag => 1,
        Decision::ShadowBan => 2,
        Decision::Reject => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::moderation::samples::comment;
    use crate::protocol::{Comment, Role};
    use std::io::Write as _;

    fn judge(stage: &RulesStage, comment: &Comment) -> (Decision, &'static str) {
        let finding = stage.judge(&Subject { comment, role: Some(Role::Viewer) });
        (finding.decision, finding.reason)
    }

    fn strict() -> RulesConfig {
        RulesConfig {
            blocked_words: vec!["badword".into()],
            link_action: RuleAction::Flag,
            allowed_hosts: vec!["example.com".into()],
            repeat_action: RuleAction::ShadowBan,
            max_repeats: 1,
            flood_action: RuleAction::Reject,
            flood_comments: 8,
            max_character_run: 10,
            ..RulesConfig::default()
        }
    }

    #[test]
    fn each_rule_has_its_reason_and_its_action() {
        let stage = RulesStage::new(&strict()).unwrap();
        let cases = [
            ("hello", Decision::Accept, ""),
            ("b.4.d.w.o.r.d", Decision::Reject, reason::BLOCKED_WORD),
            ("see evil.net", Decision::Flag, reason::LINK),
            ("see www.example.com", Decision::Accept, ""),
            ("noooooooooooooo", Decision::Reject, reason::CHARACTER_RUN),
            ("badword at evil.net", Decision::Reject, reason::BLOCKED_WORD),
        ];
        for (user, (text, decision, reason)) in cases.into_iter().enumerate() {
            let comment = comment(1, user as u64 + 1, text);
            assert_eq!(judge(&stage, &comment), (decision, reason), "{text}");
        }
        for n in 0..3 {
            let again = judge(&stage, &comment(1, 50, ["Again", "AGAIN", "a g a i n"][n]));
            let repeated = (Decision::ShadowBan, reason::REPEAT);
            assert_eq!(again, if n == 2 { repeated } else { (Decision::Accept, "") });
        }
        for n in 0..9 {
            let text = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"][n];
            let flood = judge(&stage, &comment(1, 60, text));
            assert_eq!(flood.0 == Decision::Reject, n == 8, "{text}");
        }
    }

    #[test]
    fn staff_is_exempt_from_all_rules() {
        let stage = RulesStage::new(&strict()).unwrap();
        let comment = comment(1, 2, "badword");
        for role in [Role::Moderator, Role::Broadcaster, Role::Admin] {
            let finding = stage.judge(&Subject { comment: &comment, role: Some(role) });
            assert_eq!(finding.decision, Decision::Accept);
        }
        let unknown = stage.judge(&Subject { comment: &comment, role: None });
        assert_eq!(unknown.decision, Decision::Reject);
    }

    #[test]
    fn the_defaults_accept_ordinary_and_excited_chat() {
        let stage = RulesStage::new(&RulesConfig::default()).unwrap();
        for n in 0..100 {
            let excited = comment(1, 2, if n % 2 == 0 { "GOAAAAAAAAL" } else { "https://x.com" });
            assert_eq!(judge(&stage, &excited), (Decision::Accept, ""));
        }
    }

    #[test]
    fn words_are_also_read_from_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# words\n\nbadword # the worst\n  *spam*  \n").unwrap();
        let path = Some(file.path().to_owned());
        let config = RulesConfig { blocked_words_file: path, ..RulesConfig::default() };
        let stage = RulesStage::new(&config).unwrap();
        for text in ["badword", "antispammer"] {
            assert_eq!(judge(&stage, &comment(1, 2, text)).1, reason::BLOCKED_WORD);
        }
        assert_eq!(judge(&stage, &comment(1, 2, "the worst")).0, Decision::Accept);
    }

    #[test]
    fn a_file_is_read_as_editors_write_it() {
        let text = "*spam*\r\nf#ck\r\n***\r\n🖕\r\nbadword\r\n";
        let wide: Vec<u8> = "\u{FEFF}"
            .encode_utf16()
            .chain(text.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        for bytes in [text.as_bytes().to_vec(), format!("\u{FEFF}{text}").into_bytes(), wide] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes).unwrap();
            let path = Some(file.path().to_owned());
            let config = RulesConfig { blocked_words_file: path, ..RulesConfig::default() };
            let stage = RulesStage::new(&config).unwrap();
            for text in ["antispammer", "f#ck", "hi 🖕🏽", "badword"] {
                assert_eq!(judge(&stage, &comment(1, 2, text)).1, reason::BLOCKED_WORD, "{text}");
            }
            for text in ["f", "fun", "***"] {
                assert_eq!(judge(&stage, &comment(1, 2, text)).0, Decision::Accept, "{text}");
            }
        }
    }

    #[test]
    fn different_numbers_are_no_repeats() {
        let config = RulesConfig {
            repeat_action: RuleAction::Reject,
            max_repeats: 1,
            ..RulesConfig::default()
        };
        let stage = RulesStage::new(&config).unwrap();
        for text in ["10", "100", "1000", "I bid 500", "I bid 5000", "I bid 50000", "🎉", "😂"]
        {
            assert_eq!(judge(&stage, &comment(1, 2, text)).0, Decision::Accept, "{text}");
        }
    }

    #[test]
    fn an_unusable_word_list_is_refused_with_a_reason() {
        let missing = RulesConfig {
            blocked_words_file: Some("/nowhere/words.txt".into()),
            ..RulesConfig::default()
        };
        let error = RulesStage::new(&missing).unwrap_err().to_string();
        assert!(error.contains("blocked_words_file") && error.contains("/nowhere"), "{error}");
        let empty = RulesConfig { blocked_words: vec!["***".into()], ..RulesConfig::default() };
        let error = RulesStage::new(&empty).unwrap_err().to_string();
        assert!(error.contains("`***`"), "{error}");
    }
}
