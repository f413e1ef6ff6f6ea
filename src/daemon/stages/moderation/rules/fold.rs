//! A comment as the word matcher reads it: plain letters, the gaps between them, and runs of the
//! same letter.

use std::cell::OnceCell;

use super::glyph::{Glyph, glyph, letter_of_digit, natural_form, voiced};
use crate::protocol::text;

/// The characters between a letter and the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gap {
    flags: u8,
    /// Number of characters, including spaces; saturates.
    width: u8,
    /// The mask character, if all characters are the same one, as in `sh*t`.
    mask: Option<char>,
}

impl Gap {
    const SPACE: u8 = 1;
    const MARK: u8 = 2;
    const PAUSE: u8 = 4;
    const APOSTROPHE: u8 = 8;
    const CONTRACTION: u8 = 16;
    const SYMBOL: u8 = 32;

    fn add(&mut self, flag: u8, mask: Option<char>) {
        self.mask = mask.filter(|_| self.width == 0 || self.mask == mask);
        self.flags |= flag;
        self.width = self.width.saturating_add(1);
    }

    /// Returns whether there is nothing between the letters.
    pub(super) fn is_none(self) -> bool {
        self.flags == 0
    }

    pub(super) fn has_space(self) -> bool {
        self.flags & Self::SPACE != 0
    }

    /// Returns whether the letters on both sides are two words of a contraction, as in `he'll`.
    pub(super) fn parts_contraction(self) -> bool {
        self.flags & Self::CONTRACTION != 0
    }

    /// Returns whether there is more than one character, which separates words even where single
    /// letters are spaced out.
    pub(super) fn is_wide(self) -> bool {
        self.width > 1
    }

    /// Returns whether it is one character that people write inside a word to hide it: not a space
    /// and not a pause.
    pub(super) fn hides_a_word(self) -> bool {
        self.width == 1 && self.flags & (Self::SPACE | Self::PAUSE | Self::CONTRACTION) == 0
    }

    /// Returns whether this many letters were replaced by mask characters.
    pub(super) fn masks(self, letters: u32) -> bool {
        self.mask.is_some() && u32::from(self.width) == letters
    }

    /// Returns whether it is only a symbol that probably stands for a letter, and so no end of a
    /// word.
    pub(super) fn is_lettered(self) -> bool {
        self.flags == Self::SYMBOL
    }

    /// Returns whether two gaps separate in the same way: by spaces or by marks.
    pub(super) fn divides_like(self, other: Self) -> bool {
        self.has_space() == other.has_space() && self.is_wide() == other.is_wide()
    }
}

/// The kind of character a letter was written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Letter,
    Digit,
    Symbol,
}

/// The mark that a letter was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accent {
    None,
    /// The letter with its mark, as one language writes it: `ặ`.
    Natural(char),
    /// Marks that are no part of any letter are drawn over it, so it may stand for any form.
    Covered,
}

impl Accent {
    fn of(character: char) -> Self {
        natural_form(character).map_or(Self::None, Self::Natural)
    }

    /// Returns whether a letter written so may be meant by one written as `other`.
    pub(super) fn fits(self, other: Self) -> bool {
        self == other || self == Self::Covered
    }
}

/// One letter, or a digit that does not stand for a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    /// Without its mark.
    pub(super) letter: char,
    pub(super) accent: Accent,
    pub(super) origin: Origin,
    /// An `i` or `l` in a form that does not look like the other one.
    pub(super) unmistakable: bool,
    /// The gap before it.
    pub(super) gap: Gap,
    /// Byte offset of its character in the text.
    pub(super) at: u32,
}

/// A run of the same letter, with any gaps between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Index of the first element.
    pub(super) start: u32,
    pub(super) len: u32,
    /// Byte offset in [`Folded::compact`].
    pub(super) at: u32,
}

/// The reading of symbols such as `$` and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbols {
    AsLetters,
    AsGaps,
}

/// A text in both readings of its symbols. The rarer one is made when it is first asked for.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) text: &'a str,
    pub(super) letters: Folded,
    gaps: OnceCell<Folded>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, letters: Folded::new(text, Symbols::AsLetters), gaps: OnceCell::new() }
    }

    /// Returns the reading with symbols as gaps, if it may be another text.
    pub(super) fn gaps(&self) -> Option<&Folded> {
        let read = || Folded::new(self.text, Symbols::AsGaps);
        self.letters.ambiguous.then(|| self.gaps.get_or_init(read))
    }
}

/// A folded text.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) elements: Vec<Element>,
    pub(super) runs: Vec<Run>,
    /// One letter per run, without gaps.
    pub(super) compact: String,
    /// A symbol may stand for a letter inside a word, so reading it as a gap may give another text.
    pub(super) ambiguous: bool,
}

