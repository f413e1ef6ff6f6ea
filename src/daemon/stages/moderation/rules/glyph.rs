//! Maps one character of a comment to what it stands for, without disguise: case, accents,
//! look-alikes of other alphabets, and digits and symbols written for letters.

use std::sync::LazyLock;

use decancer::Translation;
use icu_properties::CodePointMapData;
use icu_properties::props::Script;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{compose, is_combining_mark};

use crate::protocol::text;

/// The meaning of a character for the word matcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Glyph {
    /// Invisible, or a mark on the letter before it; ignored.
    Nothing,
    /// A letter in lower case without accent.
    Letter(char),
    /// One character that stands for several letters, such as a ligature.
    Letters(Box<str>),
    /// `0` to `9`: a letter among letters, otherwise a digit.
    Digit(u8),
    /// Punctuation that may stand for this letter: `$`, `@`, `!`.
    Symbol(char),
    Space,
    Apostrophe,
    /// Punctuation that is written in place of a hidden letter: `sh*t`.
    Mask,
    /// Separates words even without a space: comma, colon, question mark.
    Pause,
    /// Anything else between words: punctuation, emoji.
    Mark,
}

/// Returns the letter that a digit is written for.
pub(super) fn letter_of_digit(digit: u8) -> char {
    match digit {
        b'0' => 'o',
        b'1' => 'i',
        b'2' => 'z',
        b'3' => 'e',
        b'4' => 'a',
        b'5' => 's',
        b'7' => 't',
        b'8' => 'b',
        _ => 'g',
    }
}

/// Returns the meaning of a character.
pub(super) fn glyph(character: char) -> Glyph {
    if character.is_ascii() {
        return ascii(character);
    }
    let packed = BASIC_PLANE.get(character as usize).copied().unwrap_or(UNPACKED);
    unpack(packed).unwrap_or_else(|| beyond_ascii(character))
}

fn ascii(character: char) -> Glyph {
    match character {
        'a'..='z' => Glyph::Letter(character),
        'A'..='Z' => Glyph::Letter(character.to_ascii_lowercase()),
        '0'..='9' => Glyph::Digit(character as u8),
        '@' => Glyph::Symbol('a'),
        '$' => Glyph::Symbol('s'),
        '!' | '|' => Glyph::Symbol('i'),
        '+' => Glyph::Symbol('t'),
        '\'' | '`' => Glyph::Apostrophe,
        '*' | '#' | '%' | '&' | '-' | '_' => Glyph::Mask,
        ',' | ';' | ':' | '?' => Glyph::Pause,
        ' ' | '\t'..='\r' => Glyph::Space,
        '\0'..='\u{1f}' | '\u{7f}' => Glyph::Nothing,
        _ => Glyph::Mark,
    }
}

fn beyond_ascii(character: char) -> Glyph {
    match character {
        '’' | '‘' | 'ʼ' | '´' | '′' | '＇' => return Glyph::Apostrophe,
        '€' => return Glyph::Symbol('e'),
        '¢' => return Glyph::Symbol('c'),
        '£' => return Glyph::Symbol('l'),
        '¡' => return Glyph::Symbol('i'),
        '•' | '●' | '■' | '█' | '▓' | '▒' | '░' | '×' | '✱' | '∗' => {
            return Glyph::Mask;
        }
        // regional indicators, of which flags are made
        '\u{1f1e6}'..='\u{1f1ff}' => {
            return Glyph::Symbol((b'a' + (character as u32 - 0x1F1E6) as u8) as char);
        }
        _ if is_invisible(character) => return Glyph::Nothing,
        _ if character.is_whitespace() => return Glyph::Space,
        _ if is_combining_mark(character) => return Glyph::Letter(character),
        // Kana look like no other letters, whatever the table of look-alikes says.
        _ if is_kana(character) => {
            return std::iter::once(character).nfkc().next().map_or(Glyph::Mark, Glyph::Letter);
        }
        _ => {}
    }
    match plain(character) {
        Plain::One(plain) if plain.is_ascii() => match ascii(plain) {
            // Arrows, emoji and the like that only resemble a letter.
            Glyph::Letter(_) if !character.is_alphanumeric() => Glyph::Mark,
            glyph => glyph,
        },
        Plain::One(plain) if plain.is_alphanumeric() => Glyph::Letter(plain),
        Plain::Several(letters) if character.is_alphanumeric() => Glyph::Letters(letters),
        _ => Glyph::Mark,
    }
}

