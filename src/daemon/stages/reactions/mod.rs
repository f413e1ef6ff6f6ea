//! Adds up the reactions that the workers counted. Every window (500 ms) it stores the sums and
//! publishes the new totals.
//!
//! In: counts per stream and kind from the delivery workers. Out: stored totals, and on the bus the
//! totals that changed.
//!
//! Always holds: a total is published only after it is stored, so a viewer never sees a total
//! shrink. Counts that the store or the bus did not accept go with the next window.
//!
//! When full: never, as it holds one number per stream and kind. While it stores, the channel
//! fills, and workers that find it full keep adding up.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::daemon::base::config::ReactionsConfig;
use crate::daemon::base::handoff::ReactionCounts;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::bus::{BusMessage, SharedBus};
use crate::daemon::engines::reactions::{SharedReactionTotals, Totals};
use crate::protocol::StreamId;

type TotalsByStream = BTreeMap<StreamId, Totals>;

/// The stage.
#[derive(Debug)]
pub struct ReactionWindow {
    kinds: Vec<Arc<str>>,
    window: std::time::Duration,
    totals: SharedReactionTotals,
    breaker: Arc<Breaker>,
    bus: SharedBus,
    metrics: Metrics,
    /// Counts not yet stored.
    unstored: TotalsByStream,
    /// Stored totals not yet published.
    unpublished: TotalsByStream,
}

impl ReactionWindow {
    /// `breaker` guards the store of totals.
    pub fn new(
        config: &ReactionsConfig,
        totals: SharedReactionTotals,
        breaker: Arc<Breaker>,
        bus: SharedBus,
        metrics: Metrics,
    ) -> Self {
        Self {
            kinds: config.kinds.iter().map(|kind| kind.as_str().into()).collect(),
            window: config.window,
            totals,
            breaker,
            bus,
            metrics,
            unstored: TotalsByStream::new(),
            unpublished: TotalsByStream::new(),
        }
    }

    /// Runs until `stop` is cancelled or every sender is gone, then flushes what it has received.
    pub async fn run(
        mut self,
        mut counts: mpsc::Receiver<Vec<ReactionCounts>>,
        stop: CancellationToken,
    ) {
        let mut ticks = ticker_from_now(self.window);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.flush().await,
                report = counts.recv() => match report {
                    Some(report) => self.add(report),
                    None => break,
                },
            }
        }
        counts.close();
        while let Some(report) = counts.recv().await {
            self.add(report);
        }
        self.flush().await;
        if !self.unstored.is_empty() {
            warn!(streams = self.unstored.len(), "stopped before the last reactions were stored");
        }
    }

    fn add(&mut self, report: Vec<ReactionCounts>) {
        for ReactionCounts { stream_id, counts } in report {
            for (kind, count) in counts {
                match self.kinds.get(usize::from(kind)) {
                    Some(reaction) if count > 0 => {
                        let totals = self.unstored.entry(stream_id).or_default();
                        *totals.entry(reaction.clone()).or_default() += u64::from(count);
                        self.metrics.reactions.inc_by(u64::from(count));
                    }
                    Some(_) => {}
                    None => warn!(kind, kinds = self.kinds.len(), "unknown reaction kind ignored"),
                }
            }
        }
    }

    async fn flush(&mut self) {
        self.store().await;
        self.publish().await;
    }

    async fn store(&mut self) {
        if self.unstored.is_empty() || !self.breaker.permits() {
            return;
        }
        let counts: Vec<_> = std::mem::take(&mut self.unstored).into_iter().collect();
        match self.breaker.observe(self.totals.add(&counts).await) {
            Ok(changed) => {
                for (stream_id, totals) in changed {
                    self.unpublished.entry(stream_id).or_default().extend(totals);
                }
            }
            Err(error) => {
                warn!(%error, "reaction counts not stored; retrying with the next window");
                self.unstored = counts.into_iter().collect();
            }
        }
    }

    async fn publish(&mut self) {
        for (stream_id, totals) in std::mem::take(&mut self.unpublished) {
            let message = BusMessage::Reactions { totals: totals.clone() };
            if let Err(error) = self.bus.publish(stream_id, vec![message]).await {
                debug!(%stream_id, %error, "reaction totals not published; retrying with the next window");
                self.unpublished.insert(stream_id, totals);
            }
        }
    }
}

#[cfg(test)]
mod tests;
