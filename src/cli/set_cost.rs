//! `lc set-cost FILE NAME VALUE`: writes one measured cost into a file, for benchmarks that are
//! scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::arguments::path;
use crate::plan::costs::{Cost, CostFile, CostName};

/// Write a measured cost into a file of costs.
#[derive(Debug, Clone, Args)]
pub(super) struct SetCostArgs {
    /// The file; its other costs stay
    #[arg(value_name = "FILE", value_parser = path)]
    file: PathBuf,

    /// The name of the cost, such as stage_us
    #[arg(value_name = "NAME", value_parser = name)]
    name: CostName,

    /// The value, in the unit of the name
    #[arg(value_name = "VALUE")]
    value: f64,

    /// The command that measures it
    #[arg(long, value_name = "TEXT")]
    command: String,

    /// The quantity that it measures
    #[arg(long, value_name = "TEXT")]
    what: String,
}

fn name(text: &str) -> Result<CostName, String> {
    CostName::ALL.into_iter().find(|name| name.as_str() == text).ok_or_else(|| {
        let names = CostName::ALL.map(CostName::as_str).join(", ");
        format!("`{text}` is no cost; the costs are {names}")
    })
}

/// Writes the cost.
///
/// # Errors
/// The file is malformed or cannot be written, or no measurement gives this value.
pub(super) fn run(args: &SetCostArgs) -> anyhow::Result<ExitCode> {
    let cost = Cost::measured_now(args.name, args.value, &args.what, &args.command);
    CostFile::update(&args.file, vec![(args.name, cost)])
        .with_context(|| args.file.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
