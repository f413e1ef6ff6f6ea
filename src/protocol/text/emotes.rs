//! Texts that consist of emoji and emotes.

use super::class::{self, Class, KEYCAP};

/// The most characters of the name of an emote.
const MAX_EMOTE_CHARS: usize = 32;

/// Returns whether a text has nothing but emoji and emotes written as `:name:`, of which it has at
/// least one. A name has letters and digits of ASCII, `_`, `-` and `+`. Sites show their own emotes
/// under such names, which are not known here.
pub fn is_emotes_only(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    words.peek().is_some()
        && words.all(|word| {
            let mut rest = word;
            while !rest.is_empty() {
                match emote_bytes(rest).or_else(|| emoji_bytes(rest)) {
                    Some(bytes) => rest = &rest[bytes..],
                    None => return false,
                }
            }
            true
        })
}

/// Returns the length of the emote that a text begins with.
fn emote_bytes(text: &str) -> Option<usize> {
    let name = text.strip_prefix(':')?;
    let end = name.find(':')?;
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte);
    let is_name = (1..=MAX_EMOTE_CHARS).contains(&end) && name[..end].bytes().all(in_name);
    is_name.then_some(end + 2)
}

/// Returns the length of the emoji that a text begins with, with the characters that change it.
fn emoji_bytes(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if !class::is_emoji(first) && !class::is_pictographic(first) {
        return None;
    }
    let changes = |c: &char| {
        *c == KEYCAP
            || class::is_emoji_modifier(*c)
            || matches!(class::of(*c), Class::Joiner | Class::Variation | Class::Tag)
    };
    let rest = &text[first.len_utf8()..];
    let changed_by: String = rest.chars().take_while(changes).collect();
    // `#`, `*` and the digits are emoji only on a key.
    let is_shown = !first.is_ascii() || changed_by.ends_with(KEYCAP);
    is_shown.then_some(first.len_utf8() + changed_by.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emoji_and_named_emotes_are_emotes() {
        for text in [
            "🔥",
            "🔥🔥 🎉",
            "👩‍👩‍👧 ❤️",
            "👍🏽",
            "🇩🇪🇫🇷",
            "1️⃣ #️⃣",
            "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            ":kappa:",
            ":a::+1: 🔥:b_2:",
        ] {
            assert!(is_emotes_only(text), "{text}");
        }
    }

    #[test]
    fn words_digits_and_marks_are_not() {
        for text in [
            "", " ", "hi", "🔥 hi", "hi🔥", "123", "#", "*", ":)", ":a b:", "::", ":ä:", "!", "决",
            ":a:b",
        ] {
            assert!(!is_emotes_only(text), "{text}");
        }
    }
}
