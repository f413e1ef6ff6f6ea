//! Archiving: comments are appended to Kafka at an even rate, and the daemon's archiver writes them
//! to Cassandra, all on the machine of this program.
//!
//! The first rate runs for a minute; then higher ones follow until one does not hold. A rate holds
//! if every comment was appended in time and the archiver's lag is back at 0 within 5 s after the
//! last one. After each round the rows of every stream are counted: none may be missing or
//! duplicated.
//!
//! ```text
//! scripts/stack up kafka-1 cassandra
//! cargo bench --bench archive -- --rate 20000 --seconds 60
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

#[path = "../fanout/cpu.rs"]
mod cpu;
mod load;
mod processor;
mod report;
mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use live_comments::plan::costs::{Cost, CostFile, CostName};
use tokio_util::sync::CancellationToken;

use self::load::Load;
use self::report::{Outcome, print_outcome};
use self::servers::Servers;

#[derive(Debug, Parser)]
struct Arguments {
    /// Comments per second of the first round
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Duration of the first round
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Added to the rate of each further round; 0 ends after the first
    #[arg(long, default_value_t = 5_000)]
    step: u64,
    /// Duration of each further round
    #[arg(long, default_value_t = 20)]
    step_seconds: u64,
    /// Streams that share the comments
    #[arg(long, default_value_t = 100)]
    streams: u64,
    /// Write the highest rate that holds into this file of costs, for `lc plan --costs`
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// Cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let servers = Servers::open().await?;
    let stop = CancellationToken::new();
    let archiver = tokio::spawn(servers.archiver().run(stop.clone()));
    let cores = std::thread::available_parallelism()?;
    println!("{cores} cores, {} streams; CPU in percent of one core", arguments.streams);
    // Warms connections, caches and compilers before the measurement.
    round(&servers, arguments, arguments.rate / 4, 5).await?;
    let mut outcome = round(&servers, arguments, arguments.rate, arguments.seconds).await?;
    print_outcome(&outcome);
    let mut rate = arguments.rate;
    let mut held = outcome.holds().then_some(rate);
    while outcome.holds() && arguments.step > 0 {
        held = Some(rate);
        rate += arguments.step;
        outcome = round(&servers, arguments, rate, arguments.step_seconds).await?;
        print_outcome(&outcome);
    }
    stop.cancel();
    archiver.await??;
    servers.log.close().await?;
    match (&arguments.costs, held) {
        (Some(path), Some(rate)) => write_cost(path, rate),
        (Some(_), None) => anyhow::bail!("no rate held; try a lower --rate"),
        (None, _) => Ok(()),
    }
}

fn write_cost(path: &Path, rate: u64) -> anyhow::Result<()> {
    let name = CostName::ArchiverPerSecond;
    let what = "the highest rate that one archiver carried from Kafka into Cassandra without falling \
                behind";
    let cost = Cost::measured_now(name, rate as f64, what, "scripts/bench archive");
    Ok(CostFile::update(path, vec![(name, cost)])?)
}

/// Runs one rate for some time and reports it.
async fn round(
    servers: &Servers,
    arguments: &Arguments,
    rate: u64,
    seconds: u64,
) -> anyhow::Result<Outcome> {
    let load = Load::new(rate, Duration::from_secs(seconds), arguments.streams);
    let before = processor::shares()?;
    let mut sent = load.send(servers).await?;
    let busy = processor::busy_between(&before, &processor::shares()?, sent.took);
    let caught_up = servers.await_no_lag().await?;
    let stored = servers.count(load.streams()).await?;
    sent.acks_ms.sort_unstable_by(f32::total_cmp);
    Ok(Outcome { rate, seconds, sent, busy, caught_up, stored })
}
