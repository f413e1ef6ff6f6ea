//! `lc workers`: shows the load of each delivery worker.

use std::process::ExitCode;

use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::admin::{Cluster, WorkerStatus};
use crate::protocol::quantity::{show_bytes, show_count};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let workers: Cluster<WorkerStatus> = context.admin().get("/v1/workers").await?;
    context.output().items(&workers.items, || to_table(&workers.items))?;
    warn_unreachable(&workers.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn to_table(workers: &[WorkerStatus]) -> String {
    let mut rows = table(&[
        "node",
        ">worker",
        ">connections",
        ">slow",
        ">busy",
        ">frames",
        ">delivered",
        ">bytes out",
    ]);
    for worker in workers {
        rows.add_row([
            worker.node.to_string(),
            worker.worker.to_string(),
            show_count(worker.connections),
            show_count(worker.slow_viewers),
            format!("{:.1}%", worker.busy_us as f64 * 100.0 / worker.wall_us.max(1) as f64),
            show_count(worker.frames),
            show_count(worker.delivered),
            show_bytes(worker.bytes_out),
        ]);
    }
    let text = show(&rows, "No delivery workers are running.");
    format!("{text}\n\nAll values are since the worker started; `lc top` shows current rates.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn a_worker_shows_its_share_of_busy_time() {
        let worker = |worker, busy_us| WorkerStatus {
            node: NodeId::new("edge-1"),
            worker,
            connections: 9_500,
            slow_viewers: 3,
            busy_us,
            wall_us: 60_000_000,
            frames: 1_200,
            delivered: 11_400_000,
            bytes_out: 2_100_000_000,
        };
        insta::assert_snapshot!(to_table(&[worker(0, 37_800_000), worker(1, 0)]));
    }
}
