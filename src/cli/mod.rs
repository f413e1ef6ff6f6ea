//! The commands of `lc`.
//!
//! In: a command line. Out: data on stdout, diagnostics on stderr, an exit code from [`exit`].
//! Data is a table on a terminal, and JSON with one object per line in a pipe or with `--json`.
//! Always holds: stdout carries only data, and a closed stdout ends the command without an error.
//! Each command has a file of its own name; only `lc mod` is in [`moderation`].

mod acknowledge;
mod announce;
mod arguments;
mod audit;
mod ban;
mod bans;
mod change;
mod completions;
pub mod context;
mod delete;
mod dm;
mod drain;
pub mod exit;
mod history;
mod kick;
mod lag;
pub mod loadgen;
mod local_daemon;
mod million_report;
mod moderation;
mod nodes;
pub mod output;
mod progress;
pub mod record;
pub mod replay;
mod shards;
mod status;
mod stop;
mod streams;
mod tail;
mod throttle;
mod timeout;
mod token;
mod top;
mod unban;
mod who;
mod workers;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use arguments::path;
use context::Context;

use crate::loadgen::worker_process;

/// Watches and controls a live-comment daemon
#[derive(Debug, Parser)]
#[command(name = "lc", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// Admin socket of the daemon [default: $LC_SOCKET, /run/lcd/admin.sock if it exists, or
    /// admin.sock in the data directory]
    #[arg(long, global = true, value_name = "PATH", value_parser = path, help_heading = GLOBAL_OPTIONS)]
    socket: Option<PathBuf>,

    /// Data directory of the daemon [default: $XDG_DATA_HOME/lcd, or ~/.local/share/lcd]
    #[arg(long, global = true, value_name = "DIR", value_parser = path, help_heading = GLOBAL_OPTIONS)]
    data_dir: Option<PathBuf>,

    /// Print JSON, one object per line, even on a terminal
    #[arg(long, global = true, help_heading = GLOBAL_OPTIONS)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// The help heading of the options that every command takes.
const GLOBAL_OPTIONS: &str = "Global options";

/// The text after the list of commands.
const AFTER_HELP: &str = "\
Output is a table on a terminal, and JSON with one object per line in a pipe or with --json. Data \
goes to stdout, everything else to stderr. Counts may be written as 10k or 1m, durations as 500ms, \
10m or 7d. USER is a user id or the user's latest name; id:42 is always the id and name:42 always the \
name.

Exit codes:
   0  success
   1  the daemon refused the request, or the command failed
   2  a threshold was exceeded (loadgen --fail-if)
   3  status: there are warnings
   4  status: the node is not ready
  64  the command line is invalid
  69  no daemon listens on the socket";

/// The commands, in the order of `lc --help`. The help of a command with arguments is the doc
/// comment of its arguments type.
#[derive(Debug, Subcommand)]
enum Command {
    Top(top::TopArgs),

    /// Show whether the daemon is healthy
    Status,
    Streams(streams::StreamsArgs),
    /// List the nodes of the cluster
    Nodes,
    /// Show the load of each delivery worker
    Workers,
    /// Show the servers of the fan-out bus and the load of its shards
    Shards,
    /// Show the lag of each consumer of the log
    ///
    /// The consumers are the coordinator, which shows comments to viewers, the moderator and the
    /// archiver, which fills the history. Each has a position in every partition of a topic.
    ///
    /// lag: offsets between the position and the end, which are about the records that the consumer
    /// has yet to process. gone: offsets after the position whose records were removed from the log
    /// before the consumer read them. position: the offset that it reads next. end: the offset that
    /// the next record will get.
    ///
    /// Partitions without lag are only counted. In JSON every partition is listed, consumer is
    /// `group` and gone is `expired`.
    Lag,
    Throttle(throttle::ThrottleArgs),
    Ban(ban::BanArgs),
    Timeout(timeout::TimeoutArgs),
    /// Close a user's connections; the user may reconnect
    Kick(change::UserArgs),
    /// Lift a user's ban and timeout
    Unban(change::UserArgs),
    /// List the active bans and timeouts
    Bans,
    Who(who::WhoArgs),
    Dm(dm::DmArgs),
    Announce(announce::AnnounceArgs),
    Delete(delete::DeleteArgs),
    Mod(moderation::ModerationArgs),
    Tail(tail::TailArgs),
    History(history::HistoryArgs),
    Audit(audit::AuditArgs),
    Drain(drain::DrainArgs),
    Acknowledge(acknowledge::AcknowledgeArgs),
    Record(record::RecordArgs),
    Replay(replay::ReplayArgs),
    Loadgen(loadgen::LoadgenArgs),
    /// Run one worker process of loadgen; only loadgen starts it
    #[command(name = worker_process::COMMAND, hide = true)]
    LoadgenWorker,
    #[command(hide = true)]
    MillionReport(million_report::MillionReportArgs),
    Token(token::TokenArgs),
    Completions(completions::CompletionsArgs),
}

