use std::path::Path;

use futures_util::FutureExt as _;
use tempfile::TempDir;

use super::*;
use crate::classifier::calibration::{Platt, Thresholds};
use crate::classifier::feature_hash::FeatureKind;
use crate::classifier::network::{COLUMNS, Head, Network};
use crate::classifier::normalise::Form;
use crate::classifier::weights::{self, MAX_FILE_BYTES};
use crate::classifier::{Model, TaskModel, TrainingRecord};
use crate::daemon::base::config::RuleAction;
use crate::daemon::stages::moderation::samples::comment;
use crate::protocol::events::Decision;
use crate::protocol::{Comment, Role};

const BITS: u32 = 14;

/// Knows one word. Its z is over 5 for the word, 3.6 for the word beside another, and 0 without.
fn task_model(word: &str, form: Form) -> TaskModel {
    let mut rows = vec![[0; COLUMNS]; 1 << BITS];
    let mut extractor = FeatureExtractor::default();
    let features = extractor.extract(word, form, BITS);
    for kind in [FeatureKind::Word, FeatureKind::Char] {
        features.of(kind).iter().for_each(|place| rows[*place as usize][0] = 127);
    }
    let head = Head::from_numbers(std::iter::empty());
    let network = Network { rows, linear_scale: 1.0 / 127.0, embedding_scale: 1.0, head };
    TaskModel {
        bits: BITS,
        networks: vec![network],
        platt: Platt { slope: 1.0, offset: 0.0 },
        thresholds: Thresholds { flag: 3.0, reject: 5.0 },
        training: TrainingRecord { seeds: vec![1], sources: Vec::new(), examples: 1 },
    }
}

/// Writes a model to which `word` is toxic and `casino` is spam. Returns its name.
fn write_model(path: &Path, version: &str, word: &str) -> String {
    let model = Model {
        version: version.to_owned(),
        checksum: String::new(),
        toxicity: task_model(word, Form::Folded),
        spam: task_model("casino", Form::Plain),
    };
    let bytes = weights::encode(&model).unwrap();
    std::fs::write(path, &bytes).unwrap();
    weights::decode(&bytes).unwrap().name()
}

/// A stage in whose file `idiot` is toxic.
struct Rig {
    folder: TempDir,
    config: ModelConfig,
    name: String,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.lcm");
        let name = write_model(&file, "one", "idiot");
        Self { folder, config: ModelConfig { file: Some(file), ..ModelConfig::default() }, name }
    }

    fn file(&self) -> &Path {
        self.config.file.as_deref().unwrap()
    }

    fn stage(&self) -> ModelStage {
        ModelStage::new(&self.config).unwrap()
    }

    fn error(&self) -> String {
        ModelStage::new(&self.config).unwrap_err().to_string()
    }

    /// Writes thresholds of a site for a model.
    fn calibrate(&mut self, text: &str) {
        let path = self.folder.path().join("site.toml");
        std::fs::write(&path, text).unwrap();
        self.config.calibration = Some(path);
    }
}

fn subject(comment: &Comment) -> Subject<'_> {
    Subject { comment, role: Some(Role::Viewer), lowered: 0.0, raised: 0.0, deadline: None }
}

fn check(stage: &ModelStage, text: &str) -> Finding {
    let comment = comment(1, 2, text);
    stage.check(&subject(&comment)).now_or_never().expect("the model decides without waiting")
}

fn decision(stage: &ModelStage, text: &str) -> Decision {
    check(stage, text).decision
}

#[test]
fn scores_are_compared_with_the_thresholds() {
    let rig = Rig::new();
    let stage = rig.stage();
    let rejected = check(&stage, "idiot");
    assert_eq!((rejected.decision, rejected.reason), (Decision::Reject, reason::HIGH_TOXICITY));
    assert_eq!(rejected.model.as_deref(), Some(&*rig.name));
    assert!(rejected.score.unwrap() >= 0.7);
    let [("toxicity", toxicity), ("spam", spam)] = rejected.scores[..] else { panic!() };
    assert_eq!(rejected.score, Some(toxicity));
    assert!(spam < 0.6);
    let flagged = check(&stage, "idiot hello");
    assert_eq!((flagged.decision, flagged.reason), (Decision::Flag, reason::HIGH_TOXICITY));
    let spam = check(&stage, "casino");
    assert_eq!((spam.decision, spam.reason), (Decision::Reject, reason::SPAM));
    let fine = check(&stage, "hello");
    assert_eq!((fine.decision, fine.reason, fine.score), (Decision::Accept, "", None));
    assert_eq!(fine.scores.len(), 2, "accepted comments are measured, too");
}