impl Folded {
    pub(super) fn new(text: &str, symbols: Symbols) -> Self {
        let mut folded = Self { elements: resolve(read(text, symbols)), ..Self::default() };
        let inner_symbol = |pair: &[Element]| {
            pair[1].gap.is_none() && pair.iter().any(|e| e.origin == Origin::Symbol)
        };
        folded.ambiguous = folded.elements.windows(2).any(inner_symbol);
        folded.compact.reserve(folded.elements.len());
        for (index, element) in folded.elements.iter().enumerate() {
            match folded.runs.last_mut() {
                Some(run) if folded.compact.ends_with(element.letter) => run.len += 1,
                _ => {
                    let at = folded.compact.len() as u32;
                    folded.runs.push(Run { start: index as u32, len: 1, at });
                    folded.compact.push(element.letter);
                }
            }
        }
        folded
    }

    /// Returns all letters with one space per gap, as a reader sees the text.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.elements.len() + 8);
        for element in &self.elements {
            if !element.gap.is_none() && !text.is_empty() {
                text.push(' ');
            }
            text.push(element.letter);
        }
        text
    }

    /// Returns the exclusive end of the piece that begins at `start`: elements without a gap
    /// between.
    pub(super) fn piece_end(&self, start: usize) -> usize {
        piece_end(&self.elements, start)
    }
}

fn read(text: &str, symbols: Symbols) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::with_capacity(text.len());
    let mut gap = Gap::default();
    for (at, character) in text.char_indices() {
        if let Some(kana) = elements.last_mut().filter(|_| gap.is_none() && !character.is_ascii())
            && let Some(voiced) = voiced(kana.letter, character)
        {
            kana.letter = voiced;
            continue;
        }
        let mut push = |letter, origin, at: usize, gap: &mut Gap| {
            let unmistakable = origin == Origin::Letter
                && (letter == 'i' && character != 'I' || letter == 'l' && character != 'l');
            let accent = match origin {
                Origin::Letter => Accent::of(character),
                Origin::Digit | Origin::Symbol => Accent::None,
            };
            let gap = std::mem::take(gap);
            elements.push(Element { letter, accent, origin, unmistakable, gap, at: at as u32 });
        };
        match glyph(character) {
            Glyph::Nothing if text::is_mark(character) && gap.is_none() => {
                if let Some(last) = elements.last_mut() {
                    last.accent = Accent::Covered;
                }
            }
            Glyph::Nothing => {}
            Glyph::Letter(letter) => push(letter, Origin::Letter, at, &mut gap),
            Glyph::Letters(letters) => {
                letters.chars().for_each(|letter| push(letter, Origin::Letter, at, &mut gap));
            }
            Glyph::Digit(digit) => push(digit as char, Origin::Digit, at, &mut gap),
            Glyph::Symbol(letter) if symbols == Symbols::AsLetters => {
                push(letter, Origin::Symbol, at, &mut gap);
            }
            Glyph::Symbol(letter) => {
                let lettered = !matches!(letter, 'i' | 't');
                gap.add(if lettered { Gap::SYMBOL } else { Gap::MARK }, None);
            }
            Glyph::Space => gap.add(Gap::SPACE, None),
            Glyph::Apostrophe => gap.add(Gap::APOSTROPHE, None),
            Glyph::Mask => gap.add(Gap::MARK, Some(character)),
            Glyph::Pause => gap.add(Gap::PAUSE, None),
            Glyph::Mark => gap.add(Gap::MARK, None),
        }
    }
    elements
}

/// Resolves digits and symbols: among letters they are letters, otherwise digits and gaps.
fn resolve(mut elements: Vec<Element>) -> Vec<Element> {
    mark_contractions(&mut elements);
    if elements.iter().all(|element| element.origin == Origin::Letter) {
        return elements;
    }
    // Symbols are resolved first: without them a piece may be a single letter.
    let elements = drop_symbols(&elements, Words::Pieces);
    let mut elements = drop_symbols(&elements, Words::SpelledOut);
    let mut start = 0;
    while start < elements.len() {
        let end = word_end(&elements, start);
        if is_lettered(&elements[start..end]) {
            let digits = elements[start..end].iter_mut().filter(|e| e.origin == Origin::Digit);
            digits.for_each(|element| element.letter = letter_of_digit(element.letter as u8));
        }
        start = end;
    }
    elements
}

/// The unit that is treated as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    /// Pieces of more than one element.
    Pieces,
    /// Also sequences of single elements.
    SpelledOut,
}

/// Turns the symbols of words without letters into gaps.
fn drop_symbols(elements: &[Element], words: Words) -> Vec<Element> {
    let mut kept = Vec::with_capacity(elements.len());
    let mut carried = Gap::default();
    let mut start = 0;
    while start < elements.len() {
        let end = match words {
            Words::Pieces => piece_end(elements, start),
            Words::SpelledOut => word_end(elements, start),
        };
        let word = &elements[start..end];
        let keeps = is_lettered(word) || (words == Words::Pieces && word.len() == 1);
        for element in word {
            let mut element = *element;
            if element.origin == Origin::Symbol && !keeps {
                merge(&mut carried, element.gap);
                carried.add(Gap::MARK, None);
            } else {
                merge(&mut element.gap, std::mem::take(&mut carried));
                kept.push(element);
            }
        }
        start = end;
    }
    kept
}

