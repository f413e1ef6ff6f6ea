use std::path::Path;

use proptest::prelude::*;

use super::calibration::calibration_error;
use super::metrics::{Curve, Scored};
use super::recipe::{Material, choose_chat, spam_examples, toxicity_examples};
use super::samples::{Sample, read_samples};
use super::training::{Example, FeatureSet, TrainingOptions, train};
use super::*;

fn tiny_options(task: Task) -> TrainingOptions {
    let options = match task {
        Task::Toxicity => TrainingOptions::TOXICITY,
        Task::Spam => TrainingOptions::SPAM,
    };
    TrainingOptions { bits: 10, epochs: 10, ..options }
}

fn examples() -> Vec<Example> {
    let good = ["what a nice save", "hello from berlin", "is this the second map", "gg wp"];
    let bad = ["you are stupid", "stupid idiot", "what an idiot you are", "shut up idiot"];
    let example = |text: &str, positive| Example { text: text.to_owned(), positive, weight: 1.0 };
    let good = good.iter().map(|text| example(text, false));
    good.chain(bad.iter().map(|text| example(text, true))).collect()
}

fn tiny_task(task: Task) -> TaskModel {
    let options = tiny_options(task);
    let set = FeatureSet::new(&examples(), &options);
    TaskModel {
        bits: options.bits,
        networks: vec![train(&set, &options, 1)],
        platt: Platt { slope: 0.9, offset: 0.25 },
        thresholds: Thresholds { flag: 0.5, reject: 2.125 },
        training: TrainingRecord {
            seeds: vec![1],
            sources: vec!["tests".to_owned()],
            examples: examples().len(),
        },
    }
}

fn tiny_model() -> Model {
    Model {
        version: "test".to_owned(),
        checksum: String::new(),
        toxicity: tiny_task(Task::Toxicity),
        spam: tiny_task(Task::Spam),
    }
}

#[test]
fn training_is_repeatable_and_separates() {
    let model = tiny_model();
    assert_eq!(model, tiny_model());
    let options = tiny_options(Task::Toxicity);
    let set = FeatureSet::new(&examples(), &options);
    assert_ne!(train(&set, &options, 1), train(&set, &options, 2));
    let mut extractor = FeatureExtractor::default();
    for task in Task::ALL {
        let rows: Vec<_> = examples()
            .iter()
            .map(|example| Scored {
                score: model.score(task, &example.text, &mut extractor).z,
                positive: example.positive,
            })
            .collect();
        assert_eq!(Curve::new(&rows).auc(), Some(1.0), "{rows:?}");
    }
}

/// Weights in files are only of use while features stay where they are.
#[test]
fn features_stay_where_they_are() {
    let mut extractor = FeatureExtractor::default();
    let features = extractor.extract("you n00b!", Form::Folded, 18);
    let words = features.of(feature_hash::FeatureKind::Word);
    insta::assert_snapshot!(format!("{words:?}"));
    let chars = features.of(feature_hash::FeatureKind::Char);
    assert_eq!(chars.len(), 4 + 3 + 2 + 1 + 6 + 5 + 4 + 3);
    assert!(features.of(feature_hash::FeatureKind::Shape).is_empty());
    let features = extractor.extract("WIN at www.free-gift.com!!", Form::Plain, 18);
    let shape = features.of(feature_hash::FeatureKind::Shape);
    insta::assert_snapshot!(format!("{shape:?}"));
}

#[test]
fn a_written_model_is_read_back() {
    let model = tiny_model();
    let bytes = weights::encode(&model).unwrap();
    let read = weights::decode(&bytes).unwrap();
    assert_eq!(read.checksum.len(), 8);
    assert_eq!(Model { checksum: String::new(), ..read }, model);
}

