//! The rules, each with its setting and its reason.

use super::history::Excess;
use crate::daemon::base::config::{RuleAction, RulesConfig};
use crate::protocol::events::Decision;

/// The reasons this stage gives; part of the protocol.
pub mod reason {
    pub const BLOCKED_WORD: &str = "blocked_word";
    pub const STARTER_LIST: &str = "starter_list";
    pub const LINK: &str = "link";
    pub const VIEWER_SELLER: &str = "viewer_seller";
    pub const REPEAT: &str = "repeat";
    pub const FLOOD: &str = "flood";
    pub const CHARACTER_RUN: &str = "character_run";
    pub const ROOM_TERM: &str = "room_term";
    pub const LANGUAGE: &str = "language";
}

/// A rule that a comment may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    BlockedWord,
    StarterList,
    ViewerSeller,
    Link,
    CharacterRun,
    Repeat,
    UserFlood,
    ChorusFlood,
    RoomTerm,
    RoomLanguage,
}

impl Rule {
    /// Those that look at a text alone. Of equally severe ones, the first decides.
    pub(super) const OF_TEXTS: [Self; 5] =
        [Self::BlockedWord, Self::StarterList, Self::ViewerSeller, Self::Link, Self::CharacterRun];

    pub(super) fn of_excess(excess: Excess) -> Self {
        match excess {
            Excess::Repeat => Self::Repeat,
            Excess::UserFlood => Self::UserFlood,
            Excess::ChorusFlood => Self::ChorusFlood,
        }
    }

    /// Returns whether the rule compares a comment with earlier ones.
    pub(super) fn is_of_history(self) -> bool {
        matches!(self, Self::Repeat | Self::UserFlood | Self::ChorusFlood)
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::BlockedWord => reason::BLOCKED_WORD,
            Self::StarterList => reason::STARTER_LIST,
            Self::ViewerSeller => reason::VIEWER_SELLER,
            Self::Link => reason::LINK,
            Self::CharacterRun => reason::CHARACTER_RUN,
            Self::Repeat => reason::REPEAT,
            Self::UserFlood | Self::ChorusFlood => reason::FLOOD,
            Self::RoomTerm => reason::ROOM_TERM,
            Self::RoomLanguage => reason::LANGUAGE,
        }
    }

    /// Returns the name of the setting with the action.
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::BlockedWord => "moderation.rules.blocked_word_action",
            Self::StarterList => "moderation.rules.starter_list_action",
            Self::ViewerSeller => "moderation.rules.viewer_seller_action",
            Self::Link => "moderation.rules.link_action",
            Self::Repeat => "moderation.rules.repeat_action",
            Self::CharacterRun | Self::UserFlood | Self::ChorusFlood => {
                "moderation.rules.flood_action"
            }
            // Rooms have these settings: `lc room STREAM terms`, `lc room STREAM languages`.
            Self::RoomTerm => "room.terms",
            Self::RoomLanguage => "room.languages",
        }
    }

    pub(super) fn decision(self, config: &RulesConfig) -> Decision {
        let action = match self {
            Self::BlockedWord => config.blocked_word_action,
            Self::StarterList => config.starter_list_action,
            Self::ViewerSeller => config.viewer_seller_action,
            Self::Link => config.link_action,
            Self::Repeat => config.repeat_action,
            Self::CharacterRun | Self::UserFlood | Self::ChorusFlood => config.flood_action,
            // The room decides: see `RoomRulesOfText`.
            Self::RoomTerm | Self::RoomLanguage => RuleAction::Accept,
        };
        action.into()
    }
}
