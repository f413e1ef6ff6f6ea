//! Moderation by the model over real sockets: who sees a comment that it rejects, what is recorded,
//! and what becomes of files that cannot be used.
//!
//! The thresholds are placed between the scores of the texts below, so that other weights change
//! nothing here.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use live_comments::classifier::calibration::Thresholds;
use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::weights::{self, MAX_FILE_BYTES};
use live_comments::classifier::{Model, Task, Verdict};
use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::Role;
use live_comments::protocol::admin::{Cluster, ModerationDecision, Outcome, TextTrial};
use live_comments::protocol::events::Decision;
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::support::lcd::lcd;
use crate::support::moderation::{deletion, queue, queue_of};
use crate::support::{self, Daemon, PATIENCE, Viewer, history_texts, moderated, msgpack};

const TOXIC: &str = "you are a fucking retarded faggot";
const RUDE: &str = "shut up you stupid idiot";
const SPAM: &str = "Check out my channel and subscribe!!! http://www.freegifts.com";
const FINE: &str = "what a lovely evening";
/// Thresholds that no text reaches.
const NEVER: Thresholds = Thresholds { flag: 1000.0, reject: 1001.0 };
/// The exit code of a configuration that cannot be used.
const INVALID: Option<i32> = Some(64);

fn z(model: &Model, task: Task, text: &str) -> f32 {
    model.score(task, text, &mut FeatureExtractor::default()).z
}

/// Returns thresholds at which `TOXIC` is rejected and `RUDE` is flagged.
fn toxicity_thresholds(model: &Model) -> Thresholds {
    let [high, middle, low] = [TOXIC, RUDE, FINE].map(|text| z(model, Task::Toxicity, text));
    assert!(high > middle && middle > low, "{high} {middle} {low}");
    Thresholds { flag: f32::midpoint(middle, low), reject: f32::midpoint(high, middle) }
}

/// Returns thresholds at which `SPAM` is rejected, and no other text is flagged.
fn spam_thresholds(model: &Model) -> Thresholds {
    let high = z(model, Task::Spam, SPAM);
    let others = [TOXIC, RUDE, FINE].map(|text| z(model, Task::Spam, text));
    let next = others.into_iter().fold(f32::MIN, f32::max);
    assert!(high > next, "{high} {next}");
    let reject = f32::midpoint(high, next);
    Thresholds { flag: f32::midpoint(reject, next), reject }
}

/// The files of a site's model.
struct Files {
    folder: TempDir,
    model: Model,
}

impl Files {
    /// Writes thresholds at which `TOXIC` is rejected, `RUDE` flagged and `SPAM` rejected.
    fn new() -> Self {
        let files =
            Self { folder: tempfile::tempdir().unwrap(), model: Model::built_in().unwrap() };
        let mut text = format!("model = \"{}\"\n", files.model.name());
        for (task, Thresholds { flag, reject }) in [
            (Task::Toxicity, toxicity_thresholds(&files.model)),
            (Task::Spam, spam_thresholds(&files.model)),
        ] {
            let task = task.as_str();
            text.push_str(&format!("[{task}]\nflag = {flag:?}\nreject = {reject:?}\n"));
        }
        std::fs::write(files.calibration(), text).unwrap();
        files
    }

    fn calibration(&self) -> PathBuf {
        self.folder.path().join("site.toml")
    }

    fn weights(&self) -> PathBuf {
        self.folder.path().join("own.lcm")
    }

    /// Returns settings with the thresholds.
    fn config(&self) -> String {
        format!("[moderation.model]\ncalibration = {:?}\n", self.calibration())
    }
}

async fn decisions(daemon: &Daemon) -> Vec<ModerationDecision> {
    let path = "/v1/mod/decisions";
    let decisions: Cluster<ModerationDecision> = daemon.admin().get(path).await.unwrap();
    decisions.items
}

async fn try_text(daemon: &Daemon, text: &str) -> TextTrial {
    daemon.admin().post("/v1/mod/test", &json!({"text": text})).await.unwrap()
}

