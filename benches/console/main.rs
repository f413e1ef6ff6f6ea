//! The cost of watching: the processor time of `lc top` on a terminal, and the load that 1 and 20
//! consoles add to `lcd` and to the latency of its viewers.
//!
//! A real `lcd` has many streams, and viewers and comments on one of them. Every console is a
//! process on a terminal of 120 by 36, with one frame per second. Then one console sees as many
//! nodes as a large cluster has. Exits with 1 if a bound is exceeded.
//!
//! ```text
//! cargo bench --bench console -- --streams 1000 --seconds 20
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

#[path = "../fanout/cpu.rs"]
mod cpu;
mod crowd;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Parser;
use pty_process::Size;
use tempfile::TempDir;

use self::cpu::cpu_s;
use self::crowd::Crowd;

/// The bounds, in percent of a core.
const MAX_CONSOLE: f64 = 2.0;
const MAX_DAEMON: [(usize, f64); 2] = [(1, 1.0), (20, 1.5)];
/// After the start of consoles, for their first frames.
const SETTLE: Duration = Duration::from_secs(5);
const DATA_DIR: &str = "data";
const LC: &str = env!("CARGO_BIN_EXE_lc");

#[derive(Debug, Parser)]
struct Arguments {
    /// Streams of the daemon
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Nodes of the large cluster
    #[arg(long, default_value_t = 200)]
    nodes: usize,
    /// Viewers of one of them
    #[arg(long, default_value_t = 500)]
    viewers: usize,
    /// Comments per second on that stream
    #[arg(long, default_value_t = 50)]
    rate: usize,
    /// Duration of each measurement
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// The cost of one number of consoles.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    consoles: usize,
    /// In percent of a core.
    daemon: f64,
    /// Of one console, in percent of a core.
    console: f64,
    p99_ms: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing measured: run it with `cargo bench --bench console`");
        return Ok(ExitCode::SUCCESS);
    }
    let daemon = Daemon::start()?;
    for number in 1..arguments.streams {
        daemon.lc(&[
            "streams",
            "create",
            "--state",
            "live",
            "--title",
            &format!("Room {number}"),
        ])?;
    }
    println!(
        "{} streams, {} viewers, {} comments/s; percent of one core",
        arguments.streams, arguments.viewers, arguments.rate
    );
    println!("{:>9} {:>9} {:>12} {:>14}", "consoles", "lcd", "one console", "viewers' p99");
    let mut outcomes = Vec::new();
    for consoles in [0, 1, 20] {
        let outcome = measure(&daemon, consoles, &arguments)?;
        let Outcome { daemon, console, p99_ms, .. } = outcome;
        println!("{consoles:>9} {daemon:>8.2}% {console:>11.2}% {p99_ms:>11.1} ms");
        outcomes.push(outcome);
    }
    let crowded = crowded(&daemon, &arguments)?;
    println!(
        "one console of {} streams and {} nodes: {crowded:.2}%",
        arguments.streams, arguments.nodes
    );
    let mut exceeded = exceeded(&outcomes);
    if crowded > MAX_CONSOLE {
        exceeded.push(format!("a console of a large cluster takes more than {MAX_CONSOLE} %"));
    }
    exceeded.iter().for_each(|sentence| eprintln!("{sentence}"));
    Ok(if exceeded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn exceeded(outcomes: &[Outcome]) -> Vec<String> {
    let without = outcomes.iter().find(|outcome| outcome.consoles == 0);
    let without = without.map_or(0.0, |outcome| outcome.daemon);
    let mut sentences = Vec::new();
    for outcome in outcomes {
        if outcome.console > MAX_CONSOLE {
            sentences.push(format!("a console takes more than {MAX_CONSOLE} %: {outcome:?}"));
        }
        let bound = MAX_DAEMON.iter().find(|(consoles, _)| *consoles == outcome.consoles);
        if let Some((consoles, bound)) = bound
            && outcome.daemon - without > *bound
        {
            sentences
                .push(format!("{consoles} consoles add more than {bound} % to lcd: {outcome:?}"));
        }
    }
    sentences
}

/// Returns the processor time of a console of a large cluster, in percent of a core.
fn crowded(daemon: &Daemon, arguments: &Arguments) -> anyhow::Result<f64> {
    let snapshot = daemon.lc(&["top", "--once", "--json"])?;
    let crowd = Crowd::start(&snapshot, arguments.nodes)?;
    let console = Console::start("--socket", crowd.socket())?;
    std::thread::sleep(SETTLE);
    let before = cpu_s(console.process.id())?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    Ok(100.0 * (cpu_s(console.process.id())? - before) / began.elapsed().as_secs_f64())
}

fn measure(daemon: &Daemon, consoles: usize, arguments: &Arguments) -> anyhow::Result<Outcome> {
    let started: Vec<Console> = (0..consoles)
        .map(|_| Console::start("--data-dir", daemon.data_dir()))
        .collect::<anyhow::Result<_>>()?;
    std::thread::sleep(SETTLE);
    let duration = format!("{}s", arguments.seconds);
    let viewers = arguments.viewers.to_string();
    let rate = arguments.rate.to_string();
    let load = ["loadgen", "--json", "--viewers", &viewers, "--rate", &rate];
    let consoles_s = || -> anyhow::Result<f64> {
        started.iter().map(|console| cpu_s(console.process.id())).sum()
    };
    let daemon_before = cpu_s(daemon.process.id())?;
    let consoles_before = consoles_s()?;
    let began = Instant::now();
    let report = daemon.lc(&[&load[..], &["--duration", &duration]].concat())?;
    let seconds = began.elapsed().as_secs_f64();
    let percent = |cpu_s: f64| 100.0 * cpu_s / seconds;
    let report: serde_json::Value = serde_json::from_str(&report).context("a report")?;
    Ok(Outcome {
        consoles,
        daemon: percent(cpu_s(daemon.process.id())? - daemon_before),
        console: percent(consoles_s()? - consoles_before) / consoles.max(1) as f64,
        p99_ms: report["latency_ms"]["p99"].as_f64().context("no p99 in the report")?,
    })
}

struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = std::fs::File::create(directory.path().join("lcd.log"))?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_lcd"))
            .arg("--data-dir")
            .arg(directory.path().join(DATA_DIR))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = process.stdout.take().context("its output")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready"));
        if !ready {
            let log = std::fs::read_to_string(directory.path().join("lcd.log"));
            bail!("lcd did not start: {}", log.unwrap_or_default());
        }
        // Later output is not used, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, directory })
    }

    /// Runs a command of `lc` and returns its output.
    fn lc(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(LC);
        command.args(words).arg("--data-dir").arg(self.data_dir());
        let output = command.output()?;
        if !output.status.success() {
            bail!("lc {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join(DATA_DIR)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A console on a terminal whose output is read and forgotten.
struct Console {
    process: Child,
}

impl Console {
    /// Attaches it to the daemon that an option of `lc` names.
    fn start(option: &str, value: impl AsRef<OsStr>) -> anyhow::Result<Self> {
        let (mut pty, pts) = pty_process::blocking::open()?;
        pty.resize(Size::new(36, 120))?;
        let process = pty_process::blocking::Command::new(LC)
            .arg("top")
            .arg(option)
            .arg(value)
            .env("TERM", "xterm-256color")
            .spawn(pts)?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while matches!(pty.read(&mut buffer), Ok(1..)) {}
        });
        Ok(Self { process })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
