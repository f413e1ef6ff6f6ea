//! Words that an operator allows although they resemble a blocked one.

use unicode_normalization::UnicodeNormalization as _;

use super::fold::{Accent, Element, Folded, Origin, Symbols};
use super::glyph::runs_without_spaces;

/// A word or phrase as an operator allows it: written so, in any case, it is innocent. Its accents
/// count, and no disguise of it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AllowedWord {
    letters: Vec<Letter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Letter {
    letter: char,
    accent: Accent,
    /// A gap is in front of it.
    parted: bool,
}

impl Letter {
    fn of(element: &Element) -> Self {
        let parted = !element.gap.is_none();
        Self { letter: element.letter, accent: element.accent, parted }
    }
}

impl AllowedWord {
    /// Returns `None` for a text without letters.
    pub(super) fn parse(written: &str) -> Option<Self> {
        let composed: String = written.trim().nfc().collect();
        let folded = Folded::new(&composed, Symbols::AsLetters);
        let letters: Vec<Letter> = folded.elements.iter().map(Letter::of).collect();
        (!letters.is_empty()).then_some(Self { letters })
    }

    /// Returns whether the elements `first..=last` lie in this word.
    pub(super) fn covers(&self, folded: &Folded, first: usize, last: usize) -> bool {
        let length = self.letters.len();
        if last - first >= length {
            return false;
        }
        let earliest = (last + 1).saturating_sub(length);
        (earliest..=first).any(|start| self.is_at(folded, start))
    }

    fn is_at(&self, folded: &Folded, start: usize) -> bool {
        let end = start + self.letters.len();
        let Some(elements) = folded.elements.get(start..end) else { return false };
        let is_same = |(at, (element, allowed)): (usize, (&Element, &Letter))| {
            let found = Letter::of(element);
            // In front of the first letter, any text may stand.
            found == *allowed || at == 0 && Letter { parted: allowed.parted, ..found } == *allowed
        };
        is_boundary(folded, start)
            && is_boundary(folded, end)
            && elements.iter().zip(&self.letters).enumerate().all(is_same)
    }
}

/// Returns whether a word may begin at `place` or end in front of it.
fn is_boundary(folded: &Folded, place: usize) -> bool {
    let elements = &folded.elements;
    let Some(element) = elements.get(place) else { return true };
    // A symbol at the end of a word, as in `well!`, may not be meant as a letter.
    place == 0
        || !element.gap.is_none()
        || element.origin == Origin::Symbol
        || elements[place - 1].origin == Origin::Symbol
        || runs_without_spaces(element.letter)
        || runs_without_spaces(elements[place - 1].letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(allowed: &str, text: &str, found: &str) -> bool {
        let folded = Folded::new(text, Symbols::AsLetters);
        let letters: String = folded.elements.iter().map(|element| element.letter).collect();
        let first = letters[..letters.find(found).unwrap()].chars().count();
        let last = first + found.chars().count() - 1;
        AllowedWord::parse(allowed).unwrap().covers(&folded, first, last)
    }

    #[test]
    fn an_allowed_word_is_innocent_only_as_written() {
        for (allowed, text, found) in [
            ("año", "feliz AÑO nuevo", "ano"),
            ("Scunthorpe", "scunthorpe!", "cunt"),
            ("ロマンコメディ", "このロマンコメディが", "マンコ"),
            ("kill bill", "Kill Bill", "kill"),
        ] {
            assert!(covers(allowed, text, found), "{text}");
        }
        for (allowed, text, found) in [
            ("año", "ano", "ano"),
            ("Scunthorpe", "scunthorpes", "cunt"),
            ("Scunthorpe", "s cunt horpe", "cunt"),
            ("kill bill", "kill bills", "kill"),
            ("as", "ass", "ass"),
        ] {
            assert!(!covers(allowed, text, found), "{text}");
        }
        assert_eq!(AllowedWord::parse("***"), None);
    }
}
