//! Moderation: which comments may be seen, decided by a list of stages.
//!
//! In: comments; from the event log after they were published ([`worker`], the default), or from
//! ingest before ([`screen`], for streams that want it). Out: decisions, appended to the event log
//! where they delete; comments for a person to look at, in the review queue of the metadata store.
//!
//! Always holds: every comment of a stream that is moderated is checked by one of the two. A decision
//! is durable before the worker's position moves past the comment it is about; after a crash it may
//! be made again, which changes nothing downstream. While moderation or what it needs is down,
//! comments pass, and are checked when it returns.
//!
//! When full: the worker is behind and the log keeps. Flagged comments wait in memory for a metadata
//! store that is down, up to a bound, while deletions go on; at the bound the worker waits.

pub mod pipeline;
mod reviews;
pub mod rules;
pub mod screen;
pub mod worker;

#[cfg(test)]
pub(crate) mod samples;

use std::sync::Arc;

use crate::daemon::base::config::{ModerationConfig, ModerationStage};

pub use self::pipeline::{Finding, Pipeline, Stage, Subject, Verdict};
pub use self::rules::{RulesError, RulesStage};
pub use self::screen::ModerationScreen;
pub use self::worker::ModerationWorker;

/// The stages of the configuration, in its order.
pub fn build_pipeline(config: &ModerationConfig) -> Result<Pipeline, RulesError> {
    let stages = config.stages.iter().map(|stage| match stage {
        ModerationStage::Rules => {
            RulesStage::new(&config.rules).map(|stage| Arc::new(stage) as Arc<dyn Stage>)
        }
    });
    Ok(Pipeline::new(stages.collect::<Result<_, _>>()?))
}
