//! The settings of moderation: its stages and the rules.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModerationConfig {
    /// In order; the first decision other than accept ends the check.
    pub stages: Vec<ModerationStage>,
    pub rules: RulesConfig,
    /// Comments checked between two commits of the moderator's position.
    pub batch_comments: usize,
}

impl Default for ModerationConfig {
    fn default() -> Self {
        Self {
            stages: vec![ModerationStage::Rules],
            rules: RulesConfig::default(),
            batch_comments: 512,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModerationStage {
    Rules,
}

/// What a rule does with a comment that breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    Accept,
    Flag,
    ShadowBan,
    Reject,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Words and phrases, matched whole, with evasions folded; `*` at an end matches inside words.
    /// Symbols and digits in a word stand for the letters they resemble, as they do in comments.
    pub blocked_words: Vec<String>,
    /// A file with one such word a line; `#` begins a comment.
    pub blocked_words_file: Option<PathBuf>,
    pub blocked_word_action: RuleAction,
    /// Links to hosts that are not allowed.
    pub link_action: RuleAction,
    /// Hosts that may be linked, with their subdomains.
    pub allowed_hosts: Vec<String>,
    /// The same text again by the same user within the window.
    pub repeat_action: RuleAction,
    /// How often a text may come again; 0 is not at all.
    pub max_repeats: u32,
    /// Many comments by one user, or the same text by many, within the window.
    pub flood_action: RuleAction,
    /// Comments of one user in the window, the same or not; 0 is no limit.
    pub flood_comments: u32,
    /// The same text by this many users within the window; 0 is no limit (people do cheer in chorus).
    pub flood_users: u32,
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// The same character this many times in a row, and more, counts as a flood; 0 is no limit.
    pub max_character_run: u32,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            blocked_words: Vec::new(),
            blocked_words_file: None,
            blocked_word_action: RuleAction::Reject,
            link_action: RuleAction::Accept,
            allowed_hosts: Vec::new(),
            repeat_action: RuleAction::Accept,
            max_repeats: 5,
            flood_action: RuleAction::Accept,
            flood_comments: 30,
            flood_users: 0,
            window: Duration::from_secs(30),
            max_character_run: 0,
        }
    }
}