#[test]
fn a_damaged_file_is_an_error() {
    let bytes = weights::encode(&tiny_model()).unwrap();
    for length in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        assert!(weights::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    for at in (0..bytes.len()).step_by(37).chain(0..64) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(weights::decode(&damaged).is_err(), "byte {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(weights::decode(&longer), Err(WeightsError::WrongLength { .. })));
    assert!(matches!(weights::decode(b"hello"), Err(WeightsError::NotWeights)));
    let mut newer = bytes;
    newer[8] = 2;
    assert!(matches!(weights::decode(&newer), Err(WeightsError::UnknownFormat { found: 2 })));
}

#[test]
fn a_model_out_of_bounds_is_not_written() {
    let change = |change: fn(&mut Model)| {
        let mut model = tiny_model();
        change(&mut model);
        weights::encode(&model).unwrap_err().to_string()
    };
    let error = change(|model| model.spam.thresholds.reject = 0.25);
    assert!(error.contains("0.25; right would be more than 0.5"), "{error}");
    let error = change(|model| model.version.clear());
    assert_eq!(error, "the length of its version is 0; right would be 1 to 32");
    let error = change(|model| model.toxicity.networks[0].head.bias = f32::NAN);
    assert_eq!(error, "a number of a network is not finite");
    let error = change(|model| model.toxicity.networks[0].rows.truncate(9));
    assert!(error.starts_with("the length of its tables"), "{error}");
}

#[test]
fn scores_meet_the_bounds_at_the_thresholds() {
    let thresholds = Thresholds { flag: 3.5, reject: 5.5 };
    let bounds = Task::Toxicity.bounds();
    assert_eq!(thresholds.score(3.5, bounds), 0.5);
    assert_eq!(thresholds.score(5.5, bounds), 0.7);
    assert!(thresholds.score(3.5_f32.next_down(), bounds) < 0.5);
    assert!(thresholds.score(5.5_f32.next_down(), bounds) < 0.7);
    let zs = [5.0, 1.0, 4.0, 2.0, 3.0];
    let shares = ChatShares { flag: 0.4, reject: 0.2 };
    let fitted = Thresholds::of_chat(&zs, shares).unwrap();
    assert_eq!(zs.iter().filter(|z| **z >= fitted.flag).count(), 2);
    assert_eq!(zs.iter().filter(|z| **z >= fitted.reject).count(), 1);
    assert_eq!(Thresholds::of_chat(&[], shares), None);
}

#[test]
fn platt_finds_the_probabilities() {
    // Of 100 rows at z = −1, 20 are positive; of 100 at z = 1, 70 are.
    let rows: Vec<_> = (0..200)
        .map(|number| {
            let high = number >= 100;
            let positive = if high { number < 170 } else { number < 20 };
            Scored { score: if high { 1.0 } else { -1.0 }, positive }
        })
        .collect();
    let platt = Platt::fit(&rows);
    assert!((platt.probability(-1.0) - 0.2).abs() < 0.01, "{platt:?}");
    assert!((platt.probability(1.0) - 0.7).abs() < 0.01, "{platt:?}");
    let probable = rows.iter().map(|row| Scored { score: platt.probability(row.score), ..*row });
    assert!(calibration_error(&probable.collect::<Vec<_>>()) < 0.01);
    let separated = [Scored { score: 1.0, positive: true }, Scored { score: 0.0, positive: false }];
    assert!(Platt::fit(&separated).slope.is_finite());
}

fn sample(text: &str, source: &str, label: Option<bool>) -> Sample {
    Sample { text: text.to_owned(), source: source.to_owned(), label, ..Sample::default() }
}

#[test]
fn the_recipe_weighs_and_copies() {
    let labelled = [
        sample("long text", "wiki_context_toxicity", Some(false)),
        sample("buy now", "uci_youtube", Some(true)),
    ];
    let labelled: Vec<_> = labelled.iter().collect();
    let chat = [sample("gg", "", None), sample("gg", "", None), sample("you slut", "", None)];
    let chat = choose_chat(&chat, 10, 1);
    assert_eq!(chat.len(), 2);
    let template = Sample { variants: 20, ..sample("{a|b{c|d}} idiot", "own", Some(true)) };
    let written = [template];
    let material = Material { labelled: &labelled, chat: &chat, written: &written };
    let toxicity = toxicity_examples(&material, 1);
    assert_eq!(toxicity, toxicity_examples(&material, 1));
    assert_eq!(toxicity[0].weight, 0.5);
    assert!(toxicity.iter().all(|example| example.text != "you slut"), "no example of chat");
    for text in ["a idiot", "bc idiot", "bd idiot"] {
        assert!(toxicity.iter().any(|example| example.text == text), "{text}: {toxicity:?}");
    }
    assert!(toxicity.iter().any(|example| example.text.ends_with("id*ot")), "{toxicity:?}");
    let spam = spam_examples(&material, 1);
    assert_eq!(spam[1].weight, 5.0);
    assert!(spam[1].positive);
}

#[test]
fn no_pipe_of_a_shell_splits_a_template() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lines");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for sample in read_samples(std::fs::File::open(&path).unwrap()).unwrap() {
            assert!(!sample.text.contains(" | "), "{}: {}", path.display(), sample.text);
        }
    }
}

#[test]
fn the_shipped_model_tells_texts_apart() {
    let model = Model::built_in().unwrap();
    let mut extractor = FeatureExtractor::default();
    let mut verdict = |task, text| model.score(task, text, &mut extractor).verdict;
    for text in ["you are a fucking retarded faggot", "kill yourself you stupid bitch"] {
        assert!(verdict(Task::Toxicity, text) >= Verdict::Flag, "{text}");
    }
    let spam = "Check out my channel and subscribe!!! http://www.freegifts.com";
    assert!(verdict(Task::Spam, spam) >= Verdict::Flag);
    for text in ["gg", "nice save", "EZ Clap", "the Scunthorpe assassin", "привет всем", "LUL"]
    {
        assert_eq!(verdict(Task::Toxicity, text), Verdict::Accept, "{text}");
        assert_eq!(verdict(Task::Spam, text), Verdict::Accept, "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_score(text in "\\PC{0,80}") {
        let model = tiny_model();
        let mut extractor = FeatureExtractor::default();
        for task in Task::ALL {
            let first = model.score(task, &text, &mut extractor);
            prop_assert!(first.z.is_finite() && (0.0..=1.0).contains(&first.score));
            // Buffers keep nothing from one text to the next.
            model.score(task, "another text", &mut extractor);
            prop_assert_eq!(model.score(task, &text, &mut extractor), first);
        }
    }

    #[test]
    fn bytes_of_others_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(weights::decode(&bytes).is_err());
        let named = [&b"LCMODEL\0\x01\0"[..], &bytes].concat();
        prop_assert!(weights::decode(&named).is_err());
    }
}
