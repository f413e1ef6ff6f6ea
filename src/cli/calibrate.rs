//! `lc mod calibrate FILE`: fits the thresholds of the moderation model to a site's own chat. Needs
//! no daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::path;
use super::context::Context;
use super::evaluate::{WeightsArgs, read_file};
use super::exit::UsageError;
use super::output::note;
use crate::classifier::calibration::{ChatShares, SiteCalibration, Thresholds};
use crate::classifier::features::FeatureExtractor;
use crate::classifier::samples::Sample;
use crate::classifier::{Model, Task};
use crate::net::replace_file::replace_file;
use crate::protocol::quantity::{counted, parse_share};

/// Fit the thresholds of the moderation model to a site's own chat
///
/// FILE has a JSON object per line with the key text, such as a recording, and may be compressed
/// with gzip. Take ordinary chat, of several streams, at least 2000 texts: what is flagged there
/// is taken for a false alarm. The thresholds are those that only the given shares of the texts
/// exceed. Needs no daemon.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CalibrateArgs {
    /// The chat
    #[arg(value_name = "FILE", value_parser = path)]
    file: PathBuf,

    /// Share of the texts that may be flagged or rejected as toxic
    #[arg(long, value_name = "SHARE", default_value = "0.5%", value_parser = share)]
    flag: f64,

    /// Share of the texts that may be rejected as toxic
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = share)]
    reject: f64,

    /// Share of the texts that may be flagged or rejected as spam
    #[arg(long, value_name = "SHARE", default_value = "0.25%", value_parser = share)]
    spam_flag: f64,

    /// Share of the texts that may be rejected as spam
    #[arg(long, value_name = "SHARE", default_value = "0.05%", value_parser = share)]
    spam_reject: f64,

    /// Write the thresholds to this file, in TOML
    #[arg(long, short, value_name = "FILE", value_parser = path)]
    output: Option<PathBuf>,

    #[command(flatten)]
    model: WeightsArgs,
}

const EXAMPLES: &str = "\
Examples:
  lc mod calibrate chat.jsonl.gz --output calibration.toml
  lc mod eval tonight.jsonl --calibration calibration.toml";

/// Fewer texts than these place a threshold by chance.
const MIN_TEXTS: usize = 2_000;

fn share(text: &str) -> Result<f64, String> {
    let share = parse_share(text)?.share();
    if (0.0..=0.5).contains(&share) {
        Ok(share)
    } else {
        Err(format!("`{text}`: at most half of ordinary chat may be flagged; write 0.5%"))
    }
}

/// The answer of `lc mod calibrate`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(super) struct CalibrationReport {
    /// Version and checksum of the model that the thresholds are for.
    model: String,
    texts: usize,
    toxicity: TaskThresholds,
    spam: TaskThresholds,
}

/// The output of a task's networks from which texts are flagged, and rejected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
struct TaskThresholds {
    flag: f32,
    reject: f32,
}

impl From<Thresholds> for TaskThresholds {
    fn from(Thresholds { flag, reject }: Thresholds) -> Self {
        Self { flag, reject }
    }
}

