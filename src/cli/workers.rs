//! `lc workers`: shows the load of each delivery worker.

use std::process::ExitCode;

use super::context::Context;
use super::list::{List, ListArgs, left, right};
use crate::protocol::admin::WorkerStatus;
use crate::protocol::quantity::{show_bytes, show_count};

static WORKERS: List<WorkerStatus> = List {
    columns: &[
        left("node", |worker, _| worker.node.to_string()),
        right("worker", |worker, _| worker.worker.to_string()),
        right("connections", |worker, _| show_count(worker.connections)),
        right("slow", |worker, _| show_count(worker.slow_viewers)),
        right("busy", |worker, _| busy_of(worker)),
        right("frames", |worker, _| show_count(worker.frames)),
        right("delivered", |worker, _| show_count(worker.delivered)),
        right("sent", |worker, _| show_bytes(worker.bytes_out)),
    ],
    sort: "",
    if_empty: "No delivery workers are running.",
};

pub(super) async fn run(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    WORKERS.view(&args)?.run("/v1/workers", context).await
}

/// The share of time in which the worker was busy since it started.
fn busy_of(worker: &WorkerStatus) -> String {
    format!("{:.1}%", worker.busy_us as f64 * 100.0 / worker.wall_us.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
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
        assert_columns_are_known(&WORKERS);
        insta::assert_snapshot!(WORKERS.as_text(&[worker(0, 37_800_000), worker(1, 0)], 0));
    }
}