fn merge(gap: &mut Gap, other: Gap) {
    gap.mask = gap.mask.filter(|_| other.width == 0);
    gap.flags |= other.flags;
    gap.width = gap.width.saturating_add(other.width);
}

/// Returns the end of the piece at `start`, or of the sequence of single letters that begins there.
fn word_end(elements: &[Element], start: usize) -> usize {
    let mut end = piece_end(elements, start);
    if end - start > 1 {
        return end;
    }
    while end < elements.len() && piece_end(elements, end) == end + 1 {
        end += 1;
    }
    end
}

fn piece_end(elements: &[Element], start: usize) -> usize {
    let rest = elements.get(start + 1..).unwrap_or_default();
    start + 1 + rest.iter().take_while(|element| element.gap.is_none()).count()
}

/// Returns whether a word reads as letters. Spelled out, it needs at least as many letters as
/// symbols. Written together, it needs one letter, or two kinds of symbols and no digit, as in
/// `@$$`.
fn is_lettered(word: &[Element]) -> bool {
    let count = |origin| word.iter().filter(|element| element.origin == origin).count();
    let letters = count(Origin::Letter);
    let symbols = count(Origin::Symbol);
    if word[1..].iter().any(|element| !element.gap.is_none()) {
        return letters > 0 && letters >= symbols;
    }
    let first = word[0].letter;
    letters > 0 || symbols == word.len() && word.iter().any(|element| element.letter != first)
}

fn mark_contractions(elements: &mut [Element]) {
    for start in 0..elements.len() {
        let gap = elements[start].gap;
        if gap.flags != Gap::APOSTROPHE || gap.width != 1 {
            continue;
        }
        let piece = &elements[start..piece_end(elements, start)];
        let is = |ending: &str| piece.iter().map(|element| element.letter).eq(ending.chars());
        if ["s", "t", "d", "m", "ll", "re", "ve"].into_iter().any(is) {
            elements[start].gap.flags |= Gap::CONTRACTION;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(written: &str) -> String {
        Folded::new(written, Symbols::AsLetters).text()
    }

    #[test]
    fn digits_are_letters_only_among_letters() {
        assert_eq!(text("B4D w0rd5"), "bad words");
        assert_eq!(text("455 in 1999"), "455 in 1999");
        assert_eq!(text("b 4 d"), "b a d");
        assert_eq!(text("$5 and 5$, +1"), "5 and 5 1");
        assert_eq!(text("@$$ a$$ || @ $ $"), "ass ass");
    }

    #[test]
    fn accents_are_kept_beside_the_letters() {
        let folded = Folded::new("cặc a\u{336}", Symbols::AsLetters);
        assert_eq!(folded.text(), "cac a");
        assert_eq!(text("ﾏﾝｺﾞ"), text("マンゴ"));
        let accents: Vec<_> = folded.elements[..4].iter().map(|element| element.accent).collect();
        let natural = Accent::Natural('ặ');
        assert_eq!(accents, [Accent::None, natural, Accent::None, Accent::Covered]);
    }

    #[test]
    fn runs_join_across_gaps_and_remember_their_length() {
        let folded = Folded::new("baaa-a d", Symbols::AsLetters);
        assert_eq!(folded.compact, "bad");
        assert_eq!(folded.runs[1].len, 4);
    }

    #[test]
    fn contractions_are_two_words() {
        let folded = Folded::new("he'll don't o'clock", Symbols::AsLetters);
        let parted = folded.elements.iter().filter(|e| e.gap.parts_contraction()).count();
        assert_eq!(parted, 2);
    }

    proptest! {
        #[test]
        fn every_letter_is_in_one_run_and_has_its_place(written in "\\PC{0,80}") {
            for symbols in [Symbols::AsLetters, Symbols::AsGaps] {
                let folded = Folded::new(&written, symbols);
                let letters: u32 = folded.runs.iter().map(|run| run.len).sum();
                prop_assert_eq!(letters as usize, folded.elements.len());
                for element in &folded.elements {
                    prop_assert!(written.is_char_boundary(element.at as usize));
                }
            }
        }

        #[test]
        fn folding_twice_is_folding_once(written in "[a-zA-Zéа-яα-ω0-9 .@$!'*_-]{0,60}") {
            let once = text(&written);
            prop_assert_eq!(text(&once), once);
        }

        #[test]
        fn folding_twice_is_folding_once_in_every_script(written in "\\PC{0,40}") {
            let once = text(&written);
            prop_assert_eq!(text(&once), once);
        }

        #[test]
        fn invisible_characters_change_nothing(
            written in "[a-zA-Z0-9 .@$!'*-]{1,40}",
            invisible in prop::sample::select(vec!['\u{200b}', '\u{200d}', '\u{feff}', '\u{ad}', '\u{301}']),
            places in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        ) {
            let mut characters: Vec<char> = written.chars().collect();
            for place in places {
                characters.insert(place.index(characters.len() + 1), invisible);
            }
            let dressed: String = characters.into_iter().collect();
            prop_assert_eq!(text(&dressed), text(&written));
        }
    }
}
