//! All crowds of a run as one: on a thread of this process, or in as many processes as their descriptors
//! need.
//!
//! In: a plan for all viewers, orders for all crowds. Out: sums. Always holds: what is asked of all is
//! answered by all, or the run fails with the reason of the one that cannot. When full: an order waits
//! until every crowd has room for it.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::clock::RunClock;
use super::crowd::{AudiencePlan, Crowd, CrowdPlan, Figures, Inbox, Order, Orders, Progress, Word};
use super::ledger::Micros;
use super::process;

/// A process that takes longer to start or to answer is as good as dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// Words that may wait to be read.
const QUEUE_WORDS: usize = 1024;

/// Where the viewers of a run are.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// In this process.
    Here,
    /// In this many processes of this program.
    Processes { program: PathBuf, count: u64 },
    /// In this many threads that are led like processes.
    #[cfg(test)]
    Pipes { count: u64 },
}

/// Where crowds say what they have to say.
pub(super) type Words = mpsc::Sender<(usize, Word)>;

/// What one crowd has said so far.
#[derive(Debug, Default)]
struct Said {
    ready: bool,
    gathered: bool,
    first_failure: Option<String>,
    progress: Progress,
    standing: Option<(u64, bool)>,
    settled: Option<Box<Figures>>,
    ended: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Crowds {
    orders: Vec<Orders>,
    said: watch::Receiver<Vec<Said>>,
    asks: u64,
    /// In processes of their own.
    apart: bool,
    listener: JoinHandle<()>,
}

impl Crowds {
    /// Starts them; they connect when they are told to.
    pub(crate) async fn start(
        audience: AudiencePlan,
        own_users: &Range<u64>,
        clock: &RunClock,
        reach: &Reach,
        live: bool,
    ) -> anyhow::Result<Self> {
        let parts = if audience.viewers == 0 { 0 } else { reach.count() };
        let addresses = resolve(&audience).await?;
        let origin_us = clock.origin_us();
        let plans = CrowdPlan::divide(audience, &addresses, parts, own_users, origin_us, live);
        let (words, heard) = mpsc::channel(QUEUE_WORDS);
        let (says, said) = watch::channel(plans.iter().map(|_| Said::default()).collect());
        let listener = tokio::spawn(listen(heard, says));
        let orders = plans.into_iter().enumerate();
        let orders = orders.map(|(index, plan)| reach.start(index, plan, words.clone()));
        let orders = orders.collect::<anyhow::Result<Vec<_>>>()?;
        let mut crowds = Self { orders, said, asks: 0, apart: reach.is_apart(), listener };
        crowds.wait(Some(PATIENCE), |said| said.ready).await.context("starting viewers")?;
        Ok(crowds)
    }

    /// Tells all of them.
    pub(crate) async fn order(&self, order: Order) {
        for orders in &self.orders {
            orders.give(order.clone()).await;
        }
    }

    /// For who tells them more.
    pub(crate) fn orders(&self) -> Vec<Orders> {
        self.orders.clone()
    }

    /// Connects all viewers; returns when each has its welcome or has failed, with the first reason.
    pub(crate) async fn gather(&mut self, at: Micros) -> anyhow::Result<Option<String>> {
        self.order(Order::Connect(at)).await;
        self.wait(None, |said| said.gathered).await?;
        Ok(self.said.borrow().iter().find_map(|said| said.first_failure.clone()))
    }

    /// Whether a viewer is still owed one of the comments that were told as acknowledged before.
    pub(crate) async fn outstanding(&mut self) -> anyhow::Result<bool> {
        self.asks += 1;
        let ask = self.asks;
        self.order(Order::Ask(ask)).await;
        self.wait(Some(PATIENCE), |said| said.standing.is_some_and(|(of, _)| of == ask)).await?;
        Ok(self.said.borrow().iter().any(|said| said.standing.is_some_and(|(_, yes)| yes)))
    }

    /// Closes the accounts.
    pub(crate) async fn settle(mut self) -> anyhow::Result<Figures> {
        self.order(Order::Settle).await;
        self.wait(Some(PATIENCE), |said| said.settled.is_some()).await?;
        let mut sum = Figures::default();
        for figures in self.said.borrow().iter().filter_map(|said| said.settled.clone()) {
            sum.merge(*figures);
        }
        if !self.apart {
            // What this process uses is counted where it counts itself.
            sum.cpu_us = 0;
        }
        Ok(sum)
    }

    pub(crate) fn progress(&self) -> Progress {
        Self::sum(&self.said)
    }

