//! The rules that each room has for itself: its blocked terms and its languages.
//!
//! The terms are compiled when the first comment after their change is checked, once per change.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::RwLock;
use tracing::warn;

use super::blocked_words::BlockedWords;
use super::fold::Reading;
use super::pattern::BadWord;
use super::rule::Rule;
use crate::classifier::language;
use crate::daemon::engines::directory::Streams;
use crate::daemon::stages::moderation::pipeline::severity;
use crate::protocol::StreamId;
use crate::protocol::events::Decision;
use crate::protocol::room::{LanguageAction, RoomTerm, TermAction, TermsPatch};

/// Checks that each term that is added can be matched.
///
/// # Errors
/// The first that has no letter, digit or emoji.
pub fn check_terms(patch: &TermsPatch) -> Result<(), BadWord> {
    for RoomTerm { term, .. } in &patch.add {
        if BlockedWords::new([term.as_str()], &[]).is_err() {
            return Err(BadWord(term.clone()));
        }
    }
    Ok(())
}

/// The rules of all rooms.
#[derive(Debug)]
pub(super) struct RoomRulesOfText {
    streams: Streams,
    /// Words that are innocent on the whole site.
    allowed_words: Vec<String>,
    compiled: RwLock<AHashMap<StreamId, CompiledTerms>>,
}

/// A rule of its room that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomFinding {
    pub(super) rule: Rule,
    pub(super) decision: Decision,
    /// The term as it is listed, or the code of a language.
    pub(super) matched: String,
}

#[derive(Debug, Clone)]
struct CompiledTerms {
    /// The list that this was made of.
    source: Arc<[RoomTerm]>,
    /// One list per action in use, the most severe first.
    lists: Arc<[(TermAction, BlockedWords)]>,
}

impl CompiledTerms {
    fn new(source: Arc<[RoomTerm]>, allowed_words: &[String]) -> Self {
        let list = |action| {
            let terms = source.iter().filter(|term| term.action == action);
            let words: Vec<_> = terms.map(|term| term.term.as_str()).collect();
            if words.is_empty() {
                return None;
            }
            match BlockedWords::new(words, allowed_words) {
                Ok(words) => Some((action, words)),
                Err(_) => {
                    // Their text has no place in a log.
                    warn!(action = action.as_str(), "blocked terms of a room cannot be matched");
                    None
                }
            }
        };
        let lists = TermAction::ALL.into_iter().filter_map(list).collect();
        Self { source, lists }
    }
}

impl RoomRulesOfText {
    pub(super) fn new(streams: Streams, allowed_words: Vec<String>) -> Self {
        Self { streams, allowed_words, compiled: RwLock::default() }
    }

    /// Returns the rules that a text breaks with a decision that is more severe than `least`, the
    /// most severe first.
    pub(super) fn findings(
        &self,
        stream_id: StreamId,
        reading: &Reading<'_>,
        least: Decision,
    ) -> Vec<RoomFinding> {
        let found =
            [self.term(stream_id, reading, least), self.language(stream_id, reading, least)];
        let mut findings: Vec<_> = found.into_iter().flatten().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(severity(finding.decision)));
        findings
    }

    fn term(
        &self,
        stream_id: StreamId,
        reading: &Reading<'_>,
        least: Decision,
    ) -> Option<RoomFinding> {
        let terms = self.streams.room_terms(stream_id)?;
        let lists = self.lists(stream_id, terms);
        lists.iter().find_map(|(action, words)| {
            let decision = decision(*action);
            if severity(decision) <= severity(least) {
                return None;
            }
            let matched = words.find(reading)?.to_owned();
            Some(RoomFinding { rule: Rule::RoomTerm, decision, matched })
        })
    }

    fn language(
        &self,
        stream_id: StreamId,
        reading: &Reading<'_>,
        least: Decision,
    ) -> Option<RoomFinding> {
        let stream = self.streams.get(stream_id)?;
        let policy = stream.room.languages.as_ref()?;
        let decision = match policy.action {
            LanguageAction::Flag => Decision::Flag,
            LanguageAction::Reject => Decision::Reject,
        };
        if severity(decision) <= severity(least) {
            return None;
        }
        let matched = language::foreign(reading.text, &policy.allowed)?.to_owned();
        Some(RoomFinding { rule: Rule::RoomLanguage, decision, matched })
    }

    /// Returns the compiled terms of a room.
    fn lists(
        &self,
        stream_id: StreamId,
        terms: Arc<[RoomTerm]>,
    ) -> Arc<[(TermAction, BlockedWords)]> {
        if let Some(known) = self.compiled.read().get(&stream_id)
            && Arc::ptr_eq(&known.source, &terms)
        {
            return known.lists.clone();
        }
        let compiled = CompiledTerms::new(terms, &self.allowed_words);
        let lists = compiled.lists.clone();
        let mut known = self.compiled.write();
        known.retain(|stream_id, _| self.streams.room_terms(*stream_id).is_some());
        known.insert(stream_id, compiled);
        lists
    }
}

fn decision(action: TermAction) -> Decision {
    match action {
        TermAction::Reject => Decision::Reject,
        TermAction::ShadowBan => Decision::ShadowBan,
        TermAction::Flag => Decision::Flag,
    }
}

#[cfg(test)]
mod tests;
