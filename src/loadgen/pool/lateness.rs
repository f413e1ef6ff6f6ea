//! Measures how well a pool's loop keeps up: its processor time and its delays.

use std::time::Duration;

use crate::loadgen::clock::Micros;
use crate::loadgen::usage::cpu_time;

/// Rare enough that 50 processes cost almost nothing.
const PROBE_INTERVAL: Micros = 20_000;
const WINDOW: Micros = 1_000_000;

/// Probes the loop at regular times while the load runs and keeps how late each probe was. A probe
/// waits behind everything that is ready to be read and behind other programs on the processor, as
/// a viewer's message does.
#[derive(Debug, Default)]
pub(super) struct LatenessProbe {
    next: Option<Micros>,
    window_ends: Micros,
    late: Vec<Micros>,
    worst_us: Micros,
    cpu_before: Duration,
}

impl LatenessProbe {
    pub(super) fn begin(&mut self, now: Micros) {
        self.next = Some(now + PROBE_INTERVAL);
        self.window_ends = now + WINDOW;
        self.cpu_before = cpu_time();
    }

    pub(super) fn next_at(&self) -> Option<Micros> {
        self.next
    }

    /// Records the delay of the next probe if it is due.
    pub(super) fn probe(&mut self, now: Micros) {
        let Some(due) = self.next.filter(|due| *due <= now) else { return };
        self.late.push(now - due);
        self.next = Some(now + PROBE_INTERVAL);
        if now >= self.window_ends {
            self.close_window();
            self.window_ends = now + WINDOW;
        }
    }

    fn close_window(&mut self) {
        self.late.sort_unstable();
        // The worst of a second may be chance. The second worst is a pattern.
        if let Some(late) = self.late.iter().rev().nth(1) {
            self.worst_us = self.worst_us.max(*late);
        }
        self.late.clear();
    }

    pub(super) fn worst_us(&mut self) -> Micros {
        self.close_window();
        self.worst_us
    }

    /// Returns the processor time since [`LatenessProbe::begin`], in microseconds.
    pub(super) fn cpu_us(&self) -> u64 {
        let begun = self.next.is_some();
        if begun { cpu_time().saturating_sub(self.cpu_before).as_micros() as u64 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_probe_per_second_is_ignored() {
        let mut probe = LatenessProbe::default();
        probe.probe(5);
        assert_eq!((probe.worst_us(), probe.cpu_us()), (0, 0), "no probe before the load begins");
        let late_at = |late_probes: &[usize]| {
            let mut probe = LatenessProbe::default();
            let mut now = 0;
            probe.begin(now);
            for number in 0..60 {
                now = probe.next_at().unwrap()
                    + if late_probes.contains(&number) { 70_000 } else { 1 };
                probe.probe(now);
            }
            probe.worst_us()
        };
        assert_eq!(late_at(&[]), 1);
        assert_eq!(late_at(&[3]), 1);
        assert_eq!(late_at(&[3, 9]), 70_000);
    }
}
