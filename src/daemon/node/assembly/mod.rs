//! Assembly: builds the parts of a node that its roles need, wires them, and starts their tasks.
//!
//! ```text
//! engines ─▶ directories ─▶ warm start ─▶ edge (delivery, ingest, reactions) ─▶ control
//!         ─▶ gateway and admin bound ─▶ tasks spawned ─▶ ready
//! ```

mod consumers;
mod edge;
mod timers;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;

use self::consumers::Consumers;
use self::edge::{Edge, EdgeTasks};
use super::first_start;
use super::shutdown::{Running, Stops, Supervisors};
use super::warm_start::WarmStart;
use crate::daemon::base::clock::{SharedClock, SystemClock};
use crate::daemon::base::config::{Config, NodeRole, RecentEngine};
use crate::daemon::base::handoff::{NoViewers, ThrottleOrder, ViewerSink};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::edge::admin::{Admin, AdminParts, NodeAbout};
use crate::daemon::edge::gateway::Gateway;
use crate::daemon::engines::choose::Engines;
use crate::daemon::engines::directory::{Sanctions, Streams};
use crate::daemon::engines::registry::CommandHandler;
use crate::daemon::stages::auth::{self, SigningSecret, Verifier};
use crate::daemon::stages::broadcast::RateOverrides;
use crate::daemon::stages::control::{Control, ControlParts, LocalEndpoint, Minter};
use crate::daemon::stages::ingest::Refs;
use crate::daemon::stages::moderation::{self, Pipeline};
use crate::protocol::NodeId;

/// Operators' words to the throttle that may wait; the operator waits for room.
const MAX_THROTTLE_ORDERS: usize = 64;

/// Every part of a node, built and wired; nothing runs yet but the delivery workers.
#[derive(Debug)]
pub(super) struct Node {
    base: Base,
    stops: Stops,
    supervisors: Supervisors,
    /// On a node with the role `edge`.
    edge: Option<EdgeTasks>,
    consumers: Consumers,
    gateway: Gateway,
    admin: Admin,
    throttle: mpsc::Receiver<ThrottleOrder>,
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
    /// The rates operators fixed, as the broadcast stage of this node knows them.
    overrides: RateOverrides,
    /// One for the screen of ingest and the worker: what a user repeats is counted in it.
    pipeline: Arc<Pipeline>,
}

impl Base {
    async fn build(config: Arc<Config>) -> anyhow::Result<Self> {
        let clock: SharedClock = Arc::new(SystemClock);
        let board = StatusBoard::default();
        let engines = Engines::open(&config, &clock, &board).await?;
        first_start::make_stream(&engines.metadata, clock.now_ms()).await?;
        let streams = Streams::load(engines.metadata.clone()).await?;
        let sanctions = Sanctions::load(engines.metadata.clone(), clock.clone()).await?;
        let overrides = RateOverrides::default();
        overrides.replace(engines.metadata.throttle_overrides().await?);
        let pipeline = Arc::new(moderation::build_pipeline(&config.moderation)?);
        Ok(Self { config, clock, board, engines, streams, sanctions, overrides, pipeline })
    }

    fn has_role(&self, role: NodeRole) -> bool {
        self.config.node.roles.contains(&role)
    }

    /// Whether the recent cache is shared with other nodes, and outlives this one.
    fn shares_recent(&self) -> bool {
        self.config.engines.recent != RecentEngine::Memory
    }

    async fn warm_start(&self) -> anyhow::Result<Refs> {
        let mut refs = Refs::new(&self.config.ingest);
        if self.shares_recent() {
            // The coordinators fill the cache; they read back deletions, too, if it lost them.
            return Ok(refs);
        }
        let warm_start = WarmStart {
            log: &self.engines.log,
            recent: &self.engines.recent,
            comments: &self.engines.comments,
            refs: &mut refs,
            clock: &self.clock,
        };
        warm_start.run().await.context("cannot read back the event log")?;
        Ok(refs)
    }

    fn node(&self) -> NodeId {
        NodeId::new(&self.config.node.name)
    }

