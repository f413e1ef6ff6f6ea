//! `lc completions`: prints a completion script for a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::output::write;

/// Print a completion script for a shell
///
/// `source <(COMPLETE=bash lc)` completes live values, too: streams, nodes, alerts, audit entries.
///
/// Example: lc completions bash > ~/.local/share/bash-completion/completions/lc
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    shell: Shell,
}

pub(super) fn run(CompletionsArgs { shell }: CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Cli::command(), "lc", &mut script);
    write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
