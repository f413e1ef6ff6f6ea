//! One run: connect, send to schedule, wait for stragglers, settle.

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
use super::crowd::{AudiencePlan, Order, Progress as CrowdProgress};
use super::crowds::{Crowds, Reach};
use super::generator::Watch;
use super::ledger::histogram;
use super::outcome::Outcome;
use super::progress::Progress;
use super::report::{Percentiles, Report};
use super::schedule::{Planned, Slippage, Workload, keep_pace};
use super::sender::{Outgoing, QUEUE_COMMENTS, Say, Sender};
use super::submissions::Submissions;
use crate::client::viewer::{ConnectError, ViewerOptions};
use crate::protocol::quantity::show_count;

/// Between two looks at whether all has arrived.
const STRAGGLER_POLL: Duration = Duration::from_millis(50);
/// Senders that connect at the same time.
const CONNECTING_SENDERS: usize = 32;
/// From the last connection to the first comment.
const CALM: Duration = Duration::from_millis(100);
/// Sent in turn; kinds that a daemon knows unless it is told otherwise.
const REACTIONS: [&str; 3] = ["fire", "heart", "like"];

/// All that a run is made of.
#[derive(Debug)]
pub(crate) struct Trial {
    pub audience: AudiencePlan,
    pub reach: Reach,
    /// Viewers asked for, which may be more than fit.
    pub viewers_wanted: u64,
    /// One for each sender, with its token.
    pub senders: Vec<ViewerOptions>,
    /// The ids of the senders.
    pub own_users: std::ops::Range<u64>,
    pub workload: Workload,
    pub reactions_per_second: f64,
    /// When all viewers drop their connections, since the first comment.
    pub storms: Vec<Duration>,
    /// How long to wait, after the last comment, for what is still to come.
    pub grace: Duration,
    /// What the reader of the report must know beforehand.
    pub notes: Vec<String>,
}

/// Who sends.
struct Cast {
    queues: Vec<mpsc::Sender<Say>>,
    tasks: JoinSet<()>,
}

