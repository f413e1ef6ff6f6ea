//! The words that change the rules of a room: one grammar for `lc room` and the palette of
//! `lc top`.

use super::{
    ChecksPatch, LONGEST_DEADLINE_MS, LONGEST_DELAY_MS, LONGEST_FOLLOWERS_MS, LONGEST_SLOW_MS,
    LONGEST_UNIQUE_MS, Language, LanguageAction, LanguagePolicy, RoomPatch, SHORTEST_DEADLINE_MS,
    SHORTEST_UNIQUE_MS, TermAction, WhenDown, WhenLate,
};
use crate::protocol::quantity::{parse_duration, show_duration};

/// A rule that words change, with what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleWord {
    pub name: &'static str,
    /// Such as `TIME|off`.
    pub values: &'static str,
}

const fn rule(name: &'static str, values: &'static str) -> RuleWord {
    RuleWord { name, values }
}

/// The rules, in the order of the help.
pub const RULES: &[RuleWord] = &[
    rule("slow", "TIME|off"),
    rule("followers", "TIME|on|off"),
    rule("subscribers", "on|off"),
    rule("emotes", "on|off"),
    rule("unique", "TIME|off"),
    rule("links", "on|off"),
    rule("shield", "on|off"),
    rule("timeouts", "TIME…|off"),
    rule("languages", "CODE…|off"),
    rule("delay", "TIME|off"),
];

impl RoomPatch {
    /// Reads the change of one rule, such as `slow` with `30s` or `shield` with `on`.
    ///
    /// # Errors
    /// There is no such rule, or it does not take these values; the text says what is right.
    pub fn of_words(rule: &str, values: &[impl AsRef<str>]) -> Result<Self, String> {
        let patch = Self::default();
        if rule == "timeouts" {
            return Ok(Self { timeouts_ms: Some(timeouts(values)?), ..patch });
        }
        if rule == "languages" {
            return Ok(Self { languages: Some(languages(values)?), ..patch });
        }
        let Some(known) = RULES.iter().find(|known| known.name == rule) else {
            let names: Vec<_> = RULES.iter().map(|known| known.name).collect();
            return Err(format!("there is no rule {rule}: write one of {}", names.join(", ")));
        };
        let [value] = values else {
            return Err(format!("write: {rule} {}", known.values));
        };
        let value = value.as_ref();
        Ok(match rule {
            "slow" => Self { slow_ms: Some(time_or_off(value, 1_000, LONGEST_SLOW_MS)?), ..patch },
            "followers" => Self { followers_ms: Some(followers(value)?), ..patch },
            "subscribers" => Self { subscribers_only: Some(switch(value)?), ..patch },
            "emotes" => Self { emotes_only: Some(switch(value)?), ..patch },
            "unique" => {
                let time = time_or_off(value, SHORTEST_UNIQUE_MS, LONGEST_UNIQUE_MS)?;
                Self { unique_ms: Some(time), ..patch }
            }
            "delay" => {
                Self { delay_ms: Some(time_or_off(value, 1_000, LONGEST_DELAY_MS)?), ..patch }
            }
            "links" => Self { no_links: Some(!switch(value)?), ..patch },
            "shield" => Self { shield: Some(switch(value)?), ..patch },
            other => return Err(format!("{other} cannot be changed in words")),
        })
    }
}

impl ChecksPatch {
    /// Reads the change of one setting of the checks, such as `down` with `hold`.
    ///
    /// # Errors
    /// There is no such setting, or it does not take this value; the text says what is right.
    pub fn of_words(setting: &str, value: &str) -> Result<Self, String> {
        let patch = Self::default();
        Ok(match setting {
            "deadline" => Self { deadline_ms: Some(deadline(value)?), ..patch },
            "late" => {
                Self { late: Some(one_of(&WhenLate::ALL, WhenLate::as_str, value)?), ..patch }
            }
            "down" => {
                Self { down: Some(one_of(&WhenDown::ALL, WhenDown::as_str, value)?), ..patch }
            }
            other => return Err(format!("there is no {other}: write deadline, late or down")),
        })
    }
}

