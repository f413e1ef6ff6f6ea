//! The units of `deploy/systemd`, and the daemon's messages to a service manager. systemd itself is
//! not needed: `systemd-analyze` checks the units, and a socket takes the place of the manager.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The bound of every wait. Only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(30);
const LCD: &str = env!("CARGO_BIN_EXE_lcd");
const UNITS: [&str; 2] = ["lcd.service", "lcd@.service"];

fn systemd_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/systemd")
}

/// Copies the units as they would be installed, with the drop-in for credentials and this daemon.
fn installed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in UNITS {
        let unit = fs::read_to_string(systemd_files().join(name)).unwrap();
        assert!(unit.contains("ExecStart=/usr/local/bin/lcd "), "{name}");
        let unit = unit.replace("/usr/local/bin/lcd", LCD);
        fs::write(directory.path().join(name), unit).unwrap();
        let drop_ins = directory.path().join(format!("{name}.d"));
        fs::create_dir(&drop_ins).unwrap();
        let credentials = systemd_files().join("credentials.conf");
        fs::copy(credentials, drop_ins.join("credentials.conf")).unwrap();
    }
    directory
}

fn systemd_analyze(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(file).env("SYSTEMD_LOG_LEVEL", "warning");
    command.output().expect("systemd-analyze, which scripts/setup installs")
}

#[test]
#[ignore = "needs systemd-analyze, which scripts/setup installs"]
fn systemd_accepts_the_units() {
    let directory = installed();
    for name in UNITS {
        let output = systemd_analyze(&["verify", "--man=no"], &directory.path().join(name));
        assert!(output.status.success() && output.stderr.is_empty(), "{name}: {output:?}");
    }
    // Warnings would be in the output.
    let broken = directory.path().join("broken.service");
    fs::write(&broken, "[Service]\nType=notify\nExecStart=/nowhere/lcd\n").unwrap();
    assert!(!systemd_analyze(&["verify", "--man=no"], &broken).status.success());
}

#[test]
#[ignore = "needs systemd-analyze, which scripts/setup installs"]
fn the_units_restrict_the_daemon() {
    let directory = installed();
    for name in UNITS {
        // In tenths of the exposure level, which is above 90 without hardening.
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold=15"];
        let output = systemd_analyze(&arguments, &directory.path().join(name));
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

/// Returns the `NAME=value` of each `Environment=` of a unit file, without quotes.
fn environment(unit: &str) -> Vec<(&str, &str)> {
    let settings = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    settings.map(|setting| setting.trim_matches('\'').split_once('=').unwrap()).collect()
}

#[test]
fn the_daemon_reads_its_secrets_from_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let drop_in = fs::read_to_string(systemd_files().join("credentials.conf")).unwrap();
    let credentials = directory.path().display().to_string();
    for line in drop_in.lines().filter_map(|line| line.strip_prefix("LoadCredential=")) {
        let (name, _) = line.split_once(':').unwrap();
        fs::write(directory.path().join(name), "a secret of more than thirty-two bytes").unwrap();
    }
    let mut command = Command::new(LCD);
    // The user name of a password is not secret: it is in the configuration.
    command.env("LCD_CASSANDRA__USERNAME", "lcd");
    command.args(["check", "--listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(directory.path().join("data"));
    let settings = environment(&drop_in);
    assert_eq!(settings.len(), 5);
    for (name, value) in settings {
        let value = value.replace("%d", &credentials);
        for file in value.split('"').chain([value.as_str()]).filter(|part| part.starts_with('/')) {
            assert!(Path::new(file).exists(), "{name} names {file}, which no LoadCredential= has");
        }
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("ok, 1 configured"), "{output:?}");
}

/// A daemon with a service manager, and the manager's end of the socket.
struct Managed {
    child: Child,
    socket: UnixDatagram,
    _directory: TempDir,
}

impl Managed {
    fn start(watchdog: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = Command::new(LCD)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("ready"), "{line}");
        Self { child, socket, _directory: directory }
    }

    fn hear(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.socket.recv(&mut buffer).expect("the daemon says something");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Returns the next message that is not a watchdog ping.
    fn hear_news(&self) -> String {
        std::iter::repeat_with(|| self.hear()).find(|said| said != "WATCHDOG=1\n").unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        // The daemon may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_manager_learns_of_start_reload_and_stop() {
    let mut managed = Managed::start(PATIENCE * 10);
    assert_eq!(managed.hear_news(), "READY=1\n");
    managed.signal(Signal::SIGHUP);
    let reloading = managed.hear_news();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(managed.hear_news(), "READY=1\n");
    managed.signal(Signal::SIGTERM);
    assert_eq!(managed.hear_news(), "STOPPING=1\n");
    assert!(managed.child.wait().unwrap().success());
}

#[test]
fn a_frozen_daemon_does_not_ping_the_watchdog() {
    let watchdog = Duration::from_millis(400);
    let managed = Managed::start(watchdog);
    let ping = || std::iter::repeat_with(|| managed.hear()).find(|said| said == "WATCHDOG=1\n");
    for _ in 0..3 {
        assert!(ping().is_some());
    }
    managed.signal(Signal::SIGSTOP);
    managed.socket.set_read_timeout(Some(watchdog * 3)).unwrap();
    let mut buffer = [0; 256];
    // Discards the messages from before it froze.
    while managed.socket.recv(&mut buffer).is_ok() {}
    managed.signal(Signal::SIGCONT);
    managed.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(ping().is_some());
}
