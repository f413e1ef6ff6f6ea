//! `lc shards`: shows the servers of the fan-out bus and the load of its shards.

use std::process::ExitCode;

use super::context::Context;
use super::output::warn_unreachable;
use super::table::{show, table};
use crate::protocol::admin::{BusNode, BusNodeState, Cluster};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::quantity::{show_bytes, show_count, show_duration, show_rate};

pub(super) async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let servers: Cluster<BusNode> = context.admin().get("/v1/bus").await?;
    context.output().items(&servers.items, || to_text(&servers.items))?;
    warn_unreachable(&servers.unreachable);
    Ok(ExitCode::SUCCESS)
}

fn to_text(servers: &[BusNode]) -> String {
    let shards = to_shard_table(servers);
    format!("{}\n\n{shards}\n\n{NOTE}", to_server_table(servers))
}

const NOTE: &str = "\
Rates are of the last second, publish times of the last ten. A message counts once per shard with \
listeners, its bytes once per listener. `lc workers` shows the delivery workers.";

fn to_server_table(servers: &[BusNode]) -> String {
    let mut rows = table(&[
        "server",
        "state",
        ">messages/s",
        ">bytes/s",
        ">p50",
        ">p99",
        ">memory",
        ">clients",
        ">cut off",
    ]);
    let known =
        |figure: Option<u64>, show: fn(u64) -> String| figure.map_or_else(|| "-".to_owned(), show);
    for server in servers {
        rows.add_row([
            server.address.clone(),
            state_of(server),
            show_rate(server.messages_per_second),
            known(server.sent_per_second().map(|rate| rate as u64), show_bytes),
            quantile(&server.publish, 0.5),
            quantile(&server.publish, 0.99),
            known(server.memory_bytes, show_bytes),
            known(server.clients, show_count),
            known(server.cut_off, show_count),
        ]);
    }
    show(&rows, "No node reports a server of the bus.")
}

fn state_of(server: &BusNode) -> String {
    let since = show_duration(server.since_ms);
    if server.state == BusNodeState::Works {
        return format!("works {since}");
    }
    let nodes: Vec<_> = server.fails_for.iter().map(ToString::to_string).collect();
    let error = server.error.as_deref().unwrap_or("no answer");
    format!("FAILS {since} for {}: {error}", nodes.join(", "))
}

fn to_shard_table(servers: &[BusNode]) -> String {
    let columns = ["server", ">shard", ">messages/s", ">bytes/s", ">subscribers", "nodes"];
    let mut rows = table(&columns);
    for server in servers {
        for shard in &server.shards {
            let nodes: Vec<_> = shard.nodes.iter().map(ToString::to_string).collect();
            rows.add_row([
                server.address.clone(),
                shard.shard.to_string(),
                show_rate(shard.messages_per_second),
                shard
                    .sent_per_second()
                    .map_or_else(|| "-".to_owned(), |rate| show_bytes(rate as u64)),
                show_count(shard.subscribers),
                nodes.join(", "),
            ]);
        }
    }
    show(&rows, "No shard has subscribers.")
}

fn quantile(latencies: &LatencyHistogram, share: f64) -> String {
    match latencies.quantile_ms(share) {
        Some(ms) if ms < 9.95 => format!("{ms:.1} ms"),
        Some(ms) => format!("{ms:.0} ms"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::NodeId;
    use crate::protocol::admin::BusShard;

    #[test]
    fn a_silent_server_and_each_shard_are_shown() {
        let mut publish = LatencyHistogram::default();
        publish.record(Duration::from_micros(700), 90);
        publish.record(Duration::from_millis(38), 10);
        let shard = |shard, messages_per_second, nodes: &[&str]| BusShard {
            shard,
            messages_per_second,
            bytes_per_second: messages_per_second * 1_800.0,
            messages: 9_000,
            bytes: 16_200_000,
            subscribers: 300 * nodes.len() as u64,
            nodes: nodes.iter().map(|node| NodeId::new(node)).collect(),
        };
        let works = BusNode {
            since_ms: 93_784_000,
            messages_per_second: 412.0,
            bytes_per_second: 741_600.0,
            publish,
            shards: vec![shard(0, 280.0, &["edge-1", "edge-4"]), shard(5, 132.0, &["edge-2"])],
            memory_bytes: Some(2_211_840),
            clients: Some(41),
            cut_off: Some(0),
            ..BusNode::new("10.0.3.11:6379".to_owned())
        };
        let silent = BusNode {
            state: BusNodeState::Fails,
            since_ms: 41_000,
            error: Some("broken pipe".to_owned()),
            fails_for: vec![NodeId::new("edge-1"), NodeId::new("coord-1")],
            ..BusNode::new("10.0.3.12:6379".to_owned())
        };
        insta::assert_snapshot!(to_text(&[works, silent]));
    }
}
