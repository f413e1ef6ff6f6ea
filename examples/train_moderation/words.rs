//! Makes the list of frequent words by which disguised words are read (`src/classifier/words.txt`).

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use live_comments::classifier::{Task, is_stretched};

use crate::data::{Data, is_held_out};

/// Data sets of short texts, whose words are counted.
const SOURCES: [&str; 5] = ["davidson", "paradetox", "surge", "toxic_spans", "notoxic_dota2"];
const LEAST_COUNT: usize = 10;
/// Letters of a counted word. Shorter ones are counted if they are in `SHORT`.
const LETTERS: RangeInclusive<usize> = 3..=14;

const SHORT: &str = include_str!("../../models/words/short.txt");
/// Parts of addresses, placeholders, and words that are written with a letter too many.
const DROPPED: &str = include_str!("../../models/words/dropped.txt");
/// Innocent words with a rude part, and words of games. They follow the counted ones.
const ADDED: &str = include_str!("../../models/words/added.txt");

/// Returns the words, the most frequent first: counted in the rows that networks learn from before
/// they are measured, so in no row that is held out and in no text of the evasion suite.
fn word_list(data: &Data) -> String {
    let rows = data.labelled(Task::Toxicity).iter().filter(|sample| {
        let is_counted = SOURCES.contains(&sample.source.as_str());
        is_counted && data.may_train_on(sample, &[]) && !is_held_out(sample)
    });
    let mut counts: HashMap<String, usize> = HashMap::new();
    for sample in rows {
        let text = sample.text.to_lowercase().replace(['\'', '’'], "");
        for word in text.split(|c: char| !c.is_ascii_lowercase()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let short: HashSet<_> = SHORT.lines().collect();
    let dropped: HashSet<_> = DROPPED.lines().collect();
    let is_word = |word: &str| {
        let fits = LETTERS.contains(&word.len()) || short.contains(word);
        let letters: Vec<char> = word.chars().collect();
        fits && !dropped.contains(word) && !is_stretched(&letters)
    };
    let mut counted: Vec<_> =
        counts.into_iter().filter(|(word, count)| *count >= LEAST_COUNT && is_word(word)).collect();
    counted.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    let counted: Vec<_> = counted.iter().map(|(word, _)| word.as_str()).collect();
    let added = ADDED.lines().filter(|word| !counted.contains(word));
    counted.iter().copied().chain(added).map(|word| format!("{word}\n")).collect()
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classifier/words.txt")
}

pub(crate) fn write(data: &Data) -> anyhow::Result<()> {
    let list = word_list(data);
    println!("{} words in {}", list.lines().count(), path().display());
    std::fs::write(path(), list).context("cannot write the list of words")
}

/// Fails if the classifier reads texts by another list than the data gives.
pub(crate) fn check(data: &Data) -> anyhow::Result<()> {
    let list = std::fs::read_to_string(path()).context("cannot read the list of words")?;
    ensure!(list == word_list(data), "the list of words is of other data: run with --words first");
    Ok(())
}
