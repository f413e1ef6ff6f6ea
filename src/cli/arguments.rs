//! Parsers of command line values. Each error message shows a valid value.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use crate::protocol::Role;
use crate::protocol::admin::AdminRole;
use crate::protocol::paths::expand_home;
use crate::protocol::quantity::{parse_count, parse_duration, parse_share, show_duration};
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::throttle::SampleRate;

/// A fixed share of comments, or `auto`, which leaves the share to the throttle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RateSetting {
    Auto,
    Fixed(SampleRate),
}

impl RateSetting {
    /// The fixed rate; `None` for `auto`.
    pub(super) fn sample_rate(self) -> Option<SampleRate> {
        match self {
            Self::Auto => None,
            Self::Fixed(rate) => Some(rate),
        }
    }
}

pub(super) fn rate_setting(text: &str) -> Result<RateSetting, String> {
    if text.trim().eq_ignore_ascii_case("auto") {
        return Ok(RateSetting::Auto);
    }
    parse_share(text).map(RateSetting::Fixed).map_err(|error| format!("{error}; or auto"))
}

/// Reads one of `all` by its word.
pub(super) fn one_of<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    word: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(move |value| word(*value))).try_map(move |text| {
        all.iter().copied().find(|value| word(*value) == text).ok_or("is not one of them")
    })
}

pub(super) fn non_zero_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0s; write 30s, 10m or 7d".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses the time between two snapshots.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = non_zero_duration(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&interval) {
        Ok(interval)
    } else {
        Err("must be between 100ms and 1m".to_owned())
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// The daemon's limits of a fixed share, of a timeout, and of a temporary ban or a token.
pub(super) const LONGEST_THROTTLE: Duration = Duration::from_secs(30 * 86_400);
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_secs(30 * 86_400);
pub(super) const LONGEST_BAN: Duration = Duration::from_secs(3_650 * 86_400);

/// Parses a duration from 1 second to `longest`.
pub(super) fn duration_up_to(
    longest: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    duration_between(Duration::from_secs(1), longest)
}

/// Parses a duration from `shortest` to `longest`, which is a number of days.
pub(super) fn duration_between(
    shortest: Duration,
    longest: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| {
        let duration = parse_duration(text)?;
        if (shortest..=longest).contains(&duration) {
            return Ok(duration);
        }
        let least = show_duration(to_ms(shortest));
        let days = longest.as_secs() / DAY.as_secs();
        let given = show_duration(to_ms(duration));
        Err(format!("must be {least} to {days}d, not {given}; write 30s, 10m or 7d"))
    }
}

/// Parses a count in a range; counts may be written 10k or 1M.
pub(crate) fn count_in(
    range: std::ops::RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<u64, String> + Clone + Send + Sync {
    move |text| match parse_count(text)? {
        count if range.contains(&count) => Ok(count),
        _ => Err(format!("must be {} to {}", range.start(), range.end())),
    }
}

/// Parses a count that the protocol holds in 32 bits.
pub(super) fn small_count_in(
    range: std::ops::RangeInclusive<u32>,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync {
    let wide = count_in(u64::from(*range.start())..=u64::from(*range.end()));
    move |text| wide(text).and_then(|count| u32::try_from(count).map_err(|e| e.to_string()))
}

pub(super) fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Parses a path, in which a leading `~` is the home directory: shells replace it only where it
/// begins a word.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match text {
        "" => Err("an empty path names nothing".to_owned()),
        text => expand_home(Path::new(text), home),
    }
}

pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| text.parse::<Role>())
}

pub(super) fn admin_role() -> impl TypedValueParser<Value = AdminRole> {
    PossibleValuesParser::new(AdminRole::ALL.map(AdminRole::as_str))
        .try_map(|text| text.parse::<AdminRole>())
}

pub(super) fn stream_state() -> impl TypedValueParser<Value = StreamState> {
    PossibleValuesParser::new(["scheduled", "live", "ended"]).try_map(|text| from_name(&text))
}

pub(super) fn moderation() -> impl TypedValueParser<Value = ModerationMode> {
    PossibleValuesParser::new(["async", "sync", "off"]).try_map(|text| from_name(&text))
}

/// Returns the enum value with this name in the protocol.
fn from_name<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(StrDeserializer::new(text))
}

/// Returns the name of an enum value in the protocol.
pub(super) fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "?".to_owned(),
    }
}
