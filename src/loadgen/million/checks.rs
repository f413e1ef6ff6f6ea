//! The loads of a run as `lc plan --check` compares them with their plans.

use super::MillionRun;
use super::markdown::{cpu_seconds, seconds_between};
use crate::plan::check::{MeasuredRun, RunPart};

/// Returns the silence, and the time with comments.
pub(super) fn of(run: &MillionRun) -> anyhow::Result<Vec<MeasuredRun>> {
    let comments: f64 = run.fact("comments_before_ban")?;
    Ok(vec![
        load(run, "silence", ["connected", "held"], 0.0)?,
        load(run, "with comments", ["held", "banned"], comments)?,
    ])
}

fn load(
    run: &MillionRun,
    name: &str,
    [from, to]: [&str; 2],
    comments: f64,
) -> anyhow::Result<MeasuredRun> {
    let seconds = seconds_between(run, from, to)?;
    let edges = cpu_seconds(run, from, to, "edges")? / seconds;
    Ok(MeasuredRun {
        run: format!("{}, {name}", run.text("command_line")?),
        viewers: run.fact("viewers")?,
        edges: run.fact("edges")?,
        cores: run.fact("processors")?,
        comments_per_second: comments / seconds,
        shown_per_second: comments / seconds,
        ping_interval_s: run.fact("ping_s")?,
        // The script turns off the message with the number of viewers.
        presence_per_second: 0.0,
        used_cores: [(RunPart::Edges, edges)].into(),
    })
}
