//! Behaviour of `lcd` and `lc` with output that nobody takes, with signals, and with text that
//! would control a terminal. Everything here is a process with real pipes, terminals and signals.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]

mod commands;
mod daemon;
mod hostile_daemon;
mod runs;

use std::fs::OpenOptions;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::PATIENCE;

const LC: &str = env!("CARGO_BIN_EXE_lc");
const LCD: &str = env!("CARGO_BIN_EXE_lcd");
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
/// Clears the screen, sets a title, moves the cursor with an 8-bit control, turns text around.
const HOSTILE: &str = "ann\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}5A\u{202e}\r\nlc: forged\u{8}";

/// A process that is killed on drop.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Waits for its end, for at most [`PATIENCE`].
    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it handles a signal, which would otherwise end it at once.
    fn until_handles(&self, signal: Signal) {
        let handles = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
            let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            let handled = u64::from_str_radix(handled.trim(), 16).unwrap();
            handled >> (signal as u32 - 1) & 1 == 1
        };
        let deadline = Instant::now() + PATIENCE;
        while !handles() {
            assert!(Instant::now() < deadline, "{signal} is never handled");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until one of its threads is held up by a full pipe. Where the kernel does not tell,
    /// it has two seconds.
    fn until_held_up(&self) {
        let waits_for = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default()
        };
        let is_held_up = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
            tasks.flatten().any(|task| waits_for(task).contains("pipe_write"))
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        while !is_held_up() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dev_full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Returns a pipe that holds as much as it can, and its reader, which reads nothing.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while (&writer).write(&[b'.'; 4096]).is_ok() {}
    while (&writer).write(b".").is_ok() {}
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// Returns the writing end of a pipe that nobody reads.
fn closed_pipe() -> PipeWriter {
    std::io::pipe().unwrap().1
}
