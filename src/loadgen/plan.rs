//! The plan of a run, as a caller writes it, and its preparation: tokens, processes, addresses.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio_util::sync::CancellationToken;

use super::capacity::{self, Capacity};
use super::pool::{CONNECT_TIMEOUT, ViewerPlan, WireForm};
use super::pools::ViewerPlacement;
use super::progress::ProgressSink;
use super::report::Report;
use super::run::LoadRun;
use super::schedule::Workload;
use crate::client::viewer::ViewerOptions;
use crate::client::{Endpoint, TokenSource, Trust};
use crate::protocol::admin::TransportKind;
use crate::protocol::message::Encoding;
use crate::protocol::{StreamId, UserId};

/// The server to load, the viewers, the senders and their comments.
#[derive(Debug)]
pub struct LoadPlan {
    /// Shared evenly by the connections. At least one.
    pub endpoints: Vec<Endpoint>,
    pub stream: StreamId,
    pub viewers: u64,
    /// Users who comment, each over its own connection. None connects if the plan sends nothing.
    pub senders: u64,
    pub workload: Workload,
    pub reactions_per_second: f64,
    /// Times at which all viewers drop their connections and reconnect, since the first comment.
    pub storms: Vec<Duration>,
    /// Shared evenly by the viewers. Senders use WebSockets.
    pub transports: Vec<TransportKind>,
    /// Shared evenly by the viewers. Senders use the encoding of their form, without deflate.
    pub forms: Vec<WireForm>,
    pub connections_per_second: f64,
    /// Percentage of viewers that never read.
    pub slow_percent: f64,
    /// True if each viewer gets a token of its own.
    pub viewer_tokens: bool,
    /// The source of tokens. Needed if [`LoadPlan::tokens`] is not 0.
    pub token_source: Option<TokenSource>,
    pub trust: Trust,
    /// A program that has the hidden worker command of `lc`. Without one, all viewers are in this
    /// process.
    pub worker_program: Option<PathBuf>,
    /// Worker processes. By default as many as descriptors need and processors serve.
    pub processes: Option<u64>,
    /// Loopback addresses to connect from. By default as many as ports need.
    pub source_addresses: Option<u32>,
    /// Time to wait for outstanding messages after the last comment.
    pub grace: Duration,
}