#[test]
fn the_model_that_comes_with_lcd_needs_no_file() {
    let stage = ModelStage::new(&ModelConfig::default()).unwrap();
    let model = Model::built_in().unwrap();
    let mut extractor = FeatureExtractor::default();
    let text = "you are a fucking retarded faggot";
    let finding = check(&stage, text);
    assert_ne!(finding.decision, Decision::Accept);
    assert_eq!(finding.model.as_deref(), Some(&*model.name()));
    let score = model.score(Task::Toxicity, text, &mut extractor).score;
    assert_eq!(finding.scores[0], ("toxicity", score));
    assert_eq!(decision(&stage, "nice save"), Decision::Accept);
    assert_eq!(stage.reload(), Ok(None), "no files");
}

#[test]
fn staff_and_trusted_bots_are_not_judged() {
    let mut rig = Rig::new();
    rig.config.exempt_users = vec![UserId(77)];
    let stage = rig.stage();
    let check = |user, role| {
        let comment = comment(1, user, "idiot");
        let subject = Subject { role, ..subject(&comment) };
        let finding = stage.check(&subject).now_or_never().unwrap();
        let explained = stage.explain(&subject).now_or_never().unwrap();
        assert_eq!(explained.finding, finding);
        assert_eq!(explained.note.is_some(), finding.decision == Decision::Accept);
        finding
    };
    assert_eq!(check(2, Some(Role::Moderator)), Finding::accept());
    assert_eq!(check(2, Some(Role::Broadcaster)), Finding::accept());
    assert_eq!(check(77, Some(Role::Viewer)), Finding::accept());
    assert_eq!(check(2, Some(Role::Viewer)).decision, Decision::Reject);
    assert_eq!(check(2, None).decision, Decision::Reject);
}

#[test]
fn thresholds_are_lower_for_some_users() {
    let rig = Rig::new();
    let stage = rig.stage();
    let comment = comment(1, 2, "idiot hello");
    let check = |lowered, raised| {
        let subject = Subject { lowered, raised, ..subject(&comment) };
        let explained = stage.explain(&subject).now_or_never().unwrap();
        assert_eq!(explained.finding, stage.check(&subject).now_or_never().unwrap());
        (explained.finding.decision, explained.scores[0].clone())
    };
    let score = check(0.0, 0.0).1;
    assert_eq!((&*score.name, score.flag_from, score.action_from), ("toxicity", 0.5, 0.7));
    assert_eq!(score.action, Decision::Reject);
    assert_eq!(score.setting, "moderation.model.toxicity_action");
    assert_eq!(check(0.0, 0.0).0, Decision::Flag);
    assert_eq!(check(0.2, 0.0).0, Decision::Reject);
    assert_eq!(check(0.2, 0.0).1.flag_from, 0.5 - 0.2);
    assert_eq!(check(0.0, 0.2).0, Decision::Accept);
}

#[test]
fn actions_are_those_of_the_settings() {
    let mut rig = Rig::new();
    rig.config.toxicity_action = RuleAction::ShadowBan;
    rig.config.spam_action = RuleAction::Accept;
    let stage = rig.stage();
    assert_eq!(decision(&stage, "idiot"), Decision::ShadowBan);
    assert_eq!(decision(&stage, "casino"), Decision::Accept);
    rig.config.toxicity_reject = 1.0;
    rig.config.toxicity_flag = 1.0;
    assert_eq!(decision(&rig.stage(), "idiot"), Decision::Accept);
}

#[test]
fn threads_share_a_stage() {
    let rig = Rig::new();
    let stage = rig.stage();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(decision(&stage, "idiot"), Decision::Reject);
                    assert_eq!(decision(&stage, "hello"), Decision::Accept);
                }
            });
        }
        for _ in 0..20 {
            stage.reload().unwrap();
        }
    });
}

