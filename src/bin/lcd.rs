//! The daemon's command line: parse, run, exit code.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use live_comments::daemon::base::config::{self, Config, NodeRole, Overrides};
use live_comments::daemon::node::{check, run};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The configuration, a flag or the environment is wrong (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

/// The live-comment daemon.
///
/// Without a configuration it runs the whole pipeline on embedded engines, with its data in
/// --data-dir, and prints where to go next.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 64 wrong configuration or usage.")]
struct Arguments {
    /// Settings as TOML; LCD_SECTION__KEY in the environment wins over it, flags over both
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Parts of the pipeline this process takes: edge, coordinator, moderator, archiver
    #[arg(long, value_delimiter = ',', value_name = "ROLE,…", global = true)]
    roles: Option<Vec<NodeRole>>,
    /// Address viewers connect to [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Option<SocketAddr>,
    /// Where the log, the stores and the signing secret live [default: ~/.local/share/lcd]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Where `lc` finds this daemon [default: admin.sock in the data directory]
    #[arg(long, value_name = "PATH", global = true)]
    admin_socket: Option<PathBuf>,
    /// Serve wss with a certificate made for this run; for development
    #[arg(long, global = true)]
    dev_tls: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the configuration and reach every dependency it names
    Check,
}

fn main() -> ExitCode {
    // The allocator asks for huge pages. They double what an idle viewer takes (980 bytes, 460 without)
    // and made fan-out no cheaper. A kernel without them needs not be told.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
        // Nothing is left to do if the terminal is gone.
        let _ = error.print();
        std::process::exit(code.into())
    });
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
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
            eprintln!("lcd: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match serve(config, arguments.command.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lcd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, command: Option<&Command>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let force_after = config.shutdown.force_after;
    let result = match command {
        Some(Command::Check) => runtime.block_on(check::check(&config)),
        None => runtime.block_on(run::run(config, run::termination())),
    };
    // What is still running after the drain is cut off.
    runtime.shutdown_timeout(force_after);
    result
}
