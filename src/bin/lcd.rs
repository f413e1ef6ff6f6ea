//! The daemon: parses the command line, runs, and returns the exit code.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use live_comments::daemon::base::config::{self, Config, NodeRole, Overrides, parse_listen};
use live_comments::daemon::base::log_output::Log;
use live_comments::daemon::node::{InvalidConfiguration, check, process, repair_log, run};
use live_comments::protocol::printable::{describe, printable};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration, a flag or the environment is invalid (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
const EXIT_FAILURE: u8 = 1;

/// The log of a running node, and that of a check, whose own lines say what a driver would.
const NODE_FILTER: &str = "info";
const CHECK_FILTER: &str = "off,live_comments=warn";

/// The live-comment daemon.
///
/// Without a configuration it runs the whole pipeline on embedded engines, stores its data in
/// --data-dir, and prints the next steps.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 success, 1 failure, 64 invalid configuration or usage."
)]
struct Arguments {
    /// Configuration file in TOML; environment variables LCD_SECTION__KEY override it, flags
    /// override both
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Roles of this process: edge, coordinator, moderator, archiver
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…", global = true)]
    roles: Option<Vec<NodeRole>>,
    /// Address that viewers connect to, as 0.0.0.0:8080 or localhost:8080 [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = parse_listen, global = true)]
    listen: Option<SocketAddr>,
    /// Directory of the log, the stores and the signing secret [default: ~/.local/share/lcd]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Path of the socket that `lc` connects to [default: admin.sock in the data directory]
    #[arg(long, value_name = "PATH", global = true)]
    admin_socket: Option<PathBuf>,
    /// Serve wss with a certificate generated at start, for development
    #[arg(long, global = true)]
    dev_tls: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the configuration and its files, and try on every server what the daemon needs;
    /// may run beside a running daemon
    ///
    /// It fails on what would stop a start or lose data, and on what is wrong with the node that
    /// runs with this configuration; damaged records of the log are found by `lcd repair-log`.
    /// Losses that nobody has acknowledged and a disk that is almost full are notes.
    Check,
    /// List the damage in the event log of --data-dir, and repair it
    ///
    /// The daemon must be stopped. Without --apply nothing is changed, and the exit code is 1 if
    /// there is damage. A repair keeps every record that is not damaged, and the damaged files
    /// under another name.
    RepairLog {
        /// Repair the log
        #[arg(long)]
        apply: bool,
    },
}

fn main() -> ExitCode {
    // The allocator requests huge pages. They double the memory of an idle viewer (980 bytes
    // instead of 460) and do not make fan-out faster. The call fails on kernels without huge pages.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let code = match error.print() {
            _ if error.use_stderr() => EXIT_USAGE,
            // A reader that has enough, as in `lcd --help | head`.
            Err(failed) if failed.kind() != ErrorKind::BrokenPipe => EXIT_FAILURE,
            _ => 0,
        };
        std::process::exit(code.into())
    });
    let filter = if arguments.command.is_some() { CHECK_FILTER } else { NODE_FILTER };
    let log = Log::start(filter);
    let overrides = Overrides {
        listen: arguments.listen,
        data_dir: arguments.data_dir,
        admin_socket: arguments.admin_socket,
        roles: arguments.roles,
        dev_tls: arguments.dev_tls,
    };
    let config = match config::load(arguments.config.as_deref(), overrides) {
        Ok(config) => config,
        Err(error) => {
            log.print(&format!("lcd: {}", describe(&error)));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match serve(config, arguments.command.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(InvalidConfiguration(faults)) = error.downcast_ref() {
                faults.iter().for_each(|fault| log.print(&format!("lcd: {}", printable(fault))));
                return ExitCode::from(EXIT_USAGE);
            }
            log.print(&format!("lcd: {}", describe(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, command: Option<&Command>) -> anyhow::Result<()> {
    let force_after = config.shutdown.force_after;
    match command {
        Some(Command::Check) => {
            process::run_to_end(async { check::check(&config).await }, force_after)
        }
        Some(Command::RepairLog { apply }) => repair_log::repair_log(&config, *apply),
        None => process::run_to_end(run::run(config, run::termination()), force_after),
    }
}
