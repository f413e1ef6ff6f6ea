use super::*;
use proptest::prelude::*;

fn list(words: &[&str]) -> BlockedWords {
    BlockedWords::new(words.iter().copied(), &[]).unwrap()
}

/// The list an operator of an English chat would begin with.
fn usual() -> BlockedWords {
    #[rustfmt::skip]
    let words = [
        "ass", "asshole", "bitch", "boob", "cock", "coon", "cum", "cunt", "dick", "fag",
        "fuck", "fucker", "hell", "hoe", "kill yourself", "penis", "piss", "spic", "rape",
        "retard", "shit", "slut", "tit", "whore", "anal", "raping", "the rapist", "1488",
        "fail", "badword", "nazi*", "*porn*", "сука", "傻逼", "kick kids",
    ];
    list(&words)
}

fn find<'a>(words: &'a BlockedWords, text: &str) -> Option<&'a str> {
    words.find(&Reading::new(text))
}

#[test]
fn evasions_are_seen_through() {
    let words = usual();
    #[rustfmt::skip]
    let evasions = [
        // case, and with ordinary punctuation around
        "FUCK", "FuCk", "oh fuck.", "(fuck)", "\"fuck\"", "fuck, no", "what the fuck?!",
        "fuck!!!", "fuck's sake", "well...shit", "#fuck", "fuck/shit", "no-shit",
        "\u{200f}shit",
        // digits and symbols for letters
        "sh1t", "5h1t", "$hit", "sh!t", "sh|t", "@ss", "a$$", "@$$", "a$$!", "d1ck", "c0ck",
        "b00b", "t1t", "5h17", "heell", "s\u{1d7d9}ut", "7i7", "+it", "wh0r3", "r4p3", "fa9",
        "8itch", "b!tch", "phuck", "fvck", "vvhore", "dlck", "sIut", "s1ut", "asshoIe",
        // ornaments
        "fuck69", "xx fuck1", "!fuck", "fuck1!", "$fuck$",
        // spelled out
        "f u c k", "f.u.c.k", "f-u-c-k", "f_u_c_k", "f*u*c*k", "f, u, c, k", "f  u  c  k",
        "you f u c k", "f u c k you", "f u c k y o u", "I f.u.c.k you", "b a d w o r d",
        "b.a.d.w.o.r.d", "a s s", "a.s.s", "f u ck", "f@u@c@k", "f!u!c!k", "f😂u😂c😂k", "🇫🇺🇨🇰",
        "b i t c h", "d 1 c k",
        // parted inside
        "fu.ck", "fu-ck", "f_uck", "sh.it", "bad-word", "ass.hole", "fuc'k",
        // stretched
        "fuuuuck", "ffffuuuucccckkkk", "shiiiit", "asssss", "aasshhoollee", "baaadword",
        "fuu.uck", "f u u u c k", "biiiitch", "dickkkk",
        // another alphabet's letters, accents, ornaments of Unicode
        "fυck", "ｆｕｃｋ", "𝓯𝓾𝓬𝓴", "𝕗𝕦𝕔𝕜", "ⓕⓤⓒⓚ", "fück", "shít", "ѕhіt", "сunt", "ᶠᵘᶜᵏ", "🅱itch",
        "f\u{336}u\u{336}c\u{336}k", "dıck", "ɓitch",
        // invisible characters
        "f\u{200b}uck", "f\u{ad}u\u{ad}c\u{ad}k", "sh\u{2060}it", "\u{feff}fuck\u{200d}",
        "a\u{34f}ss",
        // masked letters
        "f*ck", "sh*t", "b*tch", "f**k", "s**t", "c*ck", "c#nt", "sh-t", "d_ck",
        // phrases and wildcards
        "kill yourself", "KILL   YOURSELF", "k1ll y0urself", "killyourself", "kill-yourself",
        "go kill yourselffff", "k i l l yourself", "kick kids", "nazis", "n4z1sm", "Nazi",
        "xpornx", "freeporn4u", "p o r n", "p0rn",
        // numbers
        "1488", "14.88", "1 4 8 8", "heil 1488!",
        // other languages
        "сука", "СУКА", "с у к а", "су́ка", "你是傻逼吗", "傻 逼",
    ];
    assert!(evasions.len() >= 60);
    let missed: Vec<_> = evasions.iter().filter(|text| find(&words, text).is_none()).collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
}

