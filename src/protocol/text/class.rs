//! The effect of a character on the text around it, from the tables of Unicode.

use std::sync::LazyLock;

use icu_properties::props::{
    BidiClass, CanonicalCombiningClass, DefaultIgnorableCodePoint, Emoji, EmojiModifier,
    ExtendedPictographic, GeneralCategory, Ideographic, JoiningType, LineBreak,
    NoncharacterCodePoint, PrependedConcatenationMark, Script, VariationSelector, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// The part of a character in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Draws something of its own.
    Plain,
    /// Draws nothing, but takes place.
    Blank,
    /// Is drawn over or under the character before it.
    Mark,
    /// Is refused inside a text.
    Control,
    /// Draws nothing, and is never needed.
    Hidden,
    /// Joins or parts the characters around it.
    Joiner,
    /// Chooses a form of the character before it.
    Variation,
    /// Sets the direction of the text.
    Direction,
    /// Spells the region of a flag.
    Tag,
    /// Arranges the letters of one script.
    Script,
}

impl Class {
    const ALL: [Self; 10] = [
        Self::Plain,
        Self::Blank,
        Self::Mark,
        Self::Control,
        Self::Hidden,
        Self::Joiner,
        Self::Variation,
        Self::Direction,
        Self::Tag,
        Self::Script,
    ];

    /// Returns whether the character takes no place, whether or not it stays.
    pub(super) fn is_format(self) -> bool {
        !matches!(self, Self::Plain | Self::Blank | Self::Mark | Self::Control)
    }
}

pub(super) const ZERO_WIDTH_SPACE: char = '\u{200B}';
pub(super) const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
pub(super) const ZERO_WIDTH_JOINER: char = '\u{200D}';
pub(super) const KEYCAP: char = '\u{20E3}';
const BLACK_FLAG: char = '\u{1F3F4}';
pub(super) const CANCEL_TAG: char = '\u{E007F}';

/// The classes of the basic plane, each looked up once. 64 KiB.
static BASIC_PLANE: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let class = |code| char::from_u32(code).map_or(Class::Plain, look_up) as u8;
    (0..=0xFFFF_u32).map(class).collect()
});

/// Returns the class of a character.
pub(super) fn of(c: char) -> Class {
    match c {
        ' ' => Class::Blank,
        '!'..='~' => Class::Plain,
        _ => match BASIC_PLANE.get(c as usize) {
            Some(class) => Class::ALL[*class as usize],
            None => look_up(c),
        },
    }
}

fn look_up(c: char) -> Class {
    match c {
        ZERO_WIDTH_SPACE | ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER => return Class::Joiner,
        '\u{200E}' | '\u{200F}' | '\u{061C}' | '\u{2066}'..='\u{2069}' => return Class::Direction,
        // The Mongolian vowel separator, and the format controls of hieroglyphs.
        '\u{180E}' | '\u{13430}'..='\u{1343F}' => return Class::Script,
        '\u{E0020}'..=CANCEL_TAG => return Class::Tag,
        // Unicode has no property for characters that draw nothing although they are symbols: the
        // Braille pattern without dots, and the note without a head.
        '\u{2800}' | '\u{1D159}' => return Class::Blank,
        // Stands for an image or a dictation mark that plain text does not carry.
        '\u{FFFC}' => return Class::Hidden,
        _ => {}
    }
    if CodePointSetData::new::<VariationSelector>().contains(c) {
        return Class::Variation;
    }
    if CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(c)
    {
        return Class::Hidden;
    }
    match category(c) {
        GeneralCategory::Control => Class::Control,
        GeneralCategory::Format
            if !CodePointSetData::new::<PrependedConcatenationMark>().contains(c) =>
        {
            Class::Hidden
        }
        GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark => Class::Mark,
        _ if CodePointSetData::new::<WhiteSpace>().contains(c) => Class::Blank,
        _ => Class::Plain,
    }
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// Returns whether a character draws something of its own. A text is visible if one of its
/// characters is.
pub fn is_visible(c: char) -> bool {
    of(c) == Class::Plain
}

/// Returns whether a character changes the direction or the order of the text around it.
pub fn changes_direction(c: char) -> bool {
    of(c) == Class::Direction || matches!(c, '\u{202A}'..='\u{202E}')
}

/// Returns whether a character may stand at the edge of a text only to be trimmed.
pub(super) fn is_trimmed(c: char) -> bool {
    of(c) == Class::Blank || CodePointSetData::new::<WhiteSpace>().contains(c)
}

/// Returns whether a character is written from right to left.
pub(super) fn is_right_to_left(c: char) -> bool {
    let class = CodePointMapData::<BidiClass>::new().get(c);
    matches!(class, BidiClass::RightToLeft | BidiClass::ArabicLetter | BidiClass::ArabicNumber)
}

pub(super) fn is_virama(c: char) -> bool {
    let class = CodePointMapData::<CanonicalCombiningClass>::new().get(c);
    class == CanonicalCombiningClass::Virama
}

/// Returns whether a letter connects to the one after it in cursive writing.
pub(super) fn joins_next(c: char) -> bool {
    matches!(
        CodePointMapData::<JoiningType>::new().get(c),
        JoiningType::DualJoining | JoiningType::LeftJoining | JoiningType::JoinCausing
    )
}

/// Returns whether a letter connects to the one before it in cursive writing.
pub(super) fn joins_previous(c: char) -> bool {
    matches!(
        CodePointMapData::<JoiningType>::new().get(c),
        JoiningType::DualJoining | JoiningType::RightJoining | JoiningType::JoinCausing
    )
}

/// Returns whether a letter's script is written without spaces, and its lines are broken by
/// dictionary.
pub(super) fn needs_break_hints(c: char) -> bool {
    CodePointMapData::<LineBreak>::new().get(c) == LineBreak::ComplexContext
}

pub(super) fn is_emoji(c: char) -> bool {
    CodePointSetData::new::<Emoji>().contains(c)
}

pub(super) fn is_emoji_modifier(c: char) -> bool {
    CodePointSetData::new::<EmojiModifier>().contains(c)
}

pub(super) fn is_pictographic(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

/// Returns whether the black flag and these tags, without the last one, are the flag of a region.
pub(super) fn is_flag(base: char, tags: &[char]) -> bool {
    let spells = |tag: &char| matches!(tag, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    base == BLACK_FLAG && (3..=6).contains(&tags.len()) && tags.iter().all(spells)
}

/// Returns whether `selector` may choose a form of `base`.
pub(super) fn has_variations(base: char, selector: char) -> bool {
    if of(base) != Class::Plain || base.is_ascii() {
        return false;
    }
    let script = CodePointMapData::<Script>::new().get(base);
    match selector {
        '\u{FE00}'..='\u{FE0F}' => {
            is_emoji(base) || !matches!(script, Script::Latin | Script::Greek | Script::Cyrillic)
        }
        '\u{E0100}'..='\u{E01EF}' => CodePointSetData::new::<Ideographic>().contains(base),
        _ => script == Script::Mongolian,
    }
}

/// Returns whether `control` arranges letters such as `base`.
pub(super) fn is_arranged_by(base: char, control: char) -> bool {
    let script = CodePointMapData::<Script>::new().get(base);
    match control {
        '\u{180E}' => script == Script::Mongolian,
        _ => script == Script::EgyptianHieroglyphs,
    }
}
