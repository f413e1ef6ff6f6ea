//! Checks the text of a comment before it is stored.

use std::sync::Arc;

use crate::daemon::base::config::IngestConfig;
use crate::protocol::ErrorCode;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::text::{self, TextError};

/// A reason why a comment is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidComment {
    #[error("the comment {0}")]
    Text(#[from] TextError),
    #[error("the comment has {bytes} bytes; at most {max} are allowed")]
    TooManyBytes { bytes: usize, max: usize },
}

impl InvalidComment {
    pub fn body(&self) -> ErrorBody {
        let code = match self {
            Self::Text(TextError::Empty) => ErrorCode::CommentEmpty,
            Self::Text(TextError::TooLong { .. }) | Self::TooManyBytes { .. } => {
                ErrorCode::CommentTooLong
            }
            Self::Text(TextError::ControlCharacter { .. }) => ErrorCode::ControlCharacters,
        };
        ErrorBody::new(code, self.to_string())
    }
}

/// Returns the comment as it is stored: in the normal form of [`text`], within the limits.
pub fn validate(message: &str, config: &IngestConfig) -> Result<Arc<str>, InvalidComment> {
    let normal = text::visible(text::normalize(message)?)?;
    if normal.len() > config.max_comment_bytes {
        let bytes = normal.len();
        let max = config.max_comment_bytes;
        return Err(InvalidComment::TooManyBytes { bytes, max });
    }
    Ok(text::within(normal, config.max_comment_chars)?.into())
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
            ("\u{FFFA}", ErrorCode::CommentEmpty),
            ("\u{301}", ErrorCode::CommentEmpty),
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
        assert_eq!(check("abc\u{202E}def").as_deref(), Ok("abcdef"));
        assert_eq!(check("\u{2068}pasted\u{2069} by a phone").as_deref(), Ok("pasted by a phone"));
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
