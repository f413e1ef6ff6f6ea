//! Assembly: builds the parts of a node that its roles need, connects them, and starts their tasks.
//!
//! [`Node::assemble`] builds and binds, [`Node::start`] spawns the tasks; each reads as a list in
//! this order:
//!
//! ```text
//! engines ─▶ directories ─▶ warm start ─▶ consumers ─▶ edge ─▶ control
//!         ─▶ gateway and admin bound ─▶ tasks spawned ─▶ ready ─▶ gateway accepts
//! ```

mod consumers;
mod edge;
mod health;
mod timers;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::consumers::Consumers;
use self::edge::{Edge, EdgeTasks, KnownComments};
use super::first_start;
use super::shutdown::{RunningNode, TaskGroups};
use super::warm_start::WarmStart;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{Config, NodeRole, RecentEngine};
use crate::daemon::base::handoff::{NoViewers, ThrottleOrder, ViewerSink};
use crate::daemon::base::moderation_state::ModerationState;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::Supervisor;
use crate::daemon::edge::admin::{
    Admin, AdminParts, Certificate, Live, NodeFacts, RemoteAdmin, TextTrials,
};
use crate::daemon::edge::gateway::Gateway;
use crate::daemon::engines::choose::Engines;
use crate::daemon::engines::directory::{Delays, Grants, RoomPolls, Sanctions, Streams};
use crate::daemon::engines::registry::NodeIdentity;
use crate::daemon::stages::auth::{
    self, AdminIdentity, IssuerKeyTask, IssuerKeys, IssuerKeysEnds, SigningSecret, Verifier,
};
use crate::daemon::stages::broadcast::RateOverrides;
use crate::daemon::stages::control::{AdminMinter, Control, ControlParts, LocalEndpoint, Minter};
use crate::daemon::stages::delivery::DeliveryHandle;
use crate::daemon::stages::ingest::{Refs, RoomMemory};
use crate::daemon::stages::moderation::{
    self, ModerationContext, ModerationContextParts, Pipeline,
};
use crate::protocol::NodeId;

/// Throttle orders that may wait for the broadcast stage. More make the operator wait.
const MAX_THROTTLE_ORDERS: usize = 64;

/// Every part of a node, built and connected. Nothing runs yet except the delivery workers.
#[derive(Debug)]
pub(super) struct Node {
    base: NodeBase,
    tasks: TaskGroups,
    /// `None` without the role `edge`.
    edge: Option<EdgeTasks>,
    /// `None` if no issuer publishes keys, and without the role `edge`.
    issuer_keys: Option<Arc<IssuerKeyTask>>,
    consumers: Consumers,
    gateway: Gateway,
    admin: Admin,
    control: Control,
    throttle_orders: mpsc::Receiver<ThrottleOrder>,
    fatal: FatalErrors,
}

/// The parts that all others are built on.
#[derive(Debug, Clone)]
struct NodeBase {
    config: Arc<Config>,
    identity: NodeIdentity,
    clock: SharedClock,
    board: StatusBoard,
    engines: Engines,
    streams: Streams,
    polls: RoomPolls,
    sanctions: Sanctions,
    grants: Grants,
    /// The sample rates that operators have fixed, for the broadcast stage.
    overrides: RateOverrides,
    /// Shared by ingest's screen and the moderator, because it counts what each user repeats.
    pipeline: Arc<Pipeline>,
    /// Shared by the same, because it knows the users and the streams.
    context: Arc<ModerationContext>,
    /// Whether moderation is down, as this node sees it.
    moderation: ModerationState,
}