impl Trial {
    /// Runs it. Cancelling `stop` ends sending early; the report covers what was sent.
    pub(crate) async fn run(
        mut self,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> anyhow::Result<Report> {
        let clock = RunClock::start();
        let submissions = Arc::new(Submissions::new(clock));
        let cast = self.start_senders(&submissions).await?;
        let viewers = self.audience.viewers;
        let audience = self.audience.clone();
        // The plan's tokens are with the crowds from here on.
        self.audience.tokens = Vec::new();
        let live = progress.is_shown();
        let mut crowds =
            Crowds::start(audience, &self.own_users, &clock, &self.reach, live).await?;

        let watched = crowds.watch();
        let line = || format!("connecting {} of {viewers} viewers", watched().connected);
        let gather = async {
            tokio::select! {
                first_failure = crowds.gather(clock.now()) => first_failure,
                () = stop.cancelled() => Ok(None),
            }
        };
        let first_failure = progress.show(line, gather).await?;
        if let Some(error) = first_failure
            && crowds.progress().connected == 0
        {
            bail!("no viewer could connect: {error}");
        }

        let watch = Watch::start();
        crowds.order(Order::Begin).await;
        let (start, slippage) = self.load(&mut crowds, &submissions, cast, stop, progress).await?;
        let figures = crowds.settle().await?;
        let generator = watch.finish(slippage, &figures, self.reach.count());
        let outcome = Outcome { submissions, figures, started: clock.micros(start), slippage };
        Ok(outcome.report(self, generator))
    }

    async fn start_senders(&self, log: &Arc<Submissions>) -> anyhow::Result<Cast> {
        let run = rand::random();
        let mut tasks = JoinSet::new();
        let mut queues = Vec::with_capacity(self.senders.len());
        let connecting = stream::iter(&self.senders).map(async |options| {
            let sender = Sender::new(options.clone(), run, log.clone());
            let connection = loop {
                match sender.connect().await {
                    Ok(connection) => break connection,
                    Err(error) => match error.requested_pause() {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => return Err(error),
                    },
                }
            };
            Ok::<_, ConnectError>((sender, connection))
        });
        let mut connecting = std::pin::pin!(connecting.buffered(CONNECTING_SENDERS));
        while let Some(connected) = connecting.next().await {
            let (sender, connection) = connected.context("a sender could not connect")?;
            let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
            queues.push(queue);
            // Why it gave up is in the submissions' count of interruptions.
            tasks.spawn(async move { drop(sender.run(connection, outgoing).await) });
        }
        Ok(Cast { queues, tasks })
    }

    /// Sends, then waits for what is to come.
    async fn load(
        &self,
        crowds: &mut Crowds,
        submissions: &Arc<Submissions>,
        mut cast: Cast,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> anyhow::Result<(Instant, Slippage)> {
        tokio::time::sleep(CALM).await;
        let start = Instant::now();
        let watched = crowds.watch();
        let line = || status(submissions, &watched());
        let queues = std::mem::take(&mut cast.queues);
        let mut acks = AckFeed::start(submissions.clone(), crowds.orders());
        let slippage = {
            let others = join(self.react(start, &queues, stop), self.storm(start, crowds, stop));
            let all = join(self.send(start, &queues, submissions, stop), others);
            progress.show(line, all).await.0
        };
        drop(queues);
        let stragglers = async {
            while cast.tasks.join_next().await.is_some() {}
            acks.finish().await;
            while crowds.outstanding().await? {
                tokio::time::sleep(STRAGGLER_POLL).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        // What has not come by then is lost or unanswered, and the report says so.
        match progress.show(line, tokio::time::timeout(self.grace, stragglers)).await {
            Ok(settled) => settled?,
            Err(_) => acks.finish().await,
        }
        Ok((start, slippage))
    }

    /// Sends the plan, and holds its viewers for as long as it was to take.
    async fn send(
        &self,
        start: Instant,
        queues: &[mpsc::Sender<Say>],
        submissions: &Submissions,
        stop: &CancellationToken,
    ) -> Slippage {
        let dispatch = async |planned: Planned, intended| {
            let lane = (planned.lane % queues.len() as u64) as usize;
            let outgoing = Outgoing { number: planned.number, intended, text: planned.text };
            if queues[lane].send(Say::Comment(outgoing)).await.is_err() {
                submissions.left_unsent();
            }
        };
        let slippage = keep_pace(start, self.workload.plan(), stop, dispatch).await;
        tokio::select! {
            () = sleep_until(start + self.workload.duration()) => {}
            () = stop.cancelled() => {}
        }
        slippage
    }

    /// Reactions, evenly spread over time and senders.
    async fn react(&self, start: Instant, queues: &[mpsc::Sender<Say>], stop: &CancellationToken) {
        let (per_second, duration) = (self.reactions_per_second, self.workload.duration());
        let plan = Workload::Rate { per_second, duration };
        keep_pace(start, plan.plan(), stop, async |planned: Planned, _| {
            let number = planned.number as usize;
            let reaction = REACTIONS[number % REACTIONS.len()];
            // A sender that the server sent away reacts no more; the count sent says so.
            let _ = queues[number % queues.len()].send(Say::Reaction(reaction)).await;
        })
        .await;
    }

    async fn storm(&self, start: Instant, crowds: &Crowds, stop: &CancellationToken) {
        for at in &self.storms {
            tokio::select! {
                () = sleep_until(start + *at) => crowds.order(Order::Storm).await,
                () = stop.cancelled() => return,
            }
        }
    }
}

/// The line of a run in progress.
fn status(submissions: &Submissions, crowds: &CrowdProgress) -> String {
    let (acked, rejected) = submissions.answered();
    let mut latency = histogram();
    crowds.latency.add_to(&mut latency);
    let p99 = Percentiles::of(&latency).p99.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    let counts = &crowds.counts;
    let away = match crowds.away {
        0 => String::new(),
        away => format!("{away} viewers on their way back, "),
    };
    format!(
        "{away}published {}, acked {}, rejected {}, delivered {}, p99 {p99}, duplicated {}, \
         out of order {}",
        show_count(submissions.published()),
        show_count(acked),
        show_count(rejected),
        show_count(counts.shown),
        counts.duplicated,
        counts.out_of_order,
    )
}
