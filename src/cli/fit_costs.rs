//! `lc fit-costs RUNS FILE`: computes the costs of batches from the runs of
//! `scripts/bench cluster`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::arguments::path;
use crate::plan::check::read_runs;
use crate::plan::costs::{Cost, CostFile, CostName, Costs};
use crate::plan::fit::costs_of_batches;

/// Write the costs of batches, from runs of a cluster, into a file of costs.
#[derive(Debug, Clone, Args)]
pub(super) struct FitCostsArgs {
    /// Runs as scripts/bench cluster writes them, of at least two loads
    #[arg(value_name = "RUNS", value_parser = path)]
    runs: PathBuf,

    /// The file; its other costs stay, and those of viewers are needed from it or built in
    #[arg(value_name = "FILE", value_parser = path)]
    file: PathBuf,

    /// The command that measured the runs
    #[arg(long, value_name = "TEXT")]
    command: String,
}

/// Writes the costs.
///
/// # Errors
/// A file is malformed or cannot be read or written, or the runs give no costs.
pub(super) fn run(args: &FitCostsArgs) -> anyhow::Result<ExitCode> {
    let runs = read_runs(&args.runs).with_context(|| args.runs.display().to_string())?;
    let mut costs = Costs::built_in()?;
    if args.file.exists() {
        let own = CostFile::read(&args.file).with_context(|| args.file.display().to_string())?;
        costs = costs.with(own)?;
    }
    let fitted = costs_of_batches(&runs, &costs)
        .with_context(|| args.runs.display().to_string())?
        .map(|(name, value)| (name, Cost::measured_now(name, value, what(name), &args.command)));
    CostFile::update(&args.file, fitted.into()).with_context(|| args.file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn what(name: CostName) -> &'static str {
    match name {
        CostName::AcceptBatchUs => {
            "processor time of an edge per batch of comments that it accepts, with few comments"
        }
        CostName::AcceptFullUs => {
            "processor time per second of an edge for batches of comments that it accepts, with many"
        }
        CostName::ReadBatchUs => {
            "processor time of a coordinator, moderator or archiver per batch that it reads, with few \
             comments"
        }
        _ => {
            "processor time per second of a coordinator, moderator or archiver for batches that it \
             reads, with many comments"
        }
    }
}
