//! The end of the log: written by one thread, watched by the status of the node.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing_appender::non_blocking::ErrorCounter;

/// A write that takes longer than this has no reader.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// The state of standard error as the log's output. There is one per process, as there is one
/// standard error.
pub(super) static STATE: OutputState = OutputState::new();
/// Lines that found no place in the queue.
pub(super) static ERRORS: OnceLock<ErrorCounter> = OnceLock::new();

#[derive(Debug)]
pub(super) struct OutputState {
    failed_lines: AtomicU64,
    last_failed: AtomicBool,
    /// Milliseconds since the start of the output at which the write in hand began; 0 if there is
    /// none.
    writing_since_ms: AtomicU64,
}

impl OutputState {
    pub(super) const fn new() -> Self {
        Self {
            failed_lines: AtomicU64::new(0),
            last_failed: AtomicBool::new(false),
            writing_since_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing_since_ms.load(Ordering::Acquire) != 0
    }

    fn is_stuck(&self) -> bool {
        let since = self.writing_since_ms.load(Ordering::Acquire);
        since != 0 && now_ms().saturating_sub(since) >= STUCK_AFTER.as_millis() as u64
    }
}

fn now_ms() -> u64 {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    // Never 0, which means that nothing is being written.
    STARTED.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

/// Writes lines and records what becomes of them. Its caller never sees an error.
#[derive(Debug)]
pub(super) struct Output<W> {
    output: W,
    state: &'static OutputState,
}

impl<W: io::Write> Output<W> {
    pub(super) fn new(output: W, state: &'static OutputState) -> Self {
        Self { output, state }
    }

    fn record(&mut self, act: impl FnOnce(&mut W) -> io::Result<()>) -> bool {
        self.state.writing_since_ms.store(now_ms(), Ordering::Release);
        let succeeded = act(&mut self.output).is_ok();
        self.state.writing_since_ms.store(0, Ordering::Release);
        self.state.last_failed.store(!succeeded, Ordering::Release);
        succeeded
    }
}

impl<W: io::Write> io::Write for Output<W> {
    /// Takes one line. A line that cannot be written is counted and dropped.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.record(|output| output.write_all(line)) {
            self.state.failed_lines.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush follows lines whose writes were recorded.
        let _ = self.output.flush();
        Ok(())
    }
}

/// Returns the lines of the log that were lost since the start.
pub fn lost_lines() -> u64 {
    let without_place = ERRORS.get().map_or(0, ErrorCounter::dropped_lines) as u64;
    STATE.failed_lines.load(Ordering::Relaxed) + without_place
}

/// The state of the log's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    Written,
    /// The last line could not be written: the reader is gone, or the disk is full.
    Failed,
    /// The reader does not read.
    Stuck,
}

/// Returns the state of standard error, as of the last line.
pub fn log_state() -> LogState {
    if STATE.is_stuck() {
        LogState::Stuck
    } else if STATE.last_failed.load(Ordering::Acquire) {
        LogState::Failed
    } else {
        LogState::Written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Fails while `full` is set.
    struct Disk<'a> {
        full: &'a AtomicBool,
        written: Vec<u8>,
    }

    impl io::Write for Disk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failed_lines_are_counted_and_later_ones_written() {
        static HERE: OutputState = OutputState::new();
        let full = AtomicBool::new(true);
        let mut output = Output::new(Disk { full: &full, written: Vec::new() }, &HERE);
        output.write_all(b"lost\n").unwrap();
        output.write_all(b"lost\n").unwrap();
        assert!(HERE.last_failed.load(Ordering::Relaxed));
        full.store(false, Ordering::Relaxed);
        output.write_all(b"kept\n").unwrap();
        output.flush().unwrap();
        assert_eq!(HERE.failed_lines.load(Ordering::Relaxed), 2);
        assert!(!HERE.last_failed.load(Ordering::Relaxed) && !HERE.is_stuck());
        assert_eq!(output.output.written, b"kept\n");
    }
}
