//! Answers of the service.

use serde::Deserialize;

use super::failure::Failure;
use crate::protocol::admin::{AUTHOR_BANNED, EXPIRED, REOPENED, STREAM_NOT_LIVE};
use crate::protocol::events::Decision;
use crate::protocol::room::UNCHECKED;

/// The most characters of a reason.
const MAX_REASON_CHARS: usize = 32;
/// Reasons that tell what the daemon itself does with held comments.
const RESERVED: [&str; 5] = [UNCHECKED, EXPIRED, REOPENED, AUTHOR_BANNED, STREAM_NOT_LIVE];

/// The service's decision about a comment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) decision: Decision,
    /// A word of lower-case letters, digits and underscores, and no reserved one.
    pub(super) reason: Option<String>,
    /// 0 to 1.
    pub(super) score: Option<f32>,
}

/// The JSON form. Fields that later versions may have are ignored.
#[derive(Deserialize)]
struct AnswerBody {
    decision: Decision,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    score: Option<f32>,
}

impl Answer {
    /// Reads the body of an answer. The error does not quote it, because it may repeat the text of
    /// the comment.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Failure> {
        let body: AnswerBody = serde_json::from_slice(body).map_err(|error| {
            let problem = if error.is_data() {
                "it has no known `decision`, or a field of another type"
            } else {
                "it is no JSON"
            };
            Failure::BadAnswer(problem)
        })?;
        let AnswerBody { decision, reason, score } = body;
        if !reason.as_deref().is_none_or(is_word) {
            let problem = "its `reason` is no word of at most 32 of a-z, 0-9 and _";
            return Err(Failure::BadAnswer(problem));
        }
        if reason.as_deref().is_some_and(|reason| RESERVED.contains(&reason)) {
            return Err(Failure::ReservedReason(&RESERVED));
        }
        if !score.is_none_or(|score| (0.0..=1.0).contains(&score)) {
            return Err(Failure::BadAnswer("its `score` is no number of 0 to 1"));
        }
        Ok(Self { decision, reason, score })
    }
}

fn is_word(reason: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=MAX_REASON_CHARS).contains(&reason.len()) && reason.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_documented_form_are_read() {
        let expected = |decision, reason: Option<&str>, score| Answer {
            decision,
            reason: reason.map(str::to_owned),
            score,
        };
        for (body, answer) in [
            (r#"{"decision":"accept"}"#, expected(Decision::Accept, None, None)),
            (
                r#"{"decision":"flag","reason":"rude_2","score":0.5}"#,
                expected(Decision::Flag, Some("rude_2"), Some(0.5)),
            ),
            (
                r#"{"decision":"shadow_ban","score":1,"later":[]}"#,
                expected(Decision::ShadowBan, None, Some(1.0)),
            ),
            (r#" {"decision":"reject","reason":null} "#, expected(Decision::Reject, None, None)),
        ] {
            assert_eq!(Answer::decode(body.as_bytes()).unwrap(), answer, "{body}");
        }
    }

    #[test]
    fn other_answers_are_failures_that_quote_nothing() {
        let long = format!(r#"{{"decision":"flag","reason":"{}"}}"#, "a".repeat(33));
        for body in [
            "",
            "secret words",
            "[]",
            "null",
            r#"{"decision":"secret"}"#,
            r#"{"decision":7}"#,
            r#"{"decision":"Accept"}"#,
            r#"{"reason":"secret"}"#,
            r#"{"decision":"flag","reason":"secret words"}"#,
            r#"{"decision":"flag","reason":""}"#,
            r#"{"decision":"flag","score":"secret"}"#,
            r#"{"decision":"flag","score":1.01}"#,
            r#"{"decision":"flag","score":-0.1}"#,
            r#"{"decision":"flag","score":1e99}"#,
            r#"{"decision":"flag"} secret"#,
            r#"{"decision":"flag","decision":"accept"}"#,
            &long,
        ] {
            let failure = Answer::decode(body.as_bytes()).unwrap_err();
            assert_eq!(failure.reason(), "bad_answer", "{body}");
            assert!(!failure.to_string().contains("secret"), "{body}: {failure}");
        }
        assert!(Answer::decode(&[b'{', 0xff]).is_err());
    }

    #[test]
    fn words_of_the_daemon_are_no_reasons() {
        for word in RESERVED {
            let body = format!(r#"{{"decision":"flag","reason":"{word}"}}"#);
            let failure = Answer::decode(body.as_bytes()).unwrap_err();
            assert_eq!(failure.reason(), "bad_answer", "{word}");
            let text = failure.to_string();
            assert!(RESERVED.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}
