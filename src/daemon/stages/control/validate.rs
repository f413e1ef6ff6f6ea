//! Limits of texts, times and ids in requests.

use std::borrow::Cow;

use super::ControlError;
use crate::protocol::admin::{MAX_VIEW_BYTES, MAX_VIEW_NAME, ViewSettings};
use crate::protocol::json;
use crate::protocol::printable::printable;
use crate::protocol::quantity::counted;
use crate::protocol::stream::StreamState;
use crate::protocol::text::{self, TextError};

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
/// The longest timeout.
pub(super) const LONGEST_TIMEOUT_MS: u64 = 30 * DAY_MS;
/// The longest time for which a share is fixed.
pub(super) const LONGEST_THROTTLE_MS: u64 = 30 * DAY_MS;
/// The longest temporary ban, and the longest lifetime of a token: ten years.
pub(super) const LONGEST_MS: u64 = 3_650 * DAY_MS;

/// Returns the normal form of a reason, note, announcement or direct message.
pub(super) fn note(field: &'static str, value: &str) -> Result<String, ControlError> {
    checked(field, text::note(value))
}

/// Checks a reason, if there is one.
pub(super) fn reason(value: Option<&str>) -> Result<Option<String>, ControlError> {
    value.map(|value| note("reason", value)).transpose()
}

/// Checks a note for operators, if there is one.
pub(super) fn operator_note(value: Option<&str>) -> Result<(), ControlError> {
    value.map(|value| note("note", value)).transpose().map(drop)
}

/// Checks the reason of a deletion, which programs of viewers may show in their own words: one word
/// of at most 32 characters.
pub(super) fn public_word(value: Option<&str>) -> Result<Option<&str>, ControlError> {
    let is_word = |word: &&str| {
        (1..=32).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    match value.map(str::trim) {
        Some(text) if !is_word(&text) => {
            let problem = "is shown to viewers and must be one word of a-z, 0-9 and _, such as spam \
                           or off_topic; text for operators goes into `note`";
            Err(ControlError::Invalid { field: "reason", problem: problem.to_owned() })
        }
        word => Ok(word),
    }
}

/// Returns the normal form of a line of at most so many characters, with something to see.
pub(super) fn line(
    field: &'static str,
    value: &str,
    max_chars: usize,
) -> Result<String, ControlError> {
    let normal = text::normalize_label(value).and_then(text::visible);
    checked(field, normal.and_then(|line| text::within(line, max_chars)))
}

/// Returns the normal form of a title, which may be empty.
pub(super) fn title(value: &str) -> Result<String, ControlError> {
    checked("title", text::title(value))
}

/// Returns the normal form of a description, which may be empty.
pub(super) fn description(value: &str) -> Result<String, ControlError> {
    checked("description", text::description(value))
}

/// The furthest start of a stream: ten years from now.
const FURTHEST_START_MS: u64 = 3_650 * DAY_MS;

/// Checks the start time that a request gives a stream which will be in this state.
pub(super) fn start(
    starts_at: Option<u64>,
    state: StreamState,
    now_ms: u64,
) -> Result<(), ControlError> {
    let problem = match starts_at {
        None => return Ok(()),
        Some(_) if state != StreamState::Scheduled => {
            "is only for a scheduled stream: give the state scheduled, too".to_owned()
        }
        Some(at) if at <= now_ms => {
            format!("must lie in the future: it is {now_ms} (milliseconds since 1970) now")
        }
        Some(at) if at - now_ms > FURTHEST_START_MS => "must lie within ten years".to_owned(),
        Some(_) => return Ok(()),
    };
    Err(ControlError::Invalid { field: "starts_at", problem })
}

/// Returns the normal form of the name of a view.
pub(super) fn view_name(value: &str) -> Result<String, ControlError> {
    let name = title(value).unwrap_or_default();
    let is_word = !name.is_empty()
        && !name.starts_with('@')
        && !name.chars().any(char::is_whitespace)
        && name.chars().count() <= MAX_VIEW_NAME
        && printable(&name) == name;
    if is_word {
        return Ok(name);
    }
    let problem = format!(
        "must be 1 to {MAX_VIEW_NAME} printable characters without spaces, and without `@` in front"
    );
    Err(ControlError::Invalid { field: "name", problem })
}

/// Checks the size of the settings of a view.
pub(super) fn view_settings(settings: &ViewSettings) -> Result<(), ControlError> {
    let bytes = json::to_vec(settings).map_or(usize::MAX, |json| json.len());
    if bytes <= MAX_VIEW_BYTES {
        return Ok(());
    }
    let problem = format!("take {bytes} bytes as JSON, of at most {MAX_VIEW_BYTES}");
    Err(ControlError::Invalid { field: "settings", problem })
}

fn checked(
    field: &'static str,
    normal: Result<Cow<'_, str>, TextError>,
) -> Result<String, ControlError> {
    let invalid = |error: TextError| ControlError::Invalid { field, problem: error.to_string() };
    Ok(normal.map_err(invalid)?.into_owned())
}

/// Checks a time of one second to `longest_ms`.
pub(super) fn lifetime_ms(
    field: &'static str,
    value_ms: u64,
    longest_ms: u64,
) -> Result<u64, ControlError> {
    if (SECOND_MS..=longest_ms).contains(&value_ms) {
        return Ok(value_ms);
    }
    let longest = counted(longest_ms / DAY_MS, "day");
    let problem = format!("must be 1 second to {longest}, not {value_ms} ms");
    Err(ControlError::Invalid { field, problem })
}

/// Checks that every store can hold an id. Parsing ids from text checks this, decoding JSON does
/// not.
pub(super) fn id(field: &'static str, value: u64) -> Result<(), ControlError> {
    if (1..=i64::MAX as u64).contains(&value) {
        return Ok(());
    }
    let problem = format!("must be 1 to {}, not {value}", i64::MAX);
    Err(ControlError::Invalid { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_measured_in_characters_and_trimmed() {
        assert_eq!(note("message", " hé ").unwrap(), "hé");
        assert_eq!(note("message", &"é".repeat(500)).unwrap().chars().count(), 500);
        let blank = "\u{200B}\u{3164}".to_owned();
        for wrong in [String::new(), "  ".to_owned(), blank, "é".repeat(501), "a\u{7}b".to_owned()]
        {
            let error = note("message", &wrong).unwrap_err().to_string();
            assert!(error.starts_with("`message` "), "{error}");
        }
        assert_eq!(title("").unwrap(), "");
        assert_eq!(reason(None).unwrap(), None);
    }

    #[test]
    fn times_end_at_their_bounds() {
        let check = |ms| lifetime_ms("duration_ms", ms, LONGEST_TIMEOUT_MS);
        assert!(check(999).is_err() && check(1_000).is_ok());
        assert!(check(30 * DAY_MS).is_ok());
        let error = check(30 * DAY_MS + 1).unwrap_err().to_string();
        assert!(error.contains("1 second to 30 days"), "{error}");
        let error = lifetime_ms("last_ms", DAY_MS + 1, DAY_MS).unwrap_err().to_string();
        assert!(error.contains("1 second to 1 day,"), "{error}");
    }

    proptest! {
        #[test]
        fn an_accepted_text_is_within_all_limits(value: String) {
            if let Ok(text) = note("reason", &value) {
                prop_assert!((1..=500).contains(&text.chars().count()));
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
