//! The features of a text: hashed n-grams of words and characters, and for spam its shape.

use super::feature_hash::{FeatureHash, FeatureKind};
use super::normalise::{Form, Normaliser, is_word};
use super::shape;

/// Longest n-gram of characters.
const MAX_CHARS: usize = 5;
/// Shortest n-gram of characters.
const MIN_CHARS: usize = 2;
/// Characters of a text that are read. A comment has at most 500.
const MAX_TEXT_CHARS: usize = 4_000;

/// The places of a text's features, by kind, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    places: [Vec<u32>; 3],
}

impl Features {
    /// Returns the places of the features of a kind, in ascending order.
    pub fn of(&self, kind: FeatureKind) -> &[u32] {
        &self.places[kind as usize]
    }

    fn clear(&mut self) {
        self.places.iter_mut().for_each(Vec::clear);
    }

    fn add(&mut self, kind: FeatureKind, place: u32) {
        self.places[kind as usize].push(place);
    }

    fn remove_repeats(&mut self) {
        for places in &mut self.places {
            places.sort_unstable();
            places.dedup();
        }
    }
}

/// Makes features of texts. Reuses its buffers.
#[derive(Debug, Clone, Default)]
pub struct FeatureExtractor {
    normaliser: Normaliser,
    normal: String,
    /// Offsets at which the characters of a word begin, and at which the last one ends.
    bounds: Vec<usize>,
    word: String,
    features: Features,
}

impl FeatureExtractor {
    /// Returns the features of a text in tables of 2^`bits` rows; with those of its shape if the
    /// form is plain. Reads the first 4,000 characters.
    pub fn extract(&mut self, text: &str, form: Form, bits: u32) -> &Features {
        let text = match text.char_indices().nth(MAX_TEXT_CHARS) {
            Some((end, _)) => &text[..end],
            None => text,
        };
        self.features.clear();
        self.normaliser.write(text, form, &mut self.normal);
        self.add_words(bits);
        self.add_chars(bits);
        if form == Form::Plain {
            let features = &mut self.features;
            shape::describe(text, |hash| features.add(FeatureKind::Shape, hash.place(bits)));
        }
        self.features.remove_repeats();
        &self.features
    }

    fn add_words(&mut self, bits: u32) {
        let mut last: Option<&str> = None;
        for token in tokens(&self.normal) {
            let hash = FeatureHash::new(FeatureKind::Word);
            self.features.add(FeatureKind::Word, hash.add(token.as_bytes()).place(bits));
            if let Some(last) = last {
                let pair = hash.add(last.as_bytes()).add(b" ").add(token.as_bytes());
                self.features.add(FeatureKind::Word, pair.place(bits));
            }
            last = Some(token);
        }
    }

    fn add_chars(&mut self, bits: u32) {
        for chunk in self.normal.split(' ').filter(|chunk| !chunk.is_empty()) {
            self.word.clear();
            self.word.push(' ');
            self.word.push_str(chunk);
            self.word.push(' ');
            self.bounds.clear();
            self.bounds.extend(self.word.char_indices().map(|(at, _)| at));
            self.bounds.push(self.word.len());
            let bytes = self.word.as_bytes();
            for start in 0..self.bounds.len() - MIN_CHARS {
                let mut hash = FeatureHash::new(FeatureKind::Char);
                let ends = self.bounds[start..].windows(2).take(MAX_CHARS).enumerate();
                for (index, bound) in ends {
                    hash = hash.add(&bytes[bound[0]..bound[1]]);
                    if index + 1 >= MIN_CHARS {
                        self.features.add(FeatureKind::Char, hash.place(bits));
                    }
                }
            }
        }
    }
}

/// Splits a normal form into runs of word characters and runs of other visible characters.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(' ');
        let first = rest.chars().next()?;
        let in_word = is_word(first);
        let end = rest.find(|c| c == ' ' || is_word(c) != in_word).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        rest = after;
        Some(token)
    })
}
