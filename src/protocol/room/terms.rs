//! The blocked terms of a room, beside those of the whole site.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::BadRoomField;
use crate::protocol::text::{self, TextError};

/// The most terms of a room.
pub const MAX_ROOM_TERMS: usize = 500;
/// The most characters of a term.
pub const MAX_TERM_CHARS: usize = 100;

/// The decision about a comment that has a blocked term of its room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TermAction {
    /// Nobody sees the comment.
    #[default]
    Reject,
    /// Only its author sees the comment.
    ShadowBan,
    /// A person reviews the comment. In a room with synchronous moderation it is hidden until then.
    Flag,
}

impl TermAction {
    /// All actions, the most severe first.
    pub const ALL: [Self; 3] = [Self::Reject, Self::ShadowBan, Self::Flag];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::ShadowBan => "shadow_ban",
            Self::Flag => "flag",
        }
    }
}

/// A word, phrase or emoji that comments of a room must not have. It matches like a word of
/// `moderation.rules.blocked_words`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RoomTerm {
    /// In [normal form](normal_term).
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub term: String,
    #[serde(default)]
    pub action: TermAction,
}

/// `POST /v1/streams/{id}/room/terms`: terms to add and to remove, each named once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(description = "Terms to add and to remove, each named once.")
)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
pub struct TermsPatch {
    /// Replaces the action of a term that the room has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_ROOM_TERMS)))]
    pub add: Vec<RoomTerm>,
    /// A term that the room does not have is ignored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_ROOM_TERMS)))]
    pub remove: Vec<String>,
}

/// Returns the form in which terms are stored and compared: normal text in lower case, with single
/// spaces.
///
/// # Errors
/// Nothing in the text is visible, or it is longer than [`MAX_TERM_CHARS`].
pub fn normal_term(written: &str) -> Result<String, TextError> {
    let label = text::visible(text::normalize_label(written)?)?;
    let lower = label.to_lowercase();
    text::within(lower.into(), MAX_TERM_CHARS).map(std::borrow::Cow::into_owned)
}

impl TermsPatch {
    /// Returns the patch with its terms in normal form.
    ///
    /// # Errors
    /// The field that is wrong: a term without a normal form or named twice, no term at all, or
    /// more than [`MAX_ROOM_TERMS`].
    pub fn checked(&self) -> Result<Self, BadRoomField> {
        let bad = |field, problem: String| BadRoomField { field, problem };
        if self.add.is_empty() && self.remove.is_empty() {
            return Err(bad("patch", "must name at least one term to add or remove".to_owned()));
        }
        if self.add.len() > MAX_ROOM_TERMS || self.remove.len() > MAX_ROOM_TERMS {
            return Err(bad("patch", format!("must name at most {MAX_ROOM_TERMS} terms")));
        }
        let mut checked = Self::default();
        let mut named = BTreeSet::new();
        for RoomTerm { term, action } in &self.add {
            let term = normal_term(term).map_err(|error| bad("add", error.to_string()))?;
            if !named.insert(term.clone()) {
                return Err(bad("add", format!("names `{term}` twice")));
            }
            checked.add.push(RoomTerm { term, action: *action });
        }
        for term in &self.remove {
            let term = normal_term(term).map_err(|error| bad("remove", error.to_string()))?;
            if !named.insert(term.clone()) {
                return Err(bad("remove", format!("names `{term}` twice")));
            }
            checked.remove.push(term);
        }
        Ok(checked)
    }

    /// Returns the patch that gives the named terms the state that they have in `before`, which
    /// has those of them that the room had.
    pub fn back_to(&self, before: &[RoomTerm]) -> Self {
        let had = |term: &str| before.iter().any(|known| known.term == term);
        let new = self.add.iter().map(|added| &added.term).filter(|term| !had(term));
        let names = |term: &str| self.names(term);
        let add = before.iter().filter(|known| names(&known.term)).cloned().collect();
        Self { add, remove: new.cloned().collect() }
    }

    /// Returns whether the patch names a term.
    pub fn names(&self, term: &str) -> bool {
        self.add.iter().any(|added| added.term == term)
            || self.remove.iter().any(|removed| removed == term)
    }

    /// Returns whether both name the same term.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.add.iter().any(|added| other.names(&added.term))
            || self.remove.iter().any(|removed| other.names(removed))
    }

    /// Returns the terms of a room after this change, ordered.
    pub fn applied_to(&self, terms: &[RoomTerm]) -> Vec<RoomTerm> {
        let kept = terms.iter().filter(|known| !self.names(&known.term));
        let mut after: Vec<_> = kept.chain(&self.add).cloned().collect();
        after.sort_by(|one, other| one.term.cmp(&other.term));
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(term: &str, action: TermAction) -> RoomTerm {
        RoomTerm { term: term.to_owned(), action }
    }

    fn patch(add: &[RoomTerm], remove: &[&str]) -> TermsPatch {
        let remove = remove.iter().map(|term| (*term).to_owned()).collect();
        TermsPatch { add: add.to_vec(), remove }
    }

    #[test]
    fn a_change_of_terms_can_be_taken_back() {
        let before = [term("a", TermAction::Flag), term("b", TermAction::Reject)];
        let change =
            patch(&[term("a", TermAction::Reject), term("c", TermAction::Flag)], &["b", "d"]);
        let after = change.applied_to(&before);
        assert_eq!(after, [term("a", TermAction::Reject), term("c", TermAction::Flag)]);
        assert_eq!(change.back_to(&before).applied_to(&after), before);
    }

    #[test]
    fn terms_have_one_form_and_are_named_once() {
        let change = patch(&[term("  Bad  WORD ", TermAction::Reject)], &["Other"]);
        let checked = change.checked().unwrap();
        assert_eq!((&*checked.add[0].term, &*checked.remove[0]), ("bad word", "other"));
        assert!(checked.overlaps(&patch(&[], &["bad word"])));
        assert!(!checked.overlaps(&patch(&[], &["bad"])));
        for (wrong, field) in [
            (TermsPatch::default(), "patch"),
            (patch(&[term("a", TermAction::Reject), term("A", TermAction::Flag)], &[]), "add"),
            (patch(&[term("a", TermAction::Reject)], &["a"]), "remove"),
            (patch(&[term("\u{200B}", TermAction::Reject)], &[]), "add"),
            (patch(&[], &["x".repeat(MAX_TERM_CHARS + 1).as_str()]), "remove"),
        ] {
            assert_eq!(wrong.checked().unwrap_err().field, field, "{wrong:?}");
        }
    }
}
