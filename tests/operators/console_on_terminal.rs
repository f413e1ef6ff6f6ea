//! `lc top` on a pseudo-terminal with a real daemon: what it draws, what its keys and the mouse do,
//! and that the terminal is as before however it ends. A panic is tested in `tui/terminal.rs`.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use live_comments::protocol::admin::{Cluster, Sanction};
use nix::sys::signal::Signal;
use pty_process::blocking::Command;
use tokio::task::block_in_place;
use vt100::{Color, MouseProtocolMode, Screen};

use crate::support::terminal::Terminal;
use crate::support::{Daemon, PATIENCE};

const LC: &str = env!("CARGO_BIN_EXE_lc");
const FINAL: &str = "Grand final";
const WATCH_PARTY: &str = "Watch party";
/// A panel that only the overview has.
const OVERVIEW: &str = "pipeline";

/// A daemon with two streams besides the one that it begins with.
fn daemon() -> Daemon {
    let daemon = Daemon::start("");
    for title in [FINAL, WATCH_PARTY] {
        let line = ["streams", "create", "--state", "live", "--title", title];
        let output = lc(&daemon, &line).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    daemon
}

fn lc(daemon: &Daemon, arguments: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(LC);
    command.args(arguments).arg("--socket").arg(daemon.socket());
    command
}

fn top(daemon: &Daemon, arguments: &[&str]) -> Command {
    Command::new(LC)
        .arg("top")
        .args(arguments)
        .arg("--socket")
        .arg(daemon.socket())
        .env_remove("NO_COLOR")
}

/// Opens the console with its overview.
fn open(command: Command, rows: u16, columns: u16) -> Terminal {
    let terminal = Terminal::run(command, rows, columns);
    terminal.until("the console is not drawn", Screen::alternate_screen);
    terminal.until_shows(OVERVIEW);
    terminal
}

/// Opens the console and its list of streams.
fn open_streams(command: Command) -> Terminal {
    let terminal = open(command, 36, 120);
    terminal.press("2");
    terminal.until_hides(OVERVIEW);
    terminal.until_shows(FINAL);
    terminal.until_shows(WATCH_PARTY);
    terminal
}

/// Pauses what is shown, so that it changes no more.
fn pause(terminal: &Terminal) {
    terminal.press(" ");
    terminal.until_shows("PAUSED");
    terminal.until_quiet();
}

fn resume(terminal: &Terminal) {
    terminal.press(" ");
    terminal.until_hides("PAUSED");
}

fn quit(mut terminal: Terminal, when: &str) {
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0), "{when}");
    terminal.assert_restored(when);
}

/// Viewers and comments until it is dropped.
struct Load(Child);

