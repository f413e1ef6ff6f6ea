//! How values on the command line are read. Every message says what would be right.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use crate::protocol::Role;
use crate::protocol::quantity::{parse_duration, parse_share};
use crate::protocol::stream::{ModerationMode, StreamState};
use crate::protocol::throttle::SampleRate;

/// A share of comments, or the throttle's own decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rate {
    Auto,
    Fixed(SampleRate),
}

impl Rate {
    pub(super) fn fixed(self) -> Option<SampleRate> {
        match self {
            Self::Auto => None,
            Self::Fixed(rate) => Some(rate),
        }
    }
}

pub(super) fn rate(text: &str) -> Result<Rate, String> {
    if text.trim().eq_ignore_ascii_case("auto") {
        return Ok(Rate::Auto);
    }
    parse_share(text).map(Rate::Fixed).map_err(|error| format!("{error}; or auto"))
}

/// A time span that is not zero.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than nothing; write 30s, 10m or 7d".to_owned()),
        span => Ok(span),
    }
}

pub(super) fn span_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|text| text.parse::<Role>())
}

pub(super) fn stream_state() -> impl TypedValueParser<Value = StreamState> {
    PossibleValuesParser::new(["scheduled", "live", "ended"]).try_map(|text| named(&text))
}

pub(super) fn moderation() -> impl TypedValueParser<Value = ModerationMode> {
    PossibleValuesParser::new(["async", "sync", "off"]).try_map(|text| named(&text))
}

/// The value of an enum by the name the protocol gives it.
fn named<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    T::deserialize(StrDeserializer::new(text))
}

/// The name the protocol gives a value of an enum.
pub(super) fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "?".to_owned(),
    }
}
