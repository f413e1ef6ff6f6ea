//! The meaning of a network's output: as a probability on labelled texts, and as a score against
//! the ordinary chat of a site.

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::metrics::Scored;

/// Longest step of the fit in each direction.
const MAX_STEP: f64 = 0.25;
/// Steps of the fit; it mostly converges in fewer than twenty.
const NEWTON_STEPS: usize = 50;
/// Least distance between the two thresholds.
const MIN_DISTANCE: f32 = 0.25;

/// Turns z into a probability: 1 ÷ (1 + exp(−(slope · z + offset))).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    pub slope: f32,
    pub offset: f32,
}

impl Platt {
    /// Fits slope and offset to rows whose score is z, by Newton's method on the log loss.
    pub fn fit(rows: &[Scored]) -> Self {
        let positives = rows.iter().filter(|row| row.positive).count() as f64;
        let negatives = rows.len() as f64 - positives;
        // Platt's targets keep the fit finite where z separates the classes.
        let high = (positives + 1.0) / (positives + 2.0);
        let low = 1.0 / (negatives + 2.0);
        let mut slope = 0.5_f64;
        let mut offset = 0.0_f64;
        for _ in 0..NEWTON_STEPS {
            let mut gradient = [0.0; 2];
            let mut hessian = [1e-9, 0.0, 1e-9];
            for row in rows {
                let z = f64::from(row.score);
                let probability = 1.0 / (1.0 + (-(slope * z + offset)).exp());
                let error = probability - if row.positive { high } else { low };
                let curvature = probability * (1.0 - probability);
                gradient[0] += error * z;
                gradient[1] += error;
                hessian[0] += curvature * z * z;
                hessian[1] += curvature * z;
                hessian[2] += curvature;
            }
            let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
            if determinant <= 0.0 {
                break;
            }
            // A step from where most curvatures are near zero may be far too long.
            let step = |numerator: f64| (numerator / determinant).clamp(-MAX_STEP, MAX_STEP);
            slope -= step(hessian[2] * gradient[0] - hessian[1] * gradient[1]);
            offset -= step(hessian[0] * gradient[1] - hessian[1] * gradient[0]);
        }
        Self { slope: slope as f32, offset: offset as f32 }
    }

    /// Returns the probability where the classes are as frequent as in the rows of the fit.
    pub fn probability(&self, z: f32) -> f32 {
        sigmoid(self.slope * z + self.offset)
    }
}

/// Scores from which a text is flagged, and from which it is rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    pub flag: f32,
    pub reject: f32,
}

/// Shares of the texts of a chat, 0 to 1: that are flagged or rejected, and that are rejected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChatShares {
    pub flag: f64,
    pub reject: f64,
}

/// The z at which a text is flagged, and at which it is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub flag: f32,
    pub reject: f32,
}

impl Thresholds {
    /// Returns the lowest thresholds that at most these shares of a site's texts reach. `None`
    /// without texts.
    pub fn of_chat(zs: &[f32], shares: ChatShares) -> Option<Self> {
        let mut zs = zs.to_vec();
        zs.sort_unstable_by(|a, b| b.total_cmp(a));
        // The text after the allowed ones stays below the threshold.
        let above = |share: f64| {
            let at = ((zs.len() as f64 * share) as usize).min(zs.len().saturating_sub(1));
            zs.get(at).map(|z| z.next_up())
        };
        let flag = above(shares.flag)?;
        let reject = above(shares.reject)?.max(flag + MIN_DISTANCE);
        Some(Self { flag, reject })
    }

    /// Returns the thresholds that keep the shares in each of several chats: the higher of each.
    pub fn stricter(self, other: Self) -> Self {
        Self { flag: self.flag.max(other.flag), reject: self.reject.max(other.reject) }
    }

    /// Reports whether both are finite and the texts that are rejected would also be flagged.
    pub fn are_in_order(&self) -> bool {
        self.flag.is_finite() && self.reject.is_finite() && self.flag < self.reject
    }

    /// Returns the verdict on a text.
    pub fn verdict(&self, z: f32) -> Verdict {
        if z >= self.reject {
            Verdict::Reject
        } else if z >= self.flag {
            Verdict::Flag
        } else {
            Verdict::Accept
        }
    }

    /// Returns a score from 0 to 1 that reaches each bound exactly where z reaches its threshold.
    pub fn score(&self, z: f32, bounds: Bounds) -> f32 {
        let low = logit(bounds.flag);
        let slope = (logit(bounds.reject) - low) / (self.reject - self.flag);
        // Rounding must not move a text across a bound.
        let score = sigmoid(low + slope * (z - self.flag));
        match self.verdict(z) {
            Verdict::Reject => score.max(bounds.reject),
            Verdict::Flag => score.clamp(bounds.flag, bounds.reject.next_down()),
            Verdict::Accept => score.min(bounds.flag.next_down()),
        }
    }
}

/// Returns the mean distance between probability and share of positives, over bins of a tenth,
/// weighted by their rows. The score of a row is its probability.
pub fn calibration_error(rows: &[Scored]) -> f64 {
    let mut bins = [[0.0_f64; 2]; 10];
    for row in rows {
        let bin = &mut bins[((row.score * 10.0) as usize).min(9)];
        bin[0] += f64::from(row.score);
        bin[1] += f64::from(u8::from(row.positive));
    }
    let distance: f64 = bins.iter().map(|[expected, found]| (expected - found).abs()).sum();
    distance / (rows.len() as f64).max(1.0)
}

pub(super) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

fn logit(probability: f32) -> f32 {
    (probability / (1.0 - probability)).ln()
}

/// Thresholds that were fitted to a site's own chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteCalibration {
    /// The name of the model whose z they are.
    pub model: String,
    pub toxicity: Thresholds,
    pub spam: Thresholds,
}

/// A reason why a site's thresholds cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error("it was fitted for model {fitted}, and this is model {used}; fit it again")]
    OtherModel { fitted: String, used: String },
    #[error("{task}: the threshold `reject` ({reject}) must be above `flag` ({flag})")]
    NotInOrder { task: &'static str, flag: f32, reject: f32 },
}
