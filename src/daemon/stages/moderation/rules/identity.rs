//! Recognizes texts that are the same to a reader, for repeats and choruses.

use unicode_normalization::UnicodeNormalization as _;

use super::glyph::{Glyph, glyph, natural_form};

/// Letters in a row that distinguish texts. More only stretch the word.
const STRETCHED: usize = 3;

/// Returns a key that is equal for texts that differ only in case, in spaces and sentence marks, in
/// look-alike letters, in invisible characters, and in how far a word is stretched. Digits,
/// accents, emoji and signs distinguish texts: `500` is not `5000`, `+1` is not `-1`.
pub(super) fn identity(text: &str) -> String {
    let seen: Vec<char> = if text.is_ascii() {
        text.chars().map(|c| c.to_ascii_lowercase()).filter_map(seen_as).collect()
    } else {
        text.nfkc().flat_map(char::to_lowercase).filter_map(seen_as).collect()
    };
    let has_word = seen.iter().any(|c| c.is_alphanumeric());
    let mut key = String::with_capacity(text.len());
    let mut run = 0;
    for (at, c) in seen.iter().copied().enumerate() {
        let next_is_digit = || seen.get(at + 1).is_some_and(|next| next.is_numeric());
        if c == ' ' || has_word && parts(c) && !next_is_digit() {
            continue;
        }
        run = if key.ends_with(c) { run + 1 } else { 1 };
        if run <= STRETCHED || c.is_numeric() {
            key.push(c);
        }
    }
    key
}

/// Returns the character that a reader sees, or `None` if it is invisible.
fn seen_as(c: char) -> Option<char> {
    match glyph(c) {
        Glyph::Nothing => None,
        Glyph::Space => Some(' '),
        Glyph::Letter(letter) => Some(natural_form(c).unwrap_or(letter)),
        Glyph::Digit(digit) => Some(digit as char),
        Glyph::Letters(_)
        | Glyph::Symbol(_)
        | Glyph::Apostrophe
        | Glyph::Mask
        | Glyph::Pause
        | Glyph::Mark => Some(c),
    }
}

/// Returns whether a character is a mark between the words of a sentence. In front of a digit it is
/// a part of the number.
fn parts(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '\''
            | '"'
            | '`'
            | '*'
            | '_'
            | '-'
            | '~'
            | '('
            | ')'
            | '…'
            | '’'
            | '‘'
            | '“'
            | '”'
            | '–'
            | '—'
            | '、'
            | '。'
            | '！'
            | '？'
            | '¡'
            | '¿'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn disguises_of_a_text_are_the_same() {
        #[rustfmt::skip]
        let same: [&[&str]; 7] = [
            &["Again", "AGAIN", "a g a i n", "again!", "a.g.a.i.n", "ag\u{200B}ain", "ａｇａｉｎ", "аgаin"],
            &["nooo", "noooooo", "NOOOOOOOO!!!"],
            &["buy now", "Buy, now!", "\"buy now\""],
            &["I bid 500", "i bid 500!", "I BID 500."],
            &["🎉", "🎉 "],
            &["😂😂😂", "😂😂😂😂😂"],
            &["!!!", "!!!!!"],
        ];
        for texts in same {
            for text in texts {
                assert_eq!(identity(text), identity(texts[0]), "{text}");
            }
        }
    }

    #[test]
    fn different_texts_are_different() {
        #[rustfmt::skip]
        let different: [&[&str]; 10] = [
            &["10", "100", "1000"], &["I bid 500", "I bid 5000", "I bid 50000"], &["+1", "-1", "1"],
            &["3:2", "32", "3:22"], &["1.5", "15"], &["god", "good"], &["c", "c++", "c#"],
            &["các", "cặc"], &["🎉", "😂", "I vote 🍕", "I vote 🍔"], &["team1", "team11", "team 2"],
        ];
        for texts in different {
            let keys: std::collections::HashSet<_> = texts.iter().map(|t| identity(t)).collect();
            assert_eq!(keys.len(), texts.len(), "{texts:?}: {keys:?}");
        }
    }

    proptest! {
        #[test]
        fn other_digits_are_another_text(text in "[a-z ]{0,10}", one: u32, other: u32) {
            prop_assume!(one != other);
            let one = format!("{text} {one}");
            let other = format!("{text} {other}");
            prop_assert_ne!(identity(&one), identity(&other));
        }

        #[test]
        fn case_spaces_and_invisible_letters_do_not_differ(
            text in "[a-z0-9 ]{1,20}",
            hidden in prop::sample::select(vec![' ', '\u{200B}', '\u{FEFF}', '\u{2800}']),
            at in any::<prop::sample::Index>(),
        ) {
            let mut dressed: Vec<char> = text.to_uppercase().chars().collect();
            dressed.insert(at.index(dressed.len() + 1), hidden);
            let dressed: String = dressed.into_iter().collect();
            prop_assert_eq!(identity(&dressed), identity(&text));
        }
    }
}
