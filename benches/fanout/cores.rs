//! The cores that a process may use. The viewers stand for machines far away: where they run on the
//! server's cores, how often the one is switched for the other says more than what a send costs.

use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Context as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// All but the last.
    Server,
    /// The last.
    Viewers,
    All,
}

impl Cores {
    /// Returns the command, run on these cores only. `taskset` becomes the program that it starts.
    /// A single core is shared by all.
    pub(crate) fn confine(self, command: &Command) -> anyhow::Result<Command> {
        let count = available_parallelism().context("cannot count the cores")?.get();
        let list = match self {
            Self::Server if count > 1 => format!("0-{}", count - 2),
            Self::Viewers => (count - 1).to_string(),
            _ => format!("0-{}", count - 1),
        };
        let mut confined = Command::new("taskset");
        confined.args(["--cpu-list", &list]).arg(command.get_program()).args(command.get_args());
        Ok(confined)
    }
}
