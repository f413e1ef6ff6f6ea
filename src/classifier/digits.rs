//! Digits and signs that stand for letters.

use super::vocabulary::{END_MARKS, is_known, letter_of};

/// Words with digits for letters from which a text is taken to write all letters so.
const MIN_DIGIT_WORDS: usize = 2;

/// Reports whether a word is a frequent one once its digits and signs are read as letters.
pub(super) fn is_known_in_letters(word: &str) -> bool {
    let letters: String = word.chars().map(letter_of).collect();
    is_known(&letters)
}

/// Reports whether several words of a text have digits for letters.
pub(super) fn writes_in_digits(text: &str) -> bool {
    let is_mixed = |word: &&str| {
        word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().filter(u8::is_ascii_alphabetic).count() > 0
            && is_known_in_letters(word.trim_end_matches(END_MARKS))
    };
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.split(' ').filter(is_mixed).count() >= MIN_DIGIT_WORDS
}

/// Writes the letter for digits and signs that stand for one: in words with a Latin letter, and in
/// known words that are all signs, or all digits if the text writes so. `!` and `|` at the end
/// stay.
pub(super) fn undo_digits(word: &str, in_digits: bool, out: &mut String) {
    let body = word.trim_end_matches(['!', '|']);
    let is_all = |test: fn(u8) -> bool| word.bytes().all(test) && is_known_in_letters(word);
    let is_written_so = word.bytes().any(|byte| byte.is_ascii_alphabetic())
        || (word.contains(['@', '$']) && is_all(|byte| b"@$!|".contains(&byte)))
        || (in_digits && is_all(|byte| byte.is_ascii_digit()));
    if is_written_so {
        out.extend(body.chars().map(letter_of));
    } else {
        out.push_str(body);
    }
    out.push_str(&word[body.len()..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_signs_and_digits_are_read() {
        assert!(is_known_in_letters("@$$") && is_known_in_letters("15"));
        assert!(!is_known_in_letters("99"));
        assert!(writes_in_digits("y0u 4r3 15") && !writes_in_digits("y0u 15 455"));
    }
}