#[test]
fn a_file_that_is_no_model_is_named_with_the_fault() {
    let mut rig = Rig::new();
    let good = std::fs::read(rig.file()).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    let mut newer = good.clone();
    newer[8] = 9;
    for (bytes, fault) in [
        (damaged, "its checksum is wrong"),
        (good[..good.len() - 100].to_vec(), "bytes and should have"),
        (b"hello".to_vec(), "this is not a weights file"),
        (newer, "its format is 9; this program reads format 1"),
        (Vec::new(), "this is not a weights file"),
    ] {
        std::fs::write(rig.file(), bytes).unwrap();
        let error = rig.error();
        for part in ["moderation.model.file: ", "own.lcm", fault, "right would be", "scripts/train"]
        {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
    std::fs::File::create(rig.file()).unwrap().set_len(MAX_FILE_BYTES as u64 + 1).unwrap();
    assert!(rig.error().contains("it has 67108865 bytes; at most 67108864"), "{}", rig.error());
    std::fs::remove_file(rig.file()).unwrap();
    assert!(rig.error().contains("cannot read"), "{}", rig.error());
    rig.config.file = Some(rig.folder.path().to_owned());
    assert!(rig.error().contains("it is not a regular file"), "{}", rig.error());
}

#[test]
fn thresholds_of_a_site_belong_to_one_model() {
    let mut rig = Rig::new();
    let text = |name: &str, flag: f32| {
        format!(
            "model = \"{name}\"\n[toxicity]\nflag = {flag}\nreject = 5.1\n\
             [spam]\nflag = 9\nreject = 10\n"
        )
    };
    let name = rig.name.clone();
    rig.calibrate(&text(&name, 3.7));
    let stage = rig.stage();
    assert_eq!(decision(&stage, "idiot"), Decision::Reject);
    assert_eq!(decision(&stage, "idiot hello"), Decision::Accept);
    assert_eq!(decision(&stage, "casino"), Decision::Accept);
    for (text, fault) in [
        (
            text("1 (00000000)", 3.7),
            "it was fitted for model 1 (00000000), and this is model one (",
        ),
        (text(&name, 5.1), "toxicity: the threshold `reject` (5.1) must be above `flag` (5.1)"),
        (format!("model = \"{name}\"\n"), "missing field `toxicity`"),
        ("model = 7".to_owned(), "`model`: "),
        ("[[[".to_owned(), "TOML"),
        (" ".repeat(70_000), "longer than 65536 bytes"),
    ] {
        rig.calibrate(&text);
        let error = rig.error();
        assert!(!error.contains('\n'), "{error}");
        for part in ["moderation.model.calibration: ", "site.toml", fault, "right would be", &name]
        {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}

#[test]
fn a_reload_changes_all_or_nothing() {
    let mut rig = Rig::new();
    let name = rig.name.clone();
    let thresholds = "[toxicity]\nflag = 3\nreject = 5\n[spam]\nflag = 3\nreject = 5\n";
    rig.calibrate(&format!("model = \"{name}\"\n{thresholds}"));
    let stage = rig.stage();
    let name = write_model(rig.file(), "two", "moron");
    let error = stage.reload().unwrap_err();
    assert!(error.contains("it was fitted for model one"), "{error}");
    assert_eq!(decision(&stage, "idiot"), Decision::Reject, "the old weights are in force");
    assert_eq!(decision(&stage, "moron"), Decision::Accept);
    rig.calibrate(&format!("model = \"{name}\"\n{thresholds}"));
    let done = stage.reload().unwrap().unwrap();
    assert!(
        done.contains(&name) && done.contains("own.lcm") && done.contains("site.toml"),
        "{done}"
    );
    assert_eq!(decision(&stage, "idiot"), Decision::Accept);
    let finding = check(&stage, "moron");
    assert_eq!((finding.decision, finding.model.as_deref()), (Decision::Reject, Some(&*name)));
    std::fs::write(rig.file(), "damaged").unwrap();
    assert!(stage.reload().unwrap_err().contains("this is not a weights file"));
    assert_eq!(decision(&stage, "moron"), Decision::Reject);
}
