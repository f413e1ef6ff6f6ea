//! Finds the words of a text whose letters were all parted alike: `youareanidiot`.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::normalise::letter_of;

/// Frequent words of English chat, the most frequent first: those of the data sets davidson,
/// paradetox, surge, toxic_spans and notoxic_dota2.
const WORDS: &str = include_str!("words.txt");
/// Longest word of the list.
const MAX_WORD_LETTERS: usize = 14;
/// Longest run that is read, so that the cost stays linear in the text.
const MAX_LETTERS: usize = 500;
/// Cost of a letter that no known word covers; a word of rank r costs ln(2 + r) and one.
const UNKNOWN_COST: f32 = 6.0;

static COSTS: LazyLock<HashMap<&'static str, f32, ahash::RandomState>> = LazyLock::new(|| {
    let ranked = WORDS.lines().enumerate();
    ranked.map(|(rank, word)| (word, 1.0 + (2.0 + rank as f32).ln())).collect()
});

/// The cheapest way to write the first letters of a run.
#[derive(Debug, Clone, Copy)]
struct Step {
    cost: f32,
    /// Letters of the last word; 0 for a letter that no known word covers.
    letters: usize,
}

/// Writes the words of a run, with one space between them. Letters between known words stay
/// together. A run that is a word, or has other characters than ASCII, stays as it is.
pub(super) fn segment(run: &str, out: &mut String) {
    if !run.is_ascii() || run.len() > MAX_LETTERS {
        out.push_str(run);
        return;
    }
    let letters: String = run.chars().map(letter_of).collect();
    let mut steps = vec![Step { cost: 0.0, letters: 0 }];
    for end in 1..=letters.len() {
        let mut best = Step { cost: steps[end - 1].cost + UNKNOWN_COST, letters: 0 };
        for start in end.saturating_sub(MAX_WORD_LETTERS)..end {
            let Some(word) = COSTS.get(&letters[start..end]) else { continue };
            let cost = steps[start].cost + word;
            if cost < best.cost {
                best = Step { cost, letters: end - start };
            }
        }
        steps.push(best);
    }
    let mut starts_word = vec![false; letters.len() + 1];
    let mut end = letters.len();
    while end > 0 {
        let length = steps[end].letters;
        if length > 0 {
            starts_word[end] = true;
            starts_word[end - length] = true;
        }
        end -= length.max(1);
    }
    for (at, c) in run.char_indices() {
        if at > 0 && starts_word[at] {
            out.push(' ');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_into_words() {
        for (run, expected) in [
            ("youareanidiot", "you are an idiot"),
            ("y0uareastup1d", "y0u are a stup1d"),
            ("idiot", "idiot"),
            ("iamzzqx", "i am zzqx"),
            ("привет", "привет"),
            ("", ""),
        ] {
            let mut out = String::new();
            segment(run, &mut out);
            assert_eq!(out, expected, "{run}");
        }
    }
}
