//! The rules stage: blocked words, links, sellers of viewers, repeats and floods, and the terms and
//! languages that a room has set for itself.
//!
//! In: a comment. Out: accept, or the configured action of a broken rule; the most severe action
//! wins.
//!
//! Always holds: the same comments in the same order get the same decisions, because time is the
//! comments' own. Staff is exempt from all rules. A comment costs microseconds, linear in its
//! length. A reload changes the words and nothing else; words that cannot be used change nothing.
//!
//! When full: the history of users and texts is bounded and forgets the least recently seen.

mod allowed_word;
mod blocked_words;
mod candidate;
mod character_run;
#[cfg(test)]
mod evasion;
mod explain;
mod fold;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod glyph;
mod history;
mod identity;
mod innocent;
mod links;
mod near;
mod pattern;
mod room;
mod room_links;
mod rule;
mod seller;
mod starter;
mod word_file;
mod word_lists;

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

pub use self::blocked_words::WordListError;
pub use self::pattern::BadWord;
pub use self::room::check_terms;
pub use self::room_links::RoomLinks;
pub use self::rule::reason;
pub use self::word_lists::RulesError;

use self::blocked_words::BlockedWords;
use self::character_run::longest_character_run;
use self::fold::Reading;
use self::history::{Counted, History};
use self::identity::identity;
use self::links::AllowedHosts;
use self::near::{NearKeys, near_keys};
use self::room::RoomRulesOfText;
use self::rule::Rule;
use self::starter::starter_list;
use self::word_lists::WordLists;
use super::pipeline::{Explanation, Finding, Stage, Subject, severity};
use crate::daemon::base::config::RulesConfig;
use crate::daemon::engines::directory::Streams;
use crate::policy::crowd::allowed_run;
use crate::protocol::Comment;

/// The stage.
#[derive(Debug)]
pub struct RulesStage {
    config: RulesConfig,
    /// Replaced by a reload.
    words: ArcSwap<WordLists>,
    /// `None` if it is off.
    starter: Option<Arc<BlockedWords>>,
    allowed_hosts: AllowedHosts,
    history: History,
    /// `None` where the rules of rooms are not known.
    rooms: Option<RoomRulesOfText>,
}

impl RulesStage {
    /// Creates the stage; reads the file of blocked words if one is configured.
    ///
    /// # Errors
    /// The configured words, or those of the file, cannot be used.
    pub fn new(config: &RulesConfig) -> Result<Self, RulesError> {
        Ok(Self {
            words: ArcSwap::from_pointee(WordLists::read(config)?),
            starter: config.starter_list.then(|| starter_list(&config.allowed_words)),
            allowed_hosts: AllowedHosts::new(&config.allowed_hosts),
            history: History::new(config),
            rooms: None,
            config: config.clone(),
        })
    }

    /// Returns the stage with the rules that rooms have for themselves.
    pub fn with_rooms(self, streams: Streams) -> Self {
        let rooms = RoomRulesOfText::new(streams, self.config.allowed_words.clone());
        Self { rooms: Some(rooms), ..self }
    }

    /// Checks a comment against all rules, and adds it to the history.
    fn judge(&self, subject: &Subject<'_>) -> Finding {
        let comment = subject.comment;
        if subject.role.is_some_and(|role| role.is_staff()) {
            return Finding::accept();
        }
        let reading = Reading::new(&comment.message);
        // The history must see every comment, whatever other rules it breaks.
        let near = self.near_keys(&reading, comment);
        let text = identity(&comment.message);
        let excesses = self.history.judge(Counted { comment, text: &text, near: &near });
        let mut finding = Finding::accept();
        let of_history = excesses.into_iter().map(Rule::of_excess);
        for rule in of_history.chain(Rule::OF_TEXTS) {
            let decision = rule.decision(&self.config);
            // A rule that could not change the decision is not looked at.
            let decides = severity(decision) > severity(finding.decision);
            if decides
                && (rule.is_of_history() || self.matched(rule, &reading, subject.raised).is_some())
            {
                finding = Finding::new(decision, rule.reason());
            }
        }
        if let Some(rooms) = &self.rooms {
            let found = rooms.findings(comment.stream_id, &reading, finding.decision);
            if let Some(first) = found.first() {
                finding = Finding::new(first.decision, first.rule.reason());
            }
        }
        finding
    }

    /// Returns what in a text breaks a rule about texts: a word, a host, or the number of equal
    /// characters. While a crowd raises the thresholds, more of these are allowed.
    fn matched(&self, rule: Rule, reading: &Reading<'_>, raised: f32) -> Option<String> {
        let text = reading.text;
        match rule {
            Rule::BlockedWord => self.words.load().blocked.find(reading).map(str::to_owned),
            Rule::StarterList => self.starter.as_ref()?.find(reading).map(str::to_owned),
            Rule::Link => self.allowed_hosts.first_forbidden(text),
            Rule::ViewerSeller => seller::find_offer(reading, &self.allowed_hosts),
            Rule::CharacterRun => {
                let max = allowed_run(self.config.max_character_run, raised);
                let run = if max > 0 { longest_character_run(text) } else { 0 };
                (max > 0 && run >= max).then(|| run.to_string())
            }
            Rule::Repeat | Rule::UserFlood | Rule::ChorusFlood => None,
            // Each room has its own: see `RoomRulesOfText`.
            Rule::RoomTerm | Rule::RoomLanguage => None,
        }
    }

    /// Returns the keys of a text for nearly equal ones, if these are counted.
    fn near_keys(&self, reading: &Reading<'_>, comment: &Comment) -> NearKeys {
        if !self.history.counts_users() {
            return NearKeys::new();
        }
        near_keys(&reading.letters, comment.stream_id)
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

    async fn explain(&self, subject: &Subject<'_>) -> Explanation {
        self.explain_text(subject)
    }

    /// Reads the file of blocked words again.
    fn reload(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.config.blocked_words_file else { return Ok(None) };
        let words = self.words.load().read_again(&self.config);
        let words = words.map_err(|error| error.to_string())?;
        let done = format!("{} words of {} are in force", words.of_file, path.display());
        self.words.store(Arc::new(words));
        Ok(Some(done))
    }
}

#[cfg(test)]
mod tests;
