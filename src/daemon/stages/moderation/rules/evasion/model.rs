//! The evasion suite of the model and the rules together: toxic texts that the model flags, in
//! every disguise, and innocent texts. The texts are paradetox's (`fixtures/SOURCES.md`); no
//! network learned from them.

use super::disguise::DISGUISES;
use super::{innocent_texts, is_found};
use crate::classifier::features::FeatureExtractor;
use crate::classifier::samples::{Sample, read_samples};
use crate::classifier::{Model, Task, Verdict};

/// One toxic text per line.
const TOXIC: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/moderation/toxic_texts.jsonl"));
/// Texts that are disguised.
const TEXTS: usize = 500;

struct Suite {
    model: Model,
    extractor: FeatureExtractor,
}

impl Suite {
    fn new() -> Self {
        let model = Model::built_in().expect("the built-in model");
        Self { model, extractor: FeatureExtractor::default() }
    }

    fn is_flagged(&mut self, task: Task, text: &str) -> bool {
        self.model.score(task, text, &mut self.extractor).verdict >= Verdict::Flag
    }

    fn flagged_texts(&mut self) -> Vec<String> {
        let texts = read_samples(TOXIC).expect("the toxic texts");
        let lower = texts.iter().map(|Sample { text, .. }| text.to_lowercase());
        lower.filter(|text| self.is_flagged(Task::Toxicity, text)).take(TEXTS).collect()
    }
}

#[test]
fn disguises_hide_few_toxic_texts() {
    let mut suite = Suite::new();
    let texts = suite.flagged_texts();
    assert_eq!(texts.len(), TEXTS, "flagged without a disguise");
    let mut too_many = Vec::new();
    for (name, disguise) in DISGUISES {
        let disguised: Vec<_> = texts.iter().map(|text| disguise(text)).collect();
        let by_model: Vec<_> =
            disguised.iter().filter(|text| !suite.is_flagged(Task::Toxicity, text)).collect();
        let by_both = by_model.iter().filter(|text| !is_found(text)).count();
        println!("{name}: the model loses {} of {TEXTS}, with the rules {by_both}", by_model.len());
        if by_both * 10 > TEXTS {
            too_many.push(name);
        }
    }
    assert!(too_many.is_empty(), "more than a tenth: {too_many:?}");
}

#[test]
fn the_model_flags_no_innocent_text() {
    let mut suite = Suite::new();
    let mut flagged = Vec::new();
    for text in innocent_texts() {
        for dressed in [text.to_owned(), text.to_uppercase(), format!("{text}!!!")] {
            for task in Task::ALL {
                if suite.is_flagged(task, &dressed) {
                    flagged.push((task, dressed.clone()));
                }
            }
        }
    }
    assert_eq!(flagged, []);
}
