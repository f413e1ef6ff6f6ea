//! Takes a sample of the node once per second: rates since the last one, and the latencies of the
//! last ten seconds.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::telemetry::{StageMeter, StoreAbout, StoreMeter, Telemetry};
use crate::protocol::admin::{
    CounterRates, Counters, ProcessStatus, RecentModeration, StageName, StageReport, StoreStatus,
    per_second,
};
use crate::protocol::latency::LatencyHistogram;

/// The time between two samples.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Samples that recent latencies are taken over.
const RECENT_SAMPLES: usize = 10;

/// The measurements of one node at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeSample {
    pub counters: Counters,
    pub rates: CounterRates,
    /// In the order of the pipeline.
    pub stages: Vec<StageReport>,
    /// By contract.
    pub stores: Vec<StoreStatus>,
    /// Since the process started.
    pub end_to_end: LatencyHistogram,
    /// Of the last ten seconds.
    pub end_to_end_recent: LatencyHistogram,
    pub process: ProcessStatus,
    /// Of the last minute, and of the hour before it.
    pub moderation: RecentModeration,
    /// Processor time since the process started.
    pub cpu_time: Option<Duration>,
}

/// A reading of everything that only grows.
#[derive(Debug, Clone, Default)]
struct Reading {
    counters: Counters,
    stages: Vec<StageReading>,
    stores: Vec<StoreReading>,
    end_to_end: LatencyHistogram,
}

#[derive(Debug, Clone)]
struct StoreReading {
    contract: &'static str,
    failed: u64,
    latency: LatencyHistogram,
}

impl StoreReading {
    fn calls(&self) -> u64 {
        self.latency.count() + self.failed
    }
}

#[derive(Debug, Clone)]
struct StageReading {
    name: StageName,
    items: u64,
    refused: u64,
    latency: LatencyHistogram,
}

/// Earlier readings, oldest first, each with its time.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    readings: VecDeque<(Instant, Reading)>,
}

impl Telemetry {
    /// Takes a sample. Called once per [`SAMPLE_INTERVAL`] by one task.
    pub fn sample(&self, metrics: &Metrics, connections: u64, data_dir: &Path) {
        let now = Instant::now();
        let reading = self.read(metrics);
        let mut sample = self.inner.sampler.lock().add(now, reading);
        for (name, meter) in self.stages() {
            let report = sample.stages.iter_mut().find(|report| report.name == name);
            if let Some(report) = report {
                let reading = meter.queue();
                report.queue = if name == StageName::Gateway { connections } else { reading.queue };
                report.queue_max = reading.queue_max;
            }
        }
        for (contract, meter) in self.stores() {
            let store = sample.stores.iter_mut().find(|store| store.contract == contract);
            if let Some(store) = store {
                let StoreAbout { engine, address } = meter.about();
                *store = StoreStatus { engine, address, pool: meter.pool(), ..store.clone() };
            }
        }
        sample.moderation = self.inner.decisions.lock().read(now, metrics);
        let mut process = self.inner.process.lock();
        sample.process = ProcessStatus {
            started_at: self.started_at_ms(),
            clock_ms: *self.inner.clock_offset_ms.lock(),
            ..process.read(now, data_dir)
        };
        sample.cpu_time = process.cpu_time();
        drop(process);
        *self.inner.latest.lock() = Arc::new(sample);
    }

    fn read(&self, metrics: &Metrics) -> Reading {
        let counters = counters(metrics);
        let stage = |(name, meter): (StageName, Arc<StageMeter>)| {
            let Passed { items, refused } = passed(name, &counters, metrics, &meter);
            let latency = match name {
                StageName::Delivery => self.sum_of_workers(|worker| &worker.on_node),
                _ => meter.latency(),
            };
            StageReading { name, items, refused, latency }
        };
        let stages = self.stages().into_iter().map(stage).collect();
        let store = |(contract, meter): (&'static str, Arc<StoreMeter>)| StoreReading {
            contract,
            failed: meter.failed(),
            latency: meter.latency(),
        };
        let stores = self.stores().into_iter().map(store).collect();
        let end_to_end = self.sum_of_workers(|worker| &worker.end_to_end);
        Reading { counters, stages, stores, end_to_end }
    }
}

/// Items that passed a stage and items that did not, since the process started.
struct Passed {
    items: u64,
    refused: u64,
}

