//! Frequent words, by which letters that were parted, masked, stretched or written as signs are
//! read as a person would read them: `youareanidiot`, `id*ot`, `iiidiooot`, `1d10t`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Words of English chat, the most frequent first, and behind them innocent words with a rude part.
/// `scripts/train DATA_DIR --words` writes them.
const WORDS: &str = include_str!("words.txt");
/// Longest word of the list.
const MAX_WORD_LETTERS: usize = 14;
/// Longest run that is cut into words, so that the cost stays linear in the text.
const MAX_RUN_LETTERS: usize = 500;
/// Cost of a letter that no known word covers; a word of rank r costs 1 + ln(2 + r).
const UNKNOWN_COST: f32 = 6.0;
/// Most letters of a word that may be masked.
pub(super) const MAX_MASKED: usize = 3;
/// Marks behind a word.
pub(super) const END_MARKS: [char; 6] = ['.', ',', '!', '?', ':', ';'];
/// Length of a run that no English word has.
const STRETCHED_RUN: usize = 3;

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

#[derive(Debug, Default)]
struct Vocabulary {
    costs: HashMap<&'static str, f32, ahash::RandomState>,
    /// The words of each length, the most frequent first.
    by_length: [Vec<&'static str>; MAX_WORD_LETTERS + 1],
    /// The words that are the same when each letter stands once, the most frequent first.
    by_outline: HashMap<String, Vec<&'static str>, ahash::RandomState>,
}

impl Vocabulary {
    fn new() -> Self {
        let mut vocabulary = Self::default();
        for (rank, word) in WORDS.lines().enumerate() {
            vocabulary.costs.insert(word, 1.0 + (2.0 + rank as f32).ln());
            if let Some(words) = vocabulary.by_length.get_mut(word.len()) {
                words.push(word);
            }
            vocabulary.by_outline.entry(outline(word.chars())).or_default().push(word);
        }
        vocabulary
    }
}

/// Returns the letter that a digit or a sign stands for.
pub(super) fn letter_of(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

/// Returns the letters without repeats.
fn outline(letters: impl Iterator<Item = char>) -> String {
    let mut letters: Vec<char> = letters.collect();
    letters.dedup();
    letters.into_iter().collect()
}

/// Reports whether a word is in the list.
pub(super) fn is_known(word: &str) -> bool {
    VOCABULARY.costs.contains_key(word)
}

/// Returns the most frequent word that has other letters in place of some of these stars.
pub(super) fn unmask(word: &str) -> Option<&'static str> {
    let stars = word.bytes().filter(|byte| *byte == b'*').count();
    if stars == 0 || stars > MAX_MASKED || word.len() < stars + 2 || word.starts_with('*') {
        return None;
    }
    let fits = |known: &&&str| known.bytes().zip(word.bytes()).all(|(a, b)| a == b || b == b'*');
    VOCABULARY.by_length.get(word.len())?.iter().find(fits).copied()
}

/// Reports whether a run of a letter is longer than in any word.
pub fn is_stretched(letters: &[char]) -> bool {
    let is_run = |run: &[char]| run[0].is_alphabetic() && run.iter().all(|c| *c == run[0]);
    letters.windows(STRETCHED_RUN).any(is_run)
}

/// Returns the word of which some letters are stretched here. Doubled letters of the word are
/// preferred where they are repeated here.
pub(super) fn unstretch(letters: &[char]) -> Option<&'static str> {
    let runs: Vec<&[char]> = letters.chunk_by(|a, b| a == b).collect();
    let known = VOCABULARY.by_outline.get(&outline(letters.iter().copied()))?;
    let doubles = |word: &&&str| word.as_bytes().chunk_by(|a, b| a == b).count();
    let fits = |word: &&&str| {
        let known_runs = word.as_bytes().chunk_by(|a, b| a == b);
        known_runs.zip(&runs).all(|(known, run)| known.len() <= run.len())
    };
    // Of equally long words, the first is the most frequent.
    known.iter().filter(fits).rev().max_by_key(|word| word.len() - doubles(word)).copied()
}

/// The cheapest way to write the first letters of a run.
#[derive(Debug, Clone, Copy)]
struct Step {
    cost: f32,
    /// Letters of the last word; 0 for a letter that no known word covers.
    letters: usize,
}

/// Writes the words of a run, with one space between them. Letters between known words stay
/// together. A run stays as it is if known words cover too little of it.
pub(super) fn segment(run: &str, out: &mut String) {
    if !run.is_ascii() || run.len() > MAX_RUN_LETTERS {
        out.push_str(run);
        return;
    }
    let letters: String = run.chars().map(letter_of).collect();
    let mut steps = vec![Step { cost: 0.0, letters: 0 }];
    for end in 1..=letters.len() {
        let mut best = Step { cost: steps[end - 1].cost + UNKNOWN_COST, letters: 0 };
        for start in end.saturating_sub(MAX_WORD_LETTERS)..end {
            let Some(word) = VOCABULARY.costs.get(&letters[start..end]) else { continue };
            let cost = steps[start].cost + word;
            if cost < best.cost {
                best = Step { cost, letters: end - start };
            }
        }
        steps.push(best);
    }
    let mut starts_word = vec![false; letters.len() + 1];
    let mut unknown = 0;
    let mut end = letters.len();
    while end > 0 {
        let length = steps[end].letters;
        if length > 0 {
            starts_word[end] = true;
            starts_word[end - length] = true;
        } else {
            unknown += 1;
        }
        end -= length.max(1);
    }
    for (at, c) in run.char_indices() {
        if at > 0 && starts_word[at] && unknown * 3 <= letters.len() {
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
            ("iamyourzq", "i am your zq"),
            ("scunthorpe", "scunthorpe"),
            ("zzcuntzzzz", "zzcuntzzzz"),
            ("привет", "привет"),
            ("", ""),
        ] {
            let mut out = String::new();
            segment(run, &mut out);
            assert_eq!(out, expected, "{run}");
        }
    }

    #[test]
    fn masked_and_stretched_words_are_read() {
        assert_eq!(unmask("st*pid"), Some("stupid"));
        assert_eq!(unmask("f**k"), Some("fuck"));
        assert_eq!(unmask("zq*x"), None);
        assert_eq!(unmask("***"), None);
        let stretched = |word: &str| unstretch(&word.chars().collect::<Vec<_>>());
        assert_eq!(stretched("ssttuuupiddd"), Some("stupid"));
        assert_eq!(stretched("gooood"), Some("good"));
        assert_eq!(stretched("noooo"), Some("no"));
        assert_eq!(stretched("asssss"), Some("ass"));
        assert_eq!(stretched("zzqqq"), None);
        assert!(!is_stretched(&['g', 'o', 'o', 'd']));
    }
}
