//! The roles that consume the log: `coordinator` (broadcast), `archiver` (archive), `moderator`.

use std::sync::Arc;

use super::NodeBase;
use crate::daemon::base::config::NodeRole;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::engines::directory::Delays;
use crate::daemon::stages::archive::Archiver;
use crate::daemon::stages::broadcast::{Coordinator, CoordinatorParts};
use crate::daemon::stages::control::Control;
use crate::daemon::stages::moderation::{
    HeldChecker, HeldCheckerParts, ModerationWorker, ModerationWorkerParts,
};
use crate::protocol::admin::StageName;

/// The consumers of the roles this node has.
#[derive(Debug)]
pub(super) struct Consumers {
    coordinator: Option<CoordinatorParts>,
    archiver: Option<Archiver>,
    moderator: Option<Arc<ModerationWorker>>,
}

impl Consumers {
    pub(super) fn build(base: &NodeBase) -> Self {
        let coordinator = base.has_role(NodeRole::Coordinator).then(|| CoordinatorParts {
            log: base.engines.log.clone(),
            log_telemetry: base.engines.log_telemetry.clone(),
            bus: base.engines.bus.clone(),
            recent: base.engines.recent.clone(),
            board: base.board.clone(),
            config: Arc::new(base.config.broadcast.clone()),
            overrides: base.overrides.clone(),
            delays: Some(Delays::new(base.streams.clone(), base.clock.clone())),
        });
        let archiver = base.has_role(NodeRole::Archiver).then(|| Archiver {
            log: base.engines.log.clone(),
            store: base.engines.comments.clone(),
            breaker: base.engines.comments_breaker.clone(),
            metrics: base.board.metrics().clone(),
            meter: base.board.telemetry().stage(StageName::Archive),
            problems: base.board.problems().clone(),
            config: base.config.store.clone(),
            clock: base.clock.clone(),
        });
        let moderator = base.has_role(NodeRole::Moderator).then(|| Arc::new(build_moderator(base)));
        Self { coordinator, archiver, moderator }
    }

    pub(super) fn start(self, group: &Supervisor) {
        if let Some(parts) = self.coordinator {
            group.spawn("broadcast", move |stop| {
                let coordinator = Coordinator::new(parts.clone());
                async move { Ok(coordinator.run(stop).await?) }
            });
        }
        if let Some(archiver) = self.archiver {
            group.spawn("archive", move |stop| {
                let archiver = archiver.clone();
                async move { Ok(archiver.run(stop).await?) }
            });
        }
        if let Some(moderator) = self.moderator {
            group.spawn("moderation", move |stop| {
                let moderator = moderator.clone();
                async move { Ok(moderator.run(stop).await?) }
            });
        }
    }
}

/// Starts the check of held comments on a moderator.
pub(super) fn start_held_checker(base: &NodeBase, control: Control, group: &Supervisor) {
    if !base.has_role(NodeRole::Moderator) {
        return;
    }
    let checker = Arc::new(HeldChecker::new(HeldCheckerParts {
        pipeline: base.pipeline.clone(),
        context: base.context.clone(),
        held: Arc::new(control),
        log: base.engines.log.clone(),
        meter: base.board.telemetry().stage(StageName::Moderation),
        state: base.moderation.clone(),
        metrics: base.board.metrics().clone(),
        clock: base.clock.clone(),
        config: base.config.moderation.held.clone(),
    }));
    group.spawn("held comments", move |stop| {
        let checker = checker.clone();
        async move {
            checker.run(stop).await;
            Ok(())
        }
    });
}

fn build_moderator(base: &NodeBase) -> ModerationWorker {
    ModerationWorker::new(ModerationWorkerParts {
        log: base.engines.log.clone(),
        streams: base.streams.clone(),
        pipeline: base.pipeline.clone(),
        context: base.context.clone(),
        metadata: base.engines.metadata.clone(),
        metadata_breaker: base.engines.metadata_breaker.clone(),
        state: base.moderation.clone(),
        metrics: base.board.metrics().clone(),
        meter: base.board.telemetry().stage(StageName::Moderation),
        clock: base.clock.clone(),
        batch_comments: base.config.moderation.batch_comments,
    })
}
