//! Another process of this run, spoken to in lines: killed when dropped, and every answer awaited
//! for a bounded time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::cores::Cores;

/// The longest an answer may take: connecting 19 000 viewers on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Child {
    /// This program again, in another role. It ends when its input does.
    pub(crate) fn in_role(arguments: &[String], cores: Cores) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        Self::spawn(&command, cores, Stdio::inherit())
    }

    pub(crate) fn spawn(command: &Command, cores: Cores, stderr: Stdio) -> anyhow::Result<Self> {
        let mut process = cores
            .confine(command)?
            .stderr(stderr)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("the child has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, stdin, lines })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        self.lines
            .recv_timeout(PATIENCE)
            .map_err(|_| anyhow!("process {} ended or says nothing", self.pid()))
    }

    /// Sends a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        let stdin = self.stdin.as_mut().context("the child takes no input")?;
        writeln!(stdin, "{line}")?;
        self.line()
    }

    /// Reads lines until one names an address: `listening 127.0.0.1:1234`, or a URL with it.
    pub(crate) fn address(&mut self) -> anyhow::Result<SocketAddr> {
        loop {
            let line = self.line()?;
            let parts = line.split([' ', '/']);
            if let Some(address) = parts.filter_map(|part| part.parse().ok()).next() {
                return Ok(address);
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
