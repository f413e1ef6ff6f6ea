//! The costs that a run measured, for `lc plan`.

use super::MillionRun;
use super::markdown::{cpu_seconds, seconds_between};
use crate::plan::costs::{Cost, CostName};

/// Returns the costs of the edges.
pub(super) fn of(run: &MillionRun) -> anyhow::Result<Vec<(CostName, Cost)>> {
    let viewers: f64 = run.fact("viewers")?;
    let silent_s = seconds_between(run, "connected", "held")?;
    let silent_cpu_s = cpu_seconds(run, "connected", "held", "edges")?;
    let pings = viewers * silent_s / run.fact::<f64>("ping_s")?;
    let with_comments_s = seconds_between(run, "held", "banned")?;
    let writing_cpu_s =
        cpu_seconds(run, "held", "banned", "edges")? - silent_cpu_s * with_comments_s / silent_s;
    let writes = viewers * run.fact::<f64>("comments_before_ban")?;
    let connecting_cpu_s = cpu_seconds(run, "connecting", "connected", "edges")?;
    let slab_kib = run.growth("started", "connected", "slab_kib")? as f64;
    let edges_kib = run.at("started", "edges_rss_kib")? as f64;
    let per_core = run.fact::<u64>("viewers")? / run.fact::<u64>("processors")?.max(1);
    let cost = |name, value: f64, digits: i32, what: &str| {
        let unit = 10_f64.powi(digits);
        let command = run.text("command_line")?;
        let mut cost = Cost::measured_now(name, (value * unit).round() / unit, what, command);
        cost.machine = format!(
            "{} cores of {}, {:.1} GiB, Linux {}",
            run.text("processors")?,
            run.text("processor_model")?,
            run.fact::<f64>("memory_kib")? / 1024.0 / 1024.0,
            run.text("kernel")?
        );
        run.text("date")?.split(' ').next().unwrap_or_default().clone_into(&mut cost.measured);
        anyhow::Ok((name, cost))
    };
    let (name, crowded) = cost(
        CostName::CrowdedWriteUs,
        1e6 * writing_cpu_s / writes,
        1,
        "processor time of the edges to write one frame to one viewer, without what they do in silence",
    )?;
    Ok(vec![
        (name, crowded.at(per_core)),
        cost(
            CostName::PingUs,
            1e6 * silent_cpu_s / pings,
            1,
            "processor time of the edges per ping of a silent viewer, with everything else that they \
             do in silence",
        )?,
        cost(
            CostName::ConnectUs,
            1e6 * connecting_cpu_s / viewers,
            0,
            "processor time of the edges to accept one viewer",
        )?,
        cost(
            CostName::SocketBytes,
            1024.0 * slab_kib / viewers / 2.0,
            0,
            "memory of the kernel for one of the two ends of a connection",
        )?,
        cost(
            CostName::EdgeBytes,
            1024.0 * edges_kib / run.fact::<f64>("edges")?,
            0,
            "memory of an edge without viewers",
        )?,
    ])
}
