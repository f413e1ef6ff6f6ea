//! Watches the generator itself: a load generator that cannot keep up measures itself.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::crowd::{Figures, cpu_time};
use super::schedule::Slippage;

const HEARTBEAT: Duration = Duration::from_millis(10);
/// Later than this against its own plan, and figures begin to show the generator.
const TOLERATED_SLIP: Duration = Duration::from_millis(50);
/// Of all processors together.
const TOLERATED_CPU_SHARE: f64 = 0.85;

/// With fewer viewers, what a process needs anyway would look like theirs.
const VIEWERS_THAT_WEIGH: u64 = 1000;

/// What the report says of the generator, all its processes together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Generator {
    /// Those that hold viewers, or 1 if this one does.
    pub processes: u64,
    /// 100 is one processor.
    pub cpu_percent: f64,
    /// How much after its time a comment left at worst.
    pub behind_ms_max: f64,
    /// How late readers and tasks came to what they had to do, at worst but for the odd one.
    pub late_ms_max: f64,
    /// Resident memory that came with a viewer; absent where viewers are too few to tell.
    pub bytes_per_viewer: Option<u64>,
    /// Whether latencies are the generator's rather than the server's.
    pub bottleneck: bool,
    pub note: String,
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

    /// Of this process, and of others that used this much.
    fn cpu_percent(&self, others: Duration) -> f64 {
        let wall = self.started.elapsed().as_secs_f64().max(1e-3);
        let own = cpu_time().saturating_sub(self.cpu_before);
        (own + others).as_secs_f64() / wall * 100.0
    }

    /// The verdict on all processes.
    pub(crate) fn finish(&self, slippage: Slippage, crowds: &Figures, processes: u64) -> Generator {
        let own_late = *self.late.lock();
        let late = own_late.max(Duration::from_micros(crowds.late_us));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu_percent = self.cpu_percent(Duration::from_micros(crowds.cpu_us));
        let weigh = crowds.connected >= VIEWERS_THAT_WEIGH;
        let bytes_per_viewer = weigh.then(|| crowds.memory_bytes / crowds.connected);
        Generator { processes, bytes_per_viewer, ..judge(cpu_percent, processors, slippage, late) }
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
        processes: 1,
        bytes_per_viewer: None,
        late_ms_max: heartbeat_late.as_micros() as f64 / 1000.0,
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
        let mut worst = worst.lock();
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
        assert!(watch.cpu_percent(Duration::ZERO) > 1.0);
    }
}