    fn control(&self, endpoint: Arc<dyn CommandHandler>) -> Control {
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
        let engines = Engines::names(&self.config.engines);
        Ok(Admin::bind(AdminParts {
            socket: self.config.node.admin_socket.clone(),
            about: NodeAbout::new(&self.config, address.to_string(), engines),
            control,
            reactions: self.engines.totals.clone(),
            board: self.board.clone(),
            minter,
        })?)
    }
}

/// The secret of the cluster, or this node's own.
fn signing_secret(config: &Config) -> anyhow::Result<SigningSecret> {
    let path = &config.auth.signing_key;
    if path.as_os_str().is_empty() {
        return Ok(SigningSecret::load_or_create(&config.node.data_dir)?);
    }
    SigningSecret::load(path).context("auth.signing_key")
}

impl Node {
    pub(super) async fn assemble(
        config: Arc<Config>,
        fatal: mpsc::Sender<String>,
    ) -> anyhow::Result<Self> {
        let secret = signing_secret(&config)?;
        let base = Base::build(config.clone()).await?;
        let verifier =
            Arc::new(Verifier::new(&config.auth, Some(secret.as_bytes()), base.clock.clone())?);
        let refs = base.warm_start().await?;
        let stops = Stops::default();
        let supervisors = Supervisors::new(&stops);
        let consumers = Consumers::build(&base);
        let edge = match base.has_role(NodeRole::Edge) {
            true => Some(Edge::build(&base, refs).await?),
            false => None,
        };
        let (orders, throttle) = mpsc::channel(MAX_THROTTLE_ORDERS);
        let sink: Arc<dyn ViewerSink> = match &edge {
            Some(edge) => Arc::new(edge.handle()),
            None => Arc::new(NoViewers),
        };
        let endpoint = Arc::new(LocalEndpoint {
            sink,
            sanctions: base.sanctions.clone(),
            streams: base.streams.clone(),
            throttle: orders,
            board: base.board.clone(),
            jitter: config.shutdown.reconnect_jitter,
            supervisor: supervisors.rest.clone(),
        });
        base.engines.registry.set_command_handler(endpoint.clone());
        let control = base.control(endpoint);
        let (edge, gateway) = match edge {
            Some(edge) => {
                let (tasks, gateway) = edge.bind(&base, verifier, control.clone()).await?;
                (Some(tasks), gateway)
            }
            None => {
                let (board, log) = (base.board.clone(), base.engines.log.clone());
                (None, Gateway::bind_operations(&config.gateway, board, log)?)
            }
        };
        let admin = base.admin(control, gateway.local_addr(), secret)?;
        Ok(Self { base, stops, supervisors, edge, consumers, gateway, admin, throttle, fatal })
    }

    /// Where viewers connect, or what a node without them says of itself.
    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Spawns every task; the node is ready when this returns.
    pub(super) fn start(self) -> Running {
        let Self { base, stops, supervisors, edge, consumers, gateway, admin, throttle, fatal } =
            self;
        let fatal = Fatal(fatal);
        if let Some(direct) = base.engines.direct.clone() {
            fatal.spawn(&supervisors.rest, "direct path", direct.run(stops.rest.clone()));
        }
        let delivery = edge.map(|edge| edge.start(&supervisors, &stops, &fatal));
        consumers.start(&supervisors);
        let orders =
            timers::take_throttle_orders(throttle, base.overrides.clone(), stops.rest.clone());
        fatal.spawn(&supervisors.rest, "throttle orders", orders);
        timers::start(&base, delivery.clone(), &supervisors);
        let admin = Arc::new(admin);
        let reporter = admin.reporter();
        supervisors.rest.spawn("report", move |stop| {
            let reporter = reporter.clone();
            async move {
                reporter.run(stop).await;
                Ok(())
            }
        });
        supervisors.rest.spawn("admin", move |stop| {
            let admin = admin.clone();
            async move { Ok(admin.run(stop).await?) }
        });
        let certificate = gateway.certificate();
        base.board.set_ready(true);
        fatal.spawn(&supervisors.accept, "gateway", gateway.run(stops.accept.clone()));
        let Base { board, engines, .. } = base;
        let alone = engines.embedded_log.is_some();
        Running { stops, supervisors, log: engines.log, delivery, board, alone, certificate }
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
        supervisor: &crate::daemon::base::supervise::Supervisor,
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
