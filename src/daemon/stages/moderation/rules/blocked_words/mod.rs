//! Finds blocked words in a comment, even if they are disguised.
//!
//! One pass of an Aho-Corasick automaton over the comment's letters, with each run of the same
//! letter reduced to one, finds places where a word *may* be. [`super::candidate`] then examines
//! the text around and between those letters. Innocent text rarely gets that far, so the pass is
//! the cost.

use aho_corasick::{AhoCorasick, BuildError};
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

use super::allowed_word::AllowedWord;
use super::candidate::Candidate;
use super::fold::{Folded, Reading, Symbols};
use super::innocent::is_innocent;
use super::pattern::{BadWord, BlockedWord, Variant, variants};
use crate::protocol::text;

/// The blocked words, ready to search for, and the words that are innocent although they resemble
/// one.
#[derive(Debug)]
pub(super) struct BlockedWords {
    words: Vec<BlockedWord>,
    /// Blocked emoji and other signs, without skin tones.
    signs: Vec<String>,
    allowed: Vec<AllowedWord>,
    variants: Vec<Variant>,
    /// `None` if there are no words.
    automaton: Option<AhoCorasick>,
}

/// The place of a word in a folded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// Index of the word.
    pub(super) word: usize,
    /// Its first and last element.
    pub(super) first: usize,
    pub(super) last: usize,
}

/// A reason why a list of words cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WordListError {
    #[error(transparent)]
    BadWord(#[from] BadWord),
    #[error("too many blocked words: {0}")]
    TooMany(#[from] BuildError),
}

impl BlockedWords {
    pub(super) fn new<'a>(
        blocked: impl IntoIterator<Item = &'a str>,
        allowed: &[String],
    ) -> Result<Self, WordListError> {
        let mut words: Vec<BlockedWord> = Vec::new();
        let mut signs = Vec::new();
        for written in blocked {
            match (BlockedWord::parse(written), without_tones(written)) {
                (Ok(word), _) => words.push(word),
                (Err(_), sign) if is_sign(&sign) => signs.push(sign),
                (Err(error), _) => return Err(error.into()),
            }
        }
        let allowed = allowed.iter().filter_map(|word| AllowedWord::parse(word)).collect();
        words.sort_by(|a, b| a.folded.cmp(&b.folded));
        words.dedup_by(|a, b| {
            (&a.folded, &a.accents, a.open_start, a.open_end)
                == (&b.folded, &b.accents, b.open_start, b.open_end)
        });
        let variants: Vec<Variant> =
            words.iter().enumerate().flat_map(|(index, word)| variants(index, word)).collect();
        let automaton = if variants.is_empty() {
            None
        } else {
            Some(AhoCorasick::new(variants.iter().map(|variant| &variant.compact))?)
        };
        Ok(Self { words, signs, allowed, variants, automaton })
    }

    /// Returns the first blocked word found, as it was configured.
    pub(super) fn find(&self, reading: &Reading<'_>) -> Option<&str> {
        if !self.signs.is_empty() && !reading.text.is_ascii() {
            let text = without_tones(reading.text);
            let sign = self.signs.iter().find(|sign| text.contains(sign.as_str()));
            if let Some(sign) = sign {
                return Some(sign);
            }
        }
        let first = |folded, symbols| {
            let found = self.hits(reading.text, folded, symbols).next();
            found.map(|hit| &*self.words[hit.word].written)
        };
        let found = first(&reading.letters, Symbols::AsLetters);
        found.or_else(|| first(reading.gaps()?, Symbols::AsGaps))
    }

    /// Returns where words are in one reading of a text, by the end of their letters. A word that
    /// can be read in several ways is returned for each.
    pub(super) fn hits<'a>(
        &'a self,
        text: &'a str,
        folded: &'a Folded,
        symbols: Symbols,
    ) -> impl Iterator<Item = Hit> + 'a {
        let automaton = self.automaton.iter();
        let found =
            automaton.flat_map(move |automaton| automaton.find_overlapping_iter(&folded.compact));
        found.filter_map(move |found| {
            let variant = &self.variants[found.pattern().as_usize()];
            let word = &self.words[variant.word];
            let candidate = Candidate { folded, word, variant, symbols };
            let (first, last) = candidate.confirm(found.start() as u32)?;
            if self.allowed.iter().any(|allowed| allowed.covers(folded, first, last)) {
                return None;
            }
            let open = word.open_start || word.open_end;
            let is_meant = open || !Self::is_innocent(text, folded, (first, last), word);
            is_meant.then_some(Hit { word: variant.word, first, last })
        })
    }

    /// Returns the words that are looked for, as they are written, in the order of [`Hit::word`].
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &*word.written)
    }

    /// Returns whether the match lies in an innocent word that merely folds like a blocked one.
    fn is_innocent(text: &str, folded: &Folded, found: (usize, usize), word: &BlockedWord) -> bool {
        let first = folded.elements[found.0].at;
        let last = folded.elements[found.1].at;
        let start = text[..first as usize].trim_end_matches(|c: char| !c.is_whitespace()).len();
        let rest = &text[last as usize..];
        let end = last as usize + rest.find(char::is_whitespace).unwrap_or(rest.len());
        let mut around = Folded::new(&text[start..end], Symbols::AsLetters).text();
        around.retain(|letter| letter != ' ');
        around != word.folded && is_innocent(&around)
    }
}

/// Returns whether a text without letters can be looked for: it has an emoji or another sign.
fn is_sign(text: &str) -> bool {
    let is_symbol = |c: char| {
        let category = CodePointMapData::<GeneralCategory>::new().get(c);
        category == GeneralCategory::OtherSymbol
    };
    text.chars().any(is_symbol)
}

/// Returns a text without skin tones, variation selectors and other invisible characters.
fn without_tones(written: &str) -> String {
    let is_tone = |c: char| matches!(c, '\u{1F3FB}'..='\u{1F3FF}');
    written.trim().chars().filter(|c| !is_tone(*c) && !text::is_format(*c)).collect()
}

#[cfg(test)]
mod tests;