impl LoadPlan {
    /// Plans 100 comments per second for 30 seconds, sent by 10 users to 100 viewers that read
    /// JSON.
    pub fn new(endpoint: Endpoint, stream: StreamId) -> Self {
        Self {
            endpoints: vec![endpoint],
            stream,
            viewers: 100,
            senders: 10,
            workload: Workload::Rate { per_second: 100.0, duration: Duration::from_secs(30) },
            reactions_per_second: 0.0,
            storms: Vec::new(),
            transports: vec![TransportKind::Websocket],
            forms: vec![Encoding::Json.into()],
            connections_per_second: 2000.0,
            slow_percent: 0.0,
            viewer_tokens: false,
            token_source: None,
            trust: Trust::PublicAuthorities,
            worker_program: None,
            processes: None,
            source_addresses: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Returns how many tokens a run needs at most.
    pub fn tokens(&self) -> u64 {
        self.active_senders() + if self.viewer_tokens { self.viewers } else { 0 }
    }

    fn active_senders(&self) -> u64 {
        let sends = self.workload.comments() > 0 || self.reactions_per_second > 0.0;
        if sends { self.senders } else { 0 }
    }

    /// Makes tokens and decides where the viewers go.
    ///
    /// # Errors
    /// The plan needs tokens and there are none, or it names source addresses for a remote target.
    pub async fn prepare(self) -> anyhow::Result<PreparedLoad> {
        let senders = self.active_senders();
        let connections_per_process = capacity::raise_descriptor_limit();
        let capacity = Capacity { viewers: self.viewers, senders, connections_per_process };
        let placement = self.placement(capacity);
        let (viewers, capacity_note) = capacity.fit_viewers(placement.pools());
        let placement_note = match &placement {
            ViewerPlacement::WorkerProcesses { count, .. } => Some(format!(
                "{} viewers in {count} processes of at most {connections_per_process} connections",
                self.viewers
            )),
            _ => None,
        };
        let source_addresses = self.source_addresses(viewers)?;
        let tokens = self.make_tokens(senders, viewers).await?;
        let sender_options = |(index, token): (usize, &Arc<str>)| {
            let endpoint = self.endpoints[index % self.endpoints.len()].clone();
            let encoding = self.forms[index % self.forms.len()].encoding;
            let token = Some(token.clone());
            let options = ViewerOptions::new(endpoint, self.stream);
            ViewerOptions { token, trust: self.trust, encoding, ..options }
        };
        let sender_options = tokens.senders.iter().enumerate().map(sender_options).collect();
        Ok(PreparedLoad(LoadRun {
            viewer_plan: ViewerPlan {
                viewers,
                stream: self.stream,
                endpoints: self.endpoints,
                transports: self.transports,
                forms: self.forms,
                trust: self.trust,
                tokens: tokens.viewers,
                slow_percent: self.slow_percent,
                connections_per_second: self.connections_per_second,
                source_addresses,
                connect_timeout: CONNECT_TIMEOUT,
            },
            placement,
            viewers_requested: self.viewers,
            senders: sender_options,
            own_users: tokens.first_sender..tokens.first_sender + senders,
            workload: self.workload,
            reactions_per_second: self.reactions_per_second,
            storms: self.storms,
            grace: self.grace,
            notes: placement_note.into_iter().chain(capacity_note).collect(),
        }))
    }

    fn placement(&self, capacity: Capacity) -> ViewerPlacement {
        let Some(program) = &self.worker_program else { return ViewerPlacement::InProcess };
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        match self.processes.unwrap_or_else(|| capacity.processes(processors)) {
            1 => ViewerPlacement::InProcess,
            count => ViewerPlacement::WorkerProcesses { program: program.clone(), count },
        }
    }

    /// Returns how many addresses viewers connect from. With 0 the kernel chooses.
    fn source_addresses(&self, viewers: u64) -> anyhow::Result<u32> {
        let is_loopback = |endpoint: &Endpoint| {
            endpoint.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        };
        let local = self.endpoints.iter().all(is_loopback);
        match self.source_addresses {
            Some(_) if !local => bail!("--source-addresses is for targets on 127.0.0.0/8"),
            Some(addresses) => Ok(addresses),
            None if !local => Ok(0),
            None => {
                let targets = self.endpoints.len() as u64;
                Ok(capacity::source_addresses(viewers, targets, self.storms.len() as u64))
            }
        }
    }

    async fn make_tokens(&self, senders: u64, viewers: u64) -> anyhow::Result<UserTokens> {
        // Below 2^53, where JavaScript still counts exactly.
        let first_sender = rand::random_range(1_u64 << 40..1 << 52);
        let mut tokens = UserTokens { first_sender, senders: Vec::new(), viewers: Vec::new() };
        let viewers = if self.viewer_tokens { viewers } else { 0 };
        if senders + viewers == 0 {
            return Ok(tokens);
        }
        let Some(source) = &self.token_source else { bail!("the plan needs a source of tokens") };
        let make = async |first: u64, count: u64| -> anyhow::Result<Vec<Arc<str>>> {
            let tokens = source.numbered(UserId(first), count as u32, "load").await?;
            Ok(tokens.into_iter().map(Arc::from).collect())
        };
        tokens.senders = make(first_sender, senders).await?;
        tokens.viewers = make(first_sender + senders, viewers).await?;
        Ok(tokens)
    }
}

/// The tokens of a run. User ids are random, so that two runs almost never share one.
struct UserTokens {
    first_sender: u64,
    senders: Vec<Arc<str>>,
    viewers: Vec<Arc<str>>,
}

/// A run that is ready to start.
#[derive(Debug)]
pub struct PreparedLoad(LoadRun);

impl PreparedLoad {
    /// Returns what the caller should know before the run, such as viewers that do not fit.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Runs to the end. Cancelling `stop` ends the sending early; the report covers what was sent.
    ///
    /// # Errors
    /// A sender or all viewers could not connect, or viewers were lost with their process.
    pub async fn run(
        self,
        stop: &CancellationToken,
        progress: &dyn ProgressSink,
    ) -> anyhow::Result<Report> {
        Box::pin(self.0.run(stop, progress)).await
    }
}
