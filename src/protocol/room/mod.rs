//! The rules of a room: what a stream's viewers may comment, and how often.

mod checks;
mod languages;
mod terms;
pub mod words;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::languages::{Language, LanguageAction, LanguagePolicy};
pub use self::terms::{
    MAX_ROOM_TERMS, MAX_TERM_CHARS, RoomTerm, TermAction, TermsPatch, normal_term,
};
use super::quantity::show_duration;
pub use checks::{
    ChecksPatch, DEFAULT_DEADLINE_MS, LONGEST_DEADLINE_MS, RoomChecks, SHORTEST_DEADLINE_MS,
    UNCHECKED, WhenDown, WhenLate,
};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The longest wait of slow mode.
pub const LONGEST_SLOW_MS: u64 = HOUR_MS;
/// The longest time that a user can be required to follow.
pub const LONGEST_FOLLOWERS_MS: u64 = 90 * DAY_MS;
/// The shortest and the longest time in which a text must be new.
pub const SHORTEST_UNIQUE_MS: u64 = 10 * SECOND_MS;
pub const LONGEST_UNIQUE_MS: u64 = HOUR_MS;
/// The longest message delay.
pub const LONGEST_DELAY_MS: u64 = 30 * SECOND_MS;
/// The timeout that is meant where none is named and the room has no presets.
pub const DEFAULT_TIMEOUT_MS: u64 = 10 * MINUTE_MS;
/// The longest timeout, also of a preset.
const LONGEST_TIMEOUT_MS: u64 = 30 * DAY_MS;
/// The most presets of timeouts.
pub const MAX_TIMEOUT_PRESETS: usize = 6;

/// The least that shield mode asks of every comment. Followers and subscribers are not part of it:
/// a site whose tokens say nothing of them would be silenced.
const SHIELD: RoomRules = RoomRules {
    slow_ms: Some(30 * SECOND_MS),
    followers_ms: None,
    subscribers_only: false,
    emotes_only: false,
    unique_ms: Some(10 * MINUTE_MS),
    no_links: true,
};

/// The rules that the comments of viewers are held to. Moderators and higher roles are exempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RoomRules {
    /// Slow mode: a user waits this long from one comment to the next, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_ms: Option<u64>,
    /// Only users that have followed for this long may comment, in milliseconds; 0 admits every
    /// follower. Subscribers are exempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followers_ms: Option<u64>,
    /// Only subscribers may comment.
    #[serde(skip_serializing_if = "is_false")]
    pub subscribers_only: bool,
    /// A comment has only emoji and emotes written as `:name:`.
    #[serde(skip_serializing_if = "is_false")]
    pub emotes_only: bool,
    /// A text that was said in the room within this time is refused, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_ms: Option<u64>,
    /// A comment has no link, except to hosts that the site allows.
    #[serde(skip_serializing_if = "is_false")]
    pub no_links: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl RoomRules {
    /// Returns whether there is no rule.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Returns rules that are at least as strict as both.
    fn stricter(self, other: Self) -> Self {
        Self {
            slow_ms: self.slow_ms.max(other.slow_ms),
            followers_ms: self.followers_ms.max(other.followers_ms),
            subscribers_only: self.subscribers_only || other.subscribers_only,
            emotes_only: self.emotes_only || other.emotes_only,
            unique_ms: self.unique_ms.max(other.unique_ms),
            no_links: self.no_links || other.no_links,
        }
    }

    /// Names the rules in force, such as `slow mode 30s`. Empty if there is none.
    pub fn texts(&self) -> Vec<String> {
        let Self { slow_ms, followers_ms, subscribers_only, emotes_only, unique_ms, no_links } =
            *self;
        let slow = slow_ms.map(|ms| format!("slow mode {}", show_duration(ms)));
        let followers = followers_ms.map(followers_text);
        let subscribers = subscribers_only.then(|| "subscribers only".to_owned());
        let emotes = emotes_only.then(|| "emotes only".to_owned());
        let unique = unique_ms.map(|ms| format!("no text twice in {}", show_duration(ms)));
        let links = no_links.then(|| "no links".to_owned());
        [slow, followers, subscribers, emotes, unique, links].into_iter().flatten().collect()
    }
}

/// Writes `followers only`, or with the time `followers of 10m only`.
fn followers_text(ms: u64) -> String {
    match ms {
        0 => "followers only".to_owned(),
        ms => format!("followers of {} only", show_duration(ms)),
    }
}

/// The settings of a room, as moderators change them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct RoomSettings {
    pub rules: RoomRules,
    /// Shield mode: at least 30 s of slow mode, no links, and no text twice within 10 minutes.
    #[serde(skip_serializing_if = "is_false")]
    pub shield: bool,
    /// Timeouts that moderators of the room choose from, in milliseconds, the shortest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub timeouts_ms: Vec<u64>,
    #[serde(skip_serializing_if = "RoomChecks::is_default")]
    pub checks: RoomChecks,
    /// The languages of comments; absent if all are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub languages: Option<LanguagePolicy>,
    /// Message delay: viewers are shown comments this much later, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

