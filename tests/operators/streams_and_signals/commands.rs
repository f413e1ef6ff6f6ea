//! Each command of `lc` on the hostile daemon: on a terminal, with output that nobody takes, and
//! when it is signalled.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use live_comments::loadgen::recording;
use nix::sys::signal::Signal;

use super::hostile_daemon::HostileDaemon;
use super::{ENDING, LC, Running, closed_pipe, dev_full, full_pipe};
use crate::support::PATIENCE;

/// A command line of every command that ends by itself.
const ENDING_COMMANDS: &[&str] = &[
    "top --once",
    "top --once --json",
    "status",
    "status --full",
    "status --prometheus",
    "alerts",
    "alerts --columns all",
    "alerts ann",
    "alerts ack ann --note x",
    "events",
    "streams",
    "streams --columns all --sort -title",
    "streams 1",
    "streams create --title x",
    "streams update 1 --title x",
    "streams schedule 1 --at 2h",
    "streams start 1",
    "streams end 1",
    "streams delete 1",
    "nodes",
    "nodes --columns all",
    "workers",
    "shards",
    "lag",
    "lag --groups",
    "stores",
    "stores --columns all",
    "dead-letters",
    "dead-letters --columns all",
    "dead-letters ack --all",
    "talkers 1",
    "talkers 1 --texts",
    "throttle",
    "throttle 1 10%",
    "ban ann --reason x --note y",
    "timeout ann",
    "kick ann",
    "unban ann",
    "bans",
    "shadow ann --stream 1",
    "unshadow ann",
    "shadows",
    "grant ann moderator --stream 1",
    "revoke ann --stream 1",
    "grants",
    "room 1",
    "room 1 terms",
    "room 1 slow 30s",
    "room 1 clear --last 5m",
    "user ann",
    "user ban ann --dry-run",
    "comment history 1",
    "who ann",
    "dm ann hello",
    "announce 1 hello",
    "delete 0f1cc3c2-0000-11f1-8007-010101010101",
    "pin 1 0f1cc3c2-0000-11f1-8007-010101010101",
    "unpin 1",
    "poll open 1 Who? --option red --option blue",
    "poll close 1",
    "poll list 1",
    "mod queue",
    "mod claim 0f1cc3c2-0000-11f1-8007-010101010101",
    "mod decisions",
    "mod offenders",
    "mod test hello",
    "mod approve 0f1cc3c2-0000-11f1-8007-010101010101",
    "mod reject 0f1cc3c2-0000-11f1-8007-010101010101 --reason spam",
    "mod restore 0f1cc3c2-0000-11f1-8007-010101010101",
    "history 1 --ids",
    "plan --viewers 1k --rate 10 --shown 10",
    "audit",
    "undo 1",
    "doctor",
    "drain",
    "drain --dry-run",
    "acknowledge store_missing",
    "token --user 42 --count 2",
    "ctx",
    "completions bash",
    "schema status",
    "record 1 --duration 300ms",
];

/// Commands that follow something until they are signalled.
const LASTING_COMMANDS: &[&str] =
    &["tail 1 --ids", "top --json", "record 1", "events --follow", "nodes --watch=100ms --json"];

/// Commands that connect to viewers' addresses, `import`, and one that prints nothing if all is
/// well, have tests of their own; help and man pages have no texts of others.
const OTHER_COMMANDS: [&str; 6] = ["replay", "loadgen", "import", "wait", "help", "man"];

#[test]
fn every_command_is_in_the_tests_below() {
    let help = Command::new(LC).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let known: Vec<_> = ENDING_COMMANDS
        .iter()
        .chain(LASTING_COMMANDS)
        .map(|line| line.split(' ').next().unwrap())
        .chain(OTHER_COMMANDS)
        .collect();
    let named = commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let missing: Vec<_> = named
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !known.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(known.len() > 25);
}

/// Returns what may not reach a terminal, with colours taken out.
fn controls(text: &str) -> Vec<char> {
    let mut rest = text.to_owned();
    while let Some(at) = rest.find("\u{1b}[") {
        let end = rest[at + 2..].find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(0);
        if !rest[at + 2 + end..].starts_with('m') {
            break;
        }
        rest.replace_range(at..at + 2 + end + 1, "");
    }
    let allowed = ['\n', '\t', '\r'];
    let is_control = |c: &char| {
        (c.is_control() && !allowed.contains(c)) || ('\u{202a}'..='\u{202e}').contains(c)
    };
    rest.chars().filter(is_control).collect()
}

