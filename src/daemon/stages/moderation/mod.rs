//! Moderation: which comments may be seen, decided by a list of stages.
//!
//! In: comments, either from the event log after publication ([`worker`], the default) or from
//! ingest before it ([`screen`], for streams in synchronous mode). Out: decisions, appended to the
//! event log if they delete; comments for a person to review, in the review queue of the metadata
//! store.
//!
//! Always holds: every comment of a moderated stream is checked by one of the two, or by the check
//! of held comments ([`held`]). A decision is durable before the worker's position moves past its
//! comment; after a crash it may be made again, which changes nothing downstream. While moderation
//! or one of its engines is down, comments pass or are held, as the settings of their room say, and
//! are checked when it is back.
//!
//! When full: the worker falls behind, and the log keeps the rest. While the metadata store is
//! down, flagged comments wait in memory up to a bound and deletions continue; at the bound the
//! worker waits. Comments that are to be held wait in a queue of the edge ([`mod@hold_queue`]).

mod context;
pub mod held;
pub mod hold_queue;
pub mod hook;
pub mod model;
#[cfg(test)]
mod ordinary_chat;
pub mod pipeline;
mod reviews;
pub mod rules;
pub mod screen;
pub mod worker;

#[cfg(test)]
pub(crate) mod samples;

use std::sync::Arc;

use crate::daemon::base::config::{ModerationConfig, ModerationStage, RulesConfig};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::directory::Streams;

pub use self::context::{CommentContext, ModerationContext, ModerationContextParts};
pub use self::held::{HeldChecker, HeldCheckerParts};
pub use self::hold_queue::{HoldQueue, HoldWriter, HoldWriterParts, hold_queue};
pub use self::hook::{HookError, HookStage, try_hook};
pub use self::model::{ModelError, ModelStage};
pub use self::pipeline::{Explanation, Finding, Pipeline, Reloaded, Stage, Subject, Verdict};
pub use self::rules::{RoomLinks, RulesError, RulesStage, check_terms};
pub use self::screen::{ModerationScreen, ModerationScreenParts};
pub use self::worker::{ModerationWorker, ModerationWorkerParts};

/// A reason why a stage cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Hook(#[from] HookError),
}

/// The reasons why the configured stages cannot be built, of each stage its first.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PipelineError(pub Vec<StageError>);

/// Builds the configured stages, in their order. They count and tell their problems on the board.
/// With streams, comments are held to the terms and languages of their rooms. Blocks while it reads
/// the files of the stages.
///
/// # Errors
/// A stage cannot be built. The others were tried, too.
pub fn build_pipeline(
    config: &ModerationConfig,
    board: &StatusBoard,
    streams: Option<&Streams>,
) -> Result<Pipeline, PipelineError> {
    let mut stages = Vec::new();
    let mut errors = Vec::new();
    for stage in &config.stages {
        match build_stage(*stage, config, board, streams) {
            Ok(stage) => stages.push(stage),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(PipelineError(errors));
    }
    Ok(Pipeline::new(stages).with_metrics(board.metrics().clone()))
}

fn build_stage(
    stage: ModerationStage,
    config: &ModerationConfig,
    board: &StatusBoard,
    streams: Option<&Streams>,
) -> Result<Arc<dyn Stage>, StageError> {
    Ok(match stage {
        ModerationStage::Rules => rules_stage(&config.rules, streams)?,
        ModerationStage::Model => Arc::new(ModelStage::new(&config.model)?),
        ModerationStage::Hook => Arc::new(HookStage::new(&config.hook, board)?),
    })
}

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
