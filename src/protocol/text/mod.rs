//! Text that a person enters: one normal form and one rule of visibility for names, titles,
//! reasons, notes, announcements, direct messages and comments.
//!
//! In: a text as it was sent. Out: the text as it is checked, stored and shown, or the reason why
//! it is refused. Each way into the daemon calls this once; so does each look-up by name.
//!
//! Always holds: the normal form is in NFC, begins and ends with something visible, has no control
//! character, and normalizing it again changes nothing. Which characters are invisible is read from
//! the tables of Unicode (`Default_Ignorable_Code_Point`, `General_Category`, `White_Space`), not
//! listed here. Invisible characters stay where they change what a reader sees: joiners inside
//! emoji and inside words of scripts that need them, variation selectors, the tags of flags, and
//! balanced isolates in text with right-to-left letters. All others are removed.

mod alike;
mod class;
mod emotes;
mod normal;

use std::borrow::Cow;

pub use alike::{alike_hash, alike_key};
pub use class::{changes_direction, is_visible};
pub use emotes::is_emotes_only;

use class::Class;

/// The most characters (Unicode scalar values) of a name.
pub const MAX_NAME_CHARS: usize = 64;
/// The most characters of a title.
pub const MAX_TITLE_CHARS: usize = 200;
/// The most characters of a description.
pub const MAX_DESCRIPTION_CHARS: usize = 2_000;
/// The most characters of a reason, note, announcement or direct message.
pub const MAX_NOTE_CHARS: usize = 500;

/// A reason why a text is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("has no visible character")]
    Empty,
    #[error("has {chars} characters; at most {max} are allowed")]
    TooLong { chars: usize, max: usize },
    #[error("contains the control character U+{code:04X}; write it without")]
    ControlCharacter { code: u32 },
}

/// Returns a text of several words in its normal form: spaces inside it stay as they are. The
/// result is empty if nothing is visible.
pub fn normalize(text: &str) -> Result<Cow<'_, str>, TextError> {
    normal::normalize(text, normal::Form::Message)
}

/// Returns a name or a title in its normal form: as [`normalize`], with one space between words and
/// without marks of direction, so that labels that look alike are alike. The result is empty if
/// nothing is visible.
pub fn normalize_label(text: &str) -> Result<Cow<'_, str>, TextError> {
    normal::normalize(text, normal::Form::Label)
}

/// Returns the normal form of a user's name: 1 to 64 characters, one of them visible.
pub fn name(text: &str) -> Result<Cow<'_, str>, TextError> {
    within(visible(normalize_label(text)?)?, MAX_NAME_CHARS)
}

/// Returns the normal form of a stream's title: up to 200 characters. It may be empty.
pub fn title(text: &str) -> Result<Cow<'_, str>, TextError> {
    within(normalize_label(text)?, MAX_TITLE_CHARS)
}

/// Returns the normal form of a stream's description: up to 2,000 characters. It may be empty.
pub fn description(text: &str) -> Result<Cow<'_, str>, TextError> {
    within(normalize(text)?, MAX_DESCRIPTION_CHARS)
}

/// Returns the normal form of a reason, note, announcement or direct message: 1 to 500 characters,
/// one of them visible.
pub fn note(text: &str) -> Result<Cow<'_, str>, TextError> {
    within(visible(normalize(text)?)?, MAX_NOTE_CHARS)
}

/// Returns the text, or an error if nothing in it is visible.
pub fn visible(text: Cow<'_, str>) -> Result<Cow<'_, str>, TextError> {
    if text.is_empty() { Err(TextError::Empty) } else { Ok(text) }
}

/// Returns the text, or an error if it has more than `max` characters.
pub fn within(text: Cow<'_, str>, max: usize) -> Result<Cow<'_, str>, TextError> {
    // A text has at most as many characters as bytes, and most texts are short.
    if text.len() <= max {
        return Ok(text);
    }
    let chars = text.chars().count();
    if chars > max { Err(TextError::TooLong { chars, max }) } else { Ok(text) }
}

/// Returns whether a character is only a mark on the one before it, such as an accent.
pub fn is_mark(c: char) -> bool {
    class::of(c) == Class::Mark
}

/// Returns whether a character takes no place of its own in the text around it: a format character,
/// a joiner, a variation selector or a mark of direction.
pub fn is_format(c: char) -> bool {
    class::of(c).is_format()
}

#[cfg(test)]
mod tests;
