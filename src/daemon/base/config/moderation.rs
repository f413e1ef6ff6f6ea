//! The settings of moderation: its stages, the rules, the model, and reputation.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::HookConfig;
use super::screening::{HeldConfig, ScreeningConfig};
use crate::policy::crowd::CrowdRules;
use crate::policy::reputation::ReputationRules;
use crate::protocol::UserId;
use crate::protocol::events::Decision;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModerationConfig {
    /// The stages in order. A rejection or a shadow ban ends the check; otherwise the strictest
    /// decision counts.
    pub stages: Vec<ModerationStage>,
    pub rules: RulesConfig,
    pub model: ModelConfig,
    pub hook: HookConfig,
    pub reputation: ReputationConfig,
    /// Comments checked between two commits of the moderator's position.
    pub batch_comments: usize,
    pub screening: ScreeningConfig,
    pub held: HeldConfig,
}

impl Default for ModerationConfig {
    fn default() -> Self {
        Self {
            stages: vec![ModerationStage::Rules, ModerationStage::Model],
            rules: RulesConfig::default(),
            model: ModelConfig::default(),
            hook: HookConfig::default(),
            reputation: ReputationConfig::default(),
            batch_comments: 512,
            screening: ScreeningConfig::default(),
            held: HeldConfig::default(),
        }
    }
}

/// By how much the thresholds of moderation are lower for some users, and higher in a crowd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReputationConfig {
    /// Whether users have points that lower thresholds. Without it, nothing is counted.
    pub enabled: bool,
    /// The time in which points halve; 1 hour to 365 days.
    #[serde(with = "humantime_serde")]
    pub half_life: Duration,
    /// By how much thresholds are lowered at most; 0 to 0.4. Scores are 0 to 1.
    pub most_lowered: f64,
    /// Accounts younger than this are new. 0 s: none is.
    #[serde(with = "humantime_serde")]
    pub new_account_age: Duration,
    /// By how much the thresholds are lowered for an account that was created just now; 0 to 0.4.
    pub new_account_lowered: f64,
    /// By how much the thresholds that flag are raised at most while a crowd shouts; 0 to 0.2. 0
    /// switches it off.
    pub most_raised: f64,
}

impl Default for ReputationConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            half_life: Duration::from_secs(7 * 24 * 3600),
            most_lowered: 0.2,
            new_account_age: Duration::from_secs(3 * 24 * 3600),
            new_account_lowered: 0.05,
            most_raised: 0.1,
        }
    }
}

impl ReputationConfig {
    /// Returns the rules for users; `None` if they are off.
    pub fn rules(&self) -> Option<ReputationRules> {
        let millis = |time: Duration| time.as_millis() as u64;
        self.enabled.then(|| ReputationRules {
            half_life_ms: millis(self.half_life),
            most_lowered: self.most_lowered,
            new_account_ms: millis(self.new_account_age),
            new_account_lowered: self.new_account_lowered,
        })
    }