#[test]
fn innocent_text_passes() {
    let words = usual();
    #[rustfmt::skip]
    let innocent = [
        // words that contain blocked ones
        "class", "first class assassin", "Scunthorpe", "grape", "grapes of wrath", "assume",
        "bass", "a classic", "passage", "peacock", "cockpit", "cocktail", "Dickens", "shiitake",
        "analysis", "document", "cucumber", "Penistone", "Essex", "shell", "hello", "raccoon",
        "cocoon", "Matsushita", "mishit", "title", "titan", "constitution", "therapist",
        "drape", "shoes", "hoedown", "retardant", "skill yourself", "Ashkenazim", "swastika",
        // words a letter or a repetition away
        "as", "as is", "bob", "bobby", "con", "cons", "rapping", "the rapper", "fall",
        "fall down", "hall", "heel", "hoo", "good", "sheet", "shot", "duck", "punt",
        // words that join to a blocked one
        "the pen is mine", "let's hit the road", "lets hit it", "this hit me", "has a sword",
        "push it", "fish it up", "he'll be there", "she'll", "who're you", "I'll be", "a s",
        "as sure as", "an albatross", "was sent", "the pen... is here", "pen, is it",
        "Go fu ckoo", "s hit", "A S S E S S M E N T", "S C U N T H O R P E", "i t i s", "U S A",
        "a b c d e f g",
        // numbers and symbols
        "455", "$455", "1999", "14888", "11488", "148", "$$$", "@bob", "hell0", "ass@ssin",
        "a+", "3:0", "100%", "<3", ":)", "!!!", "1st", "v1.4.88",
        // ordinary chat
        "gg wp", "lol that was close", "PogChamp PogChamp", "what a save!", "wtf", "omg", "f",
        "F F F", "see you @ 5", "C++ rocks", "node.js", "I have $5", "rock'n'roll", "l'été",
        "heil", "heli pad", "SPLC", "plsssss", "PLSS", "A45-S250", "t1>t2", "%d-%k", "@ $ $",
        "@_*&$](;;$*((?;Z", "i\u{301}", "привет как дела", "это наука", "你好吗", "ありがとう", "안녕하세요",
        "🎉🎉🎉", "สวัสดี",
    ];
    assert!(innocent.len() >= 60);
    let hit: Vec<_> =
        innocent.iter().filter_map(|text| find(&words, text).map(|word| (text, word))).collect();
    assert!(hit.is_empty(), "hit: {hit:?}");
}

#[test]
fn a_blocked_word_wins_over_the_innocent_list() {
    let words = list(&["hello", "fall"]);
    for text in ["hello", "HELL0", "fall", "faall", "fa11"] {
        assert!(find(&words, text).is_some(), "{text}");
    }
}

#[test]
fn a_letter_of_another_language_is_another_letter() {
    #[rustfmt::skip]
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("cặc", &["cặc", "CẶC", "cặặặc", "c.ặ.c", "c ặ c", "c\u{200b}ặc"], &["các bạn ơi", "cac", "cắc"]),
        ("sik", &["sik", "SIK", "s1k", "s.i.k", "siiik", "s\u{336}i\u{336}k\u{336}"], &["sık sık", "şık"]),
        ("göt", &["göt", "GÖT", "gööt", "g-ö-t", "go\u{308}t"], &["I got it", "got", "g0t"]),
        ("マンコ", &["マンコ", "ﾏﾝｺ", "あのマンコが", "マ ン コ"], &["マンゴージュース", "ﾏﾝｺﾞｰ"]),
        ("ano", &["ano", "4no"], &["feliz año nuevo", "¡Año!"]),
        ("fötze", &["fötze", "FÖTZE", "f*tze", "fötzeee"], &["fotze", "fätze"]),
        ("dick", &["dıck", "díck", "dick"], &["deck", "dich"]),
        ("хуй", &["хуй", "ХУЙ", "х у й", "xуй"], &["хит", "ухо"]),
    ];
    for (word, found, innocent) in cases {
        let words = list(&[word]);
        for text in found {
            assert!(find(&words, text).is_some(), "{word}: {text}");
        }
        for text in innocent {
            assert_eq!(find(&words, text), None, "{word}: {text}");
        }
    }
}

