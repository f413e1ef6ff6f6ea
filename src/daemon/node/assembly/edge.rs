//! The role `edge`: gateway, ingest, delivery, reactions.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{FatalErrors, NodeBase};
use crate::daemon::base::handoff::{AuthRequest, ReactionCounts, RoomRequest, Submission, Vote};
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::edge::gateway::{BoundGateway, Gateway, GatewayParts, ViewerTasks};
use crate::daemon::engines::directory::{RoomPolls, Subjects};
use crate::daemon::node::shutdown::TaskGroups;
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::control::Control;
use crate::daemon::stages::delivery::{
    Delivery, DeliveryHandle, DeliveryParts, DeliveryTasks, ViewerRequests,
};
use crate::daemon::stages::ingest::{
    self, Ingest, IngestParts, Refs, RoomMemory, ScreeningParts, ScreeningQueues, ScreeningThreads,
};
use crate::daemon::stages::moderation::{
    HoldQueue, HoldWriter, HoldWriterParts, ModerationScreen, ModerationScreenParts, RoomLinks,
    hold_queue,
};
use crate::daemon::stages::reactions::ReactionWindow;
use crate::daemon::stages::votes::{self, VoteCounter};
use crate::protocol::admin::StageName;
use crate::protocol::admin::dependency::REACTION_TOTALS;

/// `auth` messages that may wait to be verified. More are answered `overloaded`.
const MAX_AUTH_REQUESTS: usize = 4096;
/// Changes of rooms by moderators that may wait to be queued by room. More are answered
/// `overloaded`.
const MAX_ROOM_REQUESTS: usize = 64;
/// Reports of reactions that may wait for their window. Workers keep counting while it is full.
const MAX_REACTION_REPORTS: usize = 64;

/// Comments of earlier runs, as far as ingest asks for them.
#[derive(Debug)]
pub(super) struct KnownComments {
    pub(super) refs: Refs,
    pub(super) said: RoomMemory,
}

/// Delivery and the stages behind viewers' requests, before the gateway is bound.
#[derive(Debug)]
pub(super) struct Edge {
    delivery: Delivery,
    ingest: Ingest,
    holds: HoldWriter,
    window: ReactionWindow,
    submit: mpsc::Sender<Submission>,
    report_reactions: mpsc::Sender<Vec<ReactionCounts>>,
    submissions: mpsc::Receiver<Submission>,
    reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    auth: mpsc::Receiver<AuthRequest>,
    rooms: mpsc::Receiver<RoomRequest>,
    send_votes: mpsc::Sender<Vote>,
    votes: mpsc::Receiver<Vote>,
}

/// All tasks of the role except the accept loop.
#[derive(Debug)]
pub(super) struct EdgeTasks {
    delivery: Delivery,
    ingest: Ingest,
    holds: HoldWriter,
    window: ReactionWindow,
    submissions: mpsc::Receiver<Submission>,
    reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    counter: VoteCounter,
    votes: mpsc::Receiver<Vote>,
    polls: RoomPolls,
    viewers: ViewerTasks,
}

impl Edge {
    pub(super) async fn build(base: &NodeBase, known: KnownComments) -> anyhow::Result<Self> {
        let (submit, submissions) = ingest::queue(&base.config.ingest);
        measure_queues(base, &submit);
        let (report_reactions, reactions) = mpsc::channel(MAX_REACTION_REPORTS);
        let (request_auth, auth) = mpsc::channel(MAX_AUTH_REQUESTS);
        let (change_rooms, rooms) = mpsc::channel(MAX_ROOM_REQUESTS);
        let (send_votes, votes) = mpsc::channel(votes::MAX_WAITING);
        let requests = ViewerRequests {
            submissions: submit.clone(),
            reactions: report_reactions.clone(),
            auth: request_auth,
            rooms: change_rooms,
            votes: send_votes.clone(),
        };
        let delivery = Delivery::start(DeliveryParts {
            node: base.node(),
            config: base.config.clone(),
            bus: base.engines.bus.clone(),
            log: base.engines.log.clone(),
            recent: base.engines.recent.clone(),
            comments: base.engines.comments.clone(),
            registry: base.engines.registry.clone(),
            totals: base.engines.totals.clone(),
            requests,
            board: base.board.clone(),
            clock: base.clock.clone(),
            streams: base.streams.clone(),
            polls: base.polls.clone(),
        })
        .await?;
        let (hold, holds) = hold_queue(HoldWriterParts {
            metadata: base.engines.metadata.clone(),
            metadata_breaker: base.engines.metadata_breaker.clone(),
            max_waiting: base.config.moderation.screening.queue,
        });
        Ok(Self {
            ingest: build_ingest(base, known, hold, delivery.handle())?,
            holds,
            window: build_window(base),
            delivery,
            submit,
            report_reactions,
            submissions,
            reactions,
            auth,
            rooms,
            send_votes,
            votes,
        })
    }

    pub(super) fn handle(&self) -> DeliveryHandle {
        self.delivery.handle()
    }

