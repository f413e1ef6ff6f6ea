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
use super::fold::{Folded, Symbols};
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
    pub(super) fn find(&self, text: &str, folded: &Folded) -> Option<&str> {
        if !self.signs.is_empty() && !text.is_ascii() {
            let text = without_tones(text);
            let sign = self.signs.iter().find(|sign| text.contains(sign.as_str()));
            if let Some(sign) = sign {
                return Some(sign);
            }
        }
        let automaton = self.automaton.as_ref()?;
        let found = self.search(automaton, text, folded, Symbols::AsLetters);
        if found.is_some() || !folded.ambiguous {
            return found;
        }
        let gapped = Folded::new(text, Symbols::AsGaps);
        self.search(automaton, text, &gapped, Symbols::AsGaps)
    }

    fn search(
        &self,
        automaton: &AhoCorasick,
        text: &str,
        folded: &Folded,
        symbols: Symbols,
    ) -> Option<&str> {
        for hit in automaton.find_overlapping_iter(&folded.compact) {
            let variant = &self.variants[hit.pattern().as_usize()];
            let word = &self.words[variant.word];
            let candidate = Candidate { folded, word, variant, symbols };
            let Some((first, last)) = candidate.confirm(hit.start() as u32) else { continue };
            if self.allowed.iter().any(|allowed| allowed.covers(folded, first, last)) {
                continue;
            }
            let open = word.open_start || word.open_end;
            if open || !Self::is_innocent(text, folded, (first, last), word) {
                return Some(&word.written);
            }
        }
        None
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
