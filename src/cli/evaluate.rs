//! `lc mod eval FILE`: measures the moderation model on a file. Needs no daemon.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use figment::Figment;
use figment::providers::{Format as _, Toml};
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::path;
use super::context::Context;
use super::output::{UNKNOWN, note};
use super::table::{show, table};
use crate::classifier::calibration::SiteCalibration;
use crate::classifier::features::FeatureExtractor;
use crate::classifier::metrics::{Curve, Scored};
use crate::classifier::samples::{Sample, read_samples};
use crate::classifier::weights::{self, MAX_FILE_BYTES};
use crate::classifier::{Model, Task, Verdict};
use crate::protocol::quantity::counted;

/// Measure the moderation model on a file of texts
///
/// FILE has a JSON object per line, {"text":"…","label":0} with label 1 for toxic texts or spam,
/// and may be compressed with gzip. A labelled line that names a task, as lc mod decisions --export
/// writes it, counts only if it is that of --task; one that names none always counts. Without
/// labels, such as in a recording, the share of each decision is printed. accuracy: at probability
/// 0.5, with the classes as frequent as in training. recall_at_fpr_1: the highest recall with at
/// most 1 % false positives. at_threshold: at the threshold from which texts are flagged. Needs no
/// daemon.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EvaluateArgs {
    /// The texts
    #[arg(value_name = "FILE", value_parser = path)]
    file: PathBuf,

    /// Class that the label stands for [default: toxicity; without labels, both, and the most
    /// severe decision counts]
    #[arg(long, value_enum)]
    task: Option<TaskArg>,

    #[command(flatten)]
    model: ModelArgs,
}

const EXAMPLES: &str = "\
Examples:
  lc mod eval labelled.jsonl.gz --json | jq .auc
  lc mod eval comments.jsonl --task spam --model own.lcm";

/// The networks of a command that needs no daemon.
#[derive(Debug, Args)]
pub(super) struct WeightsArgs {
    /// Weights in place of the built-in ones; `scripts/train` writes them
    #[arg(long, value_name = "FILE", value_parser = path)]
    model: Option<PathBuf>,
}

/// The model of a command that needs no daemon.
#[derive(Debug, Args)]
struct ModelArgs {
    #[command(flatten)]
    weights: WeightsArgs,

    /// Thresholds of a site, which `lc mod calibrate` writes
    #[arg(long, value_name = "FILE", value_parser = path)]
    calibration: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TaskArg {
    Toxicity,
    Spam,
}

impl From<TaskArg> for Task {
    fn from(task: TaskArg) -> Self {
        match task {
            TaskArg::Toxicity => Self::Toxicity,
            TaskArg::Spam => Self::Spam,
        }
    }
}

impl WeightsArgs {
    /// Reads the model, with its own thresholds.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it should be.
    pub(super) fn load(&self) -> anyhow::Result<Model> {
        let Some(path) = &self.model else {
            return Model::built_in().context("the built-in model");
        };
        let named = || format!("cannot read the model in {}", path.display());
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(named)?;
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(named)?;
        weights::decode(&bytes).with_context(named)
    }
}

impl ModelArgs {
    /// Reads the model.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    fn load(&self) -> anyhow::Result<Model> {
        let mut model = self.weights.load()?;
        if let Some(path) = &self.calibration {
            let named = || format!("cannot use the calibration in {}", path.display());
            let text = std::fs::read_to_string(path).with_context(named)?;
            let site: SiteCalibration =
                Figment::from(Toml::string(&text)).extract().with_context(named)?;
            model.calibrate(&site).with_context(named)?;
        }
        Ok(model)
    }
}

/// Reads a file of texts.
///
/// # Errors
/// The file cannot be read, or one of its lines is no text: `FILE:3: …`.
pub(super) fn read_file(path: &Path) -> anyhow::Result<Vec<Sample>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    read_samples(file).map_err(|error| anyhow::anyhow!(error.in_file(path)))
}

/// The answer of `lc mod eval`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct EvaluationReport {
    /// `toxicity`, `spam`, or `both`.
    task: &'static str,
    /// Version and checksum of the model.
    model: String,
    rows: usize,
    #[serde(flatten)]
    figures: Option<LabelledFigures>,
    decisions: DecisionShares,
}

