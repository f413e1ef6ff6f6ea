//! The moderation model: how toxic a text is, and how much it looks like spam.
//!
//! In: a text, and the bytes of a weights file. Out: a [`Score`] per [`Task`]. The same code trains
//! the networks (`training`, `recipe`; not in a daemon alone), measures them (`metrics`) and fits
//! them to a site's chat (`calibration`). Always holds: the same text and weights give the same
//! score; there is no clock, no I/O and no state between calls; the buffers for a text are
//! those of its [`FeatureExtractor`], which are used again, and only what is rare, such as a text
//! in single letters, allocates; a weights file that is damaged is an error, never a wrong score.
//! Nothing is queued here.

pub mod calibration;
mod digits;
pub mod feature_hash;
pub mod features;
#[cfg(feature = "daemon")]
pub mod language;
pub mod metrics;
pub mod network;
pub mod normalise;
#[cfg(any(feature = "lc", test))]
mod random;
#[cfg(any(feature = "lc", test))]
pub mod recipe;
pub mod samples;
mod shape;
#[cfg(any(feature = "lc", test))]
pub mod training;
mod vocabulary;
pub mod weights;

use serde::{Deserialize, Serialize};

use calibration::{Bounds, CalibrationError, ChatShares, Platt, SiteCalibration, Thresholds};
use features::FeatureExtractor;
use network::Network;
use normalise::Form;
use weights::WeightsError;

pub use vocabulary::is_stretched;

/// The weights that this version ships.
const BUILT_IN: &[u8] = include_bytes!("../../models/moderation.lcm");

/// The property that a text is judged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Toxicity,
    Spam,
}

impl Task {
    pub const ALL: [Self; 2] = [Self::Toxicity, Self::Spam];

    /// Returns the name in files and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Toxicity => "toxicity",
            Self::Spam => "spam",
        }
    }

    /// Returns the scores from which texts are flagged and rejected by default.
    pub fn bounds(self) -> Bounds {
        match self {
            Self::Toxicity => Bounds { flag: 0.5, reject: 0.7 },
            Self::Spam => Bounds { flag: 0.6, reject: 0.8 },
        }
    }

    /// Returns the shares of ordinary chat that the thresholds are fitted to: at most these are
    /// flagged, and rejected.
    pub fn chat_shares(self) -> ChatShares {
        match self {
            Self::Toxicity => ChatShares { flag: 0.005, reject: 0.001 },
            Self::Spam => ChatShares { flag: 0.0025, reject: 0.0005 },
        }
    }

    fn form(self) -> Form {
        match self {
            Self::Toxicity => Form::Folded,
            Self::Spam => Form::Plain,
        }
    }
}

/// The decision that a text's scores lead to, from the mildest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Accept,
    Flag,
    Reject,
}

/// The judgement of a text for one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The output of the networks; higher is worse.
    pub z: f32,
    /// From 0 to 1; reaches the bounds of [`Task::bounds`] where the model's thresholds are, which
    /// are fitted to ordinary chat.
    pub score: f32,
    pub verdict: Verdict,
}

/// The source of the networks of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// One network was trained with each.
    pub seeds: Vec<u64>,
    /// Names of the data sets.
    pub sources: Vec<String>,
    /// Texts, with copies.
    pub examples: usize,
}

/// The networks of one task, whose outputs are averaged, and what their output means.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskModel {
    /// Tables have 2^bits rows.
    pub bits: u32,
    pub networks: Vec<Network>,
    pub platt: Platt,
    pub thresholds: Thresholds,
    pub training: TrainingRecord,
}

/// The networks of all tasks.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Given by those who trained it: 1 to 32 characters.
    pub version: String,
    /// The first eight hexadecimal digits of the file's checksum; empty before it is written.
    pub checksum: String,
    pub toxicity: TaskModel,
    pub spam: TaskModel,
}

impl Model {
    /// Returns the model that this version ships.
    ///
    /// # Errors
    /// None in a program that passed its tests.
    pub fn built_in() -> Result<Self, WeightsError> {
        weights::decode(BUILT_IN)
    }

    /// Returns the part for a task.
    pub fn task(&self, task: Task) -> &TaskModel {
        match task {
            Task::Toxicity => &self.toxicity,
            Task::Spam => &self.spam,
        }
    }

    /// Replaces the thresholds by those that were fitted to a site's chat.
    ///
    /// # Errors
    /// They belong to another model, or are not in order. The model is then as before.
    pub fn calibrate(&mut self, site: &SiteCalibration) -> Result<(), CalibrationError> {
        let used = self.name();
        if site.model != used {
            return Err(CalibrationError::OtherModel { fitted: site.model.clone(), used });
        }
        for (task, thresholds) in [(Task::Toxicity, site.toxicity), (Task::Spam, site.spam)] {
            if !thresholds.are_in_order() {
                let Thresholds { flag, reject } = thresholds;
                return Err(CalibrationError::NotInOrder { task: task.as_str(), flag, reject });
            }
        }
        self.toxicity.thresholds = site.toxicity;
        self.spam.thresholds = site.spam;
        Ok(())
    }

    /// Returns version and checksum, which name a model in decisions: `1 (3f9a0c12)`.
    pub fn name(&self) -> String {
        format!("{} ({})", self.version, self.checksum)
    }

    /// Judges a text, of which the first 4,000 characters are read.
    pub fn score(&self, task: Task, text: &str, extractor: &mut FeatureExtractor) -> Score {
        let model = self.task(task);
        let z = model.z(task.form(), text, extractor);
        let bounds = task.bounds();
        let score = model.thresholds.score(z, bounds);
        Score { z, score, verdict: model.thresholds.verdict(z) }
    }
}

impl TaskModel {
    /// Returns the mean output of the networks.
    pub fn z(&self, form: Form, text: &str, extractor: &mut FeatureExtractor) -> f32 {
        let features = extractor.extract(text, form, self.bits);
        let sum: f32 = self.networks.iter().map(|network| network.logit(features)).sum();
        sum / self.networks.len().max(1) as f32
    }
}

#[cfg(test)]
mod tests;
