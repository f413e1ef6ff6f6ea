use proptest::prelude::*;

use super::*;

#[test]
fn what_draws_nothing_is_taken_out() {
    #[rustfmt::skip]
    let cases = [
        (" ann ", "ann"), ("ann\u{200B}", "ann"), ("\u{FEFF}ann", "ann"), ("ann\u{2800}", "ann"),
        ("a\u{AD}n\u{34F}n", "ann"), ("ann\u{FFFA}", "ann"), ("ann\u{FFFC}", "ann"),
        ("ann\u{202C}", "ann"), ("\u{202D}+1 234\u{202C}", "+1 234"), ("a\u{202E}b", "ab"),
        ("\u{2068}ann\u{2069}", "ann"), ("ann\u{200E}", "ann"), ("ann\u{2069}", "ann"),
        ("a\u{200D}n\u{200C}n", "ann"), ("a\u{FE0F}nn", "ann"), ("an\u{E0041}n", "ann"),
        ("ann\u{E0100}", "ann"), ("an\u{180B}n", "ann"), ("an\u{FFFE}n", "ann"),
        ("an\u{13430}n", "ann"), ("an\u{2065}n", "ann"), ("1\u{FE0F}", "1"),
        ("cafe\u{301}", "caf\u{E9}"), ("e\u{200B}\u{301}", "\u{E9}"), ("\u{301}ann", "ann"),
        ("a\u{2028}b", "a b"), ("ann\n", "ann"), ("\u{200B}\n ann", "ann"),
        ("🏴\u{E0067}ann", "🏴ann"), ("👩\u{200D}", "👩"), ("👩\u{200D}\u{200D}👧", "👩\u{200D}👧"),
        ("", ""), ("\u{3164}", ""), ("\u{200B}", ""), ("\u{2800}", ""), ("\u{FFFA}", ""),
        ("\u{301}\u{302}", ""), ("\u{1D159}", ""), ("\u{115F}\u{1160}", ""), ("\u{FE0F}", ""),
        ("\u{2068}\u{2069}", ""), ("\u{E0001}", ""), (" \u{3000}\u{A0}", ""),
    ];
    for (text, normal) in cases {
        assert_eq!(normalize(text).as_deref(), Ok(normal), "{text:?}");
    }
}

#[test]
fn what_readers_see_stays() {
    #[rustfmt::skip]
    let texts = [
        "hello, world", "a  b", "日本語　です", "😂", "👍🏽", "👩‍👩‍👧 family", "👩🏽‍🚀", "❤️", "🏳️‍🌈", "🏴‍☠️", "1️⃣ #️⃣",
        "🇺🇦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👁️‍🗨️", "🙂‍↔️", "می‌خواهم", "क्‍ष", "ක්‍ෂ", "র‍্য", "葛󠄀", "ᠮᠣᠩᠭᠣᠯ᠎ᠠ",
        "สวัสดี", "ភាសា\u{200B}ខ្មែរ", "שלום\u{200F}!", "דוד \u{2068}ann\u{2069} כן", "\u{600}12", "\u{F8FF}",
        "Z̷a̷l̷g̷o̷", "☎\u{FE0E}", "\u{FFFD}",
    ];
    for text in texts {
        assert_eq!(normalize(text).as_deref(), Ok(text), "{text:?}");
    }
}

#[test]
fn isolates_are_balanced() {
    let right_to_left = "שלום";
    for (before, after) in [
        ("\u{2068}x", "x"),
        ("x\u{2069}", "x"),
        ("\u{2068}\u{2067}x\u{2069}", "\u{2067}x\u{2069}"),
        ("\u{2069}\u{2068}x\u{2069}", "\u{2068}x\u{2069}"),
    ] {
        let text = format!("{right_to_left} {before}.");
        let normal = format!("{right_to_left} {after}.");
        assert_eq!(normalize(&text).as_deref(), Ok(&*normal), "{text:?}");
    }
}

#[test]
fn labels_that_look_alike_are_alike() {
    for text in ["ann b", " ann  b", "ann\u{A0}b", "ann\u{2003}\u{2800}b", "\u{200E}ann b\u{200F}"]
    {
        assert_eq!(name(text).as_deref(), Ok("ann b"), "{text:?}");
    }
    assert_eq!(name("\u{200F}דנה\u{200F}").as_deref(), Ok("דנה"));
}

