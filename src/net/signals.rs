//! The signals that ask a process to end in an orderly way: SIGINT, SIGTERM, SIGHUP and SIGQUIT.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::Instant;

/// Signals within this time of the first belong to the same request: `timeout` signals its command
/// and then the command's whole group, and a closed terminal is reported by the kernel and the
/// shell.
pub const SAME_REQUEST: Duration = Duration::from_secs(1);

/// The signals that end a terminal program.
pub const ALL: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Receives the signals that end this process.
#[derive(Debug)]
pub struct Termination {
    signals: Vec<(Signal, unix::Signal)>,
    /// When the first signal arrived.
    first: Option<Instant>,
}

impl Termination {
    /// Handles these signals instead of their default actions. A signal that is ignored stays
    /// ignored, as `nohup` wants it.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn listen(wanted: &[Signal]) -> io::Result<Self> {
        let ignored = ignored_signals();
        let mut signals = Vec::new();
        for &signal in wanted {
            if ignored & mask(signal) == 0 {
                signals.push((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
            }
        }
        Ok(Self { signals, first: None })
    }

    /// Waits for the next request to end. The signals of one request count once.
    pub async fn requested(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if self.first.is_none_or(|first| first.elapsed() >= SAME_REQUEST) {
                self.first.get_or_insert_with(Instant::now);
                return signal;
            }
        }
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, received) in &mut self.signals {
                if received.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Returns the exit code of a process that a signal ended, as shells write it.
pub fn exit_code(signal: Signal) -> i32 {
    128 + signal as i32
}

fn mask(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// Returns the mask of the signals that this process ignores, or none where the kernel does not
/// tell.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_in(&status)
}

fn ignored_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_kernel() {
        let ignored =
            ignored_in("Name:\tlc\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n");
        assert_ne!(ignored & mask(Signal::SIGHUP), 0);
        assert_eq!(ignored & mask(Signal::SIGINT), 0);
        assert_eq!(ignored_in(""), 0);
        // Every Rust program ignores it.
        assert_ne!(ignored_signals() & mask(Signal::SIGPIPE), 0);
    }
}
