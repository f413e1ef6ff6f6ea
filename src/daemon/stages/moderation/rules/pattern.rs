//! A blocked word as its author wrote it, and the other ways of writing it that are looked for.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use super::fold::{Accent, Element, Folded, Symbols};

/// Above this many letters that may be either `i` or `l`, only the uniform spellings are looked
/// for.
const MAX_AMBIGUOUS_LETTERS: usize = 4;
/// Words of fewer letters are not looked for with masked letters: `b*d` may be anything.
const MIN_MASKED_LETTERS: usize = 4;
/// Letters that stay when all inner vowels of a word are masked.
const MIN_VISIBLE_LETTERS: usize = 3;
/// Words of more letters are not recognized by their first and last letter alone.
const MAX_SHELL_LETTERS: usize = 6;
/// Words of at most this many letters match only with the accents they are given with: a mark on
/// one letter of three makes another word (`año`, `sık`) more often than a disguise.
const MAX_EXACT_LETTERS: usize = 3;

/// A blocked word or phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockedWord {
    /// As configured.
    pub(super) written: String,
    /// Its letters, spaces between words.
    pub(super) folded: String,
    /// The accent of each character of `folded`, if it matches only with these. Otherwise a letter
    /// with a mark is one in disguise.
    pub(super) accents: Option<Vec<Accent>>,
    /// It may begin inside a word: `*word`.
    pub(super) open_start: bool,
    /// It may end inside a word: `word*`.
    pub(super) open_end: bool,
}

/// Why a configured word cannot be matched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("blocked word `{0}` has no letter or digit to match")]
pub struct BadWord(pub String);

impl BlockedWord {
    pub(super) fn parse(written: &str) -> Result<Self, BadWord> {
        let written = written.trim();
        let open_start = written.starts_with('*');
        let open_end = written.ends_with('*');
        let mut folded = String::new();
        let mut accents = Vec::new();
        let composed: String = written.nfc().collect();
        for word in composed.split_whitespace() {
            let letters = Folded::new(word, Symbols::AsLetters).elements;
            if !letters.is_empty() && !folded.is_empty() {
                folded.push(' ');
                accents.push(Accent::None);
            }
            folded.extend(letters.iter().map(|element| element.letter));
            let accent = |element: &Element| match element.accent {
                Accent::Covered => Accent::None,
                accent => accent,
            };
            accents.extend(letters.iter().map(accent));
        }
        if folded.is_empty() {
            return Err(BadWord(written.chars().take(80).collect()));
        }
        let is_short = accents.len() <= MAX_EXACT_LETTERS;
        let has_accent = accents.iter().any(|accent| *accent != Accent::None);
        let accents = (is_short || has_accent).then_some(accents);
        Ok(Self { written: written.to_owned(), folded, accents, open_start, open_end })
    }
}

/// One letter of a variant, and how often it must come at least.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PatternRun {
    pub(super) count: u32,
    /// A new word of the phrase begins with it.
    pub(super) break_before: bool,
    /// A new word of the phrase begins within it.
    pub(super) break_inside: bool,
    /// The number of them that stand for the other of `i` and `l`.
    pub(super) swapped: u32,
}

impl PatternRun {
    /// Returns whether two words of the phrase part in front of this run, or `inside` it.
    pub(super) fn parts_words(self, inside: bool) -> bool {
        if inside { self.break_inside } else { self.break_before }
    }
}

/// The place and number of masked letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) run: usize,
    /// Within the run, rather than in front of it.
    pub(super) inside: bool,
    pub(super) letters: u32,
}

/// One way of writing a blocked word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    /// Index of the word.
    pub(super) word: usize,
    /// One letter a run: what is searched for.
    pub(super) compact: String,
    pub(super) runs: Vec<PatternRun>,
    /// The accents of each run, if they have to be these.
    pub(super) accents: Option<Vec<Vec<Accent>>>,
    pub(super) letters: u32,
    /// At most one per place, fewer than 64.
    pub(super) masks: Vec<Mask>,
}

impl Variant {
    fn new(word: usize, spelling: &str) -> Self {
        let mut variant = Self {
            word,
            compact: String::new(),
            runs: Vec::new(),
            accents: None,
            letters: 0,
            masks: Vec::new(),
        };
        let mut after_break = false;
        for letter in spelling.chars() {
            if letter == ' ' {
                after_break = true;
                continue;
            }
            variant.push(letter, std::mem::take(&mut after_break));
        }
        variant
    }

    /// A spelling of as many letters as `folded`, some `i` and `l` exchanged.
    fn with_swapped_strokes(word: usize, spelling: &str, folded: &str) -> Self {
        let mut variant = Self::new(word, spelling);
        let mut runs = variant.runs.iter_mut();
        let mut run = runs.next();
        let mut previous = None;
        let letters = spelling.chars().zip(folded.chars()).filter(|(letter, _)| *letter != ' ');
        for (letter, meant) in letters {
            if previous.replace(letter).is_some_and(|previous| previous != letter) {
                run = runs.next();
            }
            if let Some(run) = run.as_mut().filter(|_| letter != meant) {
                run.swapped += 1;
            }
        }
        variant
    }

