//! The commands of `lc`.
//!
//! In: a command line. Out: data on stdout (tables for people; JSON, one object a line, with
//! `--json` and into anything that is no terminal), diagnostics on stderr, an exit code of
//! [`exit`]. Always holds: nothing but data on stdout; a reader that goes away ends the command in
//! peace. One file a command, or a small family of them.

mod arguments;
mod audit;
mod bans;
mod completions;
pub mod context;
mod delete;
mod drain;
pub mod exit;
mod history;
mod lag;
mod nodes;
pub mod output;
pub mod record;
pub mod recording;
pub mod replay;
mod review;
mod sanction;
mod speak;
mod status;
mod streams;
mod tail;
mod throttle;
mod token;
mod top;
mod who;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;

use crate::loadgen;

/// Watches and steers a live-comment daemon.
#[derive(Debug, Parser)]
#[command(name = "lc", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// The admin socket [default: $LC_SOCKET, /run/lcd/admin.sock if it exists, or admin.sock in
    /// the data directory]
    #[arg(long, global = true, value_name = "PATH", help_heading = EVERYWHERE)]
    socket: Option<PathBuf>,

    /// The daemon's data directory [default: $XDG_DATA_HOME/lcd, or ~/.local/share/lcd]
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    data_dir: Option<PathBuf>,

    /// Print JSON, one object a line, also on a terminal
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

/// The options that every command takes.
const EVERYWHERE: &str = "Options of every command";

const AFTER_HELP: &str = "\
People get tables; pipes and --json get JSON, one object a line. Data goes to stdout, everything \
else to stderr. Counts may be written 10k or 1m, times 500ms, 10m or 7d. A USER is a user id or \
the name the user last had.

Exit codes:
   0  done
   1  the daemon refused, or something failed
   2  a threshold was broken (loadgen --fail-if)
  64  the command line is wrong
  69  no daemon listens on the socket";

/// What a command with arguments is for stands over its arguments, in its own file. The order here
/// is the order of `lc --help`.
#[derive(Debug, Subcommand)]
enum Command {
    Top(top::TopArgs),

    /// Show whether the daemon is well
    Status,
    Streams(streams::StreamsArgs),
    /// List the nodes of the cluster
    Nodes,
    /// Show how loaded each delivery worker is
    Workers,
    /// Show how far each consumer is behind the log
    Lag,
    Throttle(throttle::ThrottleArgs),
    Ban(sanction::BanArgs),
    Timeout(sanction::TimeoutArgs),
    /// Close a user's connections; they may come back
    Kick(sanction::UserArgs),
    /// Lift a user's ban and timeout
    Unban(sanction::UserArgs),
    /// List the bans and timeouts in force
    Bans,
    Who(who::WhoArgs),
    Dm(speak::DirectArgs),
    Announce(speak::AnnounceArgs),
    Delete(delete::DeleteArgs),
    Mod(review::ReviewArgs),
    Tail(tail::TailArgs),
    History(history::HistoryArgs),
    Audit(audit::AuditArgs),
    Drain(drain::DrainArgs),
    Record(record::RecordArgs),
    Replay(replay::ReplayArgs),
    Loadgen(loadgen::LoadgenArgs),
    /// One of the processes of loadgen; started by it alone
    #[command(name = loadgen::worker::COMMAND, hide = true)]
    LoadgenWorker,
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
            Command::Lag => lag::run(context).await,
            Command::Throttle(args) => throttle::run(args, context).await,
            Command::Ban(args) => sanction::ban(args, context).await,
            Command::Timeout(args) => sanction::timeout(args, context).await,
            Command::Kick(args) => sanction::kick(args, context).await,
            Command::Unban(args) => sanction::unban(args, context).await,
            Command::Bans => bans::run(context).await,
            Command::Who(args) => who::run(args, context).await,
            Command::Dm(args) => speak::direct(args, context).await,
            Command::Announce(args) => speak::announce(args, context).await,
            Command::Delete(args) => delete::run(args, context).await,
            Command::Mod(args) => review::run(args, context).await,
            Command::Tail(args) => tail::run(args, context).await,
            Command::History(args) => history::run(args, context).await,
            Command::Audit(args) => audit::run(args, context).await,
            Command::Drain(args) => drain::run(args, context).await,
            Command::Record(args) => Box::pin(record::run(args, context)).await,
            Command::Replay(args) => Box::pin(replay::run(args, context)).await,
            Command::Loadgen(args) => Box::pin(loadgen::run(args, context)).await,
            Command::LoadgenWorker => Ok(loadgen::worker::main()),
            Command::Token(args) => token::run(args, self.json, context).await,
            Command::Completions(args) => completions::run(args),
        }
    }
}

/// Parses the command line, runs the command, says what went wrong, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // A closed terminal is no reason to fail louder.
            let _ = error.print();
            return if asked_for { exit::OK.into() } else { exit::USAGE.into() };
        }
    };
    if matches!(cli.command, Command::LoadgenWorker) {
        // Thousands of viewers on one thread: no runtime, which would only own memory here.
        return loadgen::worker::main();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(&anyhow::Error::new(error).context("cannot start")),
    };
    let result = runtime.block_on(Box::pin(cli.run()));
    // A thread that waits for a key or a name lookup must not keep the command from ending.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| exit::report(&error))
}

#[cfg(test)]
mod tests;
