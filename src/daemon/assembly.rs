//! Assembly: builds every part of a node, wires them, and starts their tasks.
//!
//! ```text
//! engines ─▶ directories ─▶ warm start ─▶ delivery ─▶ control ─▶ gateway and admin bound
//!         ─▶ tasks spawned ─▶ ready
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::admin::{Admin, AdminParts, NodeAbout};
use super::auth::{self, SigningSecret, Verifier};
use super::broadcast::{Coordinator, CoordinatorParts, Overrides};
use super::clock::{SharedClock, SystemClock};
use super::config::Config;
use super::control::{Control, ControlParts, LocalEndpoint, Minter};
use super::delivery::{Delivery, DeliveryHandle, DeliveryParts, ViewerRequests};
use super::directory::{Sanctions, Streams};
use super::engines::Engines;
use super::eventlog::embedded::EmbeddedLog;
use super::first_start;
use super::gateway::{Bound, Gateway, GatewayParts};
use super::handoff::{AuthRequest, ReactionCounts, Submission, ThrottleOrder};
use super::ingest::{self, Ingest, IngestParts, Refs};
use super::moderation::{self, ModerationScreen, ModerationWorker};
use super::reactions::window::ReactionWindow;
use super::registry::{ConnectionRegistry as _, NodeEndpoint};
use super::shutdown::{Running, Stops, Supervisors};
use super::status::StatusBoard;
use super::store::archive::Archiver;
use super::warm_start::WarmStart;
use crate::protocol::NodeId;

/// Memory views of the metadata are read anew this often, whatever else happens.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);
/// Auth messages that may wait to be verified; more are answered `overloaded`.
const MAX_AUTH_REQUESTS: usize = 4096;
/// Reports of reactions that may wait for their window; workers keep adding up meanwhile.
const MAX_REACTION_REPORTS: usize = 64;
/// Operators' words to the throttle that may wait; the operator waits for room.
const MAX_THROTTLE_ORDERS: usize = 64;

/// Every part of a node, built and wired; nothing runs yet but the delivery workers.
#[derive(Debug)]
pub(super) struct Node {
    base: Base,
    stops: Stops,
    supervisors: Supervisors,
    delivery: Delivery,
    gateway: Bound,
    admin: Admin,
    stages: Stages,
    queues: Receivers,
    overrides: Overrides,
    fatal: mpsc::Sender<String>,
}

/// What everything else is built on.
#[derive(Debug, Clone)]
struct Base {
    config: Arc<Config>,
    clock: SharedClock,
    board: StatusBoard,
    engines: Engines,
    streams: Streams,
    sanctions: Sanctions,
}

#[derive(Debug)]
struct Stages {
    ingest: Ingest,
    archiver: Archiver,
    moderator: Arc<ModerationWorker>,
    window: ReactionWindow,
}

/// The channels between stages, by their ends.
#[derive(Debug)]
struct Receivers {
    submissions: mpsc::Receiver<Vec<Submission>>,
    reactions: mpsc::Receiver<Vec<ReactionCounts>>,
    throttle: mpsc::Receiver<ThrottleOrder>,
}

