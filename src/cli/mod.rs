//! The commands of `lc`.
//!
//! In: a command line. Out: data on stdout, diagnostics on stderr, an exit code from [`exit`].
//! Data is a table on a terminal, and JSON with one object per line in a pipe or with `--json`.
//! Always holds: stdout carries only data, and a closed stdout ends the command without an error.
//! Each command has a file of its own name; only `lc mod` is in [`moderation`], and its `eval` in
//! [`evaluate`].

mod acknowledge;
mod alerts;
mod announce;
mod arguments;
mod audit;
mod ban;
mod bans;
mod calibrate;
mod change;
mod complete;
mod completions;
pub mod context;
mod contexts;
mod dead_letters;
mod delete;
mod dm;
mod doctor;
mod drain;
mod evaluate;
mod events;
pub mod exit;
mod fit_costs;
mod grant;
mod history;
mod import;
mod keyed;
mod kick;
mod lag;
mod list;
pub mod loadgen;
mod local_daemon;
mod man;
mod million_report;
mod moderation;
mod nodes;
mod nouns;
pub mod output;
mod pin;
mod plan;
mod poll;
mod progress;
pub mod record;
pub mod replay;
mod room;
mod schema;
mod set_cost;
mod settings;
mod shadow;
mod shards;
mod status;
mod stop;
mod stores;
mod streams;
mod table;
mod tail;
mod talkers;
mod text_trial;
mod throttle;
mod timeout;
mod token;
mod top;
mod training_data;
mod unban;
mod undo;
mod user;
mod wait;
mod who;
mod workers;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use arguments::path;
use context::{Context, Globals};

use crate::client::admin::NodeAddress;
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

    /// Context of lc ctx, instead of a socket
    #[arg(long, global = true, value_name = "NAME", help_heading = GLOBAL_OPTIONS,
        conflicts_with_all = ["socket", "data_dir"], add = complete::contexts())]
    ctx: Option<String>,

    /// Daemon on another machine, such as lcd://host:7443. Its files are named by $LC_CERT and
    /// $LC_KEY, or $LC_TOKEN_FILE, and $LC_CA; lc ctx add keeps them
    #[arg(long = "node", global = true, value_name = "URL", help_heading = GLOBAL_OPTIONS,
        conflicts_with_all = ["socket", "data_dir", "ctx"])]
    remote: Option<NodeAddress>,

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
goes to stdout, everything else to stderr. Counts may be written as 10k or 1M, durations as 500ms, \
10m or 7d. USER is a user id or the user's latest name; id:42 is always the id and name:42 always the \
name.

Exit codes:
   0  success
   1  the daemon refused the request, or the command failed
   2  a threshold was exceeded (loadgen --fail-if)
   3  status, doctor: degraded; viewers are served
   4  status, doctor: failing; viewers are not served
   5  wait: the time is up
  64  the command line is invalid
  69  no daemon listens on the socket or at the address
  77  this user may not use the socket, is not known to the daemon, or may not do this";

/// The commands, in the order of `lc --help`. The help of a command with arguments is the doc
/// comment of its arguments type.
#[derive(Debug, Subcommand)]
enum Command {
    Top(top::TopArgs),

