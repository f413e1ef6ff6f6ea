//! Writes what was measured into a file of costs.

use std::path::Path;

use anyhow::Context as _;
use live_comments::plan::costs::{Cost, CostFile, CostName, Costs};

use crate::Arguments;

const COMMAND: &str = "scripts/bench fanout";

/// A load of `lcd`: what one second of it is, and what it costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadCost {
    pub(crate) comments_per_s: f64,
    /// Writes to each viewer.
    pub(crate) writes_per_s: f64,
    /// Processor time per viewer and second.
    pub(crate) viewer_us: f64,
}

/// With fewer viewers, frames need not gather, and nothing tells how many writes carried them.
const LEAST_VIEWERS: usize = 10_000;

/// Refuses to write costs that would be wrong.
pub(crate) fn check(arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(
        arguments.costs.is_none() || arguments.viewers >= LEAST_VIEWERS,
        "--costs needs --viewers {LEAST_VIEWERS} or more"
    );
    Ok(())
}

/// Returns the cost of a write and of a comment in it: the two loads are two equations. `None` if
/// comments add too little to a write to be told from how measurements vary.
fn solve(calm: LoadCost, busy: LoadCost) -> Option<(f64, f64)> {
    let determinant =
        calm.writes_per_s * busy.comments_per_s - busy.writes_per_s * calm.comments_per_s;
    let write_us =
        (calm.viewer_us * busy.comments_per_s - busy.viewer_us * calm.comments_per_s) / determinant;
    let comment_us =
        (calm.writes_per_s * busy.viewer_us - busy.writes_per_s * calm.viewer_us) / determinant;
    (determinant > 0.0 && write_us > 0.0 && comment_us > 0.0).then_some((write_us, comment_us))
}

/// Writes the costs of a write and of a comment in it. If the loads do not tell them apart, the
/// cost of a comment stays what it is in the file or built in.
pub(crate) fn write_loads(
    arguments: &Arguments,
    calm: LoadCost,
    busy: LoadCost,
) -> anyhow::Result<()> {
    let Some(path) = &arguments.costs else { return Ok(()) };
    let solved = solve(calm, busy);
    let write_us = match solved {
        Some((write_us, _)) => write_us,
        None => {
            let comment_us = known(path)?.value(CostName::CommentUs);
            println!("comment_us stays {comment_us}: {calm:?} and {busy:?} do not tell it");
            (calm.viewer_us - calm.comments_per_s * comment_us) / calm.writes_per_s
        }
    };
    if arguments.tls {
        return write_tls_factor(path, write_us);
    }
    let viewers_per_core = arguments.viewers / arguments.server_core_count()?;
    let write = Cost::measured_now(
        CostName::WriteUs,
        write_us,
        "processor time of an edge to write one frame to one viewer",
        COMMAND,
    );
    let mut costs = vec![(CostName::WriteUs, write.at(viewers_per_core as u64))];
    if let Some((_, comment_us)) = solved {
        let what = "processor time that each comment of a frame adds to its write";
        let comment = Cost::measured_now(CostName::CommentUs, comment_us, what, COMMAND);
        costs.push((CostName::CommentUs, comment));
    }
    Ok(CostFile::update(path, costs)?)
}

/// Returns the built-in costs with those of the file, if there is one.
fn known(path: &Path) -> anyhow::Result<Costs> {
    let built_in = Costs::built_in()?;
    Ok(if path.exists() { built_in.with(CostFile::read(path)?)? } else { built_in })
}

/// Sets how much more a write over TLS costs than the one that is in the file.
fn write_tls_factor(path: &Path, write_us: f64) -> anyhow::Result<()> {
    let file = CostFile::read(path)?;
    let plain =
        file.get(CostName::WriteUs).context("first measure without --tls into this file")?;
    let factor = Cost::measured_now(
        CostName::TlsFactor,
        write_us / plain.value,
        "processor time of a write over TLS beside the same write in plain",
        "scripts/bench fanout --tls --without bare --without plain",
    );
    Ok(CostFile::update(path, vec![(CostName::TlsFactor, factor)])?)
}

pub(crate) fn write_memory(arguments: &Arguments, viewer_bytes: f64) -> anyhow::Result<()> {
    let Some(path) = &arguments.costs else { return Ok(()) };
    let (name, what) = if arguments.tls {
        (CostName::TlsViewerBytes, "memory of an edge per idle viewer over TLS")
    } else {
        (CostName::ViewerBytes, "memory of an edge per idle viewer")
    };
    let cost = Cost::measured_now(name, viewer_bytes.round(), what, COMMAND);
    Ok(CostFile::update(path, vec![(name, cost)])?)
}