/// Figures of a file with labels. A figure that needs rows of both classes is null without.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct LabelledFigures {
    auc: Option<f64>,
    /// At probability 0.5, with the classes as frequent as in training.
    accuracy: Option<f64>,
    recall_at_fpr_1: Option<f64>,
    recall_at_fpr_2: Option<f64>,
    recall_at_fpr_5: Option<f64>,
    best_accuracy_at_fpr_2: Option<f64>,
    best_accuracy_at_fpr_5: Option<f64>,
    at_threshold: ThresholdFigures,
}

/// Figures at the threshold from which texts are flagged.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
struct ThresholdFigures {
    fpr: Option<f64>,
    recall: Option<f64>,
}

/// The share of rows that each decision gets, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
struct DecisionShares {
    reject: f64,
    flag: f64,
    accept: f64,
}

/// Prints the figures.
///
/// # Errors
/// The file, the model or the calibration cannot be read; all labels are about another task.
pub(super) fn run(args: &EvaluateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let model = args.model.load()?;
    let mut samples = read_file(&args.file)?;
    let task = args.task.map(Task::from);
    let label_task = task.unwrap_or(Task::Toxicity);
    let left_out = leave_out_others(&mut samples, label_task);
    let about = label_task.as_str();
    if samples.is_empty() {
        anyhow::bail!("{}: no label is about {about}", args.file.display());
    }
    if left_out > 0 {
        let lines = counted(left_out as u64, "line");
        note(&format!("lc: left out {lines} whose task is not {about}"));
    }
    let report = evaluate(&model, &samples, task);
    context.output().item(&report, || to_text(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes the samples with a label that is about another task than `task`, or about none. A line
/// that does not say what its label is about stays. Returns the number removed.
fn leave_out_others(samples: &mut Vec<Sample>, task: Task) -> usize {
    let all = samples.len();
    samples
        .retain(|sample| sample.label.is_none() || sample.task.is_none_or(|of| of == Some(task)));
    all - samples.len()
}

fn evaluate(model: &Model, samples: &[Sample], task: Option<Task>) -> EvaluationReport {
    let is_labelled = samples.first().is_some_and(|sample| sample.label.is_some());
    let tasks = match task {
        Some(task) => vec![task],
        None if is_labelled => vec![Task::Toxicity],
        None => Task::ALL.to_vec(),
    };
    let mut extractor = FeatureExtractor::default();
    let mut rows = Vec::with_capacity(samples.len());
    let mut counts = [0_usize; 3];
    for sample in samples {
        let scores = tasks.iter().map(|task| model.score(*task, &sample.text, &mut extractor));
        let worst = scores.max_by_key(|score| score.verdict);
        let Some(worst) = worst else { continue };
        counts[worst.verdict as usize] += 1;
        rows.push(Scored { score: worst.z, positive: sample.label == Some(true) });
    }
    let share = |verdict: Verdict| counts[verdict as usize] as f64 / samples.len().max(1) as f64;
    EvaluationReport {
        task: if let [task] = tasks[..] { task.as_str() } else { "both" },
        model: model.name(),
        rows: samples.len(),
        figures: is_labelled.then(|| figures(model, tasks[0], &rows)),
        decisions: DecisionShares {
            reject: share(Verdict::Reject),
            flag: share(Verdict::Flag),
            accept: share(Verdict::Accept),
        },
    }
}

fn figures(model: &Model, task: Task, rows: &[Scored]) -> LabelledFigures {
    let part = model.task(task);
    let curve = Curve::new(rows);
    let at_threshold = curve.at(part.thresholds.flag);
    let right = |row: &&Scored| (part.platt.probability(row.score) >= 0.5) == row.positive;
    let right = rows.iter().filter(right).count();
    LabelledFigures {
        auc: curve.auc(),
        accuracy: (!rows.is_empty()).then(|| right as f64 / rows.len() as f64),
        recall_at_fpr_1: curve.recall_at_fpr(0.01),
        recall_at_fpr_2: curve.recall_at_fpr(0.02),
        recall_at_fpr_5: curve.recall_at_fpr(0.05),
        best_accuracy_at_fpr_2: curve.best_accuracy_at_fpr(0.02),
        best_accuracy_at_fpr_5: curve.best_accuracy_at_fpr(0.05),
        at_threshold: ThresholdFigures { fpr: at_threshold.fpr, recall: at_threshold.recall },
    }
}

fn to_text(report: &EvaluationReport) -> String {
    let mut rows = table(&["figure", ">value"]);
    let number =
        |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |value| format!("{value:.4}"));
    if let Some(figures) = &report.figures {
        for (name, value) in [
            ("auc", figures.auc),
            ("accuracy", figures.accuracy),
            ("recall at 1 % fpr", figures.recall_at_fpr_1),
            ("recall at 2 % fpr", figures.recall_at_fpr_2),
            ("recall at 5 % fpr", figures.recall_at_fpr_5),
            ("best accuracy at 2 % fpr", figures.best_accuracy_at_fpr_2),
            ("best accuracy at 5 % fpr", figures.best_accuracy_at_fpr_5),
            ("fpr at the threshold", figures.at_threshold.fpr),
            ("recall at the threshold", figures.at_threshold.recall),
        ] {
            rows.add_row([name.to_owned(), number(value)]);
        }
    }
    let DecisionShares { reject, flag, accept } = report.decisions;
    for (name, share) in [("rejected", reject), ("flagged", flag), ("accepted", accept)] {
        rows.add_row([name.to_owned(), format!("{:.2} %", share * 100.0)]);
    }
    let texts = counted(report.rows as u64, "text");
    format!("{texts}, {}, model {}\n{}", report.task, report.model, show(&rows, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json;

    fn samples(lines: &str) -> Vec<Sample> {
        read_samples(lines.as_bytes()).unwrap()
    }

    #[test]
    fn a_labelled_file_has_all_figures() {
        let lines = "\
            {\"text\":\"you are a fucking retarded idiot, kill yourself\",\"label\":1}\n\
            {\"text\":\"shut up you stupid bitch\",\"label\":1}\n\
            {\"text\":\"what a lovely evening, thanks for the stream\",\"label\":0}\n\
            {\"text\":\"which keyboard is that?\",\"label\":0}\n";
        let model = Model::built_in().unwrap();
        let report = evaluate(&model, &samples(lines), None);
        assert_eq!(report.task, "toxicity");
        let json: serde_json::Value =
            serde_json::from_str(&json::to_string(&report).unwrap()).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        insta::assert_snapshot!(keys.join(" "));
        assert_eq!(json["auc"], 1.0);
        assert_eq!(json["rows"], 4);
        let text = to_text(&EvaluationReport { model: "1 (00000000)".to_owned(), ..report });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_file_without_labels_has_decisions_only() {
        let lines = "{\"ts_ms\":0,\"user\":\"u\",\"text\":\"hello\"}\n{\"text\":\"nice save\"}\n";
        let model = Model::built_in().unwrap();
        let report = evaluate(&model, &samples(lines), None);
        assert_eq!(report.task, "both");
        assert_eq!(report.figures, None);
        let all = DecisionShares { reject: 0.0, flag: 0.0, accept: 1.0 };
        assert_eq!(report.decisions, all);
        assert!(!json::to_string(&report).unwrap().contains("auc"));
        assert_eq!(evaluate(&model, &samples(lines), Some(Task::Spam)).task, "spam");
    }

    #[test]
    fn labels_of_other_tasks_are_left_out() {
        let exported = r#"{"text":"buy followers","label":1,"task":"spam"}
            {"text":"you idiot","label":1,"task":"toxicity"}
            {"text":"the end is that he dies","label":1,"task":null}"#;
        let mut kept = samples(exported);
        assert_eq!(leave_out_others(&mut kept, Task::Toxicity), 2);
        assert_eq!(kept[0].text, "you idiot");
        let mut kept = samples("{\"text\":\"a\",\"label\":1}");
        assert_eq!(leave_out_others(&mut kept, Task::Spam), 0, "no line says what it is about");
        let mixed = format!("{exported}\n{{\"text\":\"gg\",\"label\":0}}");
        let mut kept = samples(&mixed);
        assert_eq!(leave_out_others(&mut kept, Task::Toxicity), 2);
        let texts: Vec<_> = kept.iter().map(|sample| sample.text.as_str()).collect();
        assert_eq!(texts, ["you idiot", "gg"], "one line does not say what it is about");
        let mut kept = samples("{\"text\":\"a\",\"task\":\"spam\"}");
        assert_eq!(leave_out_others(&mut kept, Task::Toxicity), 0, "there is no label");
    }

    #[test]
    fn what_is_no_model_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.lcm");
        let args = WeightsArgs { model: Some(path.clone()) };
        assert!(format!("{:#}", args.load().unwrap_err()).contains("own.lcm: "));
        std::fs::write(&path, "hello, this is no model").unwrap();
        let error = format!("{:#}", args.load().unwrap_err());
        assert!(error.contains("own.lcm: this is not a weights file"), "{error}");
    }
}