impl Cli {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let context = Context::new(self.socket, self.data_dir, self.json);
        let context = &context;
        match self.command {
            Command::Top(args) => Box::pin(top::run(args, self.json, context)).await,
            Command::Status => status::run(context).await,
            Command::Streams(args) => streams::run(args, context).await,
            Command::Nodes => nodes::run(context).await,
            Command::Workers => workers::run(context).await,
            Command::Shards => shards::run(context).await,
            Command::Lag => lag::run(context).await,
            Command::Throttle(args) => throttle::run(args, context).await,
            Command::Ban(args) => ban::run(args, context).await,
            Command::Timeout(args) => timeout::run(args, context).await,
            Command::Kick(args) => kick::run(args, context).await,
            Command::Unban(args) => unban::run(args, context).await,
            Command::Bans => bans::run(context).await,
            Command::Who(args) => who::run(args, context).await,
            Command::Dm(args) => dm::run(args, context).await,
            Command::Announce(args) => announce::run(args, context).await,
            Command::Delete(args) => delete::run(args, context).await,
            Command::Mod(args) => moderation::run(args, context).await,
            Command::Tail(args) => tail::run(args, context).await,
            Command::History(args) => history::run(args, context).await,
            Command::Audit(args) => audit::run(args, context).await,
            Command::Drain(args) => drain::run(args, context).await,
            Command::Acknowledge(args) => acknowledge::run(args, context).await,
            Command::Record(args) => Box::pin(record::run(args, context)).await,
            Command::Replay(args) => Box::pin(replay::run(args, context)).await,
            Command::Loadgen(args) => Box::pin(loadgen::run(args, context)).await,
            Command::LoadgenWorker => Ok(worker_process::main()),
            Command::MillionReport(args) => million_report::run(&args),
            Command::Token(args) => token::run(args, self.json, context).await,
            Command::Completions(args) => completions::run(args),
        }
    }
}

/// Parses the command line, runs the command, reports its error, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return report_usage(&error);
        }
    };
    if matches!(cli.command, Command::LoadgenWorker) {
        // A worker drives thousands of viewers on one thread and needs no async runtime.
        return worker_process::main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("cannot start")),
    };
    let result = runtime.block_on(Box::pin(cli.run()));
    // A thread blocked on a key press or a name lookup must not delay the exit.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| exit::report(&error))
}

/// Prints help on stdout, or what is wrong with the command line on stderr.
fn report_usage(error: &clap::Error) -> ExitCode {
    let text = error.render();
    if error.use_stderr() {
        let colours = std::io::stderr().is_terminal();
        let text = if colours { text.ansi().to_string() } else { text.to_string() };
        output::note_lines(&text);
        return exit::USAGE.into();
    }
    let colours = std::io::stdout().is_terminal();
    let text = if colours { text.ansi().to_string() } else { text.to_string() };
    match output::write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error.into()),
    }
}

#[cfg(test)]
mod tests;
