//! Watches the generator itself: a load generator that cannot keep up measures itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::schedule::Slippage;

const HEARTBEAT: Duration = Duration::from_millis(10);
/// Later than this against its own plan, and figures begin to show the generator.
const TOLERATED_SLIP: Duration = Duration::from_millis(50);
/// Of all processors together.
const TOLERATED_CPU_SHARE: f64 = 0.85;

/// What the report says of the generator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Generator {
    /// 100 is one processor.
    pub cpu_percent: f64,
    /// How much after its time a comment left at worst.
    pub behind_ms_max: f64,
    /// Whether latencies are the generator's rather than the server's.
    pub bottleneck: bool,
    pub note: String,
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        Duration::from_micros(micros.max(0) as u64)
    })
}

/// Measures from its creation on.
#[derive(Debug)]
pub(crate) struct Watch {
    started: Instant,
    cpu_before: Duration,
    /// How late the heartbeat was woken at worst.
    late: Arc<Mutex<Duration>>,
    heartbeat: JoinHandle<()>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        let late = Arc::default();
        let heartbeat = tokio::spawn(heartbeat(Arc::clone(&late)));
        Self { started: Instant::now(), cpu_before: cpu_time(), late, heartbeat }
    }

    pub(crate) fn cpu_percent(&self) -> f64 {
        let wall = self.started.elapsed().as_secs_f64().max(1e-3);
        cpu_time().saturating_sub(self.cpu_before).as_secs_f64() / wall * 100.0
    }

    /// The verdict.
    pub(crate) fn finish(&self, slippage: Slippage) -> Generator {
        let late = *self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        judge(self.cpu_percent(), processors, slippage, late)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

fn judge(
    cpu_percent: f64,
    processors: usize,
    slippage: Slippage,
    heartbeat_late: Duration,
) -> Generator {
    let mut reasons = Vec::new();
    if cpu_percent > TOLERATED_CPU_SHARE * 100.0 * processors as f64 {
        reasons.push(format!("it used {cpu_percent:.0} % of {processors} processors"));
    }
    if slippage.own_max > TOLERATED_SLIP {
        reasons.push(format!("it fell {} ms behind its schedule", slippage.own_max.as_millis()));
    }
    if heartbeat_late > TOLERATED_SLIP {
        let late = heartbeat_late.as_millis();
        reasons.push(format!("its tasks waited up to {late} ms for a processor"));
    }
    let pushed_back = slippage.behind_max > TOLERATED_SLIP && slippage.own_max <= TOLERATED_SLIP;
    let note = if !reasons.is_empty() {
        format!("the generator was the bottleneck: {}", reasons.join("; "))
    } else if pushed_back {
        let behind = slippage.behind_max.as_millis();
        format!("the server took comments up to {behind} ms later than they were scheduled")
    } else {
        "the generator kept up".to_owned()
    };
    Generator {
        cpu_percent: (cpu_percent * 10.0).round() / 10.0,
        behind_ms_max: slippage.behind_max.as_micros() as f64 / 1000.0,
        bottleneck: !reasons.is_empty(),
        note,
    }
}

/// Wakes every 10 ms and keeps how late it was woken, at the 99th percentile of each second, at
/// worst: how long the tasks that read for viewers wait for a processor.
async fn heartbeat(worst: Arc<Mutex<Duration>>) {
    loop {
        let mut late = Vec::with_capacity(100);
        for _ in 0..100 {
            let due = Instant::now() + HEARTBEAT;
            sleep_until(due).await;
            late.push(due.elapsed());
        }
        late.sort_unstable();
        let mut worst = worst.lock().unwrap_or_else(PoisonError::into_inner);
        *worst = worst.max(late[98]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_generator_blames_itself_only_for_its_own_delays() {
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
    async fn processor_time_is_counted() {
        let watch = Watch::start();
        let mut sum = 0_u64;
        while watch.started.elapsed() < MS * 20 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(watch.cpu_percent() > 1.0);
    }
}