impl LanguageAction {
    /// Reads the action on comments in other languages, such as `reject`.
    ///
    /// # Errors
    /// The text says which there are.
    pub fn of_word(word: &str) -> Result<Self, String> {
        one_of(&Self::ALL, Self::as_str, word)
    }
}

impl TermAction {
    /// Returns the word for the action. Words of commands have hyphens.
    pub fn word(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::ShadowBan => "shadow-ban",
            Self::Flag => "flag",
        }
    }

    /// Reads the action on comments with a blocked term, such as `shadow-ban`.
    ///
    /// # Errors
    /// The text says which there are.
    pub fn of_word(word: &str) -> Result<Self, String> {
        one_of(&Self::ALL, Self::word, word)
    }
}

/// Reads how long a check may take, in milliseconds; `None` for `default`.
///
/// # Errors
/// The text says what is right.
pub fn deadline(text: &str) -> Result<Option<u64>, String> {
    if is(text, "default") {
        return Ok(None);
    }
    let ms = milliseconds(text).map_err(|error| format!("{error}; or default"))?;
    if (SHORTEST_DEADLINE_MS..=LONGEST_DEADLINE_MS).contains(&ms) {
        return Ok(Some(ms));
    }
    let shortest = show_duration(SHORTEST_DEADLINE_MS);
    Err(format!("must be {shortest} to {}, or default", show_duration(LONGEST_DEADLINE_MS)))
}

fn one_of<T: Copy>(all: &[T], word: fn(T) -> &'static str, text: &str) -> Result<T, String> {
    let found = all.iter().copied().find(|value| is(text, word(*value)));
    found.ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|value| word(*value)).collect();
        format!("{text} is not one of {}", words.join(", "))
    })
}

fn is(text: &str, word: &str) -> bool {
    text.trim().eq_ignore_ascii_case(word)
}

fn switch(text: &str) -> Result<bool, String> {
    if is(text, "on") {
        return Ok(true);
    }
    if is(text, "off") { Ok(false) } else { Err(format!("{text} is neither on nor off")) }
}

fn time_or_off(text: &str, min_ms: u64, max_ms: u64) -> Result<Option<u64>, String> {
    if is(text, "off") {
        return Ok(None);
    }
    let ms = milliseconds(text).map_err(|error| format!("{error}; or off"))?;
    if (min_ms..=max_ms).contains(&ms) {
        return Ok(Some(ms));
    }
    Err(format!("must be {} to {}, or off", show_duration(min_ms), show_duration(max_ms)))
}

/// Reads for how long a user must have followed: on stands for any time.
fn followers(text: &str) -> Result<Option<u64>, String> {
    if is(text, "on") { Ok(Some(0)) } else { time_or_off(text, 0, LONGEST_FOLLOWERS_MS) }
}

/// Returns the presets of timeouts, the shortest first.
fn timeouts(texts: &[impl AsRef<str>]) -> Result<Vec<u64>, String> {
    if let [text] = texts
        && is(text.as_ref(), "off")
    {
        return Ok(Vec::new());
    }
    let texts = texts.iter().flat_map(|text| text.as_ref().split(','));
    let mut presets = texts.map(milliseconds).collect::<Result<Vec<_>, _>>()?;
    if presets.is_empty() {
        return Err("write: timeouts TIME…|off".to_owned());
    }
    presets.sort_unstable();
    presets.dedup();
    Ok(presets)
}

