//! Brings a text into its normal form.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::TextError;
use super::class::{self, Class};

/// The most marks on one character that are looked through for a joiner's context.
const MAX_MARKS: usize = 32;

/// The most passes over a text, so that the time is linear in its length whatever it is composed
/// of. Two are usual, the second of which changes nothing.
const MAX_PASSES: usize = 8;

/// The treatment of spaces and direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Both stay.
    Message,
    /// One space between words, and no mark of direction.
    Label,
}

pub(super) fn normalize(text: &str, form: Form) -> Result<Cow<'_, str>, TextError> {
    let text = text.trim_matches(class::is_trimmed);
    if is_normal(text, form) {
        return Ok(Cow::Borrowed(text));
    }
    let current = fixed_point(text, form, MAX_PASSES);
    match current.chars().find(|c| class::of(*c) == Class::Control) {
        Some(control) => Err(TextError::ControlCharacter { code: control.into() }),
        None => Ok(Cow::Owned(current)),
    }
}

/// Returns the text that a pass leaves as it is. Taking a character out may join what it kept
/// apart, which the next pass sees. A text that changes in each of `passes` passes keeps no format
/// character: without them a pass takes out nothing that could join others.
fn fixed_point(text: &str, form: Form, passes: usize) -> String {
    let mut current = pass(text, form);
    for _ in 1..passes {
        let next = pass(&current, form);
        if next == current {
            return current;
        }
        current = next;
    }
    current.retain(|c| !class::of(c).is_format());
    pass(&current, form)
}

/// Returns whether a trimmed text is in its normal form without a closer look. Most texts are.
fn is_normal(text: &str, form: Form) -> bool {
    let mut before = Class::Blank;
    for c in text.chars() {
        let class = class::of(c);
        let stays = match class {
            Class::Plain => true,
            Class::Mark => before != Class::Blank,
            Class::Blank => match form {
                Form::Message => !is_line_separator(c),
                Form::Label => c == ' ' && before != Class::Blank,
            },
            _ => false,
        };
        if !stays {
            return false;
        }
        before = class;
    }
    is_nfc_quick(text.chars()) == IsNormalized::Yes
}

/// Takes out what does not stay, composes the rest and trims it.
fn pass(text: &str, form: Form) -> String {
    let mut characters: Vec<char> = text.nfc().collect();
    if form == Form::Label || !characters.iter().any(|c| is_right_to_left(*c)) {
        characters.retain(|c| class::of(*c) != Class::Direction);
    } else {
        take_out_unbalanced_isolates(&mut characters);
    }
    let followers = followers(&characters);
    let mut kept: Vec<char> = Vec::with_capacity(characters.len());
    let mut at = 0;
    while at < characters.len() {
        let c = characters[at];
        let next = followers[at];
        at += 1;
        let class = class::of(c);
        match class {
            Class::Plain | Class::Control => kept.push(c),
            // At the beginning there is nothing that a mark could be on.
            Class::Mark if kept.is_empty() => {}
            Class::Mark => kept.push(c),
            Class::Blank if form == Form::Message && !is_line_separator(c) => kept.push(c),
            Class::Blank if kept.last() == Some(&' ') => {}
            Class::Blank => kept.push(' '),
            Class::Joiner if joiner_stays(&kept, c, next) => kept.push(c),
            Class::Variation if variation_stays(&kept, c, next) => kept.push(c),
            Class::Direction if kept.last() != Some(&c) || is_isolate(c) => kept.push(c),
            Class::Script if kept.last().is_some_and(|base| class::is_arranged_by(*base, c)) => {
                kept.push(c);
            }
            Class::Tag => {
                let tags = characters[at - 1..].iter().take_while(|c| is_spelling_tag(**c)).count();
                let end = at - 1 + tags;
                let ends = characters.get(end) == Some(&class::CANCEL_TAG);
                let spelled = &characters[at - 1..end];
                if ends && kept.last().is_some_and(|base| class::is_flag(*base, spelled)) {
                    kept.extend(&characters[at - 1..=end]);
                    at = end + 1;
                } else {
                    at = at.max(end);
                }
            }
            Class::Joiner | Class::Variation | Class::Direction | Class::Script | Class::Hidden => {
            }
        }
        if kept.len() == 1 && class::is_trimmed(kept[0]) {
            kept.clear();
        }
    }
    while kept.last().is_some_and(|c| class::is_trimmed(*c)) {
        kept.pop();
    }
    if !kept.iter().any(|c| matches!(class::of(*c), Class::Plain | Class::Control)) {
        return String::new();
    }
    kept.into_iter().nfc().collect()
}

