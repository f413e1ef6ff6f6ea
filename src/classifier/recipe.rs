//! The material of the shipped model: which texts it learns from, how often, with which weight.
//!
//! In: labelled samples, lines of ordinary chat, and the lines written for this project
//! (`models/lines`). Out: examples. Always holds: the same input and seed give the same examples.

use std::collections::HashSet;

use super::random::Random;
use super::samples::Sample;
use super::training::Example;

/// Data sets whose toxicity lies in the context or in long texts; they count half.
const CONTEXT_SOURCES: [&str; 3] = ["cad", "edos", "wiki_context_toxicity"];
const CONTEXT_WEIGHT: f32 = 0.5;
const HAM_WEIGHT: f32 = 0.7;
const WRITTEN_WEIGHT: f32 = 1.5;
/// Each variant of a template counts less, because they repeat the same words.
const TEMPLATE_WEIGHT: f32 = 0.5;
const STARRED_WEIGHT: f32 = 0.7;
/// Share of the texts that are copied with a vowel masked, and of the words in such a copy.
const STARRED_TEXTS: f32 = 0.15;
const STARRED_WORDS: f32 = 0.7;
const YOUTUBE: &str = "uci_youtube";
const YOUTUBE_WEIGHT: f32 = 5.0;

/// Stems of slurs. Lines of chat with one are no examples of ordinary chat.
const SLUR_STEMS: [&str; 16] = [
    "nigg", "fag", "retard", "cunt", "kike", "trann", "chink", "whore", "slut", "bitch", "pussy",
    "rape", "spic", "coon", "dyke", "fuck you",
];

/// Reports whether a data set's toxicity lies in the context or in long texts.
pub fn depends_on_context(source: &str) -> bool {
    CONTEXT_SOURCES.contains(&source)
}

/// Texts that a model is trained on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Material<'a> {
    pub labelled: &'a [&'a Sample],
    /// Ordinary chat, taken for harmless.
    pub chat: &'a [&'a Sample],
    /// Lines written for this project.
    pub written: &'a [Sample],
}

/// Returns the examples of toxicity.
pub fn toxicity_examples(material: &Material<'_>, seed: u64) -> Vec<Example> {
    let mut random = Random::new(seed);
    let mut examples = Vec::new();
    for sample in material.labelled {
        let in_context = depends_on_context(&sample.source);
        let weight = if in_context { CONTEXT_WEIGHT } else { 1.0 };
        let example = example(sample, weight);
        if !in_context && random.share() < STARRED_TEXTS {
            examples.push(starred(&example, &mut random));
        }
        examples.push(example);
    }
    for sample in material.chat.iter().filter(|sample| !has_slur(&sample.text)) {
        examples.push(example(sample, HAM_WEIGHT));
    }
    for sample in expand_with(material.written, &mut random) {
        let weight = if sample.variants > 1 { TEMPLATE_WEIGHT } else { WRITTEN_WEIGHT };
        let example = example(&sample, weight);
        examples.push(starred(&example, &mut random));
        examples.push(example);
    }
    examples
}

/// Returns the examples of spam.
pub fn spam_examples(material: &Material<'_>, seed: u64) -> Vec<Example> {
    let weight = |sample: &&&Sample| if sample.source == YOUTUBE { YOUTUBE_WEIGHT } else { 1.0 };
    let labelled = material.labelled.iter().map(|sample| example(sample, weight(&sample)));
    let chat = material.chat.iter().map(|sample| example(sample, 1.0));
    let written = expand(material.written, seed);
    let written = written.iter().map(|sample| example(sample, 1.0));
    labelled.chain(chat).chain(written).collect()
}

fn example(sample: &Sample, weight: f32) -> Example {
    let positive = sample.label.unwrap_or_default();
    Example { text: sample.text.clone(), positive, weight }
}

/// Returns lines of chat that differ, chosen by the seed, at most `most`.
pub fn choose_chat(samples: &[Sample], most: usize, seed: u64) -> Vec<&Sample> {
    let mut seen = HashSet::new();
    let mut chosen: Vec<_> =
        samples.iter().filter(|sample| seen.insert(sample.text.as_str())).collect();
    Random::new(seed).shuffle(&mut chosen);
    chosen.truncate(most);
    chosen
}

fn has_slur(text: &str) -> bool {
    let lower = text.to_lowercase();
    SLUR_STEMS.iter().any(|stem| lower.contains(stem))
}

/// Returns a copy in which the first vowel behind the first letter of most words is a star.
fn starred(example: &Example, random: &mut Random) -> Example {
    let mut text = String::with_capacity(example.text.len());
    for (number, word) in example.text.split(' ').enumerate() {
        if number > 0 {
            text.push(' ');
        }
        let masked = word.char_indices().skip(1).find(|(_, c)| "aeiouAEIOU".contains(*c));
        match masked {
            Some((at, _)) if word.chars().count() >= 3 && random.share() < STARRED_WORDS => {
                text.push_str(&word[..at]);
                text.push('*');
                text.push_str(&word[at + 1..]);
            }
            _ => text.push_str(word),
        }
    }
    Example { text, weight: STARRED_WEIGHT * example.weight.min(1.0), ..example.clone() }
}

/// Returns the written lines, templates replaced by texts that differ, chosen by the seed.
pub fn expand(written: &[Sample], seed: u64) -> Vec<Sample> {
    expand_with(written, &mut Random::new(seed))
}

fn expand_with(written: &[Sample], random: &mut Random) -> Vec<Sample> {
    let mut expanded = Vec::new();
    for sample in written {
        let mut seen = HashSet::new();
        for _ in 0..sample.variants.max(1) {
            let mut text = String::new();
            choose(&sample.text, random, &mut text);
            if seen.insert(text.clone()) {
                expanded.push(Sample { text, ..sample.clone() });
            }
        }
    }
    expanded
}

/// Writes a template with one of the choices for each `{a|b|c}`, which may contain others.
fn choose(template: &str, random: &mut Random, out: &mut String) {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(group) = group(&rest[open..]) else { break };
        out.push_str(&rest[..open]);
        let choices = choices(&group[1..group.len() - 1]);
        choose(choices[random.below(choices.len())], random, out);
        rest = &rest[open + group.len()..];
    }
    out.push_str(rest);
}

/// Returns the beginning of a text up to the brace that closes its first one.
fn group(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..=at]);
        }
    }
    None
}

/// Splits the inside of a group at the bars that are in no inner group.
fn choices(inside: &str) -> Vec<&str> {
    let mut choices = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => {
                choices.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    choices.push(&inside[start..]);
    choices
}