impl NodeBase {
    /// Opens the engines and loads the directories.
    async fn open(
        config: Arc<Config>,
        clock: SharedClock,
        board: StatusBoard,
        identity: &NodeIdentity,
    ) -> anyhow::Result<Self> {
        board.set_essential(health::essential(&config.node.roles));
        let engines = Engines::open(&config, &clock, &board, identity).await?;
        first_start::create_first_stream(&engines.metadata, clock.now_ms()).await?;
        let streams = Streams::load(engines.metadata.clone()).await?;
        let polls = RoomPolls::new(engines.metadata.clone(), streams.clone(), clock.clone());
        let sanctions = Sanctions::load(engines.metadata.clone(), clock.clone()).await?;
        let grants = Grants::load(engines.metadata.clone()).await?;
        let overrides = RateOverrides::new(clock.clone());
        overrides.finish(overrides.begin(), engines.metadata.throttle_overrides().await?);
        let pipeline =
            Arc::new(moderation::build_pipeline(&config.moderation, &board, Some(&streams))?);
        let context = Arc::new(ModerationContext::new(ModerationContextParts {
            metadata: engines.metadata.clone(),
            metadata_breaker: engines.metadata_breaker.clone(),
            clock: clock.clone(),
            config: config.moderation.reputation.clone(),
        }));
        let identity = identity.clone();
        let moderation = ModerationState::default();
        // Until the first look, an edge does not know of any moderator.
        moderation.set_down(!config.node.roles.contains(&NodeRole::Moderator));
        Ok(Self {
            config,
            identity,
            clock,
            board,
            engines,
            streams,
            polls,
            sanctions,
            grants,
            overrides,
            pipeline,
            context,
            moderation,
        })
    }

    fn has_role(&self, role: NodeRole) -> bool {
        self.config.node.roles.contains(&role)
    }

    /// Returns whether the recent cache is shared with other nodes and outlives this one.
    fn shares_recent(&self) -> bool {
        self.config.engines.recent != RecentEngine::Memory
    }

    /// Reads the end of the log into the recent cache, if that is this node's own. Returns what
    /// ingest knows of the comments that were accepted.
    async fn warm_start(&self) -> anyhow::Result<KnownComments> {
        let refs = Refs::new(&self.config.ingest);
        let mut known = KnownComments { refs, said: RoomMemory::default() };
        if self.shares_recent() {
            // Coordinators fill a shared cache, and restore deletions that it has lost.
            return Ok(known);
        }
        let warm_start = WarmStart {
            log: &self.engines.log,
            recent: &self.engines.recent,
            comments: &self.engines.comments,
            refs: &mut known.refs,
            said: &mut known.said,
            streams: &self.streams,
            clock: &self.clock,
            delays: Delays::new(self.streams.clone(), self.clock.clone()),
            undue: Default::default(),
        };
        warm_start.run().await.context("cannot read back the event log")?;
        Ok(known)
    }

    fn node(&self) -> NodeId {
        self.identity.node.clone()
    }

    /// Builds the operations on this node and the cluster, and registers this node as the receiver
    /// of commands for its own viewers and stages.
    fn connect_control(&self, viewers: Option<DeliveryHandle>, group: &Supervisor) -> ControlEnds {
        let (throttle, throttle_orders) = mpsc::channel(MAX_THROTTLE_ORDERS);
        let sink: Arc<dyn ViewerSink> = match viewers {
            Some(delivery) => Arc::new(delivery),
            None => Arc::new(NoViewers),
        };
        let endpoint = Arc::new(LocalEndpoint {
            sink,
            sanctions: self.sanctions.clone(),
            grants: self.grants.clone(),
            streams: self.streams.clone(),
            clock: self.clock.clone(),
            throttle,
            board: self.board.clone(),
            jitter: self.config.shutdown.reconnect_jitter,
            supervisor: group.clone(),
        });
        self.engines.registry.set_command_handler(endpoint.clone());
        let control = Control::new(ControlParts {
            node: self.node(),
            metadata: self.engines.metadata.clone(),
            comments: self.engines.comments.clone(),
            registry: self.engines.registry.clone(),
            endpoint,
            log: self.engines.log.clone(),
            bus: self.engines.bus.clone(),
            streams: self.streams.clone(),
            grants: self.grants.clone(),
            clock: self.clock.clone(),
            problems: self.board.problems().clone(),
            reputation: self.config.moderation.reputation.rules(),
        });
        ControlEnds { control, throttle_orders }
    }

    fn minter(&self, secret: Arc<SigningSecret>) -> Minter {
        let clock = self.clock.clone();
        Arc::new(move |identity, streams, ttl| {
            Ok(auth::mint(&secret, identity, streams, ttl, clock.now_ms()))
        })
    }

    fn admin_minter(&self, secret: Arc<SigningSecret>) -> AdminMinter {
        let clock = self.clock.clone();
        Arc::new(move |name: &str, role, ttl| {
            let identity = AdminIdentity { name: name.into(), role };
            auth::mint_admin(&secret, &identity, ttl, clock.now_ms())
        })
    }

