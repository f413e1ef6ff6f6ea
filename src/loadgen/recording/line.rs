//! The lines of a recording, as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::UserId;
use crate::protocol::admin::RulesInForce;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::json;
use crate::protocol::printable::printable_json;
use crate::protocol::throttle::SampleRate;

/// The version that this program writes. It reads this one and all before it.
pub const RECORDING_VERSION: u32 = 1;

/// One line of a recording.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordedEvent {
    Header(RecordingHeader),
    Comment(RecordedComment),
    Deletion(RecordedDeletion),
    Throttle(RecordedThrottle),
}

/// The first line. Recordings of earlier versions do not have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingHeader {
    /// The version of the format.
    #[serde(rename = "recording")]
    pub version: u32,
    /// The recorded stream or daemon, such as `stream 7`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The time at which `ts_ms` is 0, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<u64>,
    /// The rules by which the recorded daemon decided what viewers saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<RulesInForce>,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedComment {
    /// Milliseconds since the recording began.
    pub ts_ms: u64,
    /// Names the comment where a deletion may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Arc<str>>,
    /// The sender's name.
    pub user: Arc<str>,
    /// The sender's id where it is known. Two senders may have one name, and one sender several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The sender's id on another platform, with the platform in front: `youtube:UCx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_key: Option<Arc<str>>,
    pub text: Arc<str>,
    /// The action of moderation, such as `timeout` or `ban`.
    #[serde(default, rename = "mod", skip_serializing_if = "Option::is_none")]
    pub moderation: Option<String>,
    /// Duration of the action in seconds, where it has one.
    #[serde(default, rename = "mod_s", skip_serializing_if = "Option::is_none")]
    pub moderation_s: Option<u64>,
}

/// The deletion of a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedDeletion {
    pub ts_ms: u64,
    /// The `id` of the comment, which may be older than the recording.
    #[serde(rename = "deleted")]
    pub id: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A change of the share of comments that viewers are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedThrottle {
    pub ts_ms: u64,
    #[serde(rename = "throttle")]
    pub sample_rate: SampleRate,
    /// An operator fixed the rate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed: bool,
}

/// Distinguishes the senders of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordedSender {
    Id(UserId),
    Key(Arc<str>),
    /// The recording does not have the sender's id.
    Name(Arc<str>),
}

impl RecordedComment {
    pub fn sender(&self) -> RecordedSender {
        match (self.user_id, &self.user_key) {
            (Some(id), _) => RecordedSender::Id(id),
            (None, Some(key)) => RecordedSender::Key(key.clone()),
            (None, None) => RecordedSender::Name(self.user.clone()),
        }
    }
}

/// The fields of all kinds of lines.
#[derive(Debug, Deserialize)]
struct Fields {
    recording: Option<u32>,
    #[serde(default)]
    source: String,
    started_at_ms: Option<u64>,
    rules: Option<RulesInForce>,
    ts_ms: Option<u64>,
    id: Option<Arc<str>>,
    user: Option<Arc<str>>,
    user_id: Option<UserId>,
    user_key: Option<Arc<str>>,
    text: Option<Arc<str>>,
    #[serde(rename = "mod")]
    moderation: Option<String>,
    #[serde(rename = "mod_s")]
    moderation_s: Option<u64>,
    deleted: Option<Arc<str>>,
    reason: Option<String>,
    throttle: Option<SampleRate>,
    #[serde(default)]
    fixed: bool,
}