    /// Returns the rules for crowds.
    pub fn crowd_rules(&self) -> CrowdRules {
        CrowdRules { most_raised: self.most_raised }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModerationStage {
    Rules,
    Model,
    /// The review hook. The last one: it is asked about what the others found.
    Hook,
}

impl ModerationConfig {
    /// Returns whether the stages ask the review hook.
    pub fn uses_hook(&self) -> bool {
        self.stages.contains(&ModerationStage::Hook)
    }

    /// Returns whether each stage is named once: a second time it would count each comment again.
    pub(super) fn names_stages_once(&self) -> bool {
        let stages = &self.stages;
        stages.iter().enumerate().all(|(at, stage)| !stages[..at].contains(stage))
    }

    /// Returns whether the review hook is the last stage, if it is one.
    pub(super) fn ends_with_hook(&self) -> bool {
        let at = self.stages.iter().position(|stage| *stage == ModerationStage::Hook);
        at.is_none_or(|at| at + 1 == self.stages.len())
    }
}

/// The decision for a comment that breaks a rule, or whose score is too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    Accept,
    Flag,
    ShadowBan,
    Reject,
}

impl From<RuleAction> for Decision {
    fn from(action: RuleAction) -> Self {
        match action {
            RuleAction::Accept => Self::Accept,
            RuleAction::Flag => Self::Flag,
            RuleAction::ShadowBan => Self::ShadowBan,
            RuleAction::Reject => Self::Reject,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Words, phrases and emoji. They match whole words; `*` at an end also matches inside words.
    /// Symbols and digits stand for the letters they resemble, here and in comments. A word given
    /// with accents, or of up to three letters, matches only with these accents.
    pub blocked_words: Vec<String>,
    /// A file with one word, phrase or emoji per line, in UTF-8 or UTF-16. A line that begins with
    /// `#` is a comment. Lines that cannot be matched are skipped with a warning.
    pub blocked_words_file: Option<PathBuf>,
    /// Words and phrases that are innocent although they resemble a blocked one. They match whole
    /// words in any case, with the accents given here, and in no disguise.
    pub allowed_words: Vec<String>,
    pub blocked_word_action: RuleAction,
    /// Looks for the terms of the list that comes with the daemon: slurs and threats.
    pub starter_list: bool,
    pub starter_list_action: RuleAction,
    /// Applies to offers of viewers and followers.
    pub viewer_seller_action: RuleAction,
    /// Applies to links to hosts that are not allowed.
    pub link_action: RuleAction,
    /// Hosts that may be linked, including their subdomains.
    pub allowed_hosts: Vec<String>,
    /// Applies to repeats of a text by the same user within the window.
    pub repeat_action: RuleAction,
    /// The allowed repeats of a text. 0 allows none.
    pub max_repeats: u32,
    /// Applies to many comments by one user, or the same text by many users, within the window.
    pub flood_action: RuleAction,
    /// The most comments of one user within the window, equal or not. 0 means no limit.
    pub flood_comments: u32,
    /// The number of users with the same text, or nearly the same one, within the window at which
    /// it is a flood. 0 means no limit, as for cheering crowds.
    pub flood_users: u32,
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// A run of this many equal characters (as readers see them: grapheme clusters) counts as a
    /// flood. 0 means no limit.
    pub max_character_run: u32,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            blocked_words: Vec::new(),
            blocked_words_file: None,
            allowed_words: Vec::new(),
            blocked_word_action: RuleAction::Reject,
            starter_list: true,
            starter_list_action: RuleAction::Flag,
            viewer_seller_action: RuleAction::Flag,
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

/// The model stage. Scores are 0 to 1; at 0.5 (toxicity) and 0.6 (spam) they reach the lower
/// thresholds of the model, which are fitted to ordinary chat, and at 0.7 and 0.8 the upper ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// The weights, as `scripts/train` writes them. Absent: those that come with the daemon.
    pub file: Option<PathBuf>,
    /// The thresholds of a site, as `lc mod calibrate` writes them for the same weights.
    pub calibration: Option<PathBuf>,
    /// Score from which a comment is flagged, 0 to `toxicity_reject`.
    pub toxicity_flag: f32,
    /// Score from which `toxicity_action` applies, up to 1.
    pub toxicity_reject: f32,
    /// With `accept`, toxicity is only measured.
    pub toxicity_action: RuleAction,
    /// Score from which a comment is flagged, 0 to `spam_reject`.
    pub spam_flag: f32,
    /// Score from which `spam_action` applies, up to 1.
    pub spam_reject: f32,
    /// With `accept`, spam is only measured.
    pub spam_action: RuleAction,
    /// Trusted bots and other users whose comments are not judged. Staff is exempt, too.
    pub exempt_users: Vec<UserId>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            file: None,
            calibration: None,
            toxicity_flag: 0.5,
            toxicity_reject: 0.7,
            toxicity_action: RuleAction::Reject,
            spam_flag: 0.6,
            spam_reject: 0.8,
            spam_action: RuleAction::Reject,
            exempt_users: Vec::new(),
        }
    }
}
