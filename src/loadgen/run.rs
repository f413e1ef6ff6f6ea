//! One run: connect the viewers, send on schedule, wait for late messages, report.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join;
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ack_feed::AckFeed;
use super::clock::RunClock;
use super::generator::GeneratorMonitor;
use super::histogram::{Percentiles, latency_histogram};
use super::pool::{PoolCommand, PoolProgress, RunContext, ViewerPlan};
use super::pools::{ViewerPlacement, ViewerPools};
use super::progress::{ProgressSink, show_while};
use super::report::Report;
use super::schedule::{ScheduledComment, Slippage, Workload, run_schedule};
use super::sender::{OutgoingComment, OutgoingMessage, QUEUE_COMMENTS, Sender};
use super::submissions::Submissions;
use super::summary::RunResults;
use crate::client::viewer::{ConnectError, ViewerConnection, ViewerOptions};
use crate::protocol::quantity::{counted, show_count};

/// Time between two checks whether all comments have arrived.
const OUTSTANDING_POLL: Duration = Duration::from_millis(50);
/// Senders that connect at the same time.
const CONNECTING_SENDERS: usize = 32;
/// Time from the last connection to the first comment.
const PAUSE_BEFORE_LOAD: Duration = Duration::from_millis(100);
/// Sent in turn. A daemon accepts these kinds by default.
const REACTIONS: [&str; 3] = ["fire", "heart", "like"];

/// A run whose tokens are made and whose viewers fit.
#[derive(Debug)]
pub(crate) struct LoadRun {
    pub viewer_plan: ViewerPlan,
    pub placement: ViewerPlacement,
    /// Viewers requested, which may be more than fit.
    pub viewers_requested: u64,
    /// One per sender, with its token.
    pub senders: Vec<ViewerOptions>,
    /// User ids of the senders.
    pub own_users: Range<u64>,
    pub workload: Workload,
    pub reactions_per_second: f64,
    /// Times at which all viewers drop their connections, since the first comment.
    pub storms: Vec<Duration>,
    /// Time to wait for outstanding messages after the last comment.
    pub grace: Duration,
    /// Notes for the report that are known before the run.
    pub notes: Vec<String>,
}

/// The running senders of a run.
struct Senders {
    queues: Vec<mpsc::Sender<OutgoingMessage>>,
    tasks: JoinSet<()>,
}

/// When the load began, and how well it kept to its schedule.
struct LoadTiming {
    started: Instant,
    slippage: Slippage,
}

impl LoadRun {
    /// Runs to the end. Cancelling `stop` ends the sending early; the report covers what was sent.
    ///
    /// # Errors
    /// A sender or all viewers could not connect, or a viewer pool was lost.
    pub(crate) async fn run(
        mut self,
        stop: &CancellationToken,
        progress: &dyn ProgressSink,
    ) -> anyhow::Result<Report> {
        let clock = RunClock::start();
        let submissions = Arc::new(Submissions::new(clock));
        let senders = self.start_senders(&submissions).await?;
        let viewers = self.viewer_plan.viewers;
        let viewer_plan = self.viewer_plan.clone();
        // The pools own the tokens from here on.
        self.viewer_plan.tokens = Vec::new();
        let context = RunContext {
            own_users: self.own_users.clone(),
            origin_us: clock.origin_us(),
            live: progress.is_shown(),
        };
        let mut pools = ViewerPools::start(viewer_plan, context, &self.placement).await?;

        let current = pools.progress_reader();
        let wanted = counted(viewers, "viewer");
        let line = || format!("connecting {} of {wanted}", current().connected);
        let connect = async {
            tokio::select! {
                first_failure = pools.connect(clock.now()) => first_failure,
                () = stop.cancelled() => Ok(None),
            }
        };
        let first_failure = show_while(progress, line, connect).await?;
        if let Some(error) = first_failure
            && pools.progress().connected == 0
        {
            bail!("no viewer could connect: {error}");
        }

        let monitor = GeneratorMonitor::start();
        pools.send(PoolCommand::BeginLoad).await;
        let LoadTiming { started, slippage } =
            self.load(&mut pools, &submissions, senders, stop, progress).await?;
        let totals = pools.finish().await?;
        let generator = monitor.finish(slippage, &totals, self.placement.pools());
        let results = RunResults {
            viewers_requested: self.viewers_requested,
            submissions,
            pools: totals,
            started: clock.micros(started),
            slippage,
            storm_times: self.storms,
            generator,
            notes: self.notes,
        };
        Ok(results.into_report())
    }

