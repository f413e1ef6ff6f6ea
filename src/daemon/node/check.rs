//! `lcd check`: tests whether a configuration would start, without starting it.
//!
//! Always holds: it finds the faults that the start finds, and reports all of them. It registers
//! and binds nothing, joins no group and fences no producer, so it may run beside a running node.
//! Its trial writes to servers and directories have names of their own and are removed again.
//!
//! Fails: whatever stops a start, and what is wrong now with the node that runs with this
//! configuration. What a start cannot change is a note and does not fail: losses of the past, and a
//! disk that is almost full.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::bail;
use tokio::net::TcpSocket;

use super::preflight::{self, InvalidConfiguration};
use super::run::LOSSES_FILE;
use super::{identity, running};
use crate::daemon::base::config::{Config, differing_settings};
use crate::daemon::base::disk_probe::try_directory;
use crate::daemon::base::problems::Problems;
use crate::daemon::edge::admin::difference;
use crate::daemon::engines::choose::{Engines, Probe, probe_engines, running_nodes};
use crate::daemon::stages::{auth, moderation};
use crate::protocol::admin::dependency::REVIEW_HOOK;
use crate::protocol::admin::{BreakerState, Problem, ProblemCode, Status};
use crate::protocol::printable::printable;
use crate::protocol::quantity::counted;

/// The condition that a directory of a node must meet.
const USABLE: &str = "It must be a directory that this user can create or write in";

/// Tests every dependency of the configuration and prints a line for each.
///
/// # Errors
/// [`InvalidConfiguration`] if the configuration or a file in it is wrong, else another error if
/// something does not work. Every failure is printed before.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    let mut report = Report::default();
    let faults = preflight::faults(config);
    if faults.is_empty() {
        report.fine("configuration", "and the files that it names");
        report.fine("token keys", &format!("{} configured", config.auth.keys.len()));
    }
    for fault in &faults {
        report.failed("configuration", fault);
    }
    let answering = running::status(&config.node.admin_socket).await;
    report.add("data directory", on_disk(config, answering.as_ref(), check_data_dir).await);
    report.add("admin socket", on_disk(config, answering.as_ref(), check_admin_socket).await);
    let own = answering.filter(|answering| runs_with(config, answering));
    match &own {
        Some(own) => report_running(own, &mut report),
        None => report_losses(config, &mut report).await,
    }
    report.add("address", check_address(config.gateway.listen, own.as_ref()));
    if let Some(listen) = config.admin.listen {
        report.add("admin address", check_admin_address(listen, own.as_ref()));
    }
    for Probe { server, result } in probe_engines(config).await {
        report.add(server, result);
    }
    if let Some(result) = auth::try_issuer(&config.auth).await {
        report.add("issuer keys", result);
    }
    if let Some(result) = moderation::try_hook(&config.moderation).await {
        report.add(REVIEW_HOOK, result);
    }
    compare_with_running(config, own.as_ref(), &mut report).await;
    for (contract, engine) in Engines::names(&config.engines) {
        report.fine(&contract, &engine);
    }
    if !faults.is_empty() {
        return Err(InvalidConfiguration(faults).into());
    }
    if report.failures > 0 {
        bail!("{} of {} checks failed", report.failures, report.lines);
    }
    Ok(())
}

/// The lines on standard output. A reader that goes away costs the lines, not the check.
#[derive(Debug, Default)]
struct Report {
    lines: usize,
    failures: usize,
}

impl Report {
    fn add(&mut self, subject: &str, result: Result<String, String>) {
        match result {
            Ok(text) => self.fine(subject, &text),
            Err(text) => self.failed(subject, &text),
        }
    }

    fn fine(&mut self, subject: &str, text: &str) {
        self.print(subject, "ok", text);
    }

    fn note(&mut self, subject: &str, text: &str) {
        self.print(subject, "note", text);
    }

    fn failed(&mut self, subject: &str, text: &str) {
        self.failures += 1;
        self.print(subject, "FAILED", text);
    }

