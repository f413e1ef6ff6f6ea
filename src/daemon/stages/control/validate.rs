//! Limits of texts, times and ids in requests.

use super::ControlError;

/// The most characters of a reason, a direct message or an announcement.
const MAX_TEXT_CHARS: usize = 500;
/// The most characters of a stream's title.
const MAX_TITLE_CHARS: usize = 200;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
/// The longest timeout.
pub(super) const LONGEST_TIMEOUT_MS: u64 = 30 * DAY_MS;
/// The longest temporary ban, and the longest lifetime of a token: ten years.
pub(super) const LONGEST_MS: u64 = 3_650 * DAY_MS;

/// Checks a text of 1 to 500 characters without control characters, and trims it.
pub(super) fn text(field: &'static str, value: &str) -> Result<String, ControlError> {
    sized_text(field, value, 1, MAX_TEXT_CHARS)
}

/// Checks a reason, if there is one.
pub(super) fn reason(value: Option<&str>) -> Result<Option<String>, ControlError> {
    value.map(|value| text("reason", value)).transpose()
}

/// Checks a title, which may be empty.
pub(super) fn title(value: &str) -> Result<String, ControlError> {
    sized_text("title", value, 0, MAX_TITLE_CHARS)
}

pub(super) fn sized_text(
    field: &'static str,
    value: &str,
    min_chars: usize,
    max_chars: usize,
) -> Result<String, ControlError> {
    let value = value.trim();
    if let Some(control) = value.chars().find(|c| c.is_control()) {
        let problem = format!("must not contain control characters, but has {control:?}");
        return Err(ControlError::Invalid { field, problem });
    }
    let chars = value.chars().count();
    if !(min_chars..=max_chars).contains(&chars) {
        let problem = format!("must have {min_chars} to {max_chars} characters, not {chars}");
        return Err(ControlError::Invalid { field, problem });
    }
    Ok(value.to_owned())
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
    let problem = format!("must be 1 second to {} days, not {value_ms} ms", longest_ms / DAY_MS);
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
        assert_eq!(text("message", " hé ").unwrap(), "hé");
        assert_eq!(text("message", &"é".repeat(500)).unwrap().chars().count(), 500);
        for wrong in [String::new(), "  ".to_owned(), "é".repeat(501), "a\u{7}b".to_owned()] {
            let error = text("message", &wrong).unwrap_err().to_string();
            assert!(error.starts_with("`message` must"), "{error}");
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
    }

    proptest! {
        #[test]
        fn an_accepted_text_is_within_all_limits(value: String) {
            if let Ok(text) = text("reason", &value) {
                prop_assert!((1..=500).contains(&text.chars().count()));
                prop_assert!(!text.chars().any(char::is_control));
            }
        }
    }
}