/// Returns the counts of a stage, from the counters of the node where they count the same.
fn passed(name: StageName, counters: &Counters, metrics: &Metrics, meter: &StageMeter) -> Passed {
    let sum = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum();
    let (items, refused) = match name {
        StageName::Gateway => (counters.connections_opened, sum(&counters.connections_refused)),
        StageName::Ingest => (counters.accepted, sum(&counters.refused)),
        StageName::Broadcast => (counters.broadcast, counters.sampled_out),
        StageName::Delivery => (counters.delivered, counters.skipped),
        StageName::Moderation => {
            let checked = metrics.moderation_checked.get();
            (checked, sum(&metrics.moderation_reasons.totals()))
        }
        StageName::Archive => (counters.archived, meter.refused()),
        StageName::Log | StageName::Bus | StageName::Unknown => (meter.items(), meter.refused()),
    };
    Passed { items, refused }
}

impl Sampler {
    fn add(&mut self, now: Instant, reading: Reading) -> NodeSample {
        let last = self.readings.back();
        let elapsed = last.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at));
        let rates = last.map_or_else(CounterRates::default, |(_, last)| {
            CounterRates::between(&last.counters, &reading.counters, elapsed)
        });
        let oldest = self.readings.front().map(|(_, oldest)| oldest);
        let stages = reading.stages.iter().map(|stage| {
            let known =
                |of: &'_ Reading| of.stages.iter().find(|of| of.name == stage.name).cloned();
            // A stage that was not there had counted nothing.
            let before = last.and_then(|(_, last)| known(last));
            let (items, refused) = before.map_or((0, 0), |before| (before.items, before.refused));
            let long_ago = oldest.and_then(known).map(|oldest| oldest.latency);
            StageReport {
                name: stage.name,
                items: stage.items,
                refused: stage.refused,
                queue: 0,
                queue_max: 0,
                latency: stage.latency.clone(),
                items_per_second: per_second(items, stage.items, elapsed),
                refused_per_second: per_second(refused, stage.refused, elapsed),
                recent: stage.latency.since(&long_ago.unwrap_or_default()),
            }
        });
        let stages = stages.collect();
        let stores = reading.stores.iter().map(|store| {
            let known =
                |of: &Reading| of.stores.iter().find(|of| of.contract == store.contract).cloned();
            let before = last.and_then(|(_, last)| known(last));
            let calls = before.as_ref().map_or(0, StoreReading::calls);
            let failed = before.map_or(0, |before| before.failed);
            let long_ago = oldest.and_then(known).map(|oldest| oldest.latency);
            StoreStatus {
                contract: store.contract.to_owned(),
                engine: String::new(),
                address: String::new(),
                nodes: 1,
                calls: store.calls(),
                failed: store.failed,
                calls_per_second: per_second(calls, store.calls(), elapsed),
                failed_per_second: per_second(failed, store.failed, elapsed),
                latency: store.latency.since(&long_ago.unwrap_or_default()),
                pool: None,
                breaker: None,
            }
        });
        let stores = stores.collect();
        let none = LatencyHistogram::default();
        let end_to_end_recent =
            reading.end_to_end.since(oldest.map_or(&none, |oldest| &oldest.end_to_end));
        let sample = NodeSample {
            counters: reading.counters.clone(),
            rates,
            stages,
            stores,
            end_to_end: reading.end_to_end.clone(),
            end_to_end_recent,
            process: ProcessStatus::default(),
            moderation: RecentModeration::default(),
            cpu_time: None,
        };
        if self.readings.len() == RECENT_SAMPLES {
            self.readings.pop_front();
        }
        self.readings.push_back((now, reading));
        sample
    }
}

/// Returns the counters of a node, as its reports have them.
pub fn counters(metrics: &Metrics) -> Counters {
    Counters {
        received: metrics.comments_received.get(),
        accepted: metrics.comments_accepted.get(),
        refused: metrics.comments_refused.totals(),
        broadcast: metrics.comments_broadcast.get(),
        sampled_out: metrics.comments_sampled_out.get(),
        egress_sampled_out: metrics.comments_egress_sampled_out.get(),
        delivered: metrics.comments_delivered.get(),
        late: metrics.comments_late.get(),
        skipped: metrics.comments_skipped.get(),
        deleted: metrics.comments_deleted.get(),
        reactions: metrics.reactions.get(),
        bytes_in: metrics.bytes_in.get(),
        bytes_out: metrics.bytes_out.get(),
        connections_opened: metrics.connections_opened.get(),
        connections_closed: metrics.connections_closed.totals(),
        connections_refused: metrics.connections_refused.totals(),
        archived: metrics.comments_archived.get(),
        dead_letters: metrics.dead_letters.get(),
        bus_lost: metrics.bus_messages_lost.get(),
        catch_up_reads: metrics.catch_up_reads.get(),
    }
}

#[cfg(test)]
mod tests;