enum Plain {
    Nothing,
    One(char),
    Several(Box<str>),
}

/// The character this one looks like, followed to its end: a look-alike of a look-alike is resolved
/// too, so that folding what was folded changes nothing.
fn plain(character: char) -> Plain {
    let mut now = character;
    for _ in 0..4 {
        match decancer::cure_char!(now) {
            Translation::Character(next) if next == now => break,
            Translation::Character(next) => now = next,
            Translation::String(text) => {
                let letters: String = text.chars().filter(char::is_ascii_alphabetic).collect();
                return match letters.len() {
                    0 => Plain::Nothing,
                    _ => Plain::Several(letters.to_ascii_lowercase().into()),
                };
            }
            Translation::None => return Plain::Nothing,
        }
    }
    Plain::One(now)
}

/// Returns whether a character draws nothing, or is only drawn over the letter before it. The vowel
/// signs of Indic scripts are marks too, but letters to their readers, so they stay.
fn is_invisible(character: char) -> bool {
    if character.is_control() || character == '\u{2800}' || text::is_format(character) {
        return true;
    }
    // Marks that belong to no script, and the optional ones of some scripts.
    text::is_mark(character)
        && !is_voicing_mark(character)
        && matches!(
            script(character),
            Script::Inherited
                | Script::Common
                | Script::Cyrillic
                | Script::Hebrew
                | Script::Arabic
                | Script::Syriac
        )
}

fn script(character: char) -> Script {
    CodePointMapData::<Script>::new().get(character)
}

/// Returns a letter in lower case as it is written, if it is a Latin letter with a mark that is
/// another letter to those who write it: `ặ` and `ı`, but not `ａ`.
pub(super) fn natural_form(character: char) -> Option<char> {
    if character.is_ascii() {
        return None;
    }
    // `İ` has two characters in lower case; the first is the letter.
    let lower = character.to_lowercase().next().unwrap_or(character);
    let of_its_own = matches!(lower, 'ı' | 'ł' | 'ø' | 'đ' | 'ħ' | 'ŧ');
    let is_marked = || {
        let mut parts = std::iter::once(lower).nfd();
        parts.next().is_some_and(|c| c.is_ascii_lowercase()) && parts.next().is_some()
    };
    (of_its_own || is_marked()).then_some(lower)
}

/// Returns the kana that a voicing mark makes of the one before it, also of half width.
pub(super) fn voiced(kana: char, mark: char) -> Option<char> {
    let mark = match mark {
        '\u{FF9E}' => '\u{3099}',
        '\u{FF9F}' => '\u{309A}',
        _ => mark,
    };
    compose(kana, mark).filter(|_| is_voicing_mark(mark))
}

fn is_voicing_mark(character: char) -> bool {
    matches!(character, '\u{3099}' | '\u{309A}')
}

fn is_kana(character: char) -> bool {
    character.is_alphabetic() && matches!(script(character), Script::Hiragana | Script::Katakana)
}