impl RecordedEvent {
    /// Parses a line. The error says what is wrong with it.
    ///
    /// # Errors
    /// The line is none, or of a newer version.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let fields: Fields = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        // Larger numbers cannot be written again.
        let safe = |number: u64| number.min(MAX_SAFE_INTEGER);
        let missing = |field: &str| format!("missing field `{field}`");
        if let Some(version) = fields.recording {
            if version > RECORDING_VERSION {
                return Err(format!(
                    "version {version} of the format is newer than this program, which reads \
                     {RECORDING_VERSION}"
                ));
            }
            let Fields { source, started_at_ms, rules, .. } = fields;
            let started_at_ms = started_at_ms.map(safe);
            let rules = rules.map(|rules| RulesInForce {
                step_down_after_ms: safe(rules.step_down_after_ms),
                egress_bytes_per_second: safe(rules.egress_bytes_per_second),
                ..rules
            });
            return Ok(Self::Header(RecordingHeader { version, source, started_at_ms, rules }));
        }
        let ts_ms = safe(fields.ts_ms.ok_or_else(|| missing("ts_ms"))?);
        if let Some(id) = fields.deleted {
            return Ok(Self::Deletion(RecordedDeletion { ts_ms, id, reason: fields.reason }));
        }
        if let Some(sample_rate) = fields.throttle {
            let fixed = fields.fixed;
            return Ok(Self::Throttle(RecordedThrottle { ts_ms, sample_rate, fixed }));
        }
        Ok(Self::Comment(RecordedComment {
            ts_ms,
            id: fields.id,
            user: fields.user.ok_or_else(|| missing("user"))?,
            user_id: fields.user_id,
            user_key: fields.user_key,
            text: fields.text.ok_or_else(|| missing("text"))?,
            moderation: fields.moderation,
            moderation_s: fields.moderation_s.map(safe),
        }))
    }

    /// Returns the line, with its end. Text of others in it cannot control a terminal.
    pub fn to_line(&self) -> Vec<u8> {
        let json = match self {
            Self::Header(header) => json::to_string(header),
            Self::Comment(comment) => json::to_string(comment),
            Self::Deletion(deletion) => json::to_string(deletion),
            Self::Throttle(throttle) => json::to_string(throttle),
        };
        let json = json.expect("a line has string keys only, and memory does not fail");
        let mut line = printable_json(&json).into_bytes();
        line.push(b'\n');
        line
    }

    /// Returns the time of the event; the header has none.
    pub fn ts_ms(&self) -> Option<u64> {
        match self {
            Self::Header(_) => None,
            Self::Comment(comment) => Some(comment.ts_ms),
            Self::Deletion(deletion) => Some(deletion.ts_ms),
            Self::Throttle(throttle) => Some(throttle.ts_ms),
        }
    }

    /// Sets the time of an event that has one.
    pub fn set_time(&mut self, ts_ms: u64) {
        match self {
            Self::Header(_) => {}
            Self::Comment(comment) => comment.ts_ms = ts_ms,
            Self::Deletion(deletion) => deletion.ts_ms = ts_ms,
            Self::Throttle(throttle) => throttle.ts_ms = ts_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_line_is_read() {
        for line in [
            r#"{"recording":1,"source":"stream 7","started_at_ms":1700000000000}"#,
            concat!(
                r#"{"recording":1,"rules":{"throttle":[{"from_per_second":0.0,"sample_rate":1.0}],"#,
                r#""hysteresis":0.8,"step_down_after_ms":5000,"egress_bytes_per_second":0}}"#
            ),
            r#"{"ts_ms":0,"user":"ann","text":"hi"}"#,
            r#"{"ts_ms":5,"id":"c1","user":"ann","user_id":"42","text":"x","mod":"ban","mod_s":3}"#,
            r#"{"ts_ms":5,"user":"ann","user_key":"youtube:UCx","text":"hi"}"#,
            r#"{"ts_ms":9,"deleted":"c1","reason":"toxicity"}"#,
            r#"{"ts_ms":9,"throttle":0.25}"#,
            r#"{"ts_ms":9,"throttle":0.05,"fixed":true}"#,
        ] {
            let event = RecordedEvent::parse(line.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(event.to_line()).unwrap().trim_end(), line);
        }
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (line, problem) in [
            (r#"{"ts_ms":0,"user":"ann"}"#, "missing field `text`"),
            (r#"{"user":"ann","text":"hi"}"#, "missing field `ts_ms`"),
            (r#"{"ts_ms":1,"throttle":1.5}"#, "not a share"),
            (r#"{"recording":2}"#, "newer than this program"),
            ("[", "EOF"),
        ] {
            let error = RecordedEvent::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_comment_survives(
            ts_ms in 0..1_u64 << 53,
            user: String,
            text: String,
            id in proptest::option::of(any::<String>()),
            key in proptest::option::of(any::<String>()),
        ) {
            let event = RecordedEvent::Comment(RecordedComment {
                ts_ms,
                id: id.map(Into::into),
                user: user.into(),
                user_id: None,
                user_key: key.map(Into::into),
                text: text.into(),
                moderation: None,
                moderation_s: None,
            });
            let line = event.to_line();
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(RecordedEvent::parse(&line), Ok(event));
        }
    }
}
