//! `lc million-report DIR`: writes the report of `scripts/million` from its measurements.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::output;
use crate::loadgen::MillionRun;
use crate::plan::costs::CostFile;
use crate::protocol::json;

/// Write the report of a run of scripts/million, and print where it fell short.
#[derive(Debug, Clone, Args)]
pub(super) struct MillionReportArgs {
    /// The directory of the run
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Where the report goes
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Also write what the run measured into this file of costs, for `lc plan --costs`
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,

    /// Also write the loads of the run there, for `lc plan --check`
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Writes the report and prints one shortfall per line.
///
/// # Errors
/// A measurement is missing, or the report cannot be written.
pub(super) fn run(args: &MillionReportArgs) -> anyhow::Result<ExitCode> {
    let run = MillionRun::read(&args.directory)?;
    let markdown = run.markdown()?;
    std::fs::write(&args.output, markdown).with_context(|| args.output.display().to_string())?;
    if let Some(path) = &args.costs {
        CostFile::update(path, run.costs()?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &args.check {
        let mut lines = String::new();
        for load in run.checks()? {
            lines.push_str(&json::to_string(&load)?);
            lines.push('\n');
        }
        std::fs::write(path, lines).with_context(|| path.display().to_string())?;
    }
    output::write(&run.shortfalls()?.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}