impl RoomSettings {
    /// Returns the rules that comments are held to: in shield mode, at least its own.
    pub fn in_force(&self) -> RoomRules {
        if self.shield { self.rules.stricter(SHIELD) } else { self.rules }
    }

    /// Returns the settings that everybody may know: the rules in force and the message delay.
    pub fn public(&self) -> Self {
        Self { rules: self.in_force(), delay_ms: self.delay_ms, ..Self::default() }
    }

    /// Returns the timeout that is meant where none is named, in milliseconds: the shortest preset,
    /// or [`DEFAULT_TIMEOUT_MS`].
    pub fn shortest_timeout_ms(&self) -> u64 {
        self.timeouts_ms.first().copied().unwrap_or(DEFAULT_TIMEOUT_MS)
    }

    /// Returns whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Applies a patch.
    pub fn apply(&mut self, patch: RoomPatch) {
        let RoomPatch {
            slow_ms,
            followers_ms,
            subscribers_only,
            emotes_only,
            unique_ms,
            no_links,
            shield,
            timeouts_ms,
            checks,
            languages,
            delay_ms,
        } = patch;
        let rules = &mut self.rules;
        rules.slow_ms = slow_ms.unwrap_or(rules.slow_ms);
        rules.followers_ms = followers_ms.unwrap_or(rules.followers_ms);
        rules.subscribers_only = subscribers_only.unwrap_or(rules.subscribers_only);
        rules.emotes_only = emotes_only.unwrap_or(rules.emotes_only);
        rules.unique_ms = unique_ms.unwrap_or(rules.unique_ms);
        rules.no_links = no_links.unwrap_or(rules.no_links);
        self.shield = shield.unwrap_or(self.shield);
        if let Some(timeouts_ms) = timeouts_ms {
            self.timeouts_ms = timeouts_ms;
        }
        self.checks.apply(checks.unwrap_or_default());
        if let Some(languages) = languages {
            self.languages = languages;
        }
        self.delay_ms = delay_ms.unwrap_or(self.delay_ms);
    }
}

/// `POST /v1/streams/{id}/room`. Absent fields stay unchanged; null ends a rule that has a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(
    feature = "schema",
    schemars(description = "Absent fields stay unchanged; null ends a rule that has a time.")
)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
#[serde(default, deny_unknown_fields)]
pub struct RoomPatch {
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = SECOND_MS, max = LONGEST_SLOW_MS)))]
    pub slow_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = LONGEST_FOLLOWERS_MS)))]
    pub followers_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribers_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emotes_only: Option<bool>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(range(min = SHORTEST_UNIQUE_MS, max = LONGEST_UNIQUE_MS))
    )]
    pub unique_ms: Option<Option<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_links: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shield: Option<bool>,
    /// Replaces all presets. Each is longer than the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TIMEOUT_PRESETS)))]
    #[cfg_attr(
        feature = "schema",
        schemars(inner(range(min = SECOND_MS, max = LONGEST_TIMEOUT_MS)))
    )]
    pub timeouts_ms: Option<Vec<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<ChecksPatch>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub languages: Option<Option<LanguagePolicy>>,
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = SECOND_MS, max = LONGEST_DELAY_MS)))]
    pub delay_ms: Option<Option<u64>>,
}

/// Reads a field that is there, also null, which is a value of its own.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A field of a patch that is out of range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRoomField {
    pub field: &'static str,
    /// Follows the name of the field.
    pub problem: String,
}

impl RoomPatch {
    /// Checks the ranges of all fields.
    ///
    /// # Errors
    /// The first field that is out of range, or `patch` if nothing is to be changed.
    pub fn check(&self) -> Result<(), BadRoomField> {
        if *self == Self::default() {
            let problem = "must name at least one of slow_ms, followers_ms, subscribers_only, \
                           emotes_only, unique_ms, no_links, shield, timeouts_ms, checks, \
                           languages, delay_ms";
            return Err(BadRoomField { field: "patch", problem: problem.to_owned() });
        }
        let Self {
            slow_ms,
            followers_ms,
            subscribers_only: _,
            emotes_only: _,
            unique_ms,
            no_links: _,
            shield: _,
            timeouts_ms,
            checks,
            languages,
            delay_ms,
        } = self;
        within("slow_ms", slow_ms.flatten(), SECOND_MS, LONGEST_SLOW_MS)?;
        within("followers_ms", followers_ms.flatten(), 0, LONGEST_FOLLOWERS_MS)?;
        within("unique_ms", unique_ms.flatten(), SHORTEST_UNIQUE_MS, LONGEST_UNIQUE_MS)?;
        within("delay_ms", delay_ms.flatten(), SECOND_MS, LONGEST_DELAY_MS)?;
        timeouts_ms.as_deref().map_or(Ok(()), check_timeouts)?;
        checks.map_or(Ok(()), |checks| checks.check())?;
        languages.as_ref().and_then(Option::as_ref).map_or(Ok(()), LanguagePolicy::check)
    }