    /// Requires these accents, one per character of a spelling, of which `masked` are left out.
    fn with_accents(
        mut self,
        spelling: &str,
        accents: Option<&[Accent]>,
        masked: &[Range<usize>],
    ) -> Self {
        let Some(accents) = accents else { return self };
        let mut runs: Vec<Vec<Accent>> = Vec::with_capacity(self.runs.len());
        let mut previous = None;
        for (at, (letter, accent)) in spelling.chars().zip(accents).enumerate() {
            if letter == ' ' || masked.iter().any(|mask| mask.contains(&at)) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if previous == Some(letter) => run.push(*accent),
                _ => runs.push(vec![*accent]),
            }
            previous = Some(letter);
        }
        self.accents = Some(runs);
        self
    }

    fn push(&mut self, letter: char, after_break: bool) {
        self.letters += 1;
        match self.runs.last_mut() {
            Some(run) if self.compact.ends_with(letter) => {
                run.count += 1;
                run.break_inside |= after_break;
            }
            _ => {
                self.compact.push(letter);
                let run = PatternRun { count: 1, break_before: after_break, ..Default::default() };
                self.runs.push(run);
            }
        }
    }

    /// The word or phrase with some letters masked, none of which begins or ends a word.
    fn masked(word: usize, letters: &[char], masked: &[Range<usize>]) -> Self {
        let mut variant = Self::new(word, "");
        let mut after_break = false;
        let mut hidden = 0;
        for (at, letter) in letters.iter().enumerate() {
            if masked.iter().any(|mask| mask.contains(&at)) {
                hidden += 1;
                continue;
            }
            if *letter == ' ' {
                after_break = true;
                continue;
            }
            if hidden > 0 {
                let inside = variant.compact.ends_with(*letter);
                let run = variant.runs.len() - usize::from(inside);
                variant.masks.push(Mask { run, inside, letters: std::mem::take(&mut hidden) });
            }
            variant.push(*letter, std::mem::take(&mut after_break));
        }
        variant
    }
}

/// All ways of writing `word` that are looked for.
pub(super) fn variants(index: usize, word: &BlockedWord) -> Vec<Variant> {
    let folded = &word.folded;
    let accents = word.accents.as_deref();
    let strokes = upright_strokes(folded).into_iter();
    let mut all: Vec<Variant> = strokes
        .map(|spelling| {
            Variant::with_swapped_strokes(index, &spelling, folded).with_accents(
                &spelling,
                accents,
                &[],
            )
        })
        .collect();
    for (letters, stand_in) in [("u", "v"), ("f", "ph"), ("w", "vv")] {
        if folded.contains(letters) {
            let spelling = folded.replace(letters, stand_in);
            let plain = vec![Accent::None; spelling.chars().count()];
            // In a word with accents, the letter that is replaced may have one.
            let is_plain = accents.is_none_or(|all| all.iter().all(|one| *one == Accent::None));
            if is_plain {
                let accents = accents.map(|_| &*plain);
                all.push(Variant::new(index, &spelling).with_accents(&spelling, accents, &[]));
            }
        }
    }
    if let Some(spelling) = with_words_in_digits(folded).filter(|_| accents.is_none()) {
        all.push(Variant::new(index, &spelling));
    }
    all.extend(masked(index, folded, accents));
    all
}

/// Returns a phrase with the words that can be written in digits alone as such: `death 70 …`. In a
/// comment these digits stay digits, because no letter is among them.
fn with_words_in_digits(folded: &str) -> Option<String> {
    let in_digits = |word: &str| word.chars().map(digit_of_letter).collect::<Option<String>>();
    let words: Vec<&str> = folded.split(' ').collect();
    let written: Vec<Option<String>> = words.iter().map(|word| in_digits(word)).collect();
    let is_mixed = written.iter().any(Option::is_some) && written.iter().any(Option::is_none);
    let chosen = words.iter().zip(&written);
    let chosen: Vec<&str> =
        chosen.map(|(word, digits)| digits.as_deref().unwrap_or(word)).collect();
    is_mixed.then(|| chosen.join(" "))
}

/// Returns the digit that is written for a letter.
fn digit_of_letter(letter: char) -> Option<char> {
    Some(match letter {
        'o' => '0',
        'i' => '1',
        'e' => '3',
        'a' => '4',
        's' => '5',
        't' => '7',
        _ => return None,
    })
}

/// `i`, `l`, `1`, `|` and `I` are one stroke each, and written for one another.
fn upright_strokes(folded: &str) -> Vec<String> {
    let strokes = folded.chars().filter(|letter| matches!(letter, 'i' | 'l')).count();
    let spell = |choice: u32| {
        let mut stroke = 0;
        let pick = |letter| match letter {
            'i' | 'l' => {
                let other = choice >> stroke & 1 == 1;
                stroke += 1;
                if other == (letter == 'i') { 'l' } else { 'i' }
            }
            _ => letter,
        };
        folded.chars().map(pick).collect()
    };
    if strokes <= MAX_AMBIGUOUS_LETTERS {
        return (0..1_u32 << strokes).map(spell).collect();
    }
    vec![folded.to_owned(), folded.replace('l', "i"), folded.replace('i', "l")]
}

