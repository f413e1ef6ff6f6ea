//! `lc top` on a pseudo-terminal with a real daemon: what it draws, what its keys do, and that the
//! terminal is as before however it ends.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::Instant;

use live_comments::protocol::admin::{Cluster, Sanction};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use parking_lot::Mutex;
use support::{Daemon, PATIENCE};

const ROWS: u16 = 36;
const COLUMNS: u16 = 120;
const FAST: &[&str] = &["--interval", "200ms"];

/// `lc top` with the terminal that it draws on.
struct Console {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Bytes that the console wrote.
    written: Arc<Mutex<usize>>,
    slave: OwnedFd,
    before: Termios,
}

impl Console {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let size = nix::pty::Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        // A session of its own, so that the pseudo-terminal is its controlling terminal.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_lc"), "top"])
            .args(arguments)
            .arg("--socket")
            .arg(daemon.socket())
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let rows = NonZeroU16::new(ROWS).unwrap();
        let columns = NonZeroU16::new(COLUMNS).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let written = Arc::new(Mutex::new(0));
        let mut output = File::from(pty.master.try_clone().unwrap());
        let shown = screen.clone();
        let counted = written.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The kernel reports the closed terminal as an error.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                shown.lock().process(&bytes[..length]);
                *counted.lock() += length;
            }
        });
        let keys = File::from(pty.master);
        Self { child, keys, screen, written, slave: pty.slave, before }
    }

    fn shown(&self) -> String {
        self.screen.lock().screen().contents()
    }

    /// Waits until the screen has a text.
    fn until(&self, wanted: &str) -> String {
        let begun = Instant::now();
        loop {
            let shown = self.shown();
            if shown.contains(wanted) {
                return shown;
            }
            assert!(begun.elapsed() < PATIENCE, "no {wanted:?} on the screen:\n{shown}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Waits until the screen no longer has a text.
    fn until_gone(&self, unwanted: &str) {
        let begun = Instant::now();
        while self.shown().contains(unwanted) {
            assert!(begun.elapsed() < PATIENCE, "{unwanted:?} stays on the screen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.shown());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Checks that the terminal is as it was before.
    fn assert_restored(&self) {
        let begun = Instant::now();
        while self.screen.lock().screen().alternate_screen() && begun.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let parser = self.screen.lock();
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        let now = tcgetattr(&self.slave).unwrap();
        assert_eq!(now.local_flags, self.before.local_flags);
        assert_eq!(now.input_flags, self.before.input_flags);
        assert_eq!(now.output_flags, self.before.output_flags);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_bans_and_takes_it_back() {
    let daemon = Daemon::start("");
    let _viewer = daemon.join(42, "zed").await;
    let mut console = Console::start(&daemon, FAST);
    tokio::task::block_in_place(|| {
        console.until("pipeline");
        console.press("2");
        console.until("streams 1");
        console.press("/no such stream\r");
        console.until("no row matches");
        console.press("\x1b");
        // Esc and a letter that come together are Alt and that letter.
        console.until_gone("no row matches");
        console.press("b");
        console.until("locked: ! unlocks acts");
        console.press("!");
        console.until("UNLOCKED");
        console.press("b");
        console.until("id or name");
        console.press("zed\r\r\r\r");
        let asked = console.until("does it");
        assert!(asked.contains("zed (user 42): 1 connection on"), "{asked}");
        console.press("\r");
        console.until("Banned zed (user 42)");
    });
    let bans: Cluster<Sanction> = daemon.admin().get("/v1/bans").await.unwrap();
    assert_eq!(bans.items.len(), 1);
    tokio::task::block_in_place(|| {
        console.press("U");
        console.until("Took back entry");
    });
    let bans: Cluster<Sanction> = daemon.admin().get("/v1/bans").await.unwrap();
    assert!(bans.items.is_empty());
    tokio::task::block_in_place(|| {
        console.press("q");
        assert!(console.wait().success());
        console.assert_restored();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_leaves_the_terminal_as_before() {
    let daemon = Daemon::start("");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut console = Console::start(&daemon, FAST);
        tokio::task::block_in_place(|| {
            console.until("pipeline");
            assert!(console.screen.lock().screen().alternate_screen());
            console.signal(signal);
            console.wait();
            console.assert_restored();
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_is_told_and_found_again() {
    let daemon = Daemon::start("");
    let console = Console::start(&daemon, &[FAST, &["--view", "cluster"]].concat());
    tokio::task::block_in_place(|| console.until("nodes 1"));
    let stopped = daemon.kill();
    tokio::task::block_in_place(|| console.until("RECONNECTING"));
    let _daemon = stopped.restart();
    tokio::task::block_in_place(|| {
        console.until("restarted ×1");
        let shown = console.until("nodes 1");
        assert!(!shown.contains("RECONNECTING"), "{shown}");
    });
}

/// A quiet system costs a slow link little: only what changed is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_screen_writes_little() {
    let daemon = Daemon::start("");
    let console = Console::start(&daemon, &[]);
    tokio::task::block_in_place(|| {
        console.until("pipeline");
        std::thread::sleep(std::time::Duration::from_secs(2));
        let before = *console.written.lock();
        std::thread::sleep(std::time::Duration::from_secs(5));
        let written = *console.written.lock() - before;
        assert!(written > 0 && written < 5 * 4_096, "{written} bytes in 5 s");
    });
}
