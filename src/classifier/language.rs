//! The language of a text, as far as a room asks whether it is one of its own.
//!
//! Chat is short and full of words of all languages, so this abstains unless it is certain: texts
//! of few words are never foreign. Letters of another script decide by themselves. Among languages
//! in Latin letters the detector has to find another language in the whole text and in both of its
//! halves; the languages of the room are the prior. [docs/models.md](../../docs/models.md) has what
//! was measured.

use icu_properties::CodePointMapData;
use icu_properties::props::Script;
use whichlang::Lang;

use crate::protocol::room::Language;

/// Letters of another script that are enough to be certain.
const MIN_LETTERS_OF_SCRIPT: usize = 4;
/// Words and letters below which a text in Latin letters may be of any language.
const MIN_LATIN_WORDS: usize = 4;
const MIN_LATIN_LETTERS: usize = 20;
/// A script decides if it has at least this share of the letters, in percent.
const MIN_SHARE_OF_SCRIPT: usize = 70;

/// Words of chat in all languages.
const INTERNATIONAL: [&str; 24] = [
    "lol", "lmao", "rofl", "xd", "gg", "ggwp", "wp", "ez", "ok", "okay", "omg", "wtf", "lul",
    "kek", "kekw", "pog", "hype", "hello", "hi", "bye", "sorry", "top", "live", "stream",
];

/// Returns the other language or script of a text that is certainly in none of the allowed
/// languages: the code of a language that can be recognized, or the name of a script. A text in a
/// language that cannot be recognized is reported as the nearest one that can.
pub fn foreign(text: &str, allowed: &[Language]) -> Option<&'static str> {
    let mut words: Vec<&str> = text.split_whitespace().filter_map(word_of_language).collect();
    // A word that is shouted again tells nothing new, and looks like another language.
    words.dedup_by(|word, before| word.eq_ignore_ascii_case(before));
    let letters = Letters::of(&words);
    let may_be = |language| allowed.contains(&language);
    let is_clear = |count: usize| {
        count >= MIN_LETTERS_OF_SCRIPT && count * 100 >= letters.all() * MIN_SHARE_OF_SCRIPT
    };
    if is_clear(letters.latin) {
        return foreign_in_latin(&words, &letters, allowed);
    }
    if is_clear(letters.cyrillic) {
        return (!may_be(Language::Ru)).then_some("cyrillic");
    }
    if is_clear(letters.arabic) {
        return (!may_be(Language::Ar)).then_some("ar");
    }
    if is_clear(letters.devanagari) {
        return (!may_be(Language::Hi)).then_some("hi");
    }
    if is_clear(letters.hangul) {
        return (!may_be(Language::Ko)).then_some("ko");
    }
    if is_clear(letters.han + letters.kana) {
        return match (letters.kana > 0, may_be(Language::Ja)) {
            (_, true) => None,
            (true, false) => Some("ja"),
            // Japanese may have no kana, but Chinese always looks like this.
            (false, false) => (!may_be(Language::Zh)).then_some("zh"),
        };
    }
    // Thai, Hebrew, Greek and others, none of which a room can allow.
    is_clear(letters.other).then_some("other script")
}

fn foreign_in_latin(
    words: &[&str],
    letters: &Letters,
    allowed: &[Language],
) -> Option<&'static str> {
    if words.len() < MIN_LATIN_WORDS || letters.latin < MIN_LATIN_LETTERS {
        return None;
    }
    let detect = |words: &[&str]| language(&words.join(" "));
    let (first, second) = words.split_at(words.len() / 2);
    let found = detect(words);
    let votes = [found, detect(first), detect(second)];
    let is_foreign = votes.iter().all(|language| !allowed.contains(language));
    is_foreign.then_some(found.as_str())
}

/// Returns what is said in a language: nothing of links, mentions, commands, numbers, emotes and
/// words that all languages have in chat.
fn word_of_language(word: &str) -> Option<&str> {
    let is_name = word.starts_with(['@', '#', '!', '/', ':', '-']) || word.ends_with([':', '>']);
    if is_name || word.contains("://") {
        return None;
    }
    let word = word.trim_matches(|c: char| !c.is_alphabetic());
    let is_plain = !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit() || c == '.');
    if !is_plain || is_emote(word) || is_cry(word) {
        return None;
    }
    let is_international = INTERNATIONAL.iter().any(|known| known.eq_ignore_ascii_case(word));
    (!is_international).then_some(word)
}

/// Returns whether a word has a capital letter after a small one, as the names of emotes have:
/// `PogChamp`, `monkaS`.
fn is_emote(word: &str) -> bool {
    let mut letters = word.chars().zip(word.chars().skip(1));
    letters.any(|(one, next)| one.is_ascii_lowercase() && next.is_ascii_uppercase())
}

/// Returns whether a word is laughter or a cry, of one or two letters: `hahaha`, `noooo`.
fn is_cry(word: &str) -> bool {
    let mut seen: [Option<char>; 2] = [None; 2];
    let mut length = 0;
    for letter in word.chars().flat_map(char::to_lowercase) {
        length += 1;
        match seen.iter_mut().find(|known| known.is_none_or(|known| known == letter)) {
            Some(known) => *known = Some(letter),
            None => return false,
        }
    }
    length > 3
}