    /// The same, for who looks while others order.
    pub(crate) fn watch(&self) -> impl Fn() -> Progress + use<> {
        let said = self.said.clone();
        move || Self::sum(&said)
    }

    fn sum(said: &watch::Receiver<Vec<Said>>) -> Progress {
        let mut sum = Progress::default();
        said.borrow().iter().for_each(|said| sum.merge(&said.progress));
        sum
    }

    /// Until it holds of every crowd.
    async fn wait(
        &mut self,
        patience: Option<Duration>,
        holds: impl Fn(&Said) -> bool,
    ) -> anyhow::Result<()> {
        let decided = |all: &Vec<Said>| {
            all.iter().all(&holds) || all.iter().any(|said| said.ended.is_some() && !holds(said))
        };
        let wait = self.said.wait_for(decided);
        let said = match patience {
            Some(patience) => timeout(patience, wait)
                .await
                .with_context(|| format!("a crowd of viewers was silent for {patience:?}"))?,
            None => wait.await,
        };
        let said = said.context("nobody listens to the viewers any more")?;
        match said.iter().find_map(|said| said.ended.as_ref().filter(|_| !holds(said))) {
            Some(reason) => bail!("a crowd of viewers was lost: {reason}"),
            None => Ok(()),
        }
    }
}

impl Drop for Crowds {
    fn drop(&mut self) {
        // Without orders to wait for the crowds end by themselves.
        self.orders.clear();
        self.listener.abort();
    }
}

impl Reach {
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Here => 1,
            Self::Processes { count, .. } => *count,
            #[cfg(test)]
            Self::Pipes { count } => *count,
        }
    }

    fn is_apart(&self) -> bool {
        matches!(self, Self::Processes { .. })
    }

    fn start(&self, index: usize, plan: CrowdPlan, words: Words) -> anyhow::Result<Orders> {
        match self {
            Self::Here => here(index, plan, words),
            Self::Processes { program, .. } => process::start(program, index, plan, words),
            #[cfg(test)]
            Self::Pipes { .. } => process::over_pipes(index, plan, words),
        }
    }
}

/// A crowd on a thread of this process.
fn here(index: usize, plan: CrowdPlan, words: Words) -> anyhow::Result<Orders> {
    let (orders, inbox) = Inbox::new().context("the kernel gives no poll")?;
    let run = move || {
        let said = words.clone();
        let voice = Voice { index, words, reason: Some("its thread panicked".to_owned()) };
        let crowd = Crowd::new(plan, inbox, move |word| said.blocking_send((index, word)).is_ok());
        voice.end(crowd.run().err().map(|error| error.to_string()));
    };
    let thread = std::thread::Builder::new().name("loadgen-viewers".to_owned());
    thread.spawn(run).context("the kernel gives no thread")?;
    Ok(orders)
}

/// Says that a crowd is no more, whatever ended it.
#[derive(Debug)]
pub(super) struct Voice {
    pub index: usize,
    pub words: Words,
    pub reason: Option<String>,
}

impl Voice {
    pub(super) fn end(mut self, reason: Option<String>) {
        self.reason = reason;
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        // Unheard if the run is over as well.
        let _ = self.words.blocking_send((self.index, Word::Ended(self.reason.take())));
    }
}

async fn listen(mut heard: mpsc::Receiver<(usize, Word)>, says: watch::Sender<Vec<Said>>) {
    while let Some((index, word)) = heard.recv().await {
        says.send_modify(|all| {
            if let Some(said) = all.get_mut(index) {
                said.hear(word);
            }
        });
    }
}

impl Said {
    fn hear(&mut self, word: Word) {
        match word {
            Word::Ready => self.ready = true,
            Word::Gathered { first_failure } => {
                self.gathered = true;
                self.first_failure = first_failure;
            }
            Word::Progress(progress) => self.progress = progress,
            Word::Standing { ask, outstanding } => self.standing = Some((ask, outstanding)),
            Word::Settled(figures) => self.settled = Some(figures),
            Word::Ended(reason) => {
                self.ended = Some(reason.unwrap_or_else(|| "it ended early".to_owned()));
            }
        }
    }
}

/// The addresses of each endpoint, asked for once for all viewers.
async fn resolve(audience: &AudiencePlan) -> anyhow::Result<Vec<Vec<SocketAddr>>> {
    let mut all = Vec::with_capacity(audience.endpoints.len());
    for endpoint in &audience.endpoints {
        let found = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await;
        all.push(found.with_context(|| format!("{endpoint} has no address"))?.collect());
    }
    Ok(all)
}