/// Line and paragraph separators become spaces: every text is one line.
fn is_line_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_spelling_tag(c: char) -> bool {
    class::of(c) == Class::Tag && c != class::CANCEL_TAG
}

fn is_right_to_left(c: char) -> bool {
    class::of(c) == Class::Plain && class::is_right_to_left(c)
}

fn is_isolate(c: char) -> bool {
    is_isolate_start(c) || c == '\u{2069}'
}

fn is_isolate_start(c: char) -> bool {
    matches!(c, '\u{2066}'..='\u{2068}')
}

/// Takes out isolates that do not end, and ends of none.
fn take_out_unbalanced_isolates(characters: &mut Vec<char>) {
    let mut open = Vec::new();
    let mut unbalanced = Vec::new();
    for (at, c) in characters.iter().enumerate() {
        if is_isolate_start(*c) {
            open.push(at);
        } else if is_isolate(*c) && open.pop().is_none() {
            unbalanced.push(at);
        }
    }
    unbalanced.extend(open);
    unbalanced.sort_unstable();
    let mut unbalanced = unbalanced.into_iter().peekable();
    let mut at = 0;
    characters.retain(|_| {
        at += 1;
        unbalanced.next_if(|taken_out| taken_out + 1 == at).is_none()
    });
}

/// Returns for each character the next one that is not a format character.
fn followers(characters: &[char]) -> Vec<Option<char>> {
    let mut next = None;
    let mut followers = vec![None; characters.len()];
    for (follower, c) in followers.iter_mut().zip(characters).rev() {
        *follower = next;
        if !class::of(*c).is_format() {
            next = Some(*c);
        }
    }
    followers
}

/// Returns whether a joiner changes how the characters around it are drawn.
fn joiner_stays(kept: &[char], joiner: char, next: Option<char>) -> bool {
    let Some(last) = kept.last().copied() else { return false };
    if class::of(last) == Class::Joiner {
        return false;
    }
    if joiner == class::ZERO_WIDTH_SPACE {
        return class::needs_break_hints(last) && next.is_some_and(class::needs_break_hints);
    }
    let mut cluster = kept.iter().rev().take(MAX_MARKS).copied();
    let mut after_virama = false;
    let base = cluster.find(|c| {
        after_virama |= class::is_virama(*c);
        class::of(*c) != Class::Mark
    });
    if after_virama || next.is_some_and(class::is_virama) {
        return true;
    }
    let after_joining = base.is_some_and(class::joins_next);
    let before_joining = next.is_some_and(class::joins_previous);
    if joiner == class::ZERO_WIDTH_NON_JOINER {
        return after_joining && before_joining;
    }
    after_joining || before_joining || after_emoji(kept) && next.is_some_and(class::is_pictographic)
}

/// Returns whether an emoji, with its selector or skin tone, stands last.
fn after_emoji(kept: &[char]) -> bool {
    let dresses = |c: &char| class::of(*c) == Class::Variation || class::is_emoji_modifier(*c);
    let base = kept.iter().rev().take(3).find(|c| !dresses(c));
    base.is_some_and(|c| class::is_pictographic(*c))
}

fn variation_stays(kept: &[char], selector: char, next: Option<char>) -> bool {
    let Some(base) = kept.last().copied() else { return false };
    let is_keycap = selector == '\u{FE0F}' && base.is_ascii() && class::is_emoji(base);
    if is_keycap {
        return next == Some(class::KEYCAP);
    }
    class::has_variations(base, selector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::text::tests::tricky;
    use proptest::prelude::*;

    #[test]
    fn without_passes_left_no_format_character_stays() {
        let family = "\u{200B}👩\u{200D}👧";
        assert_eq!(fixed_point(family, Form::Message, MAX_PASSES), "👩\u{200D}👧");
        assert_eq!(fixed_point(family, Form::Message, 1), "👩👧");
    }

    proptest! {
        #[test]
        fn every_number_of_passes_ends_in_a_fixed_point(text in tricky(), passes in 1_usize..4) {
            for form in [Form::Message, Form::Label] {
                let normal = fixed_point(&text, form, passes);
                prop_assert_eq!(pass(&normal, form), normal.as_str());
                prop_assert_eq!(fixed_point(&normal, form, MAX_PASSES), normal.as_str());
            }
        }

        /// The bound is far from what texts need.
        #[test]
        fn half_of_the_passes_are_enough(text in tricky()) {
            for form in [Form::Message, Form::Label] {
                let normal = fixed_point(&text, form, MAX_PASSES);
                prop_assert_eq!(fixed_point(&text, form, MAX_PASSES / 2), normal);
            }
        }
    }
}
