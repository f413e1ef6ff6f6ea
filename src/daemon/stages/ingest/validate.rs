//! Checks the text of a comment before it is stored.

use std::sync::Arc;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use crate::daemon::base::config::IngestConfig;
use crate::protocol::ErrorCode;
use crate::protocol::error_code::ErrorBody;

/// A reason why a comment is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidComment {
    #[error("the comment has no visible character")]
    Empty,
    #[error("the comment has {chars} characters; at most {max} are allowed")]
    TooManyChars { chars: usize, max: usize },
    #[error("the comment has {bytes} bytes; at most {max} are allowed")]
    TooManyBytes { bytes: usize, max: usize },
    #[error("the comment contains the control character U+{code:04X}; write it without")]
    ControlCharacter { code: u32 },
}

impl InvalidComment {
    pub fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Empty => ErrorCode::CommentEmpty,
            Self::TooManyChars { .. } | Self::TooManyBytes { .. } => ErrorCode::CommentTooLong,
            Self::ControlCharacter { .. } => ErrorCode::ControlCharacters,
        };
        ErrorBody::new(code, self.to_string())
    }
}

/// Returns the comment as it is stored: trimmed, in NFC.
pub fn validate(message: &str, config: &IngestConfig) -> Result<Arc<str>, InvalidComment> {
    let message = message.trim();
    if let Some(control) = message.chars().find(|c| is_forbidden_control(*c)) {
        return Err(InvalidComment::ControlCharacter { code: control.into() });
    }
    if !message.chars().any(is_visible) {
        return Err(InvalidComment::Empty);
    }
    let normal: Arc<str> = match is_nfc_quick(message.chars()) {
        IsNormalized::Yes => message.into(),
        _ => message.nfc().collect::<String>().into(),
    };
    if normal.len() > config.max_comment_bytes {
        let (bytes, max) = (normal.len(), config.max_comment_bytes);
        return Err(InvalidComment::TooManyBytes { bytes, max });
    }
    let chars = normal.chars().count();
    if chars > config.max_comment_chars {
        return Err(InvalidComment::TooManyChars { chars, max: config.max_comment_chars });
    }
    Ok(normal)
}

/// Matches C0, DEL and C1 controls, and the bidirectional overrides that can reverse other text.
fn is_forbidden_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Matches characters that draw something: neither white space nor invisible.
fn is_visible(c: char) -> bool {
    let draws_nothing = matches!(
        c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{206F}'
            | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
            | '\u{E0000}'..='\u{E0FFF}'
    );
    !c.is_whitespace() && !draws_nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(message: &str) -> Result<String, ErrorCode> {
        validate(message, &IngestConfig::default())
            .map(|text| text.to_string())
            .map_err(|error| error.body().code)
    }

    #[test]
    fn refusals_name_their_reason() {
        for (message, code) in [
            ("", ErrorCode::CommentEmpty),
            ("   \u{200B}\u{FEFF} ", ErrorCode::CommentEmpty),
            ("\u{3164}", ErrorCode::CommentEmpty),
            ("a\u{0}b", ErrorCode::ControlCharacters),
            ("a\nb", ErrorCode::ControlCharacters),
            ("a\u{9B}b", ErrorCode::ControlCharacters),
            ("abc\u{202E}def", ErrorCode::ControlCharacters),
            (&"x".repeat(501), ErrorCode::CommentTooLong),
            (&"😀".repeat(501), ErrorCode::CommentTooLong),
        ] {
            assert_eq!(check(message), Err(code), "{message:?}");
        }
    }

    #[test]
    fn text_is_trimmed_and_composed() {
        assert_eq!(check("  cafe\u{301} ").as_deref(), Ok("caf\u{e9}"));
        assert_eq!(check("👩‍👩‍👧 family").as_deref(), Ok("👩‍👩‍👧 family"));
        assert_eq!(check(&"x".repeat(500)).map(|text| text.len()), Ok(500));
    }

    proptest! {
        #[test]
        fn accepted_text_is_accepted_again_unchanged(message in "\\PC{0,80}") {
            if let Ok(text) = check(&message) {
                prop_assert_eq!(check(&text), Ok(text.clone()));
            }
        }
    }
}
