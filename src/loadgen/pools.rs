//! All viewer pools of a run: one on a thread of this process, or one per worker process.
//!
//! In: a plan for all viewers, commands for all pools. Out: the sums of what the pools report.
//! Always holds: a question to all pools is answered by all, or the run fails with the reason of
//! the pool that cannot answer. When full: a command waits until every pool has room for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::clock::Micros;
use super::pool::{
    CommandQueue, CommandSender, EventSender, ExitGuard, IndexedEvent, PoolCommand, PoolEvent,
    PoolPlan, PoolProgress, PoolTotals, RunContext, ViewerPlan, ViewerPool,
};
use super::worker_process;

/// A pool that takes longer to start or to answer counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_QUEUED_EVENTS: usize = 1024;

/// The processes that hold the viewers of a run.
#[derive(Debug, Clone)]
pub(crate) enum ViewerPlacement {
    InProcess,
    /// In `count` processes of this program.
    WorkerProcesses {
        program: PathBuf,
        count: u64,
    },
    /// In `count` threads that are controlled as worker processes are.
    #[cfg(test)]
    WorkerThreads {
        count: u64,
    },
}

/// The latest that one pool has reported.
#[derive(Debug, Default)]
struct PoolState {
    ready: bool,
    connected: bool,
    first_failure: Option<String>,
    progress: PoolProgress,
    /// The latest answer to [`PoolCommand::QueryOutstanding`].
    outstanding: Option<OutstandingAnswer>,
    totals: Option<Box<PoolTotals>>,
    ended: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct OutstandingAnswer {
    query: u64,
    outstanding: bool,
}

#[derive(Debug)]
pub(crate) struct ViewerPools {
    commands: Vec<CommandSender>,
    states: watch::Receiver<Vec<PoolState>>,
    queries: u64,
    in_worker_processes: bool,
    collector: JoinHandle<()>,
}

impl ViewerPools {
    /// Starts the pools. Their viewers connect at [`ViewerPools::connect`].
    pub(crate) async fn start(
        viewer_plan: ViewerPlan,
        run: RunContext,
        placement: &ViewerPlacement,
    ) -> anyhow::Result<Self> {
        let parts = if viewer_plan.viewers == 0 { 0 } else { placement.pools() };
        let addresses = resolve(&viewer_plan).await?;
        let plans = PoolPlan::divide(viewer_plan, &addresses, parts, &run);
        let (events, received) = mpsc::channel(MAX_QUEUED_EVENTS);
        let (publish, states) =
            watch::channel(plans.iter().map(|_| PoolState::default()).collect());
        let collector = tokio::spawn(collect(received, publish));
        let commands = plans
            .into_iter()
            .enumerate()
            .map(|(index, plan)| placement.start(plan, EventSender::new(index, events.clone())));
        let commands = commands.collect::<anyhow::Result<Vec<_>>>()?;
        let in_worker_processes = matches!(placement, ViewerPlacement::WorkerProcesses { .. });
        let mut pools = Self { commands, states, queries: 0, in_worker_processes, collector };
        pools.wait(Some(ANSWER_TIMEOUT), |pool| pool.ready).await.context("starting viewers")?;
        Ok(pools)
    }

    /// Sends a command to every pool.
    pub(crate) async fn send(&self, command: PoolCommand) {
        for commands in &self.commands {
            commands.send(command.clone()).await;
        }
    }

    pub(crate) fn command_senders(&self) -> Vec<CommandSender> {
        self.commands.clone()
    }

    /// Connects all viewers, the first at `at`. Returns when each has its welcome or has failed,
    /// with the first failure.
    pub(crate) async fn connect(&mut self, at: Micros) -> anyhow::Result<Option<String>> {
        self.send(PoolCommand::Connect(at)).await;
        self.wait(None, |pool| pool.connected).await?;
        Ok(self.states.borrow().iter().find_map(|pool| pool.first_failure.clone()))
    }

    /// Returns whether a viewer still waits for a comment whose ack was forwarded before this call.
    pub(crate) async fn outstanding(&mut self) -> anyhow::Result<bool> {
        self.queries += 1;
        let query = self.queries;
        self.send(PoolCommand::QueryOutstanding(query)).await;
        let answered = |pool: &PoolState| pool.outstanding.is_some_and(|last| last.query == query);
        self.wait(Some(ANSWER_TIMEOUT), answered).await?;
        let states = self.states.borrow();
        Ok(states.iter().any(|pool| pool.outstanding.is_some_and(|last| last.outstanding)))
    }

