//! The evasion suite: every term of the starter list in every disguise is found, and no innocent
//! text is. `docs/moderation.md` has its table. `model` does the same with the model.

#![allow(clippy::print_stdout, reason = "tests print what they measured")]

mod disguise;
mod model;

use disguise::DISGUISES;

use super::fold::Reading;
use super::starter::{starter_list, terms};

/// One innocent text per line.
const INNOCENT: &str = include_str!("innocent.txt");

fn innocent_texts() -> Vec<&'static str> {
    INNOCENT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
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
        let seconds = [DISGUISES[0], DISGUISES[1], DISGUISES[6], DISGUISES[9]].into_iter();
        for (second_name, second) in seconds.filter(|(name, _)| *name != first_name) {
            for term in plain_terms() {
                tried += 1;
                let text = first(&second(&term));
                if !is_found(&text) {
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
    let texts = innocent_texts();
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