impl Load {
    fn on(daemon: &Daemon) -> Self {
        let load = ["loadgen", "--viewers", "20", "--rate", "50", "--duration", "10m"];
        let mut command = lc(daemon, &load);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn it_draws_filters_sorts_and_quits() {
    let daemon = daemon();
    let terminal = open_streams(top(&daemon, &[]));
    assert!(terminal.with_screen(Screen::hide_cursor));
    assert!(terminal.changes().contains(&"local modes"), "{:?}", terminal.changes());
    terminal.press("/grand");
    terminal.until_hides(WATCH_PARTY);
    terminal.until_shows(FINAL);
    terminal.press("\r");
    terminal.until_quiet();
    assert!(!terminal.text().contains(WATCH_PARTY), "the filter holds after Enter");
    terminal.press("\x1b");
    terminal.until_shows(WATCH_PARTY);
    let is_before = |screen: &Screen, one: &str, other: &str| {
        let text = screen.contents();
        matches!((text.find(one), text.find(other)), (Some(one), Some(other)) if one < other)
    };
    terminal.click("title");
    terminal.until("not sorted by title", |screen| is_before(screen, FINAL, WATCH_PARTY));
    terminal.press("I");
    terminal.until("not inverted", |screen| is_before(screen, WATCH_PARTY, FINAL));
    quit(terminal, "after q");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_bans_and_takes_it_back() {
    let daemon = Daemon::start("");
    let _viewer = daemon.join_known(42, "zed").await;
    let terminal = block_in_place(|| {
        let terminal = open(top(&daemon, &["--interval", "200ms"]), 36, 120);
        terminal.press("2");
        terminal.until_hides(OVERVIEW);
        terminal.press("b");
        terminal.until_shows("locked: ! unlocks acts");
        terminal.press("!");
        terminal.until_shows("UNLOCKED");
        let asked = loop {
            terminal.press("b");
            terminal.until_shows("id or name");
            terminal.press("zed\r\r\r\r");
            terminal.until_shows("does it");
            let asked = terminal.text();
            if !asked.contains("is not known") {
                break asked;
            }
            // The machine was too busy to read the user in time.
            terminal.press("\x1b");
            terminal.until_hides("does it");
        };
        assert!(asked.contains("zed (user 42) permanently: 1 connection on"), "{asked}");
        terminal.press("\r");
        terminal.until_shows("Banned zed (user 42)");
        terminal
    });
    let bans: Cluster<Sanction> = daemon.admin().get("/v1/bans").await.unwrap();
    assert_eq!(bans.items.len(), 1);
    block_in_place(|| {
        terminal.press("U");
        terminal.until_shows("Took back entry");
    });
    let bans: Cluster<Sanction> = daemon.admin().get("/v1/bans").await.unwrap();
    assert!(bans.items.is_empty());
    block_in_place(|| quit(terminal, "after acts"));
}

#[test]
fn the_mouse_opens_views_and_never_quits() {
    let daemon = daemon();
    let terminal = open(top(&daemon, &[]), 36, 120);
    assert_ne!(terminal.with_screen(Screen::mouse_protocol_mode), MouseProtocolMode::None);
    terminal.click("2 Streams");
    terminal.until_hides(OVERVIEW);
    terminal.until_shows(WATCH_PARTY);
    terminal.click("q quit");
    terminal.press("?");
    terminal.until_shows("type to search");
    terminal.press("\x1b");
    terminal.until_hides("type to search");
    quit(terminal, "after clicks");
    let terminal = open(top(&daemon, &["--no-mouse"]), 36, 120);
    assert_eq!(terminal.with_screen(Screen::mouse_protocol_mode), MouseProtocolMode::None);
    quit(terminal, "without the mouse");
}

#[test]
fn each_signal_restores_the_terminal() {
    let daemon = daemon();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut terminal = open(top(&daemon, &[]), 36, 120);
        terminal.signal(signal);
        assert_eq!(terminal.wait().code(), Some(0), "{signal}");
        terminal.assert_restored(signal.as_str());
    }
}

#[test]
fn ctrl_c_restores_the_terminal() {
    let daemon = daemon();
    let mut terminal = open(top(&daemon, &[]), 36, 120);
    terminal.press("\x03");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_restored("after Ctrl-C");
}

/// The shell has the terminal while the console is suspended, and the console draws all of it when
/// it continues.
#[test]
fn ctrl_z_gives_the_terminal_back() {
    let daemon = daemon();
    // Without an editor the shell leaves the modes of the terminal as they are.
    let shell = Command::new("bash").args(["--norc", "--noprofile", "--noediting", "-i"]);
    let mut terminal = Terminal::run(shell.env("PS1", "ready> ").env_remove("NO_COLOR"), 36, 120);
    terminal.until_shows("ready> ");
    terminal.press(&format!("'{LC}' top --socket '{}'\r", daemon.socket().display()));
    terminal.until("the console is not drawn", Screen::alternate_screen);
    terminal.until_shows(OVERVIEW);
    terminal.press("2");
    terminal.until_hides(OVERVIEW);
    for _ in 0..2 {
        terminal.press("\x1a");
        terminal.until_shows("Stopped");
        terminal.until_shows("ready> ");
        terminal.until_quiet();
        terminal.assert_restored("while it is suspended");
        terminal.press("clear; fg\r");
        terminal.until("the console is not drawn again", Screen::alternate_screen);
        terminal.until_shows(FINAL);
        assert!(terminal.with_screen(Screen::hide_cursor));
    }
    pause(&terminal);
    terminal.assert_fresh();
    terminal.press("q");
    terminal.until("the console does not end", |screen| !screen.alternate_screen());
    terminal.until_quiet();
    terminal.assert_restored("after q");
    terminal.press("exit\r");
    terminal.wait();
}

#[test]
fn many_resizes_end_in_a_fresh_screen() {
    let daemon = daemon();
    let _load = Load::on(&daemon);
    let terminal = open_streams(top(&daemon, &[]));
    let sizes = [(24, 80), (1, 1), (55, 200), (5, 9), (12, 46), (100, 40), (3, 250), (36, 120)];
    for (rows, columns) in sizes.into_iter().cycle().take(200) {
        terminal.resize(rows, columns);
        std::thread::sleep(Duration::from_millis(3));
    }
    for (rows, columns) in [(24, 80), (55, 200), (12, 46), (30, 100)] {
        terminal.resize(rows, columns);
        terminal.until_quiet();
        pause(&terminal);
        terminal.assert_fresh();
        resume(&terminal);
    }
    terminal.until_shows(FINAL);
    quit(terminal, "after a storm of resizes");
}

/// Changes of many seconds, drawn as differences, leave no cell behind.
#[test]
fn differences_add_up_to_a_fresh_screen() {
    let daemon = daemon();
    let load = Load::on(&daemon);
    let terminal = open_streams(top(&daemon, &[]));
    for keys in ["?", "\x1b", "/", "party\r", "\x1b", "3", "1", "2", ">", "j", "k", "e", "\x1b"] {
        terminal.press(keys);
        std::thread::sleep(Duration::from_millis(700));
    }
    drop(load);
    pause(&terminal);
    terminal.assert_fresh();
    quit(terminal, "after many keys");
}

#[test]
fn a_killed_daemon_leaves_a_working_console() {
    let daemon = daemon();
    let terminal = open_streams(top(&daemon, &[]));
    let stopped = daemon.kill();
    terminal.until_shows("RECONNECTING");
    assert!(terminal.with_screen(Screen::alternate_screen), "{}", terminal.text());
    assert!(terminal.text().contains(FINAL), "the last screen stays:\n{}", terminal.text());
    terminal.press("?");
    terminal.until_shows("type to search");
    terminal.press("\x1b");
    terminal.until_hides("type to search");
    quit(terminal, "while its daemon is away");
    drop(stopped);
}

#[test]
fn a_killed_daemon_is_told_and_found_again() {
    let daemon = Daemon::start("");
    let terminal =
        Terminal::run(top(&daemon, &["--interval", "200ms", "--view", "cluster"]), 36, 120);
    terminal.until_shows("nodes 1");
    let stopped = daemon.kill();
    terminal.until_shows("RECONNECTING");
    let _daemon = stopped.restart();
    terminal.until_shows("restarted ×1");
    terminal.until_shows("nodes 1");
    // Snapshots and events have a connection each, and each waits for its next attempt.
    terminal.until_hides("RECONNECTING");
}

#[test]
fn no_color_sends_no_colour() {
    let daemon = daemon();
    let colours = |terminal: &Terminal| {
        let cells = terminal.cells().concat();
        let coloured = cells
            .iter()
            .filter(|cell| cell.foreground != Color::Default || cell.background != Color::Default);
        coloured.count()
    };
    let coloured = open(top(&daemon, &[]), 36, 120);
    assert!(colours(&coloured) > 0);
    let plain = open(top(&daemon, &[]).env("NO_COLOR", "1"), 36, 120);
    assert_eq!(colours(&plain), 0);
    quit(coloured, "with colours");
    quit(plain, "without colours");
}

#[test]
fn a_view_is_saved_for_other_consoles() {
    let daemon = daemon();
    let ann = open_streams(top(&daemon, &[]));
    ann.press("/grand\r");
    ann.until_hides(WATCH_PARTY);
    ann.press(":save final\r");
    ann.until_shows("Saved this view as @final");
    let bob = Terminal::run(top(&daemon, &["--view", "@final"]), 36, 120);
    bob.until_shows(FINAL);
    bob.until_hides(OVERVIEW);
    assert!(!bob.text().contains(WATCH_PARTY), "{}", bob.text());
    bob.press(":forget final\r");
    bob.until_shows("Forgot @final");
    quit(ann, "after a view was saved");
    quit(bob, "after a view was forgotten");
    let unknown = lc(&daemon, &["top", "--once", "--view", "@final"]).output().unwrap();
    assert!(!unknown.status.success());
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("there is no view @final; saved are: none"), "{said}");
}

/// The console goes from one cluster to another without ending, and is locked there.
#[test]
fn ctx_attaches_to_another_cluster() {
    let clusters = ["prod-eu", "staging-eu"]
        .map(|name| Daemon::start(&format!("[cluster]\nname = \"{name}\"\ncolour = \"red\"\n")));
    let home = tempfile::tempdir().unwrap();
    for (context, daemon) in ["prod", "staging"].into_iter().zip(&clusters) {
        let mut add = std::process::Command::new(LC);
        add.args(["ctx", "add", context]).arg(daemon.socket());
        let output = add.env("XDG_CONFIG_HOME", home.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let command = Command::new(LC)
        .args(["--ctx", "prod", "top", "--interval", "200ms"])
        .env("XDG_CONFIG_HOME", home.path())
        .env_remove("NO_COLOR");
    let terminal = open(command, 36, 120);
    terminal.until_shows("▌prod-eu▐");
    terminal.press("!");
    terminal.until_shows("UNLOCKED");
    terminal.press(":ctx prd\r");
    terminal.until_shows("there is no context `prd`; there are prod, staging");
    terminal.press("\x1b");
    terminal.until_hides("there is no context");
    terminal.press(":ctx staging\r");
    terminal.until_shows("▌staging-eu▐");
    terminal.until_shows("locked: ! unlocks");
    terminal.until_shows(OVERVIEW);
    assert!(!terminal.text().contains("prod-eu"), "{}", terminal.text());
    terminal.press(":ctx\r");
    terminal.until_shows("others: prod");
    // A daemon that is gone leaves the console where it is.
    let [prod, _staging] = clusters;
    drop(prod);
    terminal.press(":ctx prod\r");
    terminal.until_shows("cannot attach to prod");
    assert!(terminal.text().contains("▌staging-eu▐"), "{}", terminal.text());
    quit(terminal, "after another context");
}

#[test]
fn an_own_alert_comes_true() {
    let daemon = daemon();
    let terminal = open(top(&daemon, &["--interval", "200ms"]), 36, 120);
    terminal.press(":alert nodes>0 for 1s\r");
    terminal.until_shows("alert off 1 removes it");
    terminal.until_shows("alert: nodes>0 for 1s");
    quit(terminal, "after an alert");
}

/// Waits until a recording has so many moments.
fn until_recorded(file: &Path, moments: usize) {
    const MARK: &[u8] = b"LCTOP\x01";
    let deadline = Instant::now() + PATIENCE;
    let recorded = || {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(MARK.len()).filter(|bytes| *bytes == MARK).count()
    };
    while recorded() < moments {
        assert!(Instant::now() < deadline, "only {} moments are recorded", recorded());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_recording_is_played_without_a_daemon() {
    let daemon = daemon();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("feed.lct");
    let path = file.to_str().unwrap();
    let live = open(top(&daemon, &["--interval", "100ms", "--record", path]), 36, 120);
    // Three seconds of it.
    until_recorded(&file, 30);
    quit(live, "after a recording");
    let again = lc(&daemon, &["top", "--record", path]).output().unwrap();
    assert!(!again.status.success(), "a pipe is no terminal");
    drop(daemon);
    let replay = || {
        let command = Command::new(LC).args(["top", "--replay", path]).env_remove("NO_COLOR");
        open(command, 36, 120)
    };
    let terminal = replay();
    terminal.until_shows("▶ RECORDING");
    terminal.press(" ");
    terminal.until_shows("‖ RECORDING");
    terminal.press("!");
    terminal.until_shows("this is a recording: acts are off");
    terminal.press("2");
    terminal.until_shows(WATCH_PARTY);
    quit(terminal, "after a replay");
    // One that was cut says where.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    let terminal = replay();
    terminal.until_shows("the recording ends at byte");
    quit(terminal, "after a cut recording");
}

/// A link of 4 KB/s is enough, on a quiet system and while comments flow.
#[test]
fn a_slow_link_is_enough() {
    const SECONDS: u64 = 6;
    let daemon = daemon();
    let terminal = open(top(&daemon, &[]), 36, 120);
    let check = |when: &str| {
        std::thread::sleep(Duration::from_secs(2));
        let bytes = terminal.bytes();
        std::thread::sleep(Duration::from_secs(SECONDS));
        let per_second = (terminal.bytes() - bytes) / SECONDS;
        assert!(per_second > 0, "it draws {when}");
        assert!(per_second <= 4_096, "{per_second} bytes per second {when}");
    };
    check("on a quiet system");
    let load = Load::on(&daemon);
    check("under load");
    drop(load);
    quit(terminal, "after some seconds");
}