    fn bind_admin(
        &self,
        control: Control,
        gateway: &Gateway,
        secret: SigningSecret,
        verifier: Arc<Verifier>,
    ) -> anyhow::Result<Admin> {
        let address = gateway.local_addr();
        let presented = gateway.presented();
        let secret = Arc::new(secret);
        let remote = RemoteAdmin::bind(&self.config.admin, verifier, self.clock.clone())?;
        let engines = Engines::names(&self.config.engines);
        Ok(Admin::bind(AdminParts {
            socket: self.config.node.admin_socket.clone(),
            about: NodeFacts::new(&self.config, &self.identity, address.to_string(), engines),
            control,
            reactions: self.engines.totals.clone(),
            board: self.board.clone(),
            minter: self.minter(secret.clone()),
            admin_minter: self.admin_minter(secret),
            remote: remote.map(Arc::new),
            certificate: Arc::new(move || {
                let presented = presented.as_ref()?;
                let expires_at_ms = presented.expires_at_ms();
                Some(Certificate { digest: presented.digest()?, expires_at_ms })
            }),
            announcements: self.engines.announcements.clone(),
            timeline: self.engines.timeline.clone(),
            servers: self.engines.servers.clone(),
            trials: TextTrials {
                pipeline: self.pipeline.clone(),
                context: self.context.clone(),
                limits: self.config.ingest.clone(),
            },
            live: Live::new(self.config.alerts.clone()),
        })?)
    }

    /// Adds the keys that the issuer publishes, if the node checks tokens of viewers.
    fn with_issuer_keys(
        &self,
        verifier: Verifier,
    ) -> anyhow::Result<(Arc<Verifier>, Option<Arc<IssuerKeyTask>>)> {
        if !self.has_role(NodeRole::Edge) {
            return Ok((Arc::new(verifier), None));
        }
        let data_dir = &self.config.node.data_dir;
        let problems = self.board.problems().clone();
        let ends = IssuerKeys::load(&self.config.auth, data_dir, problems, self.clock.clone())?;
        Ok(match ends {
            None => (Arc::new(verifier), None),
            Some(IssuerKeysEnds { keys, task }) => {
                (Arc::new(verifier.with_issuer_keys(keys)), Some(Arc::new(task)))
            }
        })
    }

    /// Binds a gateway without viewers: health and metrics.
    fn bind_operations(&self) -> anyhow::Result<Gateway> {
        let log = self.engines.log.clone();
        Ok(Gateway::bind_operations(&self.config.gateway, self.board.clone(), log)?)
    }
}

/// Control, and the throttle orders that it issues for this node.
struct ControlEnds {
    control: Control,
    throttle_orders: mpsc::Receiver<ThrottleOrder>,
}

/// Returns the secret of the cluster if one is configured, else this node's own.
fn load_signing_secret(config: &Config) -> anyhow::Result<SigningSecret> {
    let path = &config.auth.signing_key;
    if path.as_os_str().is_empty() {
        return Ok(SigningSecret::load_or_create(&config.node.data_dir)?);
    }
    SigningSecret::load(path).context("auth.signing_key")
}

impl Node {
    /// Builds every part and binds the addresses. A failure of an essential task is later sent to
    /// `fatal`.
    pub(super) async fn assemble(
        config: Arc<Config>,
        clock: SharedClock,
        board: StatusBoard,
        identity: &NodeIdentity,
        fatal: mpsc::Sender<String>,
    ) -> anyhow::Result<Self> {
        let tasks = TaskGroups::default();
        let secret = load_signing_secret(&config)?;
        let base = NodeBase::open(config.clone(), clock, board, identity).await?;
        let verifier = Verifier::new(&config.auth, Some(secret.as_bytes()), base.clock.clone())?;
        let (verifier, issuer_keys) = base.with_issuer_keys(verifier)?;
        let known = base.warm_start().await?;
        let consumers = Consumers::build(&base);
        let edge = if base.has_role(NodeRole::Edge) {
            Some(Edge::build(&base, known).await?)
        } else {
            None
        };
        let viewers = edge.as_ref().map(Edge::handle);
        let ControlEnds { control, throttle_orders } = base.connect_control(viewers, &tasks.rest);
        let (edge, gateway) = match edge {
            None => (None, base.bind_operations()?),
            Some(edge) => {
                let (tasks, gateway) = edge.bind(&base, verifier.clone(), control.clone())?;
                (Some(tasks), gateway)
            }
        };
        let admin = base.bind_admin(control.clone(), &gateway, secret, verifier)?;
        let fatal = FatalErrors(fatal);
        Ok(Self {
            base,
            tasks,
            edge,
            issuer_keys,
            consumers,
            gateway,
            admin,
            control,
            throttle_orders,
            fatal,
        })
    }

