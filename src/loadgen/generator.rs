//! Monitors the generator itself: a generator that cannot keep up measures itself, not the server.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::pool::PoolTotals;
use super::report::GeneratorReport;
use super::schedule::Slippage;
use super::usage::cpu_time;

const HEARTBEAT: Duration = Duration::from_millis(10);
/// Delays above this begin to show in the measured latencies.
const TOLERATED_DELAY: Duration = Duration::from_millis(50);
/// Share of all processors together.
const TOLERATED_CPU_SHARE: f64 = 0.85;
/// With fewer viewers the memory that a process needs anyway would be attributed to them.
const MIN_VIEWERS_FOR_MEMORY: u64 = 1000;

/// Measures the generator from its start on.
#[derive(Debug)]
pub(crate) struct GeneratorMonitor {
    started: Instant,
    cpu_before: Duration,
    /// The longest delay of the heartbeat.
    late: Arc<Mutex<Duration>>,
    heartbeat: JoinHandle<()>,
}

impl GeneratorMonitor {
    pub(crate) fn start() -> Self {
        let late = Arc::default();
        let heartbeat = tokio::spawn(heartbeat(Arc::clone(&late)));
        Self { started: Instant::now(), cpu_before: cpu_time(), late, heartbeat }
    }

    /// Returns the processor time of this process and of its workers, in percent of one processor.
    fn cpu_percent(&self, workers: Duration) -> f64 {
        let wall = self.started.elapsed().as_secs_f64().max(1e-3);
        let own = cpu_time().saturating_sub(self.cpu_before);
        (own + workers).as_secs_f64() / wall * 100.0
    }

    /// Reports on all processes of the generator.
    pub(crate) fn finish(
        &self,
        slippage: Slippage,
        pools: &PoolTotals,
        processes: u64,
    ) -> GeneratorReport {
        let late = (*self.late.lock()).max(Duration::from_micros(pools.late_us));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu_percent = self.cpu_percent(Duration::from_micros(pools.cpu_us));
        let enough = pools.connected >= MIN_VIEWERS_FOR_MEMORY;
        let bytes_per_viewer = enough.then(|| pools.memory_bytes / pools.connected);
        let judged = judge(cpu_percent, processors, slippage, late);
        GeneratorReport { processes, bytes_per_viewer, ..judged }
    }
}

impl Drop for GeneratorMonitor {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

fn judge(
    cpu_percent: f64,
    processors: usize,
    slippage: Slippage,
    heartbeat_late: Duration,
) -> GeneratorReport {
    let mut reasons = Vec::new();
    if cpu_percent > TOLERATED_CPU_SHARE * 100.0 * processors as f64 {
        reasons.push(format!("it used {cpu_percent:.0} % of {processors} processors"));
    }
    if slippage.own_max > TOLERATED_DELAY {
        reasons.push(format!("it fell {} ms behind its schedule", slippage.own_max.as_millis()));
    }
    if heartbeat_late > TOLERATED_DELAY {
        let late = heartbeat_late.as_millis();
        reasons.push(format!("its tasks waited up to {late} ms for a processor"));
    }
    let pushed_back = slippage.behind_max > TOLERATED_DELAY && slippage.own_max <= TOLERATED_DELAY;
    let note = if !reasons.is_empty() {
        format!("the generator was the bottleneck: {}", reasons.join("; "))
    } else if pushed_back {
        let behind = slippage.behind_max.as_millis();
        format!("the server took comments up to {behind} ms later than they were scheduled")
    } else {
        "the generator kept up".to_owned()
    };
    GeneratorReport {
        processes: 1,
        bytes_per_viewer: None,
        late_ms_max: heartbeat_late.as_micros() as f64 / 1000.0,
        cpu_percent: (cpu_percent * 10.0).round() / 10.0,
        behind_ms_max: slippage.behind_max.as_micros() as f64 / 1000.0,
        bottleneck: !reasons.is_empty(),
        note,
    }
}

/// Sleeps for 10 ms at a time and keeps the worst delay of its wake-ups, taking the 99th percentile
/// of each second. This is how long the tasks that read for viewers wait for a processor.
async fn heartbeat(worst: Arc<Mutex<Duration>>) {
    loop {
        let mut late = Vec::with_capacity(100);
        for _ in 0..100 {
            let due = Instant::now() + HEARTBEAT;
            sleep_until(due).await;
            late.push(due.elapsed());
        }
        late.sort_unstable();
        let mut worst = worst.lock();
        *worst = worst.max(late[98]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_its_own_delays_make_it_the_bottleneck() {
        let slip =
            |behind, own| Slippage { behind_max: MS * behind, own_max: MS * own, ended_after: MS };
        let fine = judge(90.0, 2, slip(2, 2), MS);
        assert!(!fine.bottleneck && fine.note.contains("kept up"), "{fine:?}");
        let server = judge(90.0, 2, slip(900, 2), MS);
        assert!(!server.bottleneck && server.note.contains("server took"), "{server:?}");
        assert!(judge(180.0, 2, slip(2, 2), MS).bottleneck);
        assert!(judge(90.0, 1, slip(2, 2), MS).bottleneck);
        assert!(judge(20.0, 2, slip(80, 80), MS).bottleneck);
        assert!(judge(20.0, 2, slip(2, 2), MS * 80).bottleneck);
    }

    #[tokio::test]
    async fn own_processor_time_is_counted() {
        let monitor = GeneratorMonitor::start();
        let mut sum = 0_u64;
        while monitor.started.elapsed() < MS * 20 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(monitor.cpu_percent(Duration::ZERO) > 1.0);
    }
}