    Status(status::StatusArgs),
    #[command(visible_alias = "alert")]
    Alerts(alerts::AlertsArgs),
    #[command(visible_alias = "event")]
    Events(events::EventsArgs),
    #[command(visible_alias = "stream")]
    Streams(streams::StreamsArgs),
    #[command(visible_alias = "node")]
    Nodes(nodes::NodesArgs),
    /// Show the load of each delivery worker
    ///
    /// All values are since the worker started; lc top shows current rates.
    #[command(visible_alias = "worker")]
    Workers(list::ListArgs),
    /// Show the servers of the fan-out bus and the load of its shards
    #[command(visible_alias = "shard")]
    Shards,
    Lag(lag::LagArgs),
    /// Show the stores: the calls to them, how long these take, and whether they work
    ///
    /// calls, failed: per second, over all nodes. p50, p99: of the calls of the last ten seconds
    /// that did not fail. pool: connections used, and the most that may be. state: of the circuit
    /// breaker, with the time since it is so; a store without one has no time. The health checks of
    /// the daemon are not counted.
    #[command(visible_alias = "store")]
    Stores(list::ListArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Throttle(throttle::ThrottleArgs),
    Ban(ban::BanArgs),
    Timeout(timeout::TimeoutArgs),
    Kick(kick::KickArgs),
    Unban(unban::UnbanArgs),
    /// List the active bans and timeouts, newest first
    Bans(list::ListArgs),
    Shadow(shadow::ShadowArgs),
    Unshadow(shadow::UnshadowArgs),
    /// List the users whose new comments only they see, newest first
    Shadows(list::ListArgs),
    Grant(grant::GrantArgs),
    Revoke(grant::RevokeArgs),
    /// List the roles that users were given on streams, newest first
    Grants(list::ListArgs),
    User(nouns::UserNoun),
    Comment(nouns::CommentNoun),
    Who(who::WhoArgs),
    Dm(dm::DmArgs),
    Announce(announce::AnnounceArgs),
    Delete(delete::DeleteArgs),
    Pin(pin::PinArgs),
    Unpin(pin::UnpinArgs),
    Poll(poll::PollArgs),
    Room(room::RoomArgs),
    Mod(moderation::ModerationArgs),
    Tail(tail::TailArgs),
    Talkers(talkers::TalkersArgs),
    History(history::HistoryArgs),
    /// List the changes that operators made, newest first
    ///
    /// Without --limit, the newest 50; at most 1000.
    Audit(list::ListArgs),
    Undo(undo::UndoArgs),
    Wait(wait::WaitArgs),
    Doctor(doctor::DoctorArgs),
    Drain(drain::DrainArgs),
    Acknowledge(acknowledge::AcknowledgeArgs),
    Record(record::RecordArgs),
    Import(import::ImportArgs),
    Replay(replay::ReplayArgs),
    Loadgen(loadgen::LoadgenArgs),
    Plan(plan::PlanArgs),
    /// Run one worker process of loadgen; only loadgen starts it
    #[command(name = worker_process::COMMAND, hide = true)]
    LoadgenWorker,
    #[command(hide = true)]
    MillionReport(million_report::MillionReportArgs),
    #[command(hide = true)]
    SetCost(set_cost::SetCostArgs),
    #[command(hide = true)]
    FitCosts(fit_costs::FitCostsArgs),
    Token(token::TokenArgs),
    Ctx(contexts::CtxArgs),
    Completions(completions::CompletionsArgs),
    Schema(schema::SchemaArgs),
    Man(man::ManArgs),
}

impl Command {
    /// Returns whether it asks a daemon. The others work although no context can be chosen.
    fn needs_daemon(&self) -> bool {
        match self {
            Self::Top(args) => !args.shows_recording(),
            Self::Replay(args) => args.what_if.is_none(),
            Self::Mod(args) => args.needs_daemon(),
            Self::Import(_)
            | Self::Plan(_)
            | Self::LoadgenWorker
            | Self::MillionReport(_)
            | Self::SetCost(_)
            | Self::FitCosts(_)
            | Self::Ctx(_)
            | Self::Completions(_)
            | Self::Schema(_)
            | Self::Man(_) => false,
            _ => true,
        }
    }
}

impl Cli {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { socket, data_dir, ctx, remote, json, command } = self;
        let context = if command.needs_daemon() {
            Context::new(Globals { socket, data_dir, ctx, node: remote.clone(), json })?
        } else {
            Context::without_daemon(json)
        };
        let context = &context;
        match command {
            Command::Top(args) => Box::pin(top::run(args, json, context)).await,
            Command::Status(args) => status::run(args, context).await,
            Command::Alerts(args) => alerts::run(args, context).await,
            Command::Events(args) => events::run(args, context).await,
            Command::Streams(args) => streams::run(args, context).await,
            Command::Nodes(args) => nodes::run(args, context).await,
            Command::Workers(args) => workers::run(args, context).await,
            Command::Shards => shards::run(context).await,
            Command::Lag(args) => lag::run(args, context).await,
            Command::Stores(args) => stores::run(args, context).await,
            Command::DeadLetters(args) => dead_letters::run(args, context).await,
            Command::Throttle(args) => throttle::run(args, context).await,
            Command::Ban(args) => ban::run(args, context).await,
            Command::Timeout(args) => timeout::run(args, context).await,
            Command::Kick(args) => kick::run(args, context).await,
            Command::Unban(args) => unban::run(args, context).await,
            Command::Bans(args) => bans::run(args, context).await,
            Command::Shadow(args) => shadow::run(args, context).await,
            Command::Unshadow(args) => shadow::lift(args, context).await,
            Command::Shadows(args) => shadow::list(args, context).await,
            Command::Grant(args) => grant::run(args, context).await,
            Command::Revoke(args) => grant::revoke(args, context).await,
            Command::Grants(args) => grant::list(args, context).await,
            Command::User(noun) => nouns::user(noun, context).await,
            Command::Comment(noun) => nouns::comment(noun, context).await,
            Command::Who(args) => who::run(args, context).await,
            Command::Dm(args) => dm::run(args, context).await,
            Command::Announce(args) => announce::run(args, context).await,
            Command::Delete(args) => delete::run(args, context).await,
            Command::Pin(args) => pin::run(args, context).await,
            Command::Unpin(args) => pin::unpin(args, context).await,
            Command::Poll(args) => poll::run(args, context).await,
            Command::Room(args) => room::run(args, context).await,
            Command::Mod(args) => moderation::run(args, context).await,
            Command::Tail(args) => tail::run(args, context).await,
            Command::Talkers(args) => talkers::run(args, context).await,
            Command::History(args) => history::run(args, context).await,
            Command::Audit(args) => audit::run(args, context).await,
            Command::Drain(args) => drain::run(args, context).await,
            Command::Acknowledge(args) => acknowledge::run(args, context).await,
            Command::Record(args) => Box::pin(record::run(args, context)).await,
            Command::Import(args) => import::run(&args, context),
            Command::Replay(args) => Box::pin(replay::run(args, context)).await,
            Command::Loadgen(args) => Box::pin(loadgen::run(args, context)).await,
            Command::Plan(args) => plan::run(&args, context),
            Command::LoadgenWorker => Ok(worker_process::main()),
            Command::MillionReport(args) => million_report::run(&args),
            Command::SetCost(args) => set_cost::run(&args),
            Command::FitCosts(args) => fit_costs::run(&args),
            Command::Token(args) => token::run(args, json, context).await,
            Command::Undo(args) => undo::run(args, context).await,
            Command::Wait(args) => wait::run(args, context).await,
            Command::Doctor(args) => doctor::run(args, context).await,
            Command::Ctx(args) => contexts::run(args, remote, context.output()),
            Command::Completions(args) => completions::run(args),
            Command::Schema(args) => schema::run(&args),
            Command::Man(args) => man::run(&args),
        }
    }
}

/// Parses the command line, runs the command, reports its error, and returns the exit code.
pub fn main() -> ExitCode {
    // If a shell asks for completions, this prints them and ends the process.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
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
        if let Some(tip) = usage_tip(error) {
            output::note_lines(tip);
        }
        return exit::USAGE.into();
    }
    let colours = std::io::stdout().is_terminal();
    let text = if colours { text.ansi().to_string() } else { text.to_string() };
    match output::write(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error.into()),
    }
}

/// Returns where to find what is missing in a command line, for commands that are mistaken often.
fn usage_tip(error: &clap::Error) -> Option<&'static str> {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::MissingRequiredArgument if text.contains("Usage: lc undo ") => {
            Some("lc audit lists the entries.")
        }
        ErrorKind::UnknownArgument if text.contains("Usage: lc streams create") => {
            Some("The id of a stream is an option: lc streams create --id 2 --title TITLE")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