impl Base {
    async fn build(config: Arc<Config>) -> anyhow::Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let engines = Engines::open(&config, clock.clone()).await?;
        first_start::make_stream(&engines.metadata, clock.now_ms()).await?;
        let streams = Streams::load(engines.metadata.clone()).await?;
        let sanctions = Sanctions::load(engines.metadata.clone(), clock.clone()).await?;
        let board = StatusBoard::default();
        Ok(Self { config, clock, board, engines, streams, sanctions })
    }

    async fn warm_start(&self) -> anyhow::Result<Refs> {
        let refs = Refs::new(&self.config.ingest);
        let warm_start = WarmStart {
            log: &self.engines.log,
            recent: &self.engines.recent,
            comments: &self.engines.comments,
            refs: &refs,
            clock: &self.clock,
        };
        warm_start.run().await.context("cannot read back the event log")?;
        Ok(refs)
    }

    fn node(&self) -> NodeId {
        NodeId::new(&self.config.node.name)
    }

    async fn delivery(&self, requests: ViewerRequests) -> anyhow::Result<Delivery> {
        let parts = DeliveryParts {
            node: self.node(),
            config: self.config.clone(),
            bus: self.engines.bus.clone(),
            log: self.engines.log.clone(),
            recent: self.engines.recent.clone(),
            registry: self.engines.registry.clone(),
            totals: self.engines.totals.clone(),
            requests,
            board: self.board.clone(),
        };
        Ok(Delivery::start(parts).await?)
    }

    /// The stages between the queues and the log.
    fn stages(&self, refs: Refs, replies: DeliveryHandle) -> anyhow::Result<Stages> {
        let Engines { log, metadata, comments, totals, bus, .. } = self.engines.clone();
        let metrics = self.board.metrics().clone();
        let pipeline = Arc::new(moderation::build_pipeline(&self.config.moderation)?);
        let metadata = (metadata, self.board.add_breaker("metadata store"));
        let screen = ModerationScreen::new(
            pipeline.clone(),
            log.clone(),
            metadata.clone(),
            metrics.clone(),
            self.clock.clone(),
        );
        let moderator = ModerationWorker::new(
            log.clone(),
            self.streams.clone(),
            pipeline,
            metadata,
            metrics.clone(),
            self.clock.clone(),
            self.config.moderation.batch_comments,
        );
        let ingest = Ingest::new(IngestParts {
            log: log.clone(),
            clock: self.clock.clone(),
            config: Arc::new(self.config.ingest.clone()),
            streams: self.streams.clone(),
            sanctions: self.sanctions.clone(),
            refs,
            reservations: None,
            screen: Arc::new(screen),
            replies: Arc::new(replies),
            board: self.board.clone(),
        });
        let archiver = Archiver {
            log,
            store: comments,
            breaker: self.board.add_breaker("comment store"),
            metrics: metrics.clone(),
            config: self.config.store.clone(),
            clock: self.clock.clone(),
        };
        let totals_breaker = self.board.add_breaker("reaction totals");
        let window =
            ReactionWindow::new(&self.config.reactions, totals, totals_breaker, bus, metrics);
        Ok(Stages { ingest, archiver, moderator: Arc::new(moderator), window })
    }

    async fn gateway(
        &self,
        verifier: Arc<Verifier>,
        control: Control,
        sink: DeliveryHandle,
        submissions: mpsc::Sender<Vec<Submission>>,
        auth_requests: mpsc::Receiver<AuthRequest>,
    ) -> anyhow::Result<Bound> {
        let parts = GatewayParts {
            config: self.config.clone(),
            clock: self.clock.clone(),
            verifier,
            streams: self.streams.clone(),
            sanctions: self.sanctions.clone(),
            registry: self.engines.registry.clone(),
            comments: self.engines.comments.clone(),
            metadata: self.engines.metadata.clone(),
            log: self.engines.log.clone(),
            control,
            board: self.board.clone(),
            sink: Arc::new(sink),
            submissions,
            auth_requests,
            node: self.node(),
        };
        Ok(Gateway::bind(parts).await?)
    }

    fn control(&self, endpoint: Arc<dyn NodeEndpoint>) -> Control {
        Control::new(ControlParts {
            node: self.node(),
            metadata: self.engines.metadata.clone(),
            comments: self.engines.comments.clone(),
            registry: self.engines.registry.clone(),
            endpoint,
            log: self.engines.log.clone(),
            bus: self.engines.bus.clone(),
            streams: self.streams.clone(),
            clock: self.clock.clone(),
        })
    }

    fn admin(
        &self,
        control: Control,
        address: SocketAddr,
        secret: SigningSecret,
    ) -> anyhow::Result<Admin> {
        let clock = self.clock.clone();
        let minter: Minter =
            Arc::new(move |identity, ttl| Ok(auth::mint(&secret, identity, ttl, clock.now_ms())));
        Ok(Admin::bind(AdminParts {
            socket: self.config.node.admin_socket.clone(),
            about: NodeAbout::new(&self.config, address.to_string(), Engines::names()),
            control,
            reactions: self.engines.totals.clone(),
            board: self.board.clone(),
            minter,
        })?)
    }
}

