//! Runs of one character: `AAAAAAAA`, `!!!!!!!!`, stacks of combining marks.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::protocol::text;

/// Returns the length of the longest run of one character as readers see it (an extended grapheme
/// cluster), ignoring case, spaces, invisible characters, marks and skin tones. A stack of
/// combining marks counts as a run of that many.
pub(super) fn longest_character_run(text: &str) -> u32 {
    let mut longest = 0;
    let mut length = 0;
    let mut before = String::new();
    let mut seen = String::new();
    for grapheme in text.graphemes(true) {
        seen.clear();
        let mut marks = 0;
        for c in grapheme.chars() {
            if text::is_mark(c) {
                marks += 1;
            } else if text::is_visible(c) && !is_skin_tone(c) {
                seen.extend(c.to_lowercase());
            }
        }
        longest = longest.max(marks);
        if seen.is_empty() {
            continue;
        }
        if seen == before {
            length += 1;
        } else {
            length = 1;
            std::mem::swap(&mut before, &mut seen);
        }
        longest = longest.max(length);
    }
    longest
}

fn is_skin_tone(c: char) -> bool {
    matches!(c, '\u{1F3FB}'..='\u{1F3FF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_counted_as_readers_see_them() {
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
            ("a\u{200B}a\u{200B}a", 3),
            ("a\u{2800}a\u{3164}a", 3),
            ("a\u{200D}a\u{FE0F}a", 3),
            ("👍🏽👍🏽👍🏽", 3),
            ("👍🏽👍🏿👍", 3),
            ("👩‍👩‍👧👩‍👩‍👧", 2),
            ("🇺🇦🇺🇦🇺🇦", 3),
            ("❤️❤❤️", 3),
            ("ნნნ", 3),
        ];
        for (text, length) in cases {
            assert_eq!(longest_character_run(text), length, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_draws_nothing_does_not_part_a_run(
            c in prop::sample::select(vec!["a", "!", "я", "😂", "👍🏽", "각"]),
            hidden in "[ \u{200B}\u{2060}\u{AD}\u{3164}\u{2800}]{0,3}",
            times in 1_u32..20,
        ) {
            let text: String = (0..times).flat_map(|_| [c, &hidden]).collect();
            prop_assert_eq!(longest_character_run(&text), times);
        }
    }
}
