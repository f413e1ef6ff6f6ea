//! `lc` without a running daemon: error messages and exit codes.

#![allow(clippy::unwrap_used, reason = "everything here is a test")]

use assert_cmd::Command;

fn lc(directory: &std::path::Path) -> Command {
    let mut command = Command::cargo_bin("lc").expect("lc is built with the tests");
    command.env("XDG_DATA_HOME", directory).env_remove("LC_SOCKET");
    command
}

#[test]
fn without_a_daemon_it_names_the_socket_and_exits_69() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("nobody.sock");
    for command in ["top", "status", "streams", "bans", "tail 1", "ban ann", "drain"] {
        let result =
            lc(dir.path()).args(command.split(' ')).arg("--socket").arg(&socket).output().unwrap();
        let stderr = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(69), "{command}: {stderr}");
        assert!(stderr.contains(socket.to_str().unwrap()), "{command}: {stderr}");
        assert!(stderr.contains("Start one with `lcd`"), "{command}: {stderr}");
        assert!(result.stdout.is_empty(), "{command}");
    }
}

#[test]
fn an_export_without_a_daemon_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("decisions.jsonl");
    let socket = dir.path().join("nobody.sock");
    let mut command = lc(dir.path());
    command.args(["mod", "decisions", "--export"]).arg(&file).arg("--socket").arg(&socket);
    command.assert().code(69);
    assert!(!file.exists());
}

#[test]
fn environment_and_data_directory_set_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let looked_at = |command: &mut Command, path: &str| {
        let stderr = String::from_utf8(command.arg("status").output().unwrap().stderr).unwrap();
        assert!(stderr.contains(path), "{stderr}");
    };
    looked_at(lc(dir.path()).env("LC_SOCKET", "/nowhere/a.sock"), "/nowhere/a.sock");
    looked_at(lc(dir.path()).args(["--data-dir", "/nowhere"]), "/nowhere/admin.sock");
}

#[test]
fn a_wrong_command_line_exits_64_and_help_exits_0() {
    let dir = tempfile::tempdir().unwrap();
    lc(dir.path()).arg("bann").assert().code(64).stdout("");
    lc(dir.path()).args(["throttle", "1", "fast"]).assert().code(64).stdout("");
    lc(dir.path()).args(["import", "a", "b", "--output", "c.lcr"]).assert().code(64).stdout("");
    lc(dir.path()).assert().code(64).stdout("");
    lc(dir.path()).arg("--help").assert().code(0).stderr("");
}

#[test]
fn wrong_bindings_exit_64_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lc/config.toml");
    std::fs::create_dir(dir.path().join("lc")).unwrap();
    let top = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let mut command = lc(dir.path());
        command.env("XDG_CONFIG_HOME", dir.path()).env_remove("LC_CONFIG");
        let result = command.args(["top", "--once"]).args(more).output().unwrap();
        (result.status.code(), String::from_utf8(result.stderr).unwrap())
    };
    let place = format!("{}, line 2: ", file.display());
    let (code, said) = top("[keys]\nqiut = \"Q\"\n", &[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains(&format!("{place}there is no command `qiut`; did you mean")), "{said}");
    let (code, said) = top("[keys]\nquit = \"b\"\n", &[]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains(&format!("{place}the key b is bound to both")), "{said}");
    let (code, said) = top("[keys]\nquit = \"b\"\n", &["--key", "quit=Q"]);
    assert_eq!(code, Some(69), "the command line counts more: {said}");
    let (code, said) = top("", &["--key", "quit"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("write COMMAND=KEY"), "{said}");
}

#[test]
fn a_token_needs_only_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let command = ["token", "--user", "42", "--name", "ann", "--data-dir"];
    let result = lc(dir.path()).args(command).arg(dir.path()).output().unwrap();
    assert_eq!(result.status.code(), Some(69));
    assert!(String::from_utf8(result.stderr).unwrap().contains("signing.key"));

    std::fs::write(dir.path().join("signing.key"), [7; 32]).unwrap();
    let result = lc(dir.path()).args(command).arg(dir.path()).output().unwrap();
    let stdout = String::from_utf8(result.stdout).unwrap();
    assert_eq!(result.status.code(), Some(0));
    assert_eq!((stdout.matches('.').count(), stdout.lines().count()), (2, 1), "{stdout}");
}

#[test]
fn a_plan_needs_no_context() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("lc");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(config.join("contexts.json"), "no contexts").unwrap();
    let run = |words: &[&str]| {
        let output = lc(dir.path()).env("XDG_CONFIG_HOME", dir.path()).args(words).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (asked, why) = run(&["status"]);
    assert!(!asked && why.contains("contexts.json"), "{why}");
    let (planned, why) = run(&["plan", "--viewers", "1k", "--rate", "10"]);
    assert!(planned, "{why}");
}
