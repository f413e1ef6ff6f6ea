//! Runs of one character: `AAAAAAAA`, `!!!!!!!!`, stacks of combining marks.

use unicode_normalization::char::is_combining_mark;

/// Returns the length of the longest run of one character, ignoring case and spaces. All combining
/// marks count as the same character.
pub(super) fn longest_character_run(text: &str) -> u32 {
    let mut longest = 0;
    let mut letters = CharacterRun::default();
    let mut marks = 0;
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        if is_combining_mark(character) {
            marks += 1;
        } else {
            marks = 0;
            letters.add(character);
        }
        longest = longest.max(letters.length).max(marks);
    }
    longest
}

#[derive(Debug, Default)]
struct CharacterRun {
    character: char,
    length: u32,
}

impl CharacterRun {
    fn add(&mut self, character: char) {
        let lower = character.to_lowercase().next().unwrap_or(character);
        if lower == self.character {
            self.length += 1;
        } else {
            *self = Self { character: lower, length: 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_through_case_and_spaces() {
        let cases = [
            ("", 0),
            ("a", 1),
            ("abab", 1),
            ("aaB", 2),
            ("AaAa", 4),
            ("! ! ! !", 4),
            ("xyyyz", 3),
            ("ééé", 3),
            ("😂😂😂😂", 4),
            ("e\u{301}\u{302}\u{303}\u{304}", 4),
            ("a\u{301}a\u{301}a", 3),
        ];
        for (text, length) in cases {
            assert_eq!(longest_character_run(text), length, "{text}");
        }
    }
}
