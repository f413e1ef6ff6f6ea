//! Settings of the command line and the environment, as processes read them.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output};

fn check(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lcd"));
    command.arg("check").env_clear().env("HOME", directory).current_dir(directory);
    command
}

fn listening(directory: &Path, address: &str) -> Command {
    let mut command = check(directory);
    command.args(["--listen", address, "--data-dir"]).arg(directory.join("data"));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn variables_of_kubernetes_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let output = listening(directory.path(), "127.0.0.1:0")
        .env("LCD_PORT", "tcp://10.0.0.7:8080")
        .env("LCD_SERVICE_HOST", "10.0.0.7")
        .env("LCD_SERVICE_PORT_HTTP", "8080")
        .env("LCD_NODE__NAME", "12345")
        .env("LCD_GATEWAY__LISTN", "x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("LCD_GATEWAY__LISTN"), "{}", said(&output));
    assert!(!said(&output).contains("LCD_SERVICE"), "{}", said(&output));
}

#[test]
fn wrong_variables_exit_64_and_name_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let output = listening(directory.path(), "127.0.0.1:0")
        .env("LCD_GATEWAY__MAX_CONNECTIONS", "many")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("LCD_GATEWAY__MAX_CONNECTIONS"), "{}", said(&output));
}

#[test]
fn an_address_is_a_name_or_says_what_to_type() {
    let directory = tempfile::tempdir().unwrap();
    let output = listening(directory.path(), "localhost:0").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for address in [":8080", "8080", "*:8080"] {
        let output = listening(directory.path(), address).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{address}");
        assert!(said(&output).contains("write 0.0.0.0:8080"), "{address}: {}", said(&output));
        let output = check(directory.path()).env("LCD_GATEWAY__LISTEN", address).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{address}");
        assert!(said(&output).contains("write 0.0.0.0:8080"), "{address}: {}", said(&output));
    }
}

#[test]
fn a_value_that_is_not_text_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let value = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let output = check(directory.path()).env("LCD_NODE__NAME", value).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("LCD_NODE__NAME"), "{}", said(&output));
    assert!(said(&output).contains("not UTF-8"), "{}", said(&output));
    // Those of others do not matter.
    let output = check(directory.path()).env("LCD_PORT", value).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_tilde_is_the_home_directory_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let file = directory.path().join("lcd.toml");
    std::fs::write(&file, "node.data_dir = \"~/file\"").unwrap();
    let run = |configure: &dyn Fn(&mut Command) -> &mut Command| {
        let mut command = check(directory.path());
        command.env("HOME", &home).args(["--listen", "127.0.0.1:0"]);
        configure(&mut command);
        command.output().unwrap()
    };
    let outputs = [
        run(&|command| command.arg("--config").arg(&file)),
        run(&|command| command.arg("--data-dir=~/flag")),
        run(&|command| command.env("LCD_NODE__DATA_DIR", "~/environment")),
    ];
    for output in outputs {
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
    assert!(!directory.path().join("~").exists(), "no directory is named ~");
    for path in ["$HOME/lcd", "~nobody/lcd"] {
        let output = run(&|command| command.args(["--data-dir", path]));
        assert_eq!(output.status.code(), Some(64), "{path}");
        assert!(said(&output).contains("node.data_dir"), "{path}: {}", said(&output));
    }
}

/// Returns what a daemon logs until it fails to start, because its address is taken.
fn log_of_a_start(directory: &Path, filter: Option<&str>) -> String {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lcd"));
    command.env_clear().arg("--listen").arg(taken.local_addr().unwrap().to_string());
    command.arg("--data-dir").arg(directory.join("data"));
    if let Some(filter) = filter {
        command.env("RUST_LOG", filter);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    said(&output)
}

#[test]
fn an_empty_log_filter_is_the_default_filter() {
    let directory = tempfile::tempdir().unwrap();
    let first = log_of_a_start(directory.path(), Some(""));
    assert!(first.contains(" INFO "), "{first}");
    let quiet = log_of_a_start(directory.path(), Some("off"));
    assert!(!quiet.contains(" INFO ") && quiet.contains("lcd: cannot listen"), "{quiet}");
    let wrong = log_of_a_start(directory.path(), Some("live_comments=loud"));
    assert!(wrong.contains("RUST_LOG is not a filter"), "{wrong}");
}

fn lc(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    command.args(line.split(' ')).env_remove("LC_SOCKET");
    command
}

#[test]
fn what_is_typed_wins_over_the_environment() {
    let said_by = |command: &mut Command| said(&command.output().unwrap());
    let from_directory =
        said_by(lc("status --data-dir /nowhere").env("LC_SOCKET", "/elsewhere/a.sock"));
    assert!(from_directory.contains("/nowhere/admin.sock"), "{from_directory}");
    let from_socket = said_by(lc("status --socket /here.sock").env("LC_SOCKET", "/elsewhere"));
    assert!(from_socket.contains("/here.sock"), "{from_socket}");
    let home = tempfile::tempdir().unwrap();
    let expanded = said_by(lc("status --data-dir=~/lcd").env("HOME", home.path()));
    let expected = home.path().join("lcd/admin.sock");
    assert!(expanded.contains(expected.to_str().unwrap()), "{expanded}");
}

#[test]
fn errors_are_told_once_and_in_words() {
    let missing = said(&lc("replay /nowhere/chat.jsonl").output().unwrap());
    assert_eq!(missing, "lc: /nowhere/chat.jsonl: No such file or directory\n");
    for (line, expected) in [
        ("ban 1 --for 0.1s", "--for"),
        ("ban 1 --for 100ms", "must be 1s to 3650d"),
        ("timeout 1 --for 31d", "must be 1s to 30d"),
        ("token --user 1 --for 100ms", "must be 1s to 3650d"),
        ("audit --limit 5k", "must be 1 to 1000"),
    ] {
        let output = lc(line).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{line}");
        assert!(said(&output).contains(expected), "{line}: {}", said(&output));
        assert!(!said(&output).contains("_ms"), "{line}: {}", said(&output));
    }
    let help = lc("help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(help.stdout, lc("--help").output().unwrap().stdout);
    assert!(!lc("help ban").output().unwrap().stdout.is_empty());
}
