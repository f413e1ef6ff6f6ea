//! One run: connect, send to schedule, wait for stragglers, settle.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::audience::{Audience, AudienceLog, AudiencePlan};
use super::generator::{Generator, Watch};
use super::ledger::{Ledger, LedgerHandle};
use super::progress::Progress;
use super::report::{Percentiles, Report};
use super::schedule::{Slippage, Workload, keep_pace};
use super::sender::{Outgoing, QUEUE_COMMENTS, Sender};
use super::submissions::{ByKind, Submissions};
use crate::client::viewer::{ConnectError, ViewerOptions};
use crate::protocol::quantity::show_count;

/// Between two looks at whether all has arrived.
const STRAGGLER_POLL: Duration = Duration::from_millis(20);
/// Senders that connect at the same time.
const CONNECTING_SENDERS: usize = 32;
/// From the last connection to the first comment.
const CALM: Duration = Duration::from_millis(100);

/// All that a run is made of.
#[derive(Debug)]
pub(crate) struct Trial {
    pub audience: AudiencePlan,
    /// Viewers asked for, which may be more than fit.
    pub viewers_wanted: u64,
    /// One for each sender, with its token.
    pub senders: Vec<ViewerOptions>,
    /// The ids of the senders.
    pub own_users: std::ops::Range<u64>,
    pub workload: Workload,
    /// How long to wait, after the last comment, for what is still to come.
    pub grace: Duration,
    /// What the reader of the report must know beforehand.
    pub notes: Vec<String>,
}

/// What the parts of a run share.
struct Books {
    ledger: Arc<LedgerHandle>,
    submissions: Arc<Submissions>,
    audience: Arc<AudienceLog>,
}

type Queues = Vec<mpsc::Sender<Outgoing>>;

