//! How well a reader keeps up: what it uses, and how late it comes.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::loadgen::ledger::Micros;

/// Rare enough that fifty processes hardly feel it.
const BEAT: Micros = 20_000;
const WINDOW: Micros = 1_000_000;

/// Processor time of this process so far.
pub(crate) fn cpu_time() -> Duration {
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        Duration::from_micros(micros.max(0) as u64)
    })
}

/// Resident memory of this process; 0 where the kernel does not say.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Beats while the load runs, and keeps how late each beat was. A beat waits behind all that is to
/// be read, and behind other programs that have the processor, as a viewer's message does.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    next: Option<Micros>,
    window_ends: Micros,
    late: Vec<Micros>,
    worst_us: Micros,
    cpu_before: Duration,
}

impl Pulse {
    pub(super) fn begin(&mut self, now: Micros) {
        self.next = Some(now + BEAT);
        self.window_ends = now + WINDOW;
        self.cpu_before = cpu_time();
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.next
    }

    pub(super) fn beat(&mut self, now: Micros) {
        let Some(due) = self.next.filter(|due| *due <= now) else { return };
        self.late.push(now - due);
        self.next = Some(now + BEAT);
        if now >= self.window_ends {
            self.close_window();
            self.window_ends = now + WINDOW;
        }
    }

    fn close_window(&mut self) {
        self.late.sort_unstable();
        // The worst of a second may be anybody's; the second worst is a habit.
        if let Some(late) = self.late.iter().rev().nth(1) {
            self.worst_us = self.worst_us.max(*late);
        }
        self.late.clear();
    }

    pub(super) fn worst_us(&mut self) -> Micros {
        self.close_window();
        self.worst_us
    }

    /// Since the beginning, in microseconds.
    pub(super) fn cpu_us(&self) -> u64 {
        let begun = self.next.is_some();
        if begun { cpu_time().saturating_sub(self.cpu_before).as_micros() as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_beat_is_forgiven_and_two_are_not() {
        let mut pulse = Pulse::default();
        pulse.beat(5);
        assert_eq!((pulse.worst_us(), pulse.cpu_us()), (0, 0), "it does not beat before it begins");
        let late_at = |beats: &[usize]| {
            let mut pulse = Pulse::default();
            let mut now = 0;
            pulse.begin(now);
            for beat in 0..60 {
                now = pulse.next_at().unwrap() + if beats.contains(&beat) { 70_000 } else { 1 };
                pulse.beat(now);
            }
            pulse.worst_us()
        };
        assert_eq!(late_at(&[]), 1);
        assert_eq!(late_at(&[3]), 1);
        assert_eq!(late_at(&[3, 9]), 70_000);
    }

    #[test]
    fn memory_is_known() {
        assert!(resident_bytes() > 1 << 20);
    }
}