#[test]
fn operators_allow_words_that_resemble_a_blocked_one() {
    let allowed = ["Slut".to_owned(), "ロマンコメディ".to_owned(), "kill bill".to_owned()];
    let words = BlockedWords::new(["slut", "マンコ", "kill*", "*cunt*"], &allowed).unwrap();
    for text in ["slut", "bra slut!", "ロマンコメディ", "watch Kill Bill now"] {
        assert_eq!(find(&words, text), None, "{text}");
    }
    for text in ["s1ut", "s l u t", "slut slutt", "マンコ", "kill", "scunthorpe"] {
        assert!(find(&words, text).is_some(), "{text}");
    }
}

#[test]
fn emoji_and_signs_can_be_blocked() {
    let words = list(&["🖕", "☭"]);
    for text in ["🖕", "🖕🏿", "hi🖕!", "☭\u{fe0e}"] {
        assert!(find(&words, text).is_some(), "{text}");
    }
    assert_eq!(find(&words, "👍🏿 ☮"), None);
    for wrong in ["", "***", "!!!", "$$$", "\u{200b}"] {
        assert!(BlockedWords::new([wrong], &[]).is_err(), "{wrong}");
    }
}

#[test]
fn an_empty_list_blocks_nothing() {
    assert_eq!(find(&list(&[]), "anything"), None);
}

#[test]
fn a_word_is_found_whatever_the_length_of_the_list() {
    let many: Vec<String> = (0..3000).map(|n| format!("word{}x", n * 7919)).collect();
    let words = BlockedWords::new(many.iter().map(String::as_str), &[]).unwrap();
    assert_eq!(find(&words, "a word15838x b"), Some("word15838x"));
    assert_eq!(find(&words, "a word15839x b"), None);
}

proptest! {
    #[test]
    fn invisible_characters_never_hide_a_word(
        word in prop::sample::select(vec!["fuck", "asshole", "kill yourself", "b!tch", "s h i t"]),
        before in "(ok |hey you |)", after in "( now|, man|)",
        invisible in prop::sample::select(vec!['\u{200b}', '\u{200c}', '\u{2060}', '\u{feff}', '\u{336}', '\u{ad}']),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut text: Vec<char> = format!("{before}{word}{after}").chars().collect();
        for place in places {
            text.insert(place.index(text.len() + 1), invisible);
        }
        let text: String = text.into_iter().collect();
        prop_assert!(find(&usual(), &text).is_some(), "{:?}", text);
    }

    #[test]
    fn case_and_stretching_never_hide_a_word(
        letters in prop::collection::vec((any::<bool>(), 1_usize..5), 7),
    ) {
        let text: String = "asshole".chars().zip(letters).flat_map(|(letter, (upper, times))| {
            let letter = if upper { letter.to_ascii_uppercase() } else { letter };
            std::iter::repeat_n(letter, times)
        }).collect();
        prop_assert!(find(&usual(), &text).is_some(), "{}", text);
    }

    #[test]
    fn invisible_characters_change_no_answer(
        text in "[asho1!@$ .'*-]{0,60}|\\PC{0,40}",
        invisible in prop::sample::select(vec!['\u{200b}', '\u{2060}', '\u{feff}', '\u{ad}']),
        place in any::<prop::sample::Index>(),
    ) {
        let words = usual();
        let mut dressed: Vec<char> = text.chars().collect();
        dressed.insert(place.index(dressed.len() + 1), invisible);
        let dressed: String = dressed.into_iter().collect();
        prop_assert_eq!(find(&words, &dressed), find(&words, &text));
    }

    #[test]
    fn a_word_is_found_in_any_text_around_it(
        before in "\\PC{0,30}", after in "\\PC{0,30}",
        space in prop::sample::select(vec![' ', '\n', '\u{a0}', '\u{2003}', '\u{3000}']),
    ) {
        let text = format!("{before} .{space}motherfucker{space}. {after}");
        let words = list(&["motherfucker"]);
        prop_assert!(find(&words, &text).is_some(), "{}", text);
    }

    #[test]
    fn longer_words_around_it_are_not_it(before in "[b-z]{1,4}", after in "[b-z]{1,4}") {
        let text = format!("{before}cunt{after}");
        let words = list(&["cunt"]);
        prop_assume!(!before.contains("cunt") && !after.contains("cunt"));
        prop_assume!(before.chars().any(|c| c != 'c') && after.chars().any(|c| c != 't'));
        prop_assert_eq!(find(&words, &text), None);
    }
}
