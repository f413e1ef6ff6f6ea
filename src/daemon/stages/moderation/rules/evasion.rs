//! The evasion suite: every term of the starter list in every disguise is found, and no innocent
//! text is. `docs/moderation.md` has its table.

#![allow(clippy::print_stdout, reason = "tests print what they measured")]

use super::fold::Reading;
use super::starter::{starter_list, terms};

/// One innocent text per line.
const INNOCENT: &str = include_str!("evasion_innocent.txt");

type Disguise = (&'static str, fn(&str) -> String);

const DISGUISES: [Disguise; 12] = [
    ("capitals", |term| each(term, |at, c| if at % 2 == 0 { upper(c) } else { c.into() })),
    ("digits", |term| each(term, |_, c| replaced(c, "aeiost", "431057"))),
    ("symbols", |term| each(term, |_, c| replaced(c, "asi", "@$!"))),
    ("spaces", |term| parted(term, " ")),
    ("dots", |term| parted(term, ".")),
    ("stretched", |term| each(term, |at, c| c.to_string().repeat(1 + at % 3))),
    ("look-alikes", |term| each(term, |_, c| replaced(c, "aceopxyis", "асеорхуіѕ"))),
    ("full width", |term| each(term, |_, c| shifted(c, 0xFF41))),
    ("mathematical", |term| each(term, |_, c| shifted(c, 0x1D41A))),
    ("zero width", |term| each(term, |_, c| format!("{c}\u{200b}"))),
    ("zalgo", |term| each(term, |_, c| format!("{c}\u{336}\u{307}\u{35f}"))),
    ("stars", starred),
];

fn each(term: &str, disguise: impl Fn(usize, char) -> String) -> String {
    let letters = term.chars().enumerate();
    letters.map(|(at, c)| if c == ' ' { " ".to_owned() } else { disguise(at, c) }).collect()
}

fn upper(c: char) -> String {
    c.to_uppercase().collect()
}

fn replaced(c: char, plain: &str, disguised: &str) -> String {
    let at = plain.chars().position(|one| one == c);
    at.and_then(|at| disguised.chars().nth(at)).unwrap_or(c).to_string()
}

/// Writes a letter in the alphabet that begins at `a`.
fn shifted(c: char, a: u32) -> String {
    let letter = || char::from_u32(a + c as u32 - 'a' as u32);
    Some(c).filter(char::is_ascii_lowercase).and_then(|_| letter()).unwrap_or(c).to_string()
}

/// Parts the letters of each word; words are further apart.
fn parted(term: &str, mark: &str) -> String {
    let spelled = |word: &str| word.chars().map(String::from).collect::<Vec<_>>().join(mark);
    term.split(' ').map(spelled).collect::<Vec<_>>().join("  ")
}

/// Masks the first inner vowel of each word of four letters or more, or of a word by itself.
fn starred(term: &str) -> String {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let words: Vec<&str> = term.split(' ').collect();
    let mask = |word: &&str| {
        let letters: Vec<char> = word.chars().collect();
        let vowel = (1..letters.len().saturating_sub(1)).find(|at| is_vowel(letters[*at]));
        let is_masked = |at| Some(at) == vowel && (letters.len() >= 4 || words.len() == 1);
        let masked = letters.iter().enumerate().map(|(at, c)| if is_masked(at) { '*' } else { *c });
        masked.collect::<String>()
    };
    words.iter().map(mask).collect::<Vec<_>>().join(" ")
}

fn is_found(text: &str) -> bool {
    starter_list(&[]).find(&Reading::new(text)).is_some()
}

fn plain_terms() -> Vec<String> {
    terms().iter().map(|term| term.trim_matches('*').to_owned()).collect()
}

#[test]
fn no_disguise_hides_a_starter_term() {
    let mut lost_by_disguise = Vec::new();
    let mut lost_by_term = std::collections::BTreeMap::<String, Vec<&str>>::new();
    let frames = ["", "go and ", "well, "].into_iter().zip(["", " now", "!"]);
    let frames: Vec<_> = frames.collect();
    for (name, disguise) in DISGUISES {
        let mut lost = 0;
        for term in plain_terms() {
            let text = disguise(&term);
            let is_lost =
                frames.iter().any(|(before, after)| !is_found(&format!("{before}{text}{after}")));
            if is_lost {
                lost += 1;
                lost_by_term.entry(term).or_default().push(name);
            }
        }
        lost_by_disguise.push((name, lost));
    }
    println!("{} terms: {lost_by_disguise:?}", plain_terms().len());
    // `k*s` may be anything.
    let expected = [("kys".to_owned(), vec!["stars"])];
    assert_eq!(lost_by_term.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn two_disguises_at_once_rarely_hide_a_term() {
    let mut lost = Vec::new();
    let mut tried = 0;
    for (first_name, first) in DISGUISES {
        for (second_name, second) in [DISGUISES[0], DISGUISES[1], DISGUISES[6], DISGUISES[9]] {
            for term in plain_terms() {
                tried += 1;
                let text = first(&second(&term));
                if first_name != second_name && !is_found(&text) {
                    lost.push(format!("{first_name}, {second_name}: {text}"));
                }
            }
        }
    }
    println!("{} of {tried} lost", lost.len());
    let shown = &lost[..lost.len().min(40)];
    assert!(lost.len() * 10 <= tried, "{} of {tried}: {shown:#?}", lost.len());
}

#[test]
fn no_innocent_text_has_a_starter_term() {
    let texts: Vec<&str> =
        INNOCENT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(texts.len() >= 150, "{}", texts.len());
    let list = starter_list(&[]);
    let find = |text: &str| list.find(&Reading::new(text)).map(str::to_owned);
    let found: Vec<_> = texts.iter().filter_map(|text| Some((text, find(text)?))).collect();
    assert!(found.is_empty(), "{found:#?}");
    for text in texts {
        for dressed in [text.to_uppercase(), text.to_lowercase(), format!("{text}!!!")] {
            assert_eq!(find(&dressed), None, "{dressed}");
        }
    }
}

#[test]
fn longer_forms_of_open_terms_are_found() {
    for text in
        ["niggers", "n*gg*r", "n*gg*rs", "f*gg*t", "FAGGOTS", "k*ll y*urself", "k1ll ur5elf"]
    {
        assert!(is_found(text), "{text}");
    }
}