/// Waits until the daemon's log says this.
async fn log_says(daemon: &Daemon, text: &str) {
    let said = async {
        while !daemon.log().contains(text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.expect(text);
}

#[tokio::test]
async fn a_rejected_comment_leaves_every_screen() {
    let files = Files::new();
    let daemon = Daemon::start(&files.config());
    let mut sender = daemon.join(42, "troll").await;
    let mut other_page = daemon.join(42, "troll").await;
    let mut viewers = [
        daemon.watch().await,
        daemon.watch().await,
        Viewer::join(msgpack(daemon.options())).await,
        daemon.join(43, "ann").await,
    ];
    for (text, reason) in [(TOXIC, "high_toxicity"), (SPAM, "spam")] {
        // The ack says that it was published.
        let (id, _) = sender.comment(text).await;
        for viewer in viewers.iter_mut().chain([&mut other_page]) {
            let deleted = viewer.until(deletion).await;
            assert_eq!((deleted.comment_id, &*deleted.reason), (id, reason));
        }
    }
    sender.comment(FINE).await;
    moderated(&daemon).await;
    assert_eq!(history_texts(&daemon).await, [FINE]);
    let all = decisions(&daemon).await;
    assert_eq!(all.len(), 2, "{all:?}");
    for (reason, score) in [("high_toxicity", "toxicity"), ("spam", "spam")] {
        let made = all.iter().find(|made| made.reason == reason).unwrap();
        assert_eq!(made.decision, Decision::Reject);
        assert_eq!(made.stage.as_deref(), Some("model"));
        assert_eq!(made.model, Some(files.model.name()));
        assert_eq!(made.scores.keys().collect::<Vec<_>>(), ["spam", "toxicity"]);
        assert_eq!(made.score, Some(made.scores[score]));
        assert!(made.score.unwrap() >= 0.7, "{made:?}");
    }
    assert!(queue(&daemon).await.is_empty());
    let (status, _) = support::http(&daemon, "GET", "/metrics", &[], None).await;
    assert_eq!(status, 200);
    let metrics =
        support::raw(&daemon, b"GET /metrics HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    let metrics = String::from_utf8(metrics.await).unwrap();
    let count = "lcd_moderation_score_count{task=\"toxicity\"} 3";
    assert!(metrics.contains(count), "{count} is not in:\n{metrics}");
    for text in [TOXIC, SPAM] {
        assert!(!daemon.log().contains(text), "no text is in the log");
    }
}

#[tokio::test]
async fn a_flagged_comment_waits_for_a_person() {
    let files = Files::new();
    let daemon = Daemon::start(&files.config());
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    let (id, seq) = sender.comment(RUDE).await;
    moderated(&daemon).await;
    viewer.until_seq(seq).await;
    assert_eq!(viewer.texts(), [RUDE], "it is shown meanwhile");
    let waiting = queue_of(&daemon, 1).await;
    let [item] = &waiting[..] else { panic!("{waiting:?}") };
    assert_eq!((item.comment_id, &*item.reason, item.held), (id, "high_toxicity", false));
    let request = json!({"comment_id": id});
    let _: Outcome = daemon.admin().post("/v1/mod/reject", &request).await.unwrap();
    assert_eq!(viewer.until(deletion).await.comment_id, id);
    let made = decisions(&daemon).await;
    assert_eq!(made[0].stage.as_deref(), Some("model"), "{made:?}");
    assert_eq!(made[0].model, Some(files.model.name()), "{made:?}");
}

#[tokio::test]
async fn staff_and_trusted_bots_are_not_judged() {
    let files = Files::new();
    let daemon = Daemon::start(&format!("{}exempt_users = [\"77\"]\n", files.config()));
    let token = Some(daemon.token_of(7, "mod", Role::Moderator).into());
    let mut moderator = Viewer::join(ViewerOptions { token, ..daemon.options() }).await;
    moderator.comment(TOXIC).await;
    daemon.join(77, "bot").await.comment(SPAM).await;
    moderated(&daemon).await;
    assert_eq!(history_texts(&daemon).await, [TOXIC, SPAM]);
    assert!(decisions(&daemon).await.is_empty());
}

/// The model may reject a comment that the rules flag.
#[tokio::test]
async fn the_strictest_stage_decides() {
    let files = Files::new();
    let blocked = "[moderation.rules]\nblocked_words = [\"retarded\", \"lovely\"]\n\
                   blocked_word_action = \"flag\"\n";
    let daemon = Daemon::start(&format!("{blocked}{}", files.config()));
    let mut sender = daemon.join(42, "troll").await;
    let (toxic, _) = sender.comment(TOXIC).await;
    let (flagged, _) = sender.comment(FINE).await;
    assert_eq!(sender.until(deletion).await.comment_id, toxic);
    moderated(&daemon).await;
    let waiting = queue(&daemon).await;
    let waiting: Vec<_> = waiting.iter().map(|item| (item.comment_id, &*item.reason)).collect();
    assert_eq!(waiting, [(flagged, "blocked_word")]);
    let tried = try_text(&daemon, TOXIC).await;
    assert_eq!(
        (tried.decision, tried.reason.as_deref()),
        (Decision::Reject, Some("high_toxicity"))
    );
    let [rules, model] = &tried.stages[..] else { panic!("{tried:?}") };
    assert!(rules.decision == Decision::Flag && !rules.decides && model.decides, "{tried:?}");
    assert_eq!(model.model, Some(files.model.name()));
    let [toxicity, spam] = &model.scores[..] else { panic!("{model:?}") };
    assert_eq!((&*toxicity.name, toxicity.flag_from, toxicity.action_from), ("toxicity", 0.5, 0.7));
    assert_eq!((&*spam.name, spam.flag_from, spam.action_from), ("spam", 0.6, 0.8));
    assert_eq!(model.score, Some(toxicity.score));
    assert!(toxicity.score >= 0.7 && spam.score < 0.6, "{model:?}");
}

/// The thresholds that ship, on texts whose scores the weights decide.
#[tokio::test]
async fn without_settings_the_shipped_model_decides() {
    let model = Model::built_in().unwrap();
    let mut extractor = FeatureExtractor::default();
    let daemon = Daemon::start("");
    for text in [TOXIC, RUDE, SPAM, FINE, "gg", "EZ Clap"] {
        let verdicts = Task::ALL.map(|task| model.score(task, text, &mut extractor).verdict);
        let expected = match verdicts.into_iter().max().unwrap() {
            Verdict::Accept => Decision::Accept,
            Verdict::Flag => Decision::Flag,
            Verdict::Reject => Decision::Reject,
        };
        let tried = try_text(&daemon, text).await;
        assert_eq!(tried.stages.last().unwrap().decision, expected, "{text}: {tried:?}");
    }
}

/// Runs `lcd check` and `lcd`, which must refuse the configuration with these words.
fn refused(config: &str, words: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for command in [&["check"][..], &[]] {
        let run = lcd(config, &data, "127.0.0.1:0", command);
        assert_eq!(run.code, INVALID, "{command:?}: {}", run.text);
        for word in words {
            assert!(run.text.contains(word), "{command:?}: {word} is not in:\n{}", run.text);
        }
        assert!(!data.exists(), "{command:?} has created the data directory");
    }
}

#[test]
fn files_that_are_no_model_are_refused() {
    let files = Files::new();
    let path = files.weights();
    let config = format!("[moderation.model]\nfile = {path:?}\n");
    let name = path.to_str().unwrap();
    let right = "right would be a file that scripts/train writes";
    refused(&config, &["moderation.model.file", "cannot read", name, right]);
    let mut bytes = weights::encode(&files.model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    refused(&config, &["moderation.model.file", name, "its checksum is wrong", right]);
    std::fs::File::create(&path).unwrap().set_len(MAX_FILE_BYTES as u64 + 1).unwrap();
    refused(&config, &["moderation.model.file", name, "at most 67108864 are read", right]);
}

#[test]
fn thresholds_of_another_model_are_refused() {
    let files = Files::new();
    let path = files.calibration();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&files.model.name(), "0 (00000000)")).unwrap();
    let name = files.model.name();
    let words = [
        "moderation.model.calibration",
        path.to_str().unwrap(),
        "it was fitted for model 0 (00000000)",
        "lc mod calibrate --output",
        &name,
    ];
    refused(&files.config(), &words);
}

/// Writes the weights with another version and other thresholds for toxicity, and for spam with
/// ones that no text reaches.
fn write_weights(path: &Path, model: &Model, version: &str, toxicity: Thresholds) {
    let mut model = Model { version: version.to_owned(), ..model.clone() };
    model.toxicity.thresholds = toxicity;
    model.spam.thresholds = NEVER;
    std::fs::write(path, weights::encode(&model).unwrap()).unwrap();
}

#[tokio::test]
async fn sighup_swaps_the_weights() {
    let files = Files::new();
    let path = files.weights();
    let site = toxicity_thresholds(&files.model);
    write_weights(&path, &files.model, "never", NEVER);
    let daemon = Daemon::start(&format!("[moderation.model]\nfile = {path:?}\n"));
    let mut sender = daemon.join(42, "troll").await;
    let mut viewer = daemon.watch().await;
    sender.comment(TOXIC).await;
    moderated(&daemon).await;
    assert_eq!(history_texts(&daemon).await, [TOXIC], "the first weights reject nothing");

    write_weights(&path, &files.model, "second", site);
    daemon.signal(Signal::SIGHUP);
    log_says(&daemon, "model second (").await;
    let (id, _) = sender.comment(TOXIC).await;
    assert_eq!(viewer.until(deletion).await.comment_id, id);
    moderated(&daemon).await;
    let made = decisions(&daemon).await;
    assert!(made[0].model.as_ref().unwrap().starts_with("second ("), "{made:?}");

    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    daemon.signal(Signal::SIGHUP);
    log_says(&daemon, "its checksum is wrong").await;
    log_says(&daemon, "reload failed; moderation stays as it was").await;
    let (id, _) = sender.comment(TOXIC).await;
    assert_eq!(viewer.until(deletion).await.comment_id, id, "the second weights are in force");
    let tried = try_text(&daemon, TOXIC).await;
    let model = tried.stages.last().unwrap();
    assert!(model.model.as_ref().unwrap().starts_with("second ("), "{tried:?}");
}
