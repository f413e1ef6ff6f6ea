//! `lc shards`: how loaded each delivery worker is.

use std::process::ExitCode;

use super::context::Context;
use super::output::{show, table, warn_unreachable};
use crate::protocol::admin::{Cluster, ShardStatus};
use crate::protocol::quantity::{show_bytes, show_count};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let shards: Cluster<ShardStatus> = context.admin().get("/v1/shards").await?;
    context.output().items(&shards.items, || human(&shards.items))?;
    warn_unreachable(&shards.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn human(shards: &[ShardStatus]) -> String {
    let mut rows = table(&[
        "node",
        ">shard",
        ">connections",
        ">slow",
        ">busy",
        ">frames",
        ">delivered",
        ">bytes out",
    ]);
    for shard in shards {
        rows.add_row([
            shard.node.to_string(),
            shard.shard.to_string(),
            show_count(shard.connections),
            show_count(shard.slow_viewers),
            format!("{:.1}%", shard.busy_us as f64 * 100.0 / shard.wall_us.max(1) as f64),
            show_count(shard.frames),
            show_count(shard.delivered),
            show_bytes(shard.bytes_out),
        ]);
    }
    let text = show(&rows, "No delivery workers run.");
    format!(
        "{text}\n\nBusy, frames, delivered and bytes count since the start; `lc top` shows rates."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::NodeId;

    #[test]
    fn a_worker_shows_its_share_of_busy_time() {
        let shard = |shard, busy_us| ShardStatus {
            node: NodeId::new("edge-1"),
            shard,
            connections: 9_500,
            slow_viewers: 3,
            busy_us,
            wall_us: 60_000_000,
            frames: 1_200,
            delivered: 11_400_000,
            bytes_out: 2_100_000_000,
        };
        insta::assert_snapshot!(human(&[shard(0, 37_800_000), shard(1, 0)]));
    }
}