/// Returns whether this letter's script is written without spaces, so that a word may begin or end
/// anywhere.
pub(super) fn runs_without_spaces(letter: char) -> bool {
    matches!(letter,
        '\u{e00}'..='\u{eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' // Myanmar, Khmer
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // kana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Every character of the basic plane, looked up once: resolving look-alikes is a search through a
/// large table, and most chats of the world are not written in ASCII. 256 KiB.
static BASIC_PLANE: LazyLock<Box<[u32]>> = LazyLock::new(|| {
    let all = (0..=0xFFFF_u32).map(|code| char::from_u32(code).map_or(MARK, |c| pack(&beyond(c))));
    all.collect()
});

fn beyond(character: char) -> Glyph {
    if character.is_ascii() { ascii(character) } else { beyond_ascii(character) }
}

// A packed glyph is a kind in the top byte and a character below it.
const NOTHING: u32 = 0 << 24;
const LETTER: u32 = 1 << 24;
const DIGIT: u32 = 2 << 24;
const SYMBOL: u32 = 3 << 24;
const SPACE: u32 = 4 << 24;
const APOSTROPHE: u32 = 5 << 24;
const MASK: u32 = 6 << 24;
const PAUSE: u32 = 7 << 24;
const MARK: u32 = 8 << 24;
/// Must be looked up.
const UNPACKED: u32 = 9 << 24;

fn pack(glyph: &Glyph) -> u32 {
    match glyph {
        Glyph::Nothing => NOTHING,
        Glyph::Letter(letter) => LETTER | *letter as u32,
        Glyph::Digit(digit) => DIGIT | u32::from(*digit),
        Glyph::Symbol(letter) => SYMBOL | *letter as u32,
        Glyph::Space => SPACE,
        Glyph::Apostrophe => APOSTROPHE,
        Glyph::Mask => MASK,
        Glyph::Pause => PAUSE,
        Glyph::Mark => MARK,
        Glyph::Letters(_) => UNPACKED,
    }
}

fn unpack(packed: u32) -> Option<Glyph> {
    let character = char::from_u32(packed & 0x00FF_FFFF);
    Some(match packed & 0xFF00_0000 {
        NOTHING => Glyph::Nothing,
        LETTER => Glyph::Letter(character?),
        DIGIT => Glyph::Digit(packed as u8),
        SYMBOL => Glyph::Symbol(character?),
        SPACE => Glyph::Space,
        APOSTROPHE => Glyph::Apostrophe,
        MASK => Glyph::Mask,
        PAUSE => Glyph::Pause,
        MARK => Glyph::Mark,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dress_up_comes_off() {
        let letters = [
            ('A', 'a'),
            ('é', 'e'),
            ('Ａ', 'a'),
            ('а', 'a'),
            ('ο', 'o'),
            ('𝓫', 'b'),
            ('𝕒', 'a'),
            ('ⓑ', 'b'),
            ('🅱', 'b'),
            ('ї', 'i'),
            ('ñ', 'n'),
            ('ç', 'c'),
            ('ʙ', 'b'),
            ('ø', 'o'),
        ];
        for (dressed, letter) in letters {
            assert_eq!(glyph(dressed), Glyph::Letter(letter), "{dressed}");
        }
        assert_eq!(glyph('𝟜'), Glyph::Digit(b'4'));
        assert_eq!(glyph('\u{200b}'), Glyph::Nothing);
        assert_eq!(glyph('\u{301}'), Glyph::Nothing);
        assert_eq!(glyph('😂'), Glyph::Mark);
        assert_eq!(glyph('\u{3000}'), Glyph::Space);
        assert_eq!(glyph('™'), Glyph::Mark);
        assert_eq!(glyph('ゴ'), Glyph::Letter('ゴ'));
        assert_eq!(glyph('ﾏ'), glyph('マ'));
        assert!(matches!(glyph('ﬀ'), Glyph::Letters(letters) if &*letters == "ff"));
    }

    #[test]
    fn a_letter_with_a_mark_is_a_letter_of_its_own() {
        for (written, natural) in [
            ('ặ', Some('ặ')),
            ('Ü', Some('ü')),
            ('ı', Some('ı')),
            ('Ł', Some('ł')),
            ('a', None),
            ('ａ', None),
            ('а', None),
            ('ᶠ', None),
            ('ё', None),
        ] {
            assert_eq!(natural_form(written), natural, "{written}");
        }
        assert_eq!(voiced('コ', '\u{FF9E}'), Some('ゴ'));
        assert_eq!(voiced('ハ', '\u{309A}'), Some('パ'));
        assert_eq!(voiced('a', '\u{301}'), None);
    }

    #[test]
    fn the_table_says_what_the_search_says() {
        for character in ('\u{80}'..='\u{ffff}').step_by(7) {
            assert_eq!(glyph(character), beyond_ascii(character), "{character:?}");
        }
    }
}