/// All ways of masking letters that are looked for: a vowel, all vowels of a word, the first vowel
/// of each word of a phrase, and all letters of a short word but the first and the last.
fn masked(index: usize, folded: &str, accents: Option<&[Accent]>) -> Vec<Variant> {
    let letters: Vec<char> = folded.chars().collect();
    if !letters.iter().all(|letter| letter.is_ascii_lowercase() || *letter == ' ') {
        return Vec::new();
    }
    let variant = |masked: &[Range<usize>]| {
        Variant::masked(index, &letters, masked).with_accents(folded, accents, masked)
    };
    let words = words(&letters);
    let mut all = Vec::new();
    let mut first_of_each = Vec::new();
    for word in words.iter().filter(|word| word.len() >= MIN_MASKED_LETTERS) {
        let inner = word.start + 1..word.end - 1;
        let is_vowel = |at: &usize| matches!(letters[*at], 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
        let vowels: Vec<Range<usize>> =
            inner.clone().filter(is_vowel).map(|at| at..at + 1).collect();
        all.extend(vowels.iter().map(|vowel| variant(std::slice::from_ref(vowel))));
        first_of_each.extend(vowels.first().cloned());
        if vowels.len() > 1 && word.len() - vowels.len() >= MIN_VISIBLE_LETTERS {
            all.push(variant(&joined(&vowels)));
        }
        if words.len() == 1 && word.len() <= MAX_SHELL_LETTERS {
            all.push(variant(&[inner]));
        }
    }
    if first_of_each.len() > 1 {
        all.push(variant(&first_of_each));
    }
    all
}

/// Returns the places of the words of a phrase.
fn words(letters: &[char]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = 0;
    for word in letters.split(|letter| *letter == ' ') {
        words.push(start..start + word.len());
        start += word.len() + 1;
    }
    words
}

/// Joins places that touch.
fn joined(places: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for place in places {
        match joined.last_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => joined.push(place.clone()),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(written: &str) -> Vec<String> {
        let word = BlockedWord::parse(written).unwrap();
        variants(0, &word).into_iter().map(|variant| variant.compact).collect()
    }

    #[test]
    fn the_word_itself_comes_first() {
        for written in ["fuck", "Kill Yourself", "sc4m", "b.a.d"] {
            let word = BlockedWord::parse(written).unwrap();
            let first = Variant::new(0, &word.folded);
            let first = first.with_accents(&word.folded, word.accents.as_deref(), &[]);
            assert_eq!(variants(0, &word)[0], first, "{written}");
        }
        assert!(spellings("sluit").contains(&"siult".to_owned()));
        assert!(spellings("death to it").contains(&"death7017".to_owned()));
        assert!(!spellings("ass").contains(&"45".to_owned()));
        assert!(spellings("whore").contains(&"vhore".to_owned()), "two `v` are one run");
    }

    #[test]
    fn doubled_letters_and_phrases_are_counted() {
        let word = BlockedWord::parse("kick kids").unwrap();
        let variant = &variants(0, &word)[0];
        assert_eq!(variant.compact, "kickids");
        assert_eq!(
            variant.runs[3],
            PatternRun { count: 2, break_inside: true, ..PatternRun::default() }
        );
        assert_eq!(variant.letters, 8);
    }

    #[test]
    fn masked_letters_may_be_several() {
        let word = BlockedWord::parse("kick kids").unwrap();
        let all = variants(0, &word);
        let both = all.iter().find(|variant| variant.masks.len() == 2).unwrap();
        assert_eq!(both.compact, "kckds");
        assert_eq!(both.masks.iter().map(|mask| mask.run).collect::<Vec<_>>(), [1, 3]);
        let word = BlockedWord::parse("giggle").unwrap();
        let inside = variants(0, &word).into_iter().find(|one| !one.masks.is_empty()).unwrap();
        assert_eq!((&*inside.compact, inside.masks[0].inside), ("gle", true));
    }

    #[test]
    fn a_word_without_a_letter_is_refused() {
        for written in ["", "  ", "***", "$$$", "😂"] {
            assert!(BlockedWord::parse(written).is_err(), "{written}");
        }
        let open = BlockedWord::parse("*spam*").unwrap();
        assert!(open.open_start && open.open_end);
        assert_eq!(BlockedWord::parse("1488").unwrap().folded, "1488");
    }

    #[test]
    fn short_and_marked_words_keep_their_accents() {
        let accents = |written| BlockedWord::parse(written).unwrap().accents;
        assert_eq!(accents("fuck"), None);
        assert_eq!(accents("sik"), Some(vec![Accent::None; 3]));
        let mut marked = vec![Accent::None; 3];
        marked[1] = Accent::Natural('ö');
        assert_eq!(accents("göt"), Some(marked.clone()));
        assert_eq!(accents("go\u{308}t"), Some(marked));
    }
}