impl Trial {
    /// Runs it. Cancelling `stop` ends sending early; the report covers what was sent.
    pub(crate) async fn run(
        self,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> anyhow::Result<Report> {
        let viewers = self.audience.viewers.len();
        let ledger = Ledger::new(viewers, self.own_users.clone());
        let ledger = Arc::new(LedgerHandle::new(ledger, Instant::now()));
        let submissions = Arc::new(Submissions::new(ledger.clone()));
        let books = Books { ledger, submissions, audience: Arc::default() };

        let (queues, mut sending) = self.start_senders(&books.submissions).await?;
        let line = || format!("connecting {}", connected(&books, viewers));
        let gather = Audience::gather(&self.audience, &books.ledger, &books.audience, stop);
        let audience = progress.show(line, gather).await;
        if let Some(error) = &audience.first_failure
            && books.audience.connected.load(Relaxed) == 0
        {
            bail!("no viewer could connect: {error}");
        }

        let watch = Watch::start();
        let (start, slippage) = self.load(&books, queues, &mut sending, stop, progress).await;
        let generator = watch.finish(slippage);
        Ok(self.report(&books, &audience, start, slippage, generator))
    }

    async fn start_senders(&self, log: &Arc<Submissions>) -> anyhow::Result<(Queues, JoinSet<()>)> {
        let run = rand::random();
        let mut sending = JoinSet::new();
        let mut queues = Vec::with_capacity(self.senders.len());
        let connecting = stream::iter(&self.senders).map(async |options| {
            let sender = Sender::new(options.clone(), run, log.clone());
            let connection = sender.connect().await?;
            Ok::<_, ConnectError>((sender, connection))
        });
        let mut connecting = std::pin::pin!(connecting.buffered(CONNECTING_SENDERS));
        while let Some(connected) = connecting.next().await {
            let (sender, connection) = connected.context("a sender could not connect")?;
            let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
            queues.push(queue);
            // Why it gave up is in the submissions' count of interruptions.
            sending.spawn(async move { drop(sender.run(connection, outgoing).await) });
        }
        Ok((queues, sending))
    }

    /// Sends, then waits for what is to come.
    async fn load(
        &self,
        books: &Books,
        queues: Queues,
        sending: &mut JoinSet<()>,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> (Instant, Slippage) {
        tokio::time::sleep(CALM).await;
        let start = Instant::now();
        let line = || status(books);
        let submissions = &books.submissions;
        let dispatch = async |planned: super::schedule::Planned, intended| {
            let lane = (planned.lane % queues.len() as u64) as usize;
            let outgoing = Outgoing { number: planned.number, intended, text: planned.text };
            if queues[lane].send(outgoing).await.is_err() {
                submissions.left_unsent();
            }
        };
        let send = keep_pace(start, self.workload.plan(), stop, dispatch);
        let slippage = progress.show(line, send).await;
        // A rate of nothing holds its viewers for as long.
        let idle = async {
            tokio::select! {
                () = tokio::time::sleep_until(start + self.workload.duration()) => {}
                () = stop.cancelled() => {}
            }
        };
        progress.show(line, idle).await;
        drop(queues);
        let stragglers = async {
            while sending.join_next().await.is_some() {}
            while books.ledger.lock().outstanding() {
                tokio::time::sleep(STRAGGLER_POLL).await;
            }
        };
        // What has not come by then is lost or unanswered, and the report says so.
        let _ = progress.show(line, tokio::time::timeout(self.grace, stragglers)).await;
        (start, slippage)
    }

    fn report(
        mut self,
        books: &Books,
        audience: &Audience,
        start: Instant,
        slippage: Slippage,
        generator: Generator,
    ) -> Report {
        let outcomes = books.submissions.outcomes();
        let (counts, latency) = books.ledger.snapshot();
        let tally = books.ledger.lock().settle();
        let start = books.ledger.micros(start);
        let since_start = |end: u64| end.saturating_sub(start) as f64 / 1e6;
        let per_second = |count: u64, seconds: f64| {
            if seconds > 0.0 { (count as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
        };
        let published = books.submissions.published();
        let duration_s = slippage.ended_after.as_secs_f64();
        let answered = outcomes.acked + outcomes.rejected.values().sum::<u64>();
        self.add_notes(counts.epoch_changes, counts.conflicting_acks);
        Report {
            viewers: self.viewers_wanted,
            connected: books.audience.connected.load(Relaxed),
            published,
            acked: outcomes.acked,
            delivered: tally.delivered,
            expected: tally.expected,
            sampled_out: tally.sampled_out,
            skipped: tally.skipped,
            deleted: tally.deleted,
            lost: tally.lost,
            duplicated: counts.duplicated,
            out_of_order: counts.out_of_order,
            latency_ms: Percentiles::of(&latency),
            connect_ms: Percentiles::of(&audience.connect),
            ack_ms: Percentiles::of(&outcomes.ack),
            unanswered: published.saturating_sub(answered),
            unsent: books.submissions.unsent(),
            deletions_seen: counts.deletions_seen,
            slow_viewers: audience.slow,
            disconnected: books.audience.disconnected.load(Relaxed),
            reconnects: books.audience.reconnects.load(Relaxed),
            closed: sum(books.audience.closed(), &outcomes.interrupted),
            rejected: outcomes.rejected,
            connect_failed: audience.failed.clone(),
            malformed: counts.malformed,
            duration_s: (duration_s * 1000.0).round() / 1000.0,
            published_per_second: per_second(published, duration_s),
            acked_per_second: per_second(outcomes.acked, since_start(outcomes.last_ack)),
            delivered_per_second: per_second(tally.delivered, since_start(counts.last_arrival)),
            generator,
            notes: self.notes,
        }
    }

    fn add_notes(&mut self, epoch_changes: u64, conflicting_acks: u64) {
        if epoch_changes > 0 {
            self.notes.push(format!(
                "{epoch_changes} viewers were moved to another epoch, the event log was replaced; \
                 their account ends there"
            ));
        }
        if conflicting_acks > 0 {
            self.notes.push(format!(
                "{conflicting_acks} acks claimed a place in the order that another comment has"
            ));
        }
    }
}

fn connected(books: &Books, viewers: usize) -> String {
    format!("{} of {viewers} viewers", books.audience.connected.load(Relaxed))
}

/// The line of a run in progress.
fn status(books: &Books) -> String {
    let (acked, rejected) = books.submissions.answered();
    let (counts, latency) = books.ledger.snapshot();
    let p99 = Percentiles::of(&latency).p99.map_or("–".to_owned(), |ms| format!("{ms:.1} ms"));
    format!(
        "published {}, acked {}, rejected {}, delivered {}, p99 {p99}, duplicated {}, out of order {}",
        show_count(books.submissions.published()),
        show_count(acked),
        show_count(rejected),
        show_count(counts.shown),
        counts.duplicated,
        counts.out_of_order,
    )
}

fn sum(mut all: ByKind, more: &ByKind) -> ByKind {
    for (kind, count) in more {
        *all.entry(kind).or_default() += count;
    }
    all
}