    /// Returns the patch that gives the fields of this one the values that they have in `before`.
    pub fn back_to(&self, before: &RoomSettings) -> Self {
        let rules = before.rules;
        Self {
            slow_ms: self.slow_ms.map(|_| rules.slow_ms),
            followers_ms: self.followers_ms.map(|_| rules.followers_ms),
            subscribers_only: self.subscribers_only.map(|_| rules.subscribers_only),
            emotes_only: self.emotes_only.map(|_| rules.emotes_only),
            unique_ms: self.unique_ms.map(|_| rules.unique_ms),
            no_links: self.no_links.map(|_| rules.no_links),
            shield: self.shield.map(|_| before.shield),
            timeouts_ms: self.timeouts_ms.as_ref().map(|_| before.timeouts_ms.clone()),
            checks: self.checks.map(|checks| checks.back_to(&before.checks)),
            languages: self.languages.as_ref().map(|_| before.languages.clone()),
            delay_ms: self.delay_ms.map(|_| before.delay_ms),
        }
    }

    /// Returns whether both name the same setting.
    pub fn overlaps(&self, other: &Self) -> bool {
        let both_check =
            self.checks.zip(other.checks).is_some_and(|(one, another)| one.overlaps(&another));
        let mut named = self.named().into_iter().zip(other.named());
        both_check || named.any(|(one, another)| one && another)
    }

    /// Returns for each setting whether the patch names it; `checks` has settings of its own.
    fn named(&self) -> [bool; 10] {
        let Self {
            slow_ms,
            followers_ms,
            subscribers_only,
            emotes_only,
            unique_ms,
            no_links,
            shield,
            timeouts_ms,
            checks: _,
            languages,
            delay_ms,
        } = self;
        [
            slow_ms.is_some(),
            followers_ms.is_some(),
            subscribers_only.is_some(),
            emotes_only.is_some(),
            unique_ms.is_some(),
            no_links.is_some(),
            shield.is_some(),
            timeouts_ms.is_some(),
            languages.is_some(),
            delay_ms.is_some(),
        ]
    }

    /// Says what the patch changes, as clauses such as `slow mode is 30s`.
    pub fn texts(&self) -> Vec<String> {
        let Self {
            slow_ms,
            followers_ms,
            subscribers_only,
            emotes_only,
            unique_ms,
            no_links,
            shield,
            timeouts_ms,
            checks,
            languages,
            delay_ms,
        } = self;
        let timed = |what: &str, value: Option<Option<u64>>| {
            value.map(|value| match value {
                Some(ms) => format!("{what} is {}", show_duration(ms)),
                None => format!("{what} is off"),
            })
        };
        let switch = |what: &str, value: Option<bool>| {
            value.map(|on| format!("{what} is {}", if on { "on" } else { "off" }))
        };
        let followers = followers_ms.map(|value| match value {
            Some(ms) => followers_text(ms),
            None => "followers-only is off".to_owned(),
        });
        let timeouts = timeouts_ms.as_ref().map(|presets| match presets.as_slice() {
            [] => "there are no presets of timeouts".to_owned(),
            presets => format!("timeouts are {}", timeouts_text(presets)),
        });
        let links = no_links
            .map(|refused| format!("links are {}", if refused { "refused" } else { "allowed" }));
        let unique = timed("unique-chat", *unique_ms);
        let languages = languages.as_ref().map(|policy| match policy {
            Some(policy) => policy.text(),
            None => "all languages are allowed".to_owned(),
        });
        let clauses = [
            timed("slow mode", *slow_ms),
            followers,
            switch("subscribers-only", *subscribers_only),
            switch("emote-only", *emotes_only),
            unique,
            links,
            switch("shield mode", *shield),
            timeouts,
            languages,
            timed("message delay", *delay_ms),
        ];
        let checks = checks.map(|checks| checks.texts()).unwrap_or_default();
        clauses.into_iter().flatten().chain(checks).collect()
    }
}

/// Writes `1m, 10m, 1h`.
pub fn timeouts_text(timeouts_ms: &[u64]) -> String {
    let shown: Vec<_> = timeouts_ms.iter().map(|ms| show_duration(*ms)).collect();
    shown.join(", ")
}

fn within(field: &'static str, value: Option<u64>, min: u64, max: u64) -> Result<(), BadRoomField> {
    if value.is_none_or(|value| (min..=max).contains(&value)) {
        return Ok(());
    }
    let problem = format!("must be {min} to {max} (milliseconds), or null to end the rule");
    Err(BadRoomField { field, problem })
}

fn check_timeouts(timeouts_ms: &[u64]) -> Result<(), BadRoomField> {
    let in_range = |ms: &u64| (SECOND_MS..=LONGEST_TIMEOUT_MS).contains(ms);
    let grows = timeouts_ms.is_sorted_by(|a, b| a < b);
    if timeouts_ms.len() <= MAX_TIMEOUT_PRESETS && timeouts_ms.iter().all(in_range) && grows {
        return Ok(());
    }
    let problem = format!(
        "must be at most {MAX_TIMEOUT_PRESETS} times of {SECOND_MS} to {LONGEST_TIMEOUT_MS} \
         (milliseconds), each longer than the one before"
    );
    Err(BadRoomField { field: "timeouts_ms", problem })
}

#[cfg(test)]
pub(crate) mod tests;