/// Returns the policy that flags all other languages; `None` for off.
fn languages(codes: &[impl AsRef<str>]) -> Result<Option<LanguagePolicy>, String> {
    if let [code] = codes
        && is(code.as_ref(), "off")
    {
        return Ok(None);
    }
    let codes = codes.iter().flat_map(|code| code.as_ref().split(','));
    let codes = codes.filter(|code| !code.is_empty());
    let mut allowed = codes.map(str::parse).collect::<Result<Vec<Language>, _>>()?;
    allowed.sort_unstable();
    allowed.dedup();
    if allowed.is_empty() {
        return Err("name at least one language, or off".to_owned());
    }
    Ok(Some(LanguagePolicy { allowed, action: LanguageAction::Flag }))
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let duration = parse_duration(text)?;
    Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(words: &str) -> Result<RoomPatch, String> {
        let words: Vec<_> = words.split(' ').collect();
        RoomPatch::of_words(words[0], &words[1..])
    }

    #[test]
    fn words_become_the_change_of_one_rule() {
        let none = RoomPatch::default();
        for (words, expected) in [
            ("slow 30s", RoomPatch { slow_ms: Some(Some(30_000)), ..none.clone() }),
            ("slow Off", RoomPatch { slow_ms: Some(None), ..none.clone() }),
            ("followers on", RoomPatch { followers_ms: Some(Some(0)), ..none.clone() }),
            ("followers 10m", RoomPatch { followers_ms: Some(Some(600_000)), ..none.clone() }),
            ("subscribers on", RoomPatch { subscribers_only: Some(true), ..none.clone() }),
            ("emotes off", RoomPatch { emotes_only: Some(false), ..none.clone() }),
            ("unique 10m", RoomPatch { unique_ms: Some(Some(600_000)), ..none.clone() }),
            ("links off", RoomPatch { no_links: Some(true), ..none.clone() }),
            ("shield on", RoomPatch { shield: Some(true), ..none.clone() }),
            (
                "timeouts 10m 1m,1m",
                RoomPatch { timeouts_ms: Some(vec![60_000, 600_000]), ..none.clone() },
            ),
            ("timeouts off", RoomPatch { timeouts_ms: Some(vec![]), ..none.clone() }),
            ("delay 5s", RoomPatch { delay_ms: Some(Some(5_000)), ..none.clone() }),
            ("languages off", RoomPatch { languages: Some(None), ..none }),
        ] {
            assert_eq!(patch(words), Ok(expected), "{words}");
        }
    }

    #[test]
    fn words_change_the_checks() {
        let none = ChecksPatch::default();
        for (setting, value, expected) in [
            ("deadline", "900ms", ChecksPatch { deadline_ms: Some(Some(900)), ..none }),
            ("deadline", "default", ChecksPatch { deadline_ms: Some(None), ..none }),
            ("late", "refuse", ChecksPatch { late: Some(WhenLate::Refuse), ..none }),
            ("down", "Hold", ChecksPatch { down: Some(WhenDown::Hold), ..none }),
        ] {
            assert_eq!(ChecksPatch::of_words(setting, value), Ok(expected), "{setting} {value}");
        }
        let wrong = |setting, value| ChecksPatch::of_words(setting, value).unwrap_err();
        assert_eq!(wrong("down", "refuse"), "refuse is not one of pass, hold");
        assert_eq!(wrong("deadline", "1m"), "must be 50ms to 10s, or default");
        assert_eq!(LanguageAction::of_word("reject"), Ok(LanguageAction::Reject));
    }

    #[test]
    fn languages_are_sorted_and_named_once() {
        let allowed = |words| patch(words).unwrap().languages.flatten().unwrap().allowed;
        assert_eq!(allowed("languages en,de"), [Language::De, Language::En]);
        assert_eq!(allowed("languages en en"), [Language::En]);
    }

    #[test]
    fn wrong_words_say_what_is_right() {
        for (words, part) in [
            ("slow 2h", "must be 1s to 1h, or off"),
            ("slow fast", "or off"),
            ("slow", "write: slow TIME|off"),
            ("slow 1s 2s", "write: slow TIME|off"),
            ("shield perhaps", "perhaps is neither on nor off"),
            ("timeouts", "write: timeouts"),
            ("delay 1m", "must be 1s to 30s, or off"),
            ("languages xx", "xx"),
            ("languages ,", "at least one language"),
            ("fast 1s", "write one of slow, followers"),
        ] {
            let error = patch(words).unwrap_err();
            assert!(error.contains(part), "{words}: {error}");
        }
        assert!(patch("timeouts 1m off").is_err());
    }

    #[test]
    fn every_listed_rule_can_be_changed() {
        for RuleWord { name, .. } in RULES {
            assert!(RoomPatch::of_words(name, &["off"]).is_ok(), "{name}");
        }
    }
}