#[test]
fn control_characters_are_refused_inside_a_text() {
    for (text, code) in
        [("a\0b", 0), ("a\nb", 0xA), ("a\tb", 9), ("\u{1B}[2J", 0x1B), ("\u{9B}x", 0x9B)]
    {
        assert_eq!(normalize(text), Err(TextError::ControlCharacter { code }), "{text:?}");
        assert_eq!(name(text), Err(TextError::ControlCharacter { code }), "{text:?}");
    }
}

#[test]
fn each_field_has_its_length() {
    let longest = "é".repeat(64);
    assert_eq!(name(&longest).as_deref(), Ok(&*longest));
    assert_eq!(name(&"é".repeat(65)), Err(TextError::TooLong { chars: 65, max: 64 }));
    let padded = format!("{}{}", "\u{200B}".repeat(100), "x".repeat(64));
    assert!(name(&padded).is_ok(), "what is taken out is not counted");
    assert_eq!(name("\u{3164}"), Err(TextError::Empty));
    assert_eq!(note("\u{200B}"), Err(TextError::Empty));
    assert_eq!(note(&"x".repeat(501)), Err(TextError::TooLong { chars: 501, max: 500 }));
    assert_eq!(title("\u{200B}").as_deref(), Ok(""));
    assert_eq!(title(&"x".repeat(201)), Err(TextError::TooLong { chars: 201, max: 200 }));
}

/// Characters on which the rules depend, and any others.
pub(super) fn tricky() -> impl Strategy<Value = String> {
    #[rustfmt::skip]
    let special = prop::sample::select(vec![
        'a', 'K', '\u{212A}', ' ', '\u{200B}', '\u{200C}', '\u{200D}', '\u{34F}', '\u{301}', '\u{FE0F}', '\u{FE00}',
        '1', '\u{20E3}', '👩', '🏽', '❤', '\u{94D}', '\u{93C}', 'क', 'ب', '\u{654}', 'ا', 'א', '\u{200F}', '\u{2067}',
        '\u{2069}', '\u{202E}', '🏴', '\u{E0067}', '\u{E0062}', '\u{E007F}', 'ᠠ', '\u{180B}', '\u{180E}', '葛',
        '\u{E0100}', 'ខ', '\u{2800}', '\u{3164}', '\u{1100}', '\u{1161}', '\u{F900}', '\u{2028}', '\n', '\u{13000}',
        '\u{13430}', '\u{FFFA}', '\u{FFFE}', '\u{37E}',
    ]);
    let character = prop_oneof![4 => special, 1 => any::<char>()];
    prop::collection::vec(character, 0..24).prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn the_normal_form_of_a_normal_form_is_itself(text in tricky()) {
        for normalize in [normalize, normalize_label] {
            if let Ok(normal) = normalize(&text) {
                let again = normalize(&normal);
                prop_assert_eq!(again.as_deref(), Ok(&*normal));
            }
        }
    }

    #[test]
    fn a_text_is_empty_or_visible(text in tricky()) {
        for normalize in [normalize, normalize_label] {
            if let Ok(normal) = normalize(&text) {
                prop_assert!(normal.is_empty() || normal.chars().any(is_visible), "{normal:?}");
                prop_assert!(!normal.chars().any(|c| class::of(c) == Class::Control));
                prop_assert_eq!(normal.trim(), &*normal);
            }
        }
    }

    #[test]
    fn a_visible_text_is_accepted_by_every_field(text in tricky()) {
        prop_assume!(text.chars().any(is_visible) && !text.chars().any(char::is_control));
        for accepted in [name(&text), title(&text), note(&text)] {
            prop_assert!(accepted.as_deref().is_ok_and(|text| text.chars().any(is_visible)));
        }
    }

    #[test]
    fn what_draws_nothing_makes_no_other_name(
        text in "[a-z]{1,12}",
        hidden in prop::sample::select(vec!['\u{200B}', '\u{2060}', '\u{200D}', '\u{FE0F}', '\u{E0061}', '\u{200E}']),
        at in any::<prop::sample::Index>(),
    ) {
        let mut dressed = text.clone();
        dressed.insert(at.index(text.len() + 1), hidden);
        let name = name(&dressed);
        prop_assert_eq!(name.as_deref(), Ok(&*text));
    }
}
