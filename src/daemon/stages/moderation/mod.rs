//! Moderation: which comments may be seen, decided by a list of stages.
//!
//! In: comments, either from the event log after publication ([`worker`], the default) or from
//! ingest before it ([`screen`], for streams in synchronous mode). Out: decisions, appended to the
//! event log if they delete; comments for a person to review, in the review queue of the metadata
//! store.
//!
//! Always holds: every comment of a moderated stream is checked by one of the two. A decision is
//! durable before the worker's position moves past its comment; after a crash it may be made again,
//! which changes nothing downstream. While moderation or one of its engines is down, comments pass,
//! and are checked when it is back.
//!
//! When full: the worker falls behind, and the log keeps the rest. While the metadata store is
//! down, flagged comments wait in memory up to a bound and deletions continue; at the bound the
//! worker waits.

pub mod pipeline;
mod reviews;
pub mod rules;
pub mod screen;
pub mod worker;

#[cfg(test)]
pub(crate) mod samples;

use std::sync::Arc;

use crate::daemon::base::config::{ModerationConfig, ModerationStage, RulesConfig};
use crate::daemon::engines::directory::Streams;

pub use self::pipeline::{Explanation, Finding, Pipeline, Reloaded, Stage, Subject, Verdict};
pub use self::rules::{RoomLinks, RulesError, RulesStage, check_terms};
pub use self::screen::{ModerationScreen, ModerationScreenParts};
pub use self::worker::{ModerationWorker, ModerationWorkerParts};

fn rules_stage(
    config: &RulesConfig,
    streams: Option<&Streams>,
) -> Result<Arc<dyn Stage>, RulesError> {
    let rules = RulesStage::new(config)?;
    Ok(Arc::new(match streams {
        Some(streams) => rules.with_rooms(streams.clone()),
        None => rules,
    }))
}

/// Builds the configured stages, in their order. With streams, comments are held to the terms and
/// languages of their rooms.
pub fn build_pipeline(
    config: &ModerationConfig,
    streams: Option<&Streams>,
) -> Result<Pipeline, RulesError> {
    let stages = config.stages.iter().map(|stage| match stage {
        ModerationStage::Rules => rules_stage(&config.rules, streams),
    });
    Ok(Pipeline::new(stages.collect::<Result<_, _>>()?))
}
