//! Decides whether letters that spell a blocked word are meant as that word.
//!
//! The letters are in order; the text around and between them decides. A match has to begin and end
//! where words of the comment do. Letters written together form a piece. A word may be one piece,
//! pieces separated by a single mark (`ba.dword`), or spelled out in single letters with anything
//! between (`b a d w o r d`). Longer pieces separated by spaces are other words: `the pen is mine`.

use super::fold::{Accent, Element, Folded, Gap, Origin, Run, Symbols};
use super::glyph::runs_without_spaces;
use super::pattern::{BlockedWord, Mask, PatternRun, Variant};

/// A place in a comment where the letters of a variant are.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) folded: &'a Folded,
    pub(super) word: &'a BlockedWord,
    pub(super) variant: &'a Variant,
    pub(super) symbols: Symbols,
}

impl Candidate<'_> {
    /// Returns the first and last element of the word, if it begins at byte `at` of the compact
    /// text and is meant as that word.
    pub(super) fn confirm(&self, at: u32) -> Option<(usize, usize)> {
        let first_run = self.folded.runs.binary_search_by_key(&at, |run| run.at).ok()?;
        let pattern = &self.variant.runs;
        let runs = self.folded.runs.get(first_run..first_run + pattern.len())?;
        let long_enough = |(run, pattern): (&Run, &PatternRun)| {
            run.len >= pattern.count && self.may_be_swapped(*run, *pattern)
        };
        if self.is_number(first_run) && runs.iter().zip(pattern).any(|(r, p)| r.len != p.count) {
            return None;
        }
        if !runs.iter().zip(pattern).all(long_enough) {
            return None;
        }
        let first = runs[0];
        let last = runs[runs.len() - 1];
        let begins = (first.start..first.start + first.len).map(|place| place as usize);
        let ends = (last.start..last.start + last.len).map(|place| place as usize);
        let mut begins = begins.filter(|place| self.may_begin(*place));
        let mut ends = ends.filter(|place| self.may_end(*place));
        let begins = (begins.next(), begins.next_back());
        let ends = (ends.next(), ends.next_back());
        let begins = [begins.0, begins.1].into_iter().flatten();
        let ends = [ends.1, ends.0].into_iter().flatten();
        let pairs = begins.flat_map(|begin| ends.clone().map(move |end| (begin, end)));
        pairs.into_iter().find(|range| self.is_meant(first_run, *range))
    }

    /// Returns whether the run has enough letters that can be read as the other one of `i` and `l`.
    fn may_be_swapped(&self, run: Run, pattern: PatternRun) -> bool {
        let elements = &self.folded.elements[run.start as usize..][..run.len as usize];
        let doubtful = || elements.iter().filter(|element| !element.unmistakable).count();
        pattern.swapped == 0 || doubtful() >= pattern.swapped as usize
    }

    /// Returns whether the match is a number. Runs in numbers have to be exact: 14 is not 144.
    fn is_number(&self, first_run: usize) -> bool {
        let first = self.folded.runs[first_run].start as usize;
        self.folded.elements[first].letter.is_ascii_digit()
    }

    /// Returns whether the elements `begin..=end` spell the word, with no more between its letters
    /// than people write to hide a word.
    fn is_meant(&self, first_run: usize, (begin, end): (usize, usize)) -> bool {
        if !self.ends_are_long_enough(first_run, begin, end)
            || !self.accents_fit(first_run, begin, end)
        {
            return false;
        }
        let runs = &self.folded.runs[first_run..];
        let mut pieces = Pieces::starting_at(begin);
        let masks = &self.variant.masks;
        let mut masked: u64 = 0;
        let mut index = 0;
        for place in begin + 1..=end {
            while place >= (runs[index].start + runs[index].len) as usize {
                index += 1;
            }
            let gap = self.folded.elements[place].gap;
            if gap.is_none() {
                continue;
            }
            let inside = place != runs[index].start as usize;
            let is_here = |mask: &Mask| (mask.run, mask.inside) == (index, inside);
            if let Some(place) = masks.iter().position(is_here) {
                let bit = 1 << place;
                if !gap.masks(masks[place].letters) || masked & bit != 0 {
                    return false;
                }
                masked |= bit;
            } else if self.variant.runs[index].parts_words(inside) {
                if !self.is_one_word(&pieces, place - 1) {
                    return false;
                }
                pieces = Pieces::starting_at(place);
            } else if masks.is_empty() {
                pieces.add(gap, place);
            } else {
                return false;
            }
        }
        masked.count_ones() as usize == masks.len() && self.is_one_word(&pieces, end)
    }

    /// Returns whether the letters `begin..=end` have the accents that the word has to have.
    fn accents_fit(&self, first_run: usize, begin: usize, end: usize) -> bool {
        let Some(accents) = &self.variant.accents else { return true };
        let runs = &self.folded.runs[first_run..];
        runs.iter().zip(accents).all(|(run, accents)| {
            let from = (run.start as usize).max(begin);
            let to = ((run.start + run.len) as usize).min(end + 1);
            let letters = self.folded.elements.get(from..to).unwrap_or_default();
            let is_one = |element: &Element| accents.iter().any(|one| element.accent.fits(*one));
            let is_there = |one: &Accent| letters.iter().any(|element| element.accent.fits(*one));
            letters.iter().all(is_one) && accents.iter().all(is_there)
        })
    }

    /// Returns whether `begin..=end` includes as much of the first and the last run as the word
    /// needs.
    fn ends_are_long_enough(&self, first_run: usize, begin: usize, end: usize) -> bool {
        let pattern = &self.variant.runs;
        let last_index = pattern.len() - 1;
        let (first_count, last_count) =
            (pattern[0].count as usize, pattern[last_index].count as usize);
        if last_index == 0 {
            return end + 1 >= begin + first_count;
        }
        let first = self.folded.runs[first_run];
        let last = self.folded.runs[first_run + last_index];
        (first.start + first.len) as usize >= begin + first_count
            && end + 1 >= last.start as usize + last_count
    }

    /// Returns whether these pieces, the last of which ends with `end`, form one word.
    fn is_one_word(&self, pieces: &Pieces, end: usize) -> bool {
        let Some(begin) = pieces.starts.first().copied().filter(|_| pieces.starts.len() > 1) else {
            return true;
        };
        if pieces.contraction || self.begins_inside(begin) || self.begins_inside(end + 1) {
            return false;
        }
        let longer = pieces.starts.iter().filter(|start| !self.is_single(**start)).count();
        match longer {
            0 => self.spelling_is_whole(pieces.first_gap, begin, end),
            _ if !pieces.spaced => {
                // `A45-S250` is a name, not a word with a number behind it.
                let ends_its_piece =
                    self.folded.elements.get(end + 1).is_none_or(|next| !next.gap.is_none());
                !pieces.apart && ends_its_piece
            }
            1 => pieces.starts.len() >= 3 && self.variant.letters >= 4,
            _ => false,
        }
    }

    /// Returns whether a spelled-out match is the whole spelling. If spelled-out letters continue
    /// beyond the match, they may be another word: a short match has to be the whole spelling, a
    /// longer one has to begin or end with it.
    fn spelling_is_whole(&self, between: Gap, begin: usize, end: usize) -> bool {
        let elements = &self.folded.elements;
        let goes_on = |gap: Gap| gap.divides_like(between);
        let before = begin > 0
            && !elements[begin].gap.is_none()
            && goes_on(elements[begin].gap)
            && elements[begin - 1].letter != elements[begin].letter
            && (begin == 1 || !elements[begin - 1].gap.is_none());
        let after = end + 1 < elements.len()
            && goes_on(elements[end + 1].gap)
            && elements[end + 1].letter != elements[end].letter
            && self.is_single(end + 1);
        match self.variant.letters {
            0..=3 => !before && !after,
            4 => !before || !after,
            _ => true,
        }
    }

    /// Returns whether the letters before and at `place` are written together.
    fn begins_inside(&self, place: usize) -> bool {
        let elements = &self.folded.elements;
        let element = elements.get(place).filter(|element| element.gap.is_none());
        place > 0
            && element.is_some_and(|element| element.origin == Origin::Letter)
            && elements[place - 1].origin == Origin::Letter
    }

    /// Returns whether the piece at `start` consists of one letter, possibly repeated.
    fn is_single(&self, start: usize) -> bool {
        let end = self.folded.piece_end(start);
        let elements = &self.folded.elements[start..end];
        elements.iter().all(|element| element.letter == elements[0].letter)
    }

    fn may_begin(&self, place: usize) -> bool {
        let elements = &self.folded.elements;
        let element = elements[place];
        if self.word.open_start || place == 0 || self.parts(element.gap) {
            return true;
        }
        if runs_without_spaces(element.letter) || runs_without_spaces(elements[place - 1].letter) {
            return true;
        }
        let hangs = |at: &usize| elements[*at].origin != Origin::Letter;
        let starts = |at: usize| at == 0 || !elements[at].gap.is_none();
        // Digits and symbols next to a word are not part of it (`word69`, `!word`), but digits next
        // to a number are.
        !element.letter.is_ascii_digit() && (0..place).rev().take_while(hangs).any(starts)
    }

    fn may_end(&self, place: usize) -> bool {
        let elements = &self.folded.elements;
        let element = elements[place];
        let Some(next) = elements.get(place + 1) else { return true };
        if self.word.open_end || self.parts(next.gap) {
            return true;
        }
        if runs_without_spaces(element.letter) || runs_without_spaces(next.letter) {
            return true;
        }
        let hangs = |at: &usize| elements[*at].origin != Origin::Letter;
        let ends = |at: usize| elements.get(at + 1).is_none_or(|next| !next.gap.is_none());
        !element.letter.is_ascii_digit() && (place + 1..elements.len()).take_while(hangs).any(ends)
    }

    /// Returns whether a gap separates words.
    fn parts(&self, gap: Gap) -> bool {
        match self.symbols {
            Symbols::AsLetters => !gap.is_none(),
            Symbols::AsGaps => !gap.is_none() && !gap.is_lettered(),
        }
    }
}

/// The pieces of one word of a match.
#[derive(Debug, Default)]
struct Pieces {
    /// The first element of each piece.
    starts: Vec<usize>,
    first_gap: Gap,
    /// Some gap has a space.
    spaced: bool,
    /// Some gap is inside a contraction.
    contraction: bool,
    /// Some gap is wider than people write to hide a word.
    apart: bool,
}

impl Pieces {
    fn starting_at(start: usize) -> Self {
        Self { starts: vec![start], ..Self::default() }
    }

    fn add(&mut self, gap: Gap, start: usize) {
        if self.starts.len() == 1 {
            self.first_gap = gap;
        }
        self.starts.push(start);
        self.spaced |= gap.has_space();
        self.contraction |= gap.parts_contraction();
        self.apart |= !gap.hides_a_word();
    }
}
