//! Fan-out beside the physical limit, in one run on one machine: what a delivery costs the server's
//! CPU, and what an idle viewer costs its memory.
//!
//! Three servers take the same load for the same number of real loopback WebSocket viewers:
//!
//! - `bare`: one thread, one `send()` per viewer and frame, nothing else: the limit;
//! - `plain`: tokio-tungstenite with a broadcast channel and a task per connection, as its examples
//!   are written;
//! - `lcd`: the daemon as it is, submissions, durable log and moderation included.
//!
//! The viewers are a process of their own with one epoll loop, the same for all three. Only the
//! server process is accounted, user and system time from `/proc`; viewers have a core for
//! themselves. Kernel work that a `send()` does for the receiving side of the loopback counts for
//! the sender, in all three alike.
//!
//! ```text
//! cargo bench --bench fanout -- --viewers 5000 --runs 3
//! cargo bench --bench fanout -- --idle --viewers 19000
//! cargo bench --bench fanout -- --without plain --shadow
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod bare;
mod child;
mod cores;
mod costs;
mod cpu;
mod daemon;
mod idle;
mod plain;
mod report;
mod rounds;
mod usage;
mod viewers;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cores::Cores;

#[derive(Debug, Parser)]
struct Arguments {
    /// Viewers of the one stream; each is a descriptor in the server and one in the reading process
    #[arg(long, default_value_t = 5000)]
    viewers: usize,
    /// Rounds; each starts every server anew, in another order
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of 5 comments a second
    #[arg(long, default_value_t = 15)]
    calm_s: u64,
    /// Seconds of 100 comments a second; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    busy_s: u64,
    /// lcd: let a shadow-banned user comment as often beside the shown ones, with no viewer of its
    /// own; viewers are sent none of it
    #[arg(long)]
    shadow: bool,
    /// Leave a server out
    #[arg(long, value_name = "bare|plain|lcd")]
    without: Vec<String>,
    /// Measure the memory of idle viewers of lcd instead
    #[arg(long)]
    idle: bool,
    /// Let server and viewers share all cores [default: viewers on the last, server on the others]
    #[arg(long)]
    shared_cores: bool,
    /// With --idle: how long they stay idle before memory is read; pings go out meanwhile
    #[arg(long, default_value_t = 10)]
    hold_s: u64,
    /// With --idle: wss, with a certificate made for the run
    #[arg(long)]
    tls: bool,
    /// The daemon to measure [default: the one built with this program]
    #[arg(long, value_name = "PATH")]
    lcd: Option<PathBuf>,
    /// More settings of lcd, as TOML
    #[arg(long, value_name = "FILE")]
    lcd_config: Option<PathBuf>,
    /// Write what was measured of lcd into this file of costs, for `lc plan --costs`
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

impl Arguments {
    fn server_cores(&self) -> Cores {
        if self.shared_cores || self.idle { Cores::All } else { Cores::Server }
    }

    fn viewers_cores(&self) -> Cores {
        if self.shared_cores || self.idle { Cores::All } else { Cores::Viewers }
    }
}

impl Arguments {
    /// Returns the cores that the server's processes may use.
    fn server_core_count(&self) -> anyhow::Result<usize> {
        let all = std::thread::available_parallelism()?.get();
        Ok(if self.server_cores() == Cores::All { all } else { (all - 1).max(1) })
    }
}

/// The part that this program plays as a process of its own.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Bare { viewers: usize },
    #[command(hide = true)]
    Plain,
    #[command(hide = true)]
    Viewers {
        address: SocketAddr,
        path: String,
        viewers: usize,
        #[arg(long)]
        tls: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Bare { viewers }) => return bare::serve(viewers),
        Some(Role::Plain) => return plain::serve(),
        Some(Role::Viewers { address, path, viewers, tls }) => {
            return viewers::read(address, &path, viewers, tls);
        }
        None => {}
    }
    if !arguments.bench {
        println!("nothing measured: run it with `cargo bench --bench fanout`");
        return Ok(());
    }
    if arguments.idle { idle::measure(&arguments) } else { rounds::measure(&arguments) }
}