impl Node {
    pub(super) async fn assemble(
        config: Arc<Config>,
        fatal: mpsc::Sender<String>,
    ) -> anyhow::Result<Self> {
        let secret = SigningSecret::load_or_create(&config.node.data_dir)?;
        let base = Base::build(config.clone()).await?;
        let own_secret = Some(secret.as_bytes());
        let verifier = Arc::new(Verifier::new(&config.auth, own_secret, base.clock.clone())?);
        let refs = base.warm_start().await?;
        let (submissions, submissions_end) = ingest::queue(&config.ingest);
        let (reactions, reactions_end) = mpsc::channel(MAX_REACTION_REPORTS);
        let (auth, auth_end) = mpsc::channel(MAX_AUTH_REQUESTS);
        let (throttle, throttle_end) = mpsc::channel(MAX_THROTTLE_ORDERS);
        let requests = ViewerRequests { submissions: submissions.clone(), reactions, auth };
        let delivery = base.delivery(requests).await?;
        let handle = delivery.handle();
        let stages = base.stages(refs, handle.clone())?;
        let stops = Stops::default();
        let supervisors = Supervisors::new(&stops);
        let endpoint = Arc::new(LocalEndpoint {
            sink: Arc::new(handle.clone()),
            sanctions: base.sanctions.clone(),
            streams: base.streams.clone(),
            throttle,
            board: base.board.clone(),
            jitter: config.shutdown.reconnect_jitter,
            supervisor: supervisors.rest.clone(),
        });
        base.engines.registry.set_endpoint(endpoint.clone());
        let control = base.control(endpoint);
        let gateway =
            base.gateway(verifier, control.clone(), handle, submissions, auth_end).await?;
        let admin = base.admin(control, gateway.gateway.local_addr(), secret)?;
        let overrides = Overrides::default();
        for (stream_id, rate) in base.engines.metadata.throttle_overrides().await? {
            overrides.set(stream_id, Some(rate));
        }
        let queues = Receivers {
            submissions: submissions_end,
            reactions: reactions_end,
            throttle: throttle_end,
        };
        let node = Self {
            base,
            stops,
            supervisors,
            delivery,
            gateway,
            admin,
            stages,
            queues,
            overrides,
            fatal,
        };
        Ok(node)
    }

    /// Where viewers connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.gateway.local_addr()
    }

    /// Spawns every task; the node is ready when this returns.
    pub(super) fn start(self) -> Running {
        let Self { base, stops, supervisors, delivery, gateway, admin, stages, queues, .. } = self;
        let fatal = Fatal(self.fatal);
        let handle = delivery.handle();
        start_delivery(delivery, &supervisors, &stops, &fatal);
        start_consumers(
            &base,
            stages.archiver,
            stages.moderator,
            &supervisors,
            self.overrides.clone(),
        );
        let window = stages.window.run(queues.reactions, stops.consumers.clone());
        fatal.spawn(&supervisors.consumers, "reactions", window);
        let ingest = stages.ingest.run(queues.submissions, stops.ingest.clone());
        fatal.spawn(&supervisors.ingest, "ingest", ingest);
        let Bound { gateway, auth, names, releases } = gateway;
        fatal.spawn(&supervisors.accept, "auth", auth.run(stops.accept.clone()));
        fatal.spawn(&supervisors.rest, "names", names.run(stops.rest.clone()));
        fatal.spawn(&supervisors.rest, "releases", releases.run(stops.rest.clone()));
        let orders = take_throttle_orders(queues.throttle, self.overrides, stops.rest.clone());
        fatal.spawn(&supervisors.rest, "throttle orders", orders);
        start_timers(&base, &supervisors);
        let admin = Arc::new(admin);
        supervisors.rest.spawn("admin", move |stop| {
            let admin = admin.clone();
            async move { Ok(admin.run(stop).await?) }
        });
        base.board.set_ready(true);
        fatal.spawn(&supervisors.accept, "gateway", gateway.run(stops.accept.clone()));
        let Base { board, engines, .. } = base;
        Running { stops, supervisors, log: engines.log, delivery: handle, board }
    }
}