/// Fits the thresholds, prints them and writes them.
///
/// # Errors
/// A file cannot be read or written, or more texts are to be rejected than flagged.
pub(super) fn run(args: &CalibrateArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let CalibrateArgs { flag, reject, spam_flag, spam_reject, .. } = *args;
    if reject > flag || spam_reject > spam_flag {
        let text = "what is rejected is flagged, too: --reject must not be above --flag";
        return Err(UsageError(text.to_owned()).into());
    }
    let model = args.model.load()?;
    let samples = read_file(&args.file)?;
    if samples.len() < MIN_TEXTS {
        let texts = counted(samples.len() as u64, "text");
        note(&format!(
            "lc: warning: {texts} place the thresholds roughly; take {MIN_TEXTS} or more"
        ));
    }
    let toxicity = ChatShares { flag, reject };
    let spam = ChatShares { flag: spam_flag, reject: spam_reject };
    let site = calibrate(&model, &samples, toxicity, spam).context("no text to calibrate on")?;
    let toml = to_toml(&site, samples.len());
    if let Some(path) = &args.output {
        // A daemon that reads it meanwhile gets the old one or the new one.
        replace_file(path, toml.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let report = CalibrationReport {
        model: site.model,
        texts: samples.len(),
        toxicity: site.toxicity.into(),
        spam: site.spam.into(),
    };
    context.output().item(&report, || toml)?;
    Ok(ExitCode::SUCCESS)
}

fn calibrate(
    model: &Model,
    samples: &[Sample],
    toxicity: ChatShares,
    spam: ChatShares,
) -> Option<SiteCalibration> {
    let mut extractor = FeatureExtractor::default();
    let mut fit = |task: Task, shares: ChatShares| {
        let z = |sample: &Sample| model.score(task, &sample.text, &mut extractor).z;
        let zs: Vec<_> = samples.iter().map(z).collect();
        Thresholds::of_chat(&zs, shares)
    };
    let toxicity = fit(Task::Toxicity, toxicity)?;
    let spam = fit(Task::Spam, spam)?;
    Some(SiteCalibration { model: model.name(), toxicity, spam })
}

/// Writes the thresholds as the file that `--calibration` reads.
fn to_toml(site: &SiteCalibration, texts: usize) -> String {
    let SiteCalibration { model, toxicity, spam } = site;
    let texts = counted(texts as u64, "text");
    format!(
        "# Fitted to {texts} by lc mod calibrate.\n\
         # flag and reject are outputs z of the networks, not scores from 0 to 1: the score of a\n\
         # text is 0.5 at flag and 0.7 at reject for toxicity, 0.6 and 0.8 for spam.\n\
         model = \"{model}\"\n\n[toxicity]\nflag = {}\n\
         reject = {}\n\n[spam]\nflag = {}\nreject = {}\n",
        toxicity.flag, toxicity.reject, spam.flag, spam.reject
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use figment::Figment;
    use figment::providers::{Format as _, Toml};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CalibrateArgs,
    }

    #[test]
    fn default_shares_are_those_of_the_model() {
        let args = Line::try_parse_from(["calibrate", "chat.jsonl"]).unwrap().args;
        let toxicity = ChatShares { flag: args.flag, reject: args.reject };
        assert_eq!(toxicity, Task::Toxicity.chat_shares());
        let spam = ChatShares { flag: args.spam_flag, reject: args.spam_reject };
        assert_eq!(spam, Task::Spam.chat_shares());
        assert!(Line::try_parse_from(["calibrate", "chat.jsonl", "--flag", "60%"]).is_err());
        let fitted = ["calibrate", "chat.jsonl", "--calibration", "calibration.toml"];
        assert!(Line::try_parse_from(fitted).is_err(), "thresholds are not fitted to thresholds");
    }

    #[test]
    fn a_written_calibration_is_read_back() {
        let mut model = Model::built_in().unwrap();
        let samples: Vec<_> = ["hello", "nice save", "gg", "you idiot"]
            .map(|text| Sample { text: text.to_owned(), ..Sample::default() })
            .to_vec();
        let shares = ChatShares { flag: 0.25, reject: 0.0 };
        let site = calibrate(&model, &samples, shares, shares).unwrap();
        let toml = to_toml(&site, samples.len());
        assert!(toml.contains("not scores from 0 to 1"), "{toml}");
        let read: SiteCalibration = Figment::from(Toml::string(&toml)).extract().unwrap();
        assert_eq!(read, site);
        model.calibrate(&read).unwrap();
        let mut extractor = FeatureExtractor::default();
        let mut flagged = |text: &str| {
            model.score(Task::Toxicity, text, &mut extractor).score >= Task::Toxicity.bounds().flag
        };
        assert!(flagged("you idiot"));
        assert!(!flagged("hello"));
        let other = SiteCalibration { model: "2 (ffffffff)".to_owned(), ..site };
        assert!(model.calibrate(&other).unwrap_err().to_string().contains("fit it again"));
    }
}
