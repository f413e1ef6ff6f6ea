//! The model stage: how toxic a comment is, and how much it looks like spam.
//!
//! In: a comment. Out: accept, flag, or the configured action, with both scores and the version of
//! the model. Of the two tasks the more severe decides.
//!
//! Always holds: the same comment, model and thresholds give the same finding, because nothing is
//! remembered of a comment. Staff and the configured users are exempt, and their comments are not
//! scored. No lock is held while a comment is scored, and each thread uses buffers of its own again
//! and again. A reload replaces weights and thresholds together; files that cannot be used change
//! nothing. A comment costs microseconds, linear in its length.
//!
//! When full: nothing is queued here.

mod limits;
mod loaded;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

pub use self::loaded::ModelError;

use self::limits::TaskLimits;
use self::loaded::LoadedModel;
use super::pipeline::{Explanation, Finding, Stage, Subject, severity};
use crate::classifier::Task;
use crate::classifier::features::FeatureExtractor;
use crate::daemon::base::config::ModelConfig;
use crate::protocol::UserId;
use crate::protocol::admin::TriedScore;

/// The reasons this stage gives; part of the protocol.
pub mod reason {
    pub const HIGH_TOXICITY: &str = "high_toxicity";
    pub const SPAM: &str = "spam";
}

/// The note about a user with a role that is not judged.
const STAFF_IS_EXEMPT: &str = "moderators, broadcasters and admins are not judged by the model";
/// The note about a user that the configuration exempts.
const USER_IS_EXEMPT: &str = "this user is one of moderation.model.exempt_users";

thread_local! {
    /// The buffers of this thread. Their size is bounded by the longest comment.
    static EXTRACTOR: RefCell<FeatureExtractor> = RefCell::default();
}

/// The stage.
#[derive(Debug)]
pub struct ModelStage {
    config: ModelConfig,
    exempt_users: HashSet<UserId>,
    /// Replaced by a reload.
    loaded: ArcSwap<LoadedModel>,
}

/// The score of a comment for one task, and the limits that it is compared with.
#[derive(Debug, Clone, Copy)]
struct Judged {
    task: Task,
    score: f32,
    limits: TaskLimits,
}

impl ModelStage {
    /// Creates the stage; reads the files that are configured. Blocks.
    ///
    /// # Errors
    /// The weights, or the thresholds of the site, cannot be used.
    pub fn new(config: &ModelConfig) -> Result<Self, ModelError> {
        Ok(Self {
            exempt_users: config.exempt_users.iter().copied().collect(),
            loaded: ArcSwap::from_pointee(LoadedModel::load(config)?),
            config: config.clone(),
        })
    }

    /// Returns the reason why a user's comments are not judged.
    fn exemption(&self, subject: &Subject<'_>) -> Option<&'static str> {
        if subject.role.is_some_and(|role| role.is_staff()) {
            return Some(STAFF_IS_EXEMPT);
        }
        self.exempt_users.contains(&subject.comment.user_id).then_some(USER_IS_EXEMPT)
    }

    fn judge(&self, subject: &Subject<'_>) -> Finding {
        if self.exemption(subject).is_some() {
            return Finding::accept();
        }
        let loaded = self.loaded.load();
        finding(&self.scores(&loaded, subject), &loaded)
    }

    fn scores(&self, loaded: &LoadedModel, subject: &Subject<'_>) -> [Judged; 2] {
        EXTRACTOR.with_borrow_mut(|extractor| {
            Task::ALL.map(|task| Judged {
                task,
                score: loaded.model.score(task, &subject.comment.message, extractor).score,
                limits: TaskLimits::of(&self.config, task).shifted(subject.lowered, subject.raised),
            })
        })
    }
}

/// Returns the more severe decision; of equal ones that of toxicity.
fn finding(judged: &[Judged], loaded: &LoadedModel) -> Finding {
    let mut finding = Finding::accept();
    for Judged { task, score, limits } in judged {
        let decision = limits.decision(*score);
        if severity(decision) > severity(finding.decision) {
            finding = Finding::new(decision, reason_of(*task));
            finding.score = Some(*score);
        }
    }
    finding.scores = judged.iter().map(|one| (one.task.as_str(), one.score)).collect();
    finding.model = Some(loaded.name.clone());
    finding
}

fn reason_of(task: Task) -> &'static str {
    match task {
        Task::Toxicity => reason::HIGH_TOXICITY,
        Task::Spam => reason::SPAM,
    }
}

#[async_trait]
impl Stage for ModelStage {
    fn name(&self) -> &'static str {
        "model"
    }

    async fn check(&self, subject: &Subject<'_>) -> Finding {
        self.judge(subject)
    }

    async fn explain(&self, subject: &Subject<'_>) -> Explanation {
        if let Some(note) = self.exemption(subject) {
            return Explanation { note: Some(note.to_owned()), ..Finding::accept().into() };
        }
        let loaded = self.loaded.load_full();
        let judged = self.scores(&loaded, subject);
        let scores = judged.iter().map(|Judged { task, score, limits }| TriedScore {
            name: task.as_str().to_owned(),
            score: *score,
            flag_from: limits.flag,
            action_from: limits.reject,
            action: limits.action,
            setting: format!("moderation.model.{}_action", task.as_str()),
        });
        let scores = scores.collect();
        Explanation { scores, ..finding(&judged, &loaded).into() }
    }

    /// Reads the weights and the thresholds of the site again.
    fn reload(&self) -> Result<Option<String>, String> {
        if self.config.file.is_none() && self.config.calibration.is_none() {
            return Ok(None);
        }
        let loaded = LoadedModel::load(&self.config).map_err(|error| error.to_string())?;
        let done = format!("model {} is in force, {}", loaded.name, loaded.origin);
        self.loaded.store(Arc::new(loaded));
        Ok(Some(done))
    }
}

#[cfg(test)]
mod tests;