    /// Binds the gateway. Viewers wait in the kernel until it runs.
    pub(super) fn bind(
        self,
        base: &NodeBase,
        verifier: Arc<Verifier>,
        control: Control,
    ) -> anyhow::Result<(EdgeTasks, Gateway)> {
        let Self {
            delivery,
            ingest,
            holds,
            window,
            submissions,
            reactions,
            auth,
            rooms,
            votes,
            ..
        } = self;
        let counter = VoteCounter {
            metadata: base.engines.metadata.clone(),
            breaker: base.engines.metadata_breaker.clone(),
            streams: base.streams.clone(),
            clock: base.clock.clone(),
            sink: Arc::new(delivery.handle()),
        };
        let parts = GatewayParts {
            config: base.config.clone(),
            clock: base.clock.clone(),
            verifier,
            subjects: Subjects::new(
                base.engines.metadata.clone(),
                base.engines.metadata_breaker.clone(),
                base.clock.clone(),
            ),
            streams: base.streams.clone(),
            sanctions: base.sanctions.clone(),
            grants: base.grants.clone(),
            registry: base.engines.registry.clone(),
            comments: base.engines.comments.clone(),
            recent: base.engines.recent.clone(),
            metadata: base.engines.metadata.clone(),
            log: base.engines.log.clone(),
            control,
            board: base.board.clone(),
            pipeline: base.pipeline.clone(),
            context: base.context.clone(),
            sink: Arc::new(delivery.handle()),
            submissions: self.submit,
            reactions: self.report_reactions,
            votes: self.send_votes,
            auth_requests: auth,
            room_requests: rooms,
            node: base.node(),
        };
        let BoundGateway { gateway, viewers } = Gateway::bind(parts)?;
        Ok((
            EdgeTasks {
                delivery,
                ingest,
                holds,
                window,
                submissions,
                reactions,
                counter,
                votes,
                polls: base.polls.clone(),
                viewers,
            },
            gateway,
        ))
    }
}

/// Tells the samples of this node the bounds of the queues of an edge.
fn measure_queues(base: &NodeBase, submit: &mpsc::Sender<Submission>) {
    let telemetry = base.board.telemetry();
    telemetry.stage(StageName::Ingest).read_queue_with(ingest::queue_reader(submit));
    let places = u64::from(base.config.gateway.max_connections);
    telemetry.stage(StageName::Gateway).set_queue_max(places);
}

fn build_ingest(
    base: &NodeBase,
    known: KnownComments,
    holds: HoldQueue,
    replies: DeliveryHandle,
) -> anyhow::Result<Ingest> {
    let screen = ModerationScreen::new(ModerationScreenParts {
        pipeline: base.pipeline.clone(),
        context: base.context.clone(),
        log: base.engines.log.clone(),
        holds,
        metrics: base.board.metrics().clone(),
        clock: base.clock.clone(),
    });
    let settings = &base.config.moderation.screening;
    let screening = ScreeningQueues::new(ScreeningParts {
        screen: Arc::new(screen),
        threads: ScreeningThreads::start(settings.threads)
            .context("cannot start the threads of moderation")?,
        reservations: base.engines.reservations.clone(),
        max_waiting: settings.queue,
        metrics: base.board.metrics().clone(),
        problems: base.board.problems().clone(),
    });
    Ok(Ingest::new(IngestParts {
        log: base.engines.log.clone(),
        clock: base.clock.clone(),
        config: Arc::new(base.config.ingest.clone()),
        streams: base.streams.clone(),
        sanctions: base.sanctions.clone(),
        refs: known.refs,
        said: known.said,
        links: Arc::new(RoomLinks::new(&base.config.moderation.rules)),
        reservations: base.engines.reservations.clone(),
        screening,
        moderation: base.moderation.clone(),
        replies: Arc::new(replies),
        board: base.board.clone(),
    }))
}

fn build_window(base: &NodeBase) -> ReactionWindow {
    ReactionWindow::new(
        &base.config.reactions,
        base.engines.totals.clone(),
        base.board.add_breaker(REACTION_TOTALS),
        base.engines.bus.clone(),
        base.board.metrics().clone(),
    )
}

impl EdgeTasks {
    pub(super) fn start(self, tasks: &TaskGroups, fatal: &FatalErrors) -> DeliveryHandle {
        let Self {
            delivery,
            ingest,
            holds,
            window,
            submissions,
            reactions,
            counter,
            votes,
            polls: room_polls,
            viewers,
        } = self;
        let ViewerTasks { auth, rooms, names, polls, releases } = viewers;
        let handle = delivery.handle();
        start_delivery(delivery.into_tasks(tasks.rest.stop_token()), &tasks.rest, fatal);
        fatal.spawn(&tasks.consumers, "reactions", |stop| window.run(reactions, stop));
        // After ingest, which waits for what it holds.
        fatal.spawn(&tasks.consumers, "holds", |stop| holds.run(stop));
        fatal.spawn(&tasks.ingest, "ingest", |stop| ingest.run(submissions, stop));
        fatal.spawn(&tasks.ingest, "votes", |stop| counter.run(votes, stop));
        fatal.spawn(&tasks.rest, "votes of polls", |stop| room_polls.follow(stop));
        fatal.spawn(&tasks.accept, "auth", |stop| auth.run(stop));
        fatal.spawn(&tasks.accept, "rooms", |stop| rooms.run(stop));
        fatal.spawn(&tasks.accept, "polls", |stop| polls.run(stop));
        fatal.spawn(&tasks.rest, "names", |stop| names.run(stop));
        fatal.spawn(&tasks.rest, "releases", |stop| releases.run(stop));
        handle
    }
}

fn start_delivery(tasks: DeliveryTasks, group: &Supervisor, fatal: &FatalErrors) {
    let hub = tasks.hub;
    let report = fatal.clone();
    let hub = async move { Ok(hub.await?) };
    group.spawn_essential("hub", hub, move |reason| report.report(reason));
    fatal.spawn(group, "presence", |_| tasks.presence);
    fatal.spawn(group, "history", |_| tasks.history);
    for (name, worker) in tasks.workers {
        let report = fatal.clone();
        fatal.spawn(group, "delivery worker", |stop| async move {
            let joined = tokio::task::spawn_blocking(move || worker.join()).await;
            if !stop.is_cancelled() && !matches!(joined, Ok(Ok(Ok(())))) {
                report.report(format!("{name} ended: {joined:?}"));
            }
        });
    }
}