    /// Ends the pools and returns the sum of their totals.
    pub(crate) async fn finish(mut self) -> anyhow::Result<PoolTotals> {
        self.send(PoolCommand::Finish).await;
        self.wait(Some(ANSWER_TIMEOUT), |pool| pool.totals.is_some()).await?;
        let mut sum = PoolTotals::default();
        for totals in self.states.borrow().iter().filter_map(|pool| pool.totals.as_deref()) {
            sum.merge(totals);
        }
        if !self.in_worker_processes {
            // The generator monitor counts this process itself.
            sum.cpu_us = 0;
        }
        Ok(sum)
    }

    pub(crate) fn progress(&self) -> PoolProgress {
        sum_progress(&self.states)
    }

    /// Returns a function that reads the progress while the pools are borrowed.
    pub(crate) fn progress_reader(&self) -> impl Fn() -> PoolProgress + use<> {
        let states = self.states.clone();
        move || sum_progress(&states)
    }

    /// Waits until `holds` is true of every pool.
    async fn wait(
        &mut self,
        limit: Option<Duration>,
        holds: impl Fn(&PoolState) -> bool,
    ) -> anyhow::Result<()> {
        let decided = |all: &Vec<PoolState>| {
            all.iter().all(&holds) || all.iter().any(|pool| pool.ended.is_some() && !holds(pool))
        };
        let wait = self.states.wait_for(decided);
        let states = match limit {
            Some(limit) => timeout(limit, wait)
                .await
                .with_context(|| format!("a viewer pool did not answer within {limit:?}"))?,
            None => wait.await,
        };
        let states = states.context("the events of the viewer pools are no longer read")?;
        match states.iter().find_map(|pool| pool.ended.as_ref().filter(|_| !holds(pool))) {
            Some(reason) => bail!("a viewer pool was lost: {reason}"),
            None => Ok(()),
        }
    }
}

impl Drop for ViewerPools {
    fn drop(&mut self) {
        // Pools end when nobody can send them commands.
        self.commands.clear();
        self.collector.abort();
    }
}

fn sum_progress(states: &watch::Receiver<Vec<PoolState>>) -> PoolProgress {
    let mut sum = PoolProgress::default();
    states.borrow().iter().for_each(|pool| sum.merge(&pool.progress));
    sum
}

impl ViewerPlacement {
    /// Returns the number of pools.
    pub(crate) fn pools(&self) -> u64 {
        match self {
            Self::InProcess => 1,
            Self::WorkerProcesses { count, .. } => *count,
            #[cfg(test)]
            Self::WorkerThreads { count } => *count,
        }
    }

    fn start(&self, plan: PoolPlan, events: EventSender) -> anyhow::Result<CommandSender> {
        match self {
            Self::InProcess => start_in_process(plan, events),
            Self::WorkerProcesses { program, .. } => worker_process::start(program, plan, events),
            #[cfg(test)]
            Self::WorkerThreads { .. } => worker_process::start_on_threads(plan, events),
        }
    }
}

/// Starts a pool on a thread of this process.
fn start_in_process(plan: PoolPlan, events: EventSender) -> anyhow::Result<CommandSender> {
    let (commands, queue) = CommandQueue::new().context("cannot create a poll")?;
    let run = move || {
        let mut guard = ExitGuard::new(events.clone());
        guard.set_reason("its thread panicked".to_owned());
        let result = ViewerPool::new(plan, queue, move |event| events.send(event)).run();
        guard.set_reason(result.err().map(|error| error.to_string()));
    };
    let thread = std::thread::Builder::new().name("loadgen-viewers".to_owned());
    thread.spawn(run).context("cannot start a thread")?;
    Ok(commands)
}

/// Applies events to the states of their pools.
async fn collect(
    mut received: mpsc::Receiver<IndexedEvent>,
    states: watch::Sender<Vec<PoolState>>,
) {
    while let Some((index, event)) = received.recv().await {
        states.send_modify(|all| {
            if let Some(pool) = all.get_mut(index) {
                pool.apply(event);
            }
        });
    }
}

impl PoolState {
    fn apply(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Ready => self.ready = true,
            PoolEvent::Connected { first_failure } => {
                self.connected = true;
                self.first_failure = first_failure;
            }
            PoolEvent::Progress(progress) => self.progress = progress,
            PoolEvent::Outstanding { query, outstanding } => {
                self.outstanding = Some(OutstandingAnswer { query, outstanding });
            }
            PoolEvent::Finished(totals) => self.totals = Some(totals),
            PoolEvent::Ended(reason) => {
                self.ended = Some(reason.unwrap_or_else(|| "it ended early".to_owned()));
            }
        }
    }
}

/// Looks up the addresses of each endpoint, once for all viewers.
async fn resolve(viewer_plan: &ViewerPlan) -> anyhow::Result<Vec<Vec<SocketAddr>>> {
    let mut all = Vec::with_capacity(viewer_plan.endpoints.len());
    for endpoint in &viewer_plan.endpoints {
        let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
        all.push(found.with_context(|| format!("{endpoint} has no address"))?.collect());
    }
    Ok(all)
}