    /// Returns the address that viewers connect to; on a node without viewers, that of its health
    /// and metrics.
    pub(super) fn address(&self) -> SocketAddr {
        self.gateway.local_addr()
    }

    /// Spawns every task, the gateway last. The node is ready when this returns.
    pub(super) fn start(self) -> RunningNode {
        let Self {
            base,
            tasks,
            edge,
            issuer_keys,
            consumers,
            gateway,
            admin,
            control,
            throttle_orders,
            fatal,
        } = self;
        start_direct_path(&base, &tasks, &fatal);
        let delivery = edge.map(|edge| edge.start(&tasks, &fatal));
        if let Some((task, viewers)) = issuer_keys.zip(delivery.clone()) {
            start_issuer_keys(task, viewers, &tasks.rest);
        }
        consumers.start(&tasks.consumers);
        consumers::start_held_checker(&base, control.clone(), &tasks.consumers);
        let overrides = base.overrides.clone();
        fatal.spawn(&tasks.rest, "throttle orders", |stop| {
            timers::apply_throttle_orders(throttle_orders, overrides, stop)
        });
        timers::start(&base, delivery.clone(), &tasks.rest);
        health::start(&base, &tasks.rest);
        let certificates = gateway.certificate().into_iter().chain(admin.certificate()).collect();
        start_admin(admin, &tasks.rest);
        let scheduler = control.clone();
        fatal.spawn(&tasks.rest, "schedule", |stop| scheduler.start_due_streams(stop));
        let pins = control.clone();
        fatal.spawn(&tasks.rest, "pinned comments", |stop| pins.unpin_hidden_comments(stop));
        fatal.spawn(&tasks.rest, "recorded changes", |stop| control.publish_pending(stop));
        base.board.set_ready(true);
        fatal.spawn(&tasks.accept, "gateway", |stop| gateway.run(stop));
        RunningNode {
            tasks,
            log: base.engines.log,
            files: base.engines.files,
            delivery,
            board: base.board,
            owns_all_consumers: base.engines.embedded_log.is_some(),
            certificates,
            pipeline: base.pipeline,
        }
    }
}

fn start_direct_path(base: &NodeBase, tasks: &TaskGroups, fatal: &FatalErrors) {
    if let Some(direct) = base.engines.direct.clone() {
        fatal.spawn(&tasks.rest, "direct path", |stop| direct.run(stop));
    }
}

fn start_issuer_keys(task: Arc<IssuerKeyTask>, viewers: DeliveryHandle, group: &Supervisor) {
    group.spawn("issuer keys", move |stop| {
        let task = task.clone();
        let viewers = viewers.clone();
        async move {
            task.run(&move |keys| viewers.close_signed_by(keys), stop).await;
            Ok(())
        }
    });
}

/// Starts the admin socket, the reports of this node to the others, and the timeline.
fn start_admin(admin: Admin, group: &Supervisor) {
    let admin = Arc::new(admin);
    let reporter = admin.reporter();
    group.spawn("report", move |stop| {
        let reporter = reporter.clone();
        async move {
            reporter.run(stop).await;
            Ok(())
        }
    });
    let keeper = admin.timeline_keeper();
    group.spawn("timeline", move |stop| {
        let keeper = keeper.clone();
        async move {
            keeper.run(stop).await;
            Ok(())
        }
    });
    group.spawn("admin", move |stop| {
        let admin = admin.clone();
        async move { Ok(admin.run(stop).await?) }
    });
}

/// Ends the daemon when an essential task fails.
#[derive(Debug, Clone)]
struct FatalErrors(mpsc::Sender<String>);

impl FatalErrors {
    fn report(&self, reason: String) {
        // The first reason ends the daemon. Later ones are dropped.
        let _ = self.0.try_send(reason);
    }

    /// Spawns an essential task in a group. It receives the token that stops the group.
    fn spawn<Fut>(
        &self,
        group: &Supervisor,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> Fut,
    ) where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let fatal = self.clone();
        let task = task(group.stop_token().clone());
        let task = async move {
            task.await;
            Ok(())
        };
        group.spawn_essential(name, task, move |reason| fatal.report(reason));
    }
}