/// The numbers of letters by script.
#[derive(Debug, Default)]
struct Letters {
    latin: usize,
    cyrillic: usize,
    arabic: usize,
    devanagari: usize,
    han: usize,
    kana: usize,
    hangul: usize,
    other: usize,
}

impl Letters {
    fn of(words: &[&str]) -> Self {
        let scripts = CodePointMapData::<Script>::new();
        let mut letters = Self::default();
        let all = words.iter().flat_map(|word| word.chars());
        for letter in all.filter(|letter| letter.is_alphabetic()) {
            *match scripts.get(letter) {
                Script::Latin => &mut letters.latin,
                Script::Cyrillic => &mut letters.cyrillic,
                Script::Arabic => &mut letters.arabic,
                Script::Devanagari => &mut letters.devanagari,
                Script::Han => &mut letters.han,
                Script::Hiragana | Script::Katakana => &mut letters.kana,
                Script::Hangul => &mut letters.hangul,
                // Letters of mathematics and symbols are of no script.
                Script::Common | Script::Inherited => continue,
                _ => &mut letters.other,
            } += 1;
        }
        letters
    }

    fn all(&self) -> usize {
        self.latin
            + self.cyrillic
            + self.arabic
            + self.devanagari
            + self.han
            + self.kana
            + self.hangul
            + self.other
    }
}

/// Returns the most probable language.
fn language(text: &str) -> Language {
    match whichlang::detect_language(text) {
        Lang::Ara => Language::Ar,
        Lang::Cmn => Language::Zh,
        Lang::Deu => Language::De,
        Lang::Eng => Language::En,
        Lang::Fra => Language::Fr,
        Lang::Hin => Language::Hi,
        Lang::Ita => Language::It,
        Lang::Jpn => Language::Ja,
        Lang::Kor => Language::Ko,
        Lang::Nld => Language::Nl,
        Lang::Por => Language::Pt,
        Lang::Rus => Language::Ru,
        Lang::Spa => Language::Es,
        Lang::Swe => Language::Sv,
        Lang::Tur => Language::Tr,
        Lang::Vie => Language::Vi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::samples::read_samples;

    const ENGLISH: &[Language] = &[Language::En];

    #[test]
    fn certain_texts_are_foreign_and_short_ones_are_not() {
        for (text, found) in [
            ("das war heute wirklich ein sehr schönes Spiel von euch", Some("de")),
            ("Поехали, ребята!", Some("cyrillic")),
            ("바로 나 오늘 아침 일찍 일어나", Some("ko")),
            ("これはとても面白いです", Some("ja")),
            ("这个比赛真的很精彩", Some("zh")),
            ("สวัสดีทุกคน", Some("other script")),
            ("that was a really beautiful game today", None),
            ("gut gemacht", None),
            ("gg wp", None),
            ("hahahaha NOOOOO PogChamp KEKW", None),
            ("late late late late late late late", None),
            ("https://example.com/das/ist/ein/langer/pfad @someone !command", None),
            ("Ж", None),
            ("\u{1F525}\u{1F525}\u{1F525}", None),
            ("", None),
        ] {
            assert_eq!(foreign(text, ENGLISH), found, "{text}");
        }
    }

    #[test]
    fn a_language_of_the_room_is_not_foreign() {
        let german = "das war heute wirklich ein sehr schönes Spiel von euch";
        assert_eq!(foreign(german, &[Language::De, Language::En]), None);
        assert_eq!(foreign("Поехали, ребята!", &[Language::Ru]), None);
        assert_eq!(foreign("日本語", &[Language::Ja]), None);
        assert_eq!(foreign("日本国民は", &[Language::Zh]), Some("ja"));
    }

    /// Prints how many texts of a file are foreign to a room: see docs/models.md.
    /// `LC_TEXTS` and `LC_LANGUAGES` name another file, and what its room allows, to be measured.
    #[test]
    #[allow(clippy::print_stdout, reason = "it measures")]
    fn little_of_an_english_chat_is_foreign() {
        let file = std::env::var_os("LC_TEXTS").map(std::path::PathBuf::from);
        let chat = "fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz";
        let path = file.clone().unwrap_or_else(|| chat.into());
        let codes = std::env::var("LC_LANGUAGES").unwrap_or_else(|_| "en".to_owned());
        let allowed: Vec<Language> = codes.split(',').map(|code| code.parse().unwrap()).collect();
        let samples = read_samples(std::fs::File::open(path).unwrap()).unwrap();
        let found = samples.iter().filter(|sample| foreign(&sample.text, &allowed).is_some());
        let found = found.count();
        let share = found as f64 / samples.len() as f64;
        println!("{} texts, {found} foreign to {codes}: {:.2} %", samples.len(), share * 100.0);
        assert!(file.is_some() || share < 0.005, "{found} of {}", samples.len());
    }
}