/// Ends the daemon when a part ends without which it cannot go on.
#[derive(Debug, Clone)]
struct Fatal(mpsc::Sender<String>);

impl Fatal {
    fn report(&self, reason: String) {
        // One reason is enough.
        let _ = self.0.try_send(reason);
    }

    fn spawn(
        &self,
        supervisor: &super::supervise::Supervisor,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let fatal = self.clone();
        let task = async move {
            task.await;
            Ok(())
        };
        supervisor.spawn_essential(name, task, move |reason| fatal.report(reason));
    }
}

fn start_delivery(delivery: Delivery, supervisors: &Supervisors, stops: &Stops, fatal: &Fatal) {
    let tasks = delivery.into_tasks(&stops.rest);
    let hub = tasks.hub;
    let report = fatal.clone();
    let hub = async move { Ok(hub.await?) };
    supervisors.rest.spawn_essential("hub", hub, move |reason| report.report(reason));
    fatal.spawn(&supervisors.rest, "presence", tasks.presence);
    fatal.spawn(&supervisors.rest, "history", tasks.history);
    for (name, worker) in tasks.workers {
        let (report, stop) = (fatal.clone(), stops.rest.clone());
        let watch = async move {
            let joined = tokio::task::spawn_blocking(move || worker.join()).await;
            if !stop.is_cancelled() && !matches!(joined, Ok(Ok(Ok(())))) {
                report.report(format!("{name} ended: {joined:?}"));
            }
        };
        fatal.spawn(&supervisors.rest, "delivery worker", watch);
    }
}

fn start_consumers(
    base: &Base,
    archiver: Archiver,
    moderator: Arc<ModerationWorker>,
    supervisors: &Supervisors,
    overrides: Overrides,
) {
    let parts = CoordinatorParts {
        log: base.engines.log.clone(),
        bus: base.engines.bus.clone(),
        recent: base.engines.recent.clone(),
        board: base.board.clone(),
        config: Arc::new(base.config.broadcast.clone()),
        overrides,
    };
    supervisors.consumers.spawn("broadcast", move |stop| {
        let coordinator = Coordinator::new(parts.clone());
        async move { Ok(coordinator.run(stop).await?) }
    });
    supervisors.consumers.spawn("archive", move |stop| {
        let archiver = archiver.clone();
        async move { Ok(archiver.run(stop).await?) }
    });
    supervisors.consumers.spawn("moderation", move |stop| {
        let moderator = moderator.clone();
        async move { Ok(moderator.run(stop).await?) }
    });
}

fn start_timers(base: &Base, supervisors: &Supervisors) {
    let (streams, sanctions) = (base.streams.clone(), base.sanctions.clone());
    supervisors.rest.spawn("reload", move |stop| {
        let (streams, sanctions) = (streams.clone(), sanctions.clone());
        every(RELOAD_INTERVAL, stop, async move || {
            if let Err(error) = streams.reload().await.and(sanctions.reload().await) {
                warn!(%error, "metadata not read anew; the last answers stay");
            }
        })
    });
    let log: Arc<EmbeddedLog> = base.engines.embedded_log.clone();
    supervisors.rest.spawn("retention", move |stop| {
        let log = log.clone();
        every(RETENTION_INTERVAL, stop, async move || log.enforce_retention())
    });
}

async fn every(
    interval: Duration,
    stop: CancellationToken,
    act: impl AsyncFn(),
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => act().await,
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Hands operators' words on to the broadcast stage, which looks at them at its next tick.
async fn take_throttle_orders(
    mut orders: mpsc::Receiver<ThrottleOrder>,
    overrides: Overrides,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => overrides.set(order.stream_id, order.sample_rate),
                None => return,
            },
            () = stop.cancelled() => return,
        }
    }
}
