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
mod review;
mod sanction;
mod shards;
mod speak;
mod status;
mod streams;
mod tail;
mod throttle;
mod token;
mod top;

mod who;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::Context;

/// Watches and steers a live-comment daemon.
#[derive(Debug, Parser)]
#[command(name = "lc", version, about, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    /// The admin socket [default: $LC_SOCKET, /run/lcd/admin.sock, or admin.sock in the data
    /// directory, whichever is there first]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// The daemon's data directory [default: $XDG_DATA_HOME/lcd, or ~/.local/share/lcd]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Print JSON, one object a line, also on a terminal
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

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

/// Each command's help is its own file's; the order here is the order of `lc --help`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Watch everything on one screen, and act on it
    Top(top::TopArgs),

    /// Is it well, in one answer
    Status,
    /// List streams, or create and update one
    Streams(streams::StreamsArgs),
    /// List the nodes of the cluster
    Nodes,
    /// Show how loaded each delivery worker is
    Shards,
    /// Show how far each consumer is behind the log
    Lag,
    /// Show or fix the share of comments that viewers are shown
    Throttle(throttle::ThrottleArgs),
    /// Disconnect a user and keep them out
    Ban(sanction::BanArgs),
    /// Let a user watch but not comment for a while
    Timeout(sanction::TimeoutArgs),
    /// Close a user's connections; they may come back
    Kick(sanction::UserArgs),
    /// Lift a user's ban and timeout
    Unban(sanction::UserArgs),
    /// List the bans and timeouts in force
    Bans,
    /// Show where a user is connected and what is held against them
    Who(who::WhoArgs),
    /// Send a message to one user, on every connection they have
    Dm(speak::DirectArgs),
    /// Send a message to everyone who watches a stream
    Announce(speak::AnnounceArgs),
    /// Delete a comment
    Delete(delete::DeleteArgs),
    /// Review the comments that moderation left to people
    Mod(review::ReviewArgs),
    /// Follow a stream's comments and moderation as they happen, before any throttling
    Tail(tail::TailArgs),
    /// Read a stream's stored comments
    History(history::HistoryArgs),
    /// Read who changed what, newest first
    Audit(audit::AuditArgs),
    /// Send viewers to other nodes and take no new ones
    Drain(drain::DrainArgs),
    /// Mint an access token
    Token(token::TokenArgs),
    /// Print a shell's completion script
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
            Command::Shards => shards::run(context).await,
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
