//! The window: adds up what the workers counted, and every 500 ms makes it durable and known.
//!
//! In: counts by stream and kind from the delivery workers. Out: the totals, and on the bus those of
//! them that changed.
//!
//! Always holds: a viewer is told a total only after it is stored, so no total it sees ever shrinks.
//! What the store or the bus did not take goes with the next window.
//!
//! When full: it holds one number for each kind of each stream, so it cannot be; while it stores, the
//! channel fills, and workers that find it full keep adding up.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::daemon::base::config::ReactionsConfig;
use crate::daemon::base::handoff::ReactionCounts;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::bus::{BusMessage, SharedBus};
use crate::daemon::engines::reactions::{SharedReactionTotals, Totals};
use crate::protocol::StreamId;

type ByStream = BTreeMap<StreamId, Totals>;

/// The stage.
#[derive(Debug)]
pub struct ReactionWindow {
    kinds: Vec<Arc<str>>,
    window: std::time::Duration,
    totals: SharedReactionTotals,
    breaker: Arc<Breaker>,
    bus: SharedBus,
    metrics: Metrics,
    /// Counted and not yet stored.
    counted: ByStream,
    /// Stored and not yet published: the newest total of each.
    untold: ByStream,
}

impl ReactionWindow {
    /// `breaker` is that of the store of totals.
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
            counted: ByStream::new(),
            untold: ByStream::new(),
        }
    }

    /// Runs until `stop` is cancelled or every sender is gone; then flushes what was handed over.
    pub async fn run(
        mut self,
        mut counts: mpsc::Receiver<Vec<ReactionCounts>>,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(self.window);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        if !self.counted.is_empty() {
            warn!(streams = self.counted.len(), "stopped before the last reactions were stored");
        }
    }

    fn add(&mut self, report: Vec<ReactionCounts>) {
        for ReactionCounts { stream_id, counts } in report {
            for (kind, count) in counts {
                match self.kinds.get(usize::from(kind)) {
                    Some(reaction) if count > 0 => {
                        let totals = self.counted.entry(stream_id).or_default();
                        *totals.entry(reaction.clone()).or_default() += u64::from(count);
                        self.metrics.reactions.inc_by(u64::from(count));
                    }
                    Some(_) => {}
                    None => warn!(kind, kinds = self.kinds.len(), "counted an unknown reaction"),
                }
            }
        }
    }

    async fn flush(&mut self) {
        self.store().await;
        self.publish().await;
    }

    async fn store(&mut self) {
        if self.counted.is_empty() || !self.breaker.permits() {
            return;
        }
        let counts: Vec<_> = std::mem::take(&mut self.counted).into_iter().collect();
        match self.breaker.observe(self.totals.add(&counts).await) {
            Ok(changed) => {
                for (stream_id, totals) in changed {
                    self.untold.entry(stream_id).or_default().extend(totals);
                }
            }
            Err(error) => {
                warn!(%error, "reactions wait for the store of their totals");
                self.counted = counts.into_iter().collect();
            }
        }
    }

    async fn publish(&mut self) {
        for (stream_id, totals) in std::mem::take(&mut self.untold) {
            let message = BusMessage::Reactions { totals: totals.clone() };
            if let Err(error) = self.bus.publish(stream_id, vec![message]).await {
                debug!(%stream_id, %error, "reaction totals wait for the bus");
                self.untold.insert(stream_id, totals);
            }
        }
    }
}

#[cfg(test)]
mod tests;
