//! Writes what was measured into a file of costs.

use std::path::Path;

use anyhow::Context as _;
use live_comments::plan::costs::{Cost, CostFile, CostName};

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

/// Returns the cost of a write and of a comment in it: the two loads are two equations. Without the
/// latter if comments add too little to a write to be told from how measurements vary.
fn solve(calm: LoadCost, busy: LoadCost) -> (f64, Option<f64>) {
    let determinant =
        calm.writes_per_s * busy.comments_per_s - busy.writes_per_s * calm.comments_per_s;
    let write_us =
        (calm.viewer_us * busy.comments_per_s - busy.viewer_us * calm.comments_per_s) / determinant;
    let comment_us =
        (calm.writes_per_s * busy.viewer_us - busy.writes_per_s * calm.viewer_us) / determinant;
    if write_us > 0.0 && comment_us > 0.0 {
        return (write_us, Some(comment_us));
    }
    (calm.viewer_us / calm.writes_per_s, None)
}

pub(crate) fn write_loads(
    arguments: &Arguments,
    calm: LoadCost,
    busy: LoadCost,
) -> anyhow::Result<()> {
    let Some(path) = &arguments.costs else { return Ok(()) };
    let (write_us, comment_us) = solve(calm, busy);
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
    let what = "processor time that each comment of a frame adds to its write";
    match comment_us {
        Some(comment_us) => {
            let comment = Cost::measured_now(CostName::CommentUs, comment_us, what, COMMAND);
            costs.push((CostName::CommentUs, comment));
        }
        None => println!("comment_us is not written: {calm:?} and {busy:?} do not tell it"),
    }
    Ok(CostFile::update(path, costs)?)
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
