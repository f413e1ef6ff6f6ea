//! Parsers of command line values. Each error message shows a valid value.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use crate::protocol::Role;
use crate::protocol::quantity::{parse_duration, parse_share};
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

pub(super) fn non_zero_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0s; write 30s, 10m or 7d".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn to_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| text.parse::<Role>())
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
