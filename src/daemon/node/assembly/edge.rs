//! The role `edge`: gateway, ingest, delivery, reactions.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Base, Fatal};
use crate::daemon::base::handoff::{AuthRequest, ReactionCounts, Submission};
use crate::daemon::edge::gateway::{BoundGateway, Gateway, GatewayParts, ViewerTasks};
use crate::daemon::node::shutdown::{Stops, Supervisors};
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::control::Control;
use crate::daemon::stages::delivery::{
    Delivery, DeliveryHandle, DeliveryParts, DeliveryTasks, ViewerRequests,
};
use crate::daemon::stages::ingest::{self, Ingest, IngestParts, Refs};
use crate::daemon::stages::moderation::{ModerationScreen, ModerationScreenParts};
use crate::daemon::stages::reactions::ReactionWindow;

/// Auth messages that may wait to be verified; more are answered `overloaded`.
const MAX_AUTH_REQUESTS: usize = 4096;
/// Reports of reactions that may wait for their window; workers keep adding up meanwhile.
const MAX_REACTION_REPORTS: usize = 64;

/// Delivery and what viewers' requests go to; no viewer can come yet.
#[derive(Debug)]
pub(super) struct Edge {
    delivery: Delivery,
    ingest: Ingest,
    window: ReactionWindow,
    submissions: (mpsc::Sender<Submission>, mpsc::Receiver<Submission>),
    reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    auth: mpsc::Receiver<AuthRequest>,
}

/// All tasks of the role but the accept loop.
#[derive(Debug)]
pub(super) struct EdgeTasks {
    delivery: Delivery,
    ingest: Ingest,
    window: ReactionWindow,
    submissions: mpsc::Receiver<Submission>,
    reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    viewers: ViewerTasks,
}

impl Edge {
    pub(super) async fn build(base: &Base, refs: Refs) -> anyhow::Result<Self> {
        let (submissions, submissions_end) = ingest::queue(&base.config.ingest);
        let (reactions, reactions_end) = mpsc::channel(MAX_REACTION_REPORTS);
        let (auth, auth_end) = mpsc::channel(MAX_AUTH_REQUESTS);
        let requests = ViewerRequests { submissions: submissions.clone(), reactions, auth };
        let delivery = Delivery::start(DeliveryParts {
            node: base.node(),
            config: base.config.clone(),
            bus: base.engines.bus.clone(),
            log: base.engines.log.clone(),
            recent: base.engines.recent.clone(),
            registry: base.engines.registry.clone(),
            totals: base.engines.totals.clone(),
            requests,
            board: base.board.clone(),
        })
        .await?;
        Ok(Self {
            ingest: build_ingest(base, refs, delivery.handle()),
            window: build_window(base),
            delivery,
            submissions: (submissions, submissions_end),
            reactions: reactions_end,
            auth: auth_end,
        })
    }

    pub(super) fn handle(&self) -> DeliveryHandle {
        self.delivery.handle()
    }

    /// Takes the address; viewers wait in the kernel until the gateway runs.
    pub(super) async fn bind(
        self,
        base: &Base,
        verifier: Arc<Verifier>,
        control: Control,
    ) -> anyhow::Result<(EdgeTasks, Gateway)> {
        let Self { delivery, ingest, window, submissions, reactions, auth } = self;
        let parts = GatewayParts {
            config: base.config.clone(),
            clock: base.clock.clone(),
            verifier,
            streams: base.streams.clone(),
            sanctions: base.sanctions.clone(),
            registry: base.engines.registry.clone(),
            comments: base.engines.comments.clone(),
            metadata: base.engines.metadata.clone(),
            log: base.engines.log.clone(),
            control,
            board: base.board.clone(),
            sink: Arc::new(delivery.handle()),
            submissions: submissions.0,
            auth_requests: auth,
            node: base.node(),
        };
        let BoundGateway { gateway, viewers } = Gateway::bind(parts)?;
        let submissions = submissions.1;
        Ok((EdgeTasks { delivery, ingest, window, submissions, reactions, viewers }, gateway))
    }
}

fn build_ingest(base: &Base, refs: Refs, replies: DeliveryHandle) -> Ingest {
    let screen = ModerationScreen::new(ModerationScreenParts {
        pipeline: base.pipeline.clone(),
        log: base.engines.log.clone(),
        metadata: base.engines.metadata.clone(),
        metadata_breaker: base.engines.metadata_breaker.clone(),
        metrics: base.board.metrics().clone(),
        clock: base.clock.clone(),
    });
    Ingest::new(IngestParts {
        log: base.engines.log.clone(),
        clock: base.clock.clone(),
        config: Arc::new(base.config.ingest.clone()),
        streams: base.streams.clone(),
        sanctions: base.sanctions.clone(),
        refs,
        reservations: base.engines.reservations.clone(),
        screen: Arc::new(screen),
        replies: Arc::new(replies),
        board: base.board.clone(),
    })
}

fn build_window(base: &Base) -> ReactionWindow {
    ReactionWindow::new(
        &base.config.reactions,
        base.engines.totals.clone(),
        base.board.add_breaker("reaction totals"),
        base.engines.bus.clone(),
        base.board.metrics().clone(),
    )
}

impl EdgeTasks {
    pub(super) fn start(
        self,
        supervisors: &Supervisors,
        stops: &Stops,
        fatal: &Fatal,
    ) -> DeliveryHandle {
        let handle = self.delivery.handle();
        start_delivery(self.delivery.into_tasks(&stops.rest), supervisors, &stops.rest, fatal);
        let window = self.window.run(self.reactions, stops.consumers.clone());
        fatal.spawn(&supervisors.consumers, "reactions", window);
        let ingest = self.ingest.run(self.submissions, stops.ingest.clone());
        fatal.spawn(&supervisors.ingest, "ingest", ingest);
        let ViewerTasks { auth, names, releases } = self.viewers;
        fatal.spawn(&supervisors.accept, "auth", auth.run(stops.accept.clone()));
        fatal.spawn(&supervisors.rest, "names", names.run(stops.rest.clone()));
        fatal.spawn(&supervisors.rest, "releases", releases.run(stops.rest.clone()));
        handle
    }
}

fn start_delivery(
    tasks: DeliveryTasks,
    supervisors: &Supervisors,
    stop: &CancellationToken,
    fatal: &Fatal,
) {
    let (hub, report) = (tasks.hub, fatal.clone());
    let hub = async move { Ok(hub.await?) };
    supervisors.rest.spawn_essential("hub", hub, move |reason| report.report(reason));
    fatal.spawn(&supervisors.rest, "presence", tasks.presence);
    fatal.spawn(&supervisors.rest, "history", tasks.history);
    for (name, worker) in tasks.workers {
        let (report, stop) = (fatal.clone(), stop.clone());
        let watch = async move {
            let joined = tokio::task::spawn_blocking(move || worker.join()).await;
            if !stop.is_cancelled() && !matches!(joined, Ok(Ok(Ok(())))) {
                report.report(format!("{name} ended: {joined:?}"));
            }
        };
        fatal.spawn(&supervisors.rest, "delivery worker", watch);
    }
}
