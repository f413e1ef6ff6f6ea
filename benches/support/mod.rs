//! Texts and settings that benchmarks of moderation share.

// Each benchmark uses only a part of this module.
#![allow(dead_code, unreachable_pub)]

use live_comments::daemon::base::config::{RuleAction, RulesConfig};

/// The number of words in a large list.
pub const BLOCKED_WORDS: usize = 2000;

/// Returns the text of a file of comments that a variable names, one per line; `None` if the
/// variable is not set.
pub fn chosen_chat(variable: &str) -> Option<Vec<String>> {
    let path = std::env::var_os(variable)?;
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| panic!("cannot read {variable}"));
    Some(text.lines().map(str::to_owned).collect())
}

/// Returns a comment as long as the daemon accepts by default, in which every step has something to
/// do.
pub fn longest_comment() -> String {
    let part = "Ѕееее www.example.com @ann 12345678 n.o.w y e s ＷＩＤＥ h3ll0 ";
    part.chars().cycle().take(500).collect()
}

/// Returns a word of syllables that no other number below 10,000 has.
pub fn word(number: usize) -> String {
    let syllables = ["ba", "cro", "dun", "fle", "gri", "hul", "jo", "kep", "lim", "nox"];
    let digits = [number % 10, number / 10 % 10, number / 100 % 10, number / 1000 % 10];
    digits.iter().map(|digit| syllables[*digit]).collect()
}

/// Returns the rules with every one on, and so many blocked words.
pub fn all_rules(words: usize) -> RulesConfig {
    RulesConfig {
        blocked_words: (0..words).map(word).collect(),
        link_action: RuleAction::Flag,
        allowed_hosts: vec!["example.com".into()],
        repeat_action: RuleAction::Flag,
        flood_action: RuleAction::Flag,
        flood_users: 100,
        max_character_run: 20,
        ..RulesConfig::default()
    }
}