/// Runs a command with a terminal as its output. Returns what it wrote there.
fn on_terminal(mut command: Command, signal: Option<Signal>) -> String {
    let size = nix::pty::Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(Some(&size), None).unwrap();
    let slave: OwnedFd = pty.slave;
    let child = command.stdout(slave.try_clone().unwrap()).stderr(slave).spawn().unwrap();
    drop(command);
    let mut running = Running(child);
    let mut master = File::from(pty.master);
    let (shows, shown) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = vec![0; 1];
        if master.read_exact(&mut text).is_err() {
            return String::new();
        }
        // Nobody waits for a command that ends by itself.
        let _ = shows.send(());
        // The kernel reports the closed terminal as an error.
        let _ = master.read_to_end(&mut text);
        String::from_utf8(text).unwrap()
    });
    if let Some(signal) = signal {
        running.until_handles(signal);
        shown.recv_timeout(PATIENCE).expect("it shows something");
        running.signal(signal);
    }
    running.wait();
    reader.join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_others_controls_the_terminal() {
    let daemon = HostileDaemon::start(false);
    let lasting = LASTING_COMMANDS.iter().map(|line| (*line, Some(Signal::SIGTERM)));
    for (line, signal) in ENDING_COMMANDS.iter().map(|line| (*line, None)).chain(lasting) {
        let command = daemon.command(line);
        let shown =
            tokio::task::spawn_blocking(move || on_terminal(command, signal)).await.unwrap();
        assert!(!shown.is_empty(), "{line} shows nothing");
        assert!(controls(&shown).is_empty(), "{line}: {shown:?}");
        let forged = shown.lines().any(|shown| shown.trim_end().starts_with("lc: forged"));
        assert!(!forged, "{line}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_panics_where_output_is_not_taken() {
    let daemon = HostileDaemon::start(false);
    for line in ENDING_COMMANDS {
        let run = |stdout: Stdio, stderr: Stdio| {
            Running(daemon.command(line).stdout(stdout).stderr(stderr).spawn().unwrap()).wait()
        };
        let full = run(dev_full(), dev_full());
        assert_eq!(full.code(), Some(1), "{line} on a full disk: {full}");
        let closed = run(closed_pipe().into(), closed_pipe().into());
        // With status the warnings of the daemon still count.
        let code = closed.code().unwrap_or_else(|| panic!("{line}: {closed}"));
        assert!([0, 3].contains(&code), "{line} with a reader that is gone: {closed}");
    }
    let output = daemon.command("status").stdout(dev_full()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write to standard output"), "{said}");
    let output = daemon.command("ban ann").stdout(dev_full()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"audit_id\":1"), "the change was made, and is told: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_needs_nobody_who_reads() {
    let daemon = HostileDaemon::start(false);
    let lines =
        [("wait ready=yes", 0), ("wait viewers>5 --timeout 100ms", 5), ("wait viewerz>5", 64)];
    for (line, code) in lines {
        let run = |stdout: Stdio, stderr: Stdio| {
            Running(daemon.command(line).stdout(stdout).stderr(stderr).spawn().unwrap()).wait()
        };
        assert_eq!(run(dev_full(), dev_full()).code(), Some(code), "{line}");
        assert_eq!(run(closed_pipe().into(), closed_pipe().into()).code(), Some(code), "{line}");
    }
}

/// Waits until a process has written a text on stderr.
fn read_until(stderr: &mut impl std::io::Read, wanted: &str) {
    let mut read = String::new();
    let mut byte = [0];
    while !read.contains(wanted) {
        assert!(stderr.read(&mut byte).unwrap() > 0, "no {wanted} in {read:?}");
        read.push(char::from(byte[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_completes_a_recording() {
    let daemon = HostileDaemon::start(false);
    for signal in ENDING {
        for ending in ["jsonl", "jsonl.gz", "lcr"] {
            let path = daemon.path(&format!("{signal}.{ending}"));
            let line = format!("record 1 --output {}", path.display());
            let mut command = daemon.command(&line);
            let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
            let mut stderr = running.0.stderr.take().unwrap();
            tokio::task::block_in_place(|| read_until(&mut stderr, "3 items"));
            running.signal(signal);
            running.signal(signal);
            assert_eq!(running.wait().code(), Some(0), "{signal}");
            let recording = recording::read(&path).unwrap();
            assert_eq!(recording.torn, None);
            // Two people of one name.
            let users: Vec<_> =
                recording.comments.iter().map(|line| line.user_id.unwrap().0).collect();
            assert_eq!(users, [41, 40], "{signal}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_ends_what_lasts_even_with_a_full_pipe() {
    let flood = HostileDaemon::start(true);
    for line in LASTING_COMMANDS {
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let mut read = Running(
                flood.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
            );
            let (_unread, full) = full_pipe();
            let mut unread =
                Running(flood.command(line).stdout(full).stderr(Stdio::null()).spawn().unwrap());
            read.until_handles(signal);
            unread.until_handles(signal);
            unread.until_held_up();
            read.signal(signal);
            unread.signal(signal);
            assert_eq!(read.wait().code(), Some(0), "{line} {signal}");
            let stuck = unread.wait();
            assert_eq!(stuck.code(), Some(128 + signal as i32), "{line} {signal}: {stuck}");
        }
    }
}