    async fn start_senders(&self, submissions: &Arc<Submissions>) -> anyhow::Result<Senders> {
        let run_id = rand::random();
        let mut tasks = JoinSet::new();
        let mut queues = Vec::with_capacity(self.senders.len());
        let connecting = stream::iter(&self.senders).map(async |options| {
            let sender = Sender::new(options.clone(), run_id, submissions.clone());
            let connection = connect_sender(&sender).await?;
            Ok::<_, ConnectError>((sender, connection))
        });
        let mut connecting = std::pin::pin!(connecting.buffered(CONNECTING_SENDERS));
        while let Some(connected) = connecting.next().await {
            let (sender, connection) = connected.context("a sender could not connect")?;
            let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
            queues.push(queue);
            // The reason for which it gave up is among the counted disconnects.
            tasks.spawn(async move { drop(sender.run(connection, outgoing).await) });
        }
        Ok(Senders { queues, tasks })
    }

    /// Sends, then waits for outstanding messages.
    async fn load(
        &self,
        pools: &mut ViewerPools,
        submissions: &Arc<Submissions>,
        mut senders: Senders,
        stop: &CancellationToken,
        progress: &dyn ProgressSink,
    ) -> anyhow::Result<LoadTiming> {
        tokio::time::sleep(PAUSE_BEFORE_LOAD).await;
        let started = Instant::now();
        let current = pools.progress_reader();
        let line = || status_line(submissions, &current());
        let queues = std::mem::take(&mut senders.queues);
        let mut acks = AckFeed::start(submissions.clone(), pools.command_senders());
        let slippage = {
            let reactions = self.send_reactions(started, &queues, stop);
            let others = join(reactions, self.run_storms(started, pools, stop));
            let all = join(self.send_comments(started, &queues, submissions, stop), others);
            show_while(progress, line, all).await.0
        };
        drop(queues);
        let outstanding = async {
            while senders.tasks.join_next().await.is_some() {}
            acks.finish().await;
            while pools.outstanding().await? {
                tokio::time::sleep(OUTSTANDING_POLL).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        // Comments that have not arrived by then are reported as lost or unanswered.
        match show_while(progress, line, tokio::time::timeout(self.grace, outstanding)).await {
            Ok(finished) => finished?,
            Err(_) => acks.finish().await,
        }
        Ok(LoadTiming { started, slippage })
    }

    /// Sends all comments, and returns when the scheduled time is over.
    async fn send_comments(
        &self,
        start: Instant,
        queues: &[mpsc::Sender<OutgoingMessage>],
        submissions: &Submissions,
        stop: &CancellationToken,
    ) -> Slippage {
        let dispatch = async |scheduled: ScheduledComment, intended| {
            let lane = (scheduled.lane % queues.len() as u64) as usize;
            let ScheduledComment { number, text, .. } = scheduled;
            let comment = OutgoingComment { number, intended, text };
            if queues[lane].send(OutgoingMessage::Comment(comment)).await.is_err() {
                submissions.count_unsent();
            }
        };
        let slippage = run_schedule(start, self.workload.schedule(), stop, dispatch).await;
        tokio::select! {
            () = sleep_until(start + self.workload.duration()) => {}
            () = stop.cancelled() => {}
        }
        slippage
    }

    /// Sends reactions, evenly spread over time and senders.
    async fn send_reactions(
        &self,
        start: Instant,
        queues: &[mpsc::Sender<OutgoingMessage>],
        stop: &CancellationToken,
    ) {
        let workload = Workload::Rate {
            per_second: self.reactions_per_second,
            duration: self.workload.duration(),
        };
        run_schedule(start, workload.schedule(), stop, async |scheduled: ScheduledComment, _| {
            let number = scheduled.number as usize;
            let reaction = OutgoingMessage::Reaction(REACTIONS[number % REACTIONS.len()]);
            // Fails if the sender has ended. The count of sent reactions shows it.
            let _ = queues[number % queues.len()].send(reaction).await;
        })
        .await;
    }

    async fn run_storms(&self, start: Instant, pools: &ViewerPools, stop: &CancellationToken) {
        for at in &self.storms {
            tokio::select! {
                () = sleep_until(start + *at) => pools.send(PoolCommand::Storm).await,
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Connects a sender, waiting as often as the server asks it to.
async fn connect_sender(sender: &Sender) -> Result<ViewerConnection, ConnectError> {
    loop {
        match sender.connect().await {
            Ok(connection) => return Ok(connection),
            Err(error) => match error.requested_pause() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            },
        }
    }
}

/// Returns the progress line of a run.
fn status_line(submissions: &Submissions, pools: &PoolProgress) -> String {
    let mut latency = latency_histogram();
    pools.latency.add_to(&mut latency);
    let p99 = Percentiles::of(&latency).p99.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let counters = &pools.counters;
    let away = match pools.away {
        0 => String::new(),
        away => format!("{} reconnecting, ", counted(away, "viewer")),
    };
    format!(
        "{away}published {}, acked {}, rejected {}, delivered {}, p99 {p99}, duplicated {}, \
         out of order {}",
        show_count(submissions.published()),
        show_count(submissions.acks()),
        show_count(submissions.rejections()),
        show_count(counters.shown),
        counters.duplicated,
        counters.out_of_order,
    )
}