    fn print(&mut self, subject: &str, result: &str, text: &str) {
        self.lines += 1;
        let line = printable(&format!("{subject:20} {result}, {text}")) + "\n";
        // A reader that is gone, as in `lcd check | head`, is no failure.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// Runs a check that blocks on the disk, with the status of the node that answers on the admin
/// socket.
async fn on_disk(
    config: &Config,
    answering: Option<&Status>,
    check: fn(&Config, Option<&Status>) -> Result<String, String>,
) -> Result<String, String> {
    let config = config.clone();
    let answering = answering.cloned();
    let ended = tokio::task::spawn_blocking(move || check(&config, answering.as_ref())).await;
    ended.unwrap_or_else(|error| Err(error.to_string()))
}

/// Tells whether the directory can be used, or created. The node that runs with this configuration
/// may be using it.
fn check_data_dir(config: &Config, answering: Option<&Status>) -> Result<String, String> {
    let path = config.node.data_dir.as_path();
    let name = path.display();
    let fix = "choose another with --data-dir";
    try_directory(path)
        .map_err(|error| format!("{name} (node.data_dir): {error}. {USABLE}, or {fix}"))?;
    let exists = path.exists();
    identity::check_file(path)?;
    let own = answering.filter(|answering| runs_with(config, answering));
    if let Some(own) = own.filter(|_| !exists) {
        return Err(format!(
            "the running node {} uses {name}, but the directory is gone: stop lcd, put the \
             directory back from a copy and start lcd again",
            own.node
        ));
    }
    if identity::is_in_use(path) && own.is_none() {
        let socket = config.node.admin_socket.display();
        return Err(match answering {
            Some(other) => format!(
                "another lcd uses {name}, and the node {} answers on {socket}: {fix}",
                other.node
            ),
            // The daemon watches its socket and makes a lost one again.
            None => format!(
                "a running lcd uses {name} and does not answer on the admin socket {socket}. If this \
                 is its configuration, check again: a socket that was removed is made again within \
                 seconds, and its log says why if it cannot be. Otherwise {fix}"
            ),
        });
    }
    Ok(if exists { format!("{name}") } else { format!("{name} will be created") })
}

/// Tells whether the directory of the admin socket can be used, or created. The node that runs with
/// this configuration may answer there, and no other.
fn check_admin_socket(config: &Config, answering: Option<&Status>) -> Result<String, String> {
    let path = config.node.admin_socket.as_path();
    let name = path.display();
    match answering {
        Some(own) if runs_with(config, own) => {
            return Ok(format!("{name}, the running node {} answers there", own.node));
        }
        Some(other) => {
            return Err(format!(
                "{name} (node.admin_socket): the node {} answers there, whose data directory \
                 is {}: choose another with --admin-socket",
                other.node, other.data_dir
            ));
        }
        None => {}
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    try_directory(directory.unwrap_or(Path::new("."))).map_err(|error| {
        format!(
            "{name} (node.admin_socket): {error}. {USABLE}, or choose another with --admin-socket"
        )
    })?;
    Ok(name.to_string())
}

/// Reports what is wrong with the node that runs with this configuration: its files may be gone
/// although new ones could be created.
fn report_running(own: &Status, report: &mut Report) {
    const SUBJECT: &str = "running node";
    let node = &own.node;
    let (notes, problems): (Vec<_>, Vec<_>) = own.problems.iter().partition(|it| is_note(it));
    for problem in notes {
        report.note(SUBJECT, &format!("{node}: {}", problem.text));
    }
    let mut faults: Vec<String> =
        problems.iter().map(|problem| format!("{node}: {}", problem.text)).collect();
    for breaker in own.breakers.iter().filter(|known| known.state != BreakerState::Closed) {
        let error = breaker.last_error.as_deref().unwrap_or("no answer");
        faults.push(format!("{node}: {}: {error}", breaker.dependency));
    }
    for fault in &faults {
        report.failed(SUBJECT, fault);
    }
    if faults.is_empty() {
        report.fine(SUBJECT, &format!("{} works", own.node));
    }
}

/// Reports the losses that a start would show.
async fn report_losses(config: &Config, report: &mut Report) {
    const SUBJECT: &str = "losses";
    let path = config.node.data_dir.join(LOSSES_FILE);
    let read = tokio::task::spawn_blocking(move || Problems::losses_in(&path)).await;
    match read.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(losses) => losses.iter().for_each(|loss| report.note(SUBJECT, &loss.text)),
        Err(error) => report.note(SUBJECT, &error),
    }
}

/// Whether a problem is no reason to keep a configuration from being used.
fn is_note(problem: &Problem) -> bool {
    let code = problem.code.as_str();
    ProblemCode::loss(code).is_some() || code == ProblemCode::DiskLow.as_str()
}

/// Whether the node runs with this configuration. One process at a time uses a data directory.
fn runs_with(config: &Config, running: &Status) -> bool {
    // The directory may have been removed meanwhile.
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    let own = real(&config.node.data_dir);
    own.is_some() && own == real(Path::new(&running.data_dir))
}

/// Tells whether the address is free, or in use by the node that runs with this configuration.
/// The trial does not listen, so it never refuses a viewer or another daemon.
fn check_address(listen: SocketAddr, own: Option<&Status>) -> Result<String, String> {
    if let Some(own) = own.filter(|own| is_same_address(listen, &own.listen)) {
        return Ok(format!("{listen} is in use by the running node {}", own.node));
    }
    check_free(listen, "gateway.listen")
}

/// Tells whether the address of the admin API is free. The node that runs with this configuration
/// may be using it.
fn check_admin_address(listen: SocketAddr, own: Option<&Status>) -> Result<String, String> {
    match own {
        Some(own) => Ok(format!("{listen} is left to the running node {}", own.node)),
        None => check_free(listen, "admin.listen"),
    }
}

fn check_free(listen: SocketAddr, setting: &str) -> Result<String, String> {
    let bound = || {
        let socket = match listen {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(listen)
    };
    match bound() {
        Ok(()) => Ok(format!("{listen} is free")),
        Err(error) => Err(format!("cannot listen on {listen} ({setting}): {error}")),
    }
}

/// Whether a daemon that listens on `running` occupies `listen`.
fn is_same_address(listen: SocketAddr, running: &str) -> bool {
    let Ok(running) = running.parse::<SocketAddr>() else { return false };
    let is_any = listen.ip().is_unspecified() || running.ip().is_unspecified();
    running.port() == listen.port() && (is_any || running.ip() == listen.ip())
}

/// Compares the settings that must be equal on all nodes with those of the nodes that run, and the
/// name with theirs.
async fn compare_with_running(config: &Config, own: Option<&Status>, report: &mut Report) {
    const SUBJECT: &str = "cluster settings";
    let others = match running_nodes(config).await {
        Ok(others) => others,
        // The server is reported by its own line.
        Err(_) => return,
    };
    let settings = config.shared_settings();
    let mut differing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for other in &others {
        for setting in differing_settings(&settings, &other.settings) {
            differing.entry(setting).or_default().insert(other.node.as_str());
        }
    }
    for (setting, nodes) in &differing {
        report.failed(SUBJECT, &difference(setting, nodes));
    }
    let name = config.node.name.as_str();
    let runs_here = own.is_some_and(|own| own.node.as_str() == name);
    if let Some(other) = others.iter().find(|other| other.node.as_str() == name && !runs_here) {
        let about = &other.about;
        report.failed(
            "node name",
            &format!("a running node has the name {name} ({about}): choose another `node.name`"),
        );
    }
    if differing.is_empty() && !others.is_empty() {
        report.fine(
            SUBJECT,
            &format!("equal to those of {}", counted(others.len() as u64, "running node")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_data_dir(path: &Path, own: Option<&Status>) -> Result<String, String> {
        let mut config = Config::default();
        config.node.data_dir = path.to_owned();
        super::check_data_dir(&config, own)
    }

    #[test]
    fn a_data_directory_is_judged_and_not_created() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        assert!(check_data_dir(&path, None).unwrap().contains("will be created"));
        assert!(!path.exists() && !directory.path().join("a").exists());
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        for wrong in [file.clone(), file.join("below")] {
            let error = check_data_dir(&wrong, None).unwrap_err();
            assert!(error.contains("not a directory"), "{error}");
        }
        assert!(check_data_dir(directory.path(), None).is_ok());
    }

    #[test]
    fn only_what_no_start_changes_is_a_note() {
        let is_note = |code: ProblemCode| {
            let text = String::new();
            let subject = String::new();
            is_note(&Problem { code: code.as_str().to_owned(), subject, text, since_ms: 0 })
        };
        assert!(ProblemCode::LOSSES.into_iter().all(is_note) && is_note(ProblemCode::DiskLow));
        assert!(![ProblemCode::DiskFull, ProblemCode::LogFilesMissing].into_iter().any(is_note));
    }

    #[test]
    fn another_address_of_the_same_port_is_not_the_own() {
        let listen: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        for (running, expected) in [
            ("127.0.0.1:8080", true),
            ("0.0.0.0:8080", true),
            ("[::]:8080", true),
            ("127.0.0.2:8080", false),
            ("127.0.0.1:8081", false),
            ("nowhere", false),
        ] {
            assert_eq!(is_same_address(listen, running), expected, "{running}");
        }
        assert!(is_same_address("0.0.0.0:8080".parse().unwrap(), "127.0.0.1:8080"));
    }

    #[tokio::test]
    async fn an_address_is_judged_without_listening() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check_address(address, None).unwrap_err();
        assert!(error.contains("gateway.listen"), "{error}");
        drop(taken);
        assert!(check_address(address, None).unwrap().contains("free"));
        let elsewhere: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert!(check_address(elsewhere, None).is_err(), "no interface has it");
    }
}
