//! Stages, latencies, the bus and the process, with the names and base units of Prometheus:
//! seconds and bytes.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use super::{head, sample};
use crate::daemon::base::telemetry::{NodeSample, StoreMeter, Telemetry};
use crate::protocol::admin::{BusNode, BusNodeState, ProcessStatus, StageReport};
use crate::protocol::latency::{BUCKETS, LatencyHistogram, upper_bound};

/// Two buckets per octave are exported. Prometheus computes quantiles from them by interpolation.
const EXPORTED_STEP: usize = 4;

pub(super) fn put_telemetry(out: &mut String, telemetry: &Telemetry) {
    let latest = telemetry.latest();
    put_stages(out, &latest.stages);
    let help = "Time from the creation of a comment to its write, once per viewer";
    head(out, "delivery_delay_seconds", "histogram", help);
    put_histogram(out, "delivery_delay_seconds", &[], &latest.end_to_end);
    put_bus(out, &telemetry.bus());
    put_stores(out, &telemetry.stores());
    put_process(out, &latest);
}

/// A metric of stages: name, kind, help, and the figure.
type StageFamily = (&'static str, &'static str, &'static str, fn(&StageReport) -> u64);

fn put_stages(out: &mut String, stages: &[StageReport]) {
    let families: [StageFamily; 4] = [
        ("stage_items", "counter", "Items that passed a stage", |stage| stage.items),
        ("stage_refused", "counter", "Items that did not pass a stage", |stage| stage.refused),
        ("stage_queue", "gauge", "Items that wait at a stage", |stage| stage.queue),
        (
            "stage_queue_max",
            "gauge",
            "The most items that may wait at a stage; 0: no bound",
            |of| of.queue_max,
        ),
    ];
    for (name, kind, help, figure) in families {
        head(out, name, kind, help);
        let suffixed = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        for stage in stages {
            sample(out, &suffixed, &[("stage", &stage.name.as_str())], figure(stage));
        }
    }
    head(out, "stage_duration_seconds", "histogram", "Time that items spend in a stage");
    for stage in stages {
        let labels: [(&str, &dyn Display); 1] = [("stage", &stage.name.as_str())];
        put_histogram(out, "stage_duration_seconds", &labels, &stage.latency);
    }
}

/// Writes the buckets, the sum and the count of a histogram.
fn put_histogram(
    out: &mut String,
    name: &str,
    labels: &[(&str, &dyn Display)],
    latencies: &LatencyHistogram,
) {
    let bucket_name = format!("{name}_bucket");
    let mut put_bucket = |bound: &dyn Display, count: u64| {
        let mut all = labels.to_vec();
        all.push(("le", bound));
        sample(out, &bucket_name, &all, count);
    };
    for bound in (0..BUCKETS).step_by(EXPORTED_STEP).filter_map(upper_bound) {
        put_bucket(&bound.as_secs_f64(), latencies.count_below(bound));
    }
    put_bucket(&"+Inf", latencies.count());
    sample(out, &format!("{name}_sum"), labels, latencies.sum().as_secs_f64());
    sample(out, &format!("{name}_count"), labels, latencies.count());
}

fn put_bus(out: &mut String, servers: &[BusNode]) {
    head(out, "bus_up", "gauge", "1 while a server of the fan-out bus answers this node");
    for server in servers {
        let is_up = server.state == BusNodeState::Works;
        sample(out, "bus_up", &[("server", &server.address)], u8::from(is_up));
    }
    let shards =
        || servers.iter().flat_map(|server| server.shards.iter().map(move |shard| (server, shard)));
    let help = "Messages that this node published on a shard with listeners";
    head(out, "bus_messages", "counter", help);
    for (server, shard) in shards() {
        let labels: [(&str, &dyn Display); 2] =
            [("server", &server.address), ("shard", &shard.shard)];
        sample(out, "bus_messages_total", &labels, shard.messages);
    }
    head(out, "bus_sent_bytes", "counter", "Bytes of these messages, once per listener");
    for (server, shard) in shards() {
        let labels: [(&str, &dyn Display); 2] =
            [("server", &server.address), ("shard", &shard.shard)];
        sample(out, "bus_sent_bytes_total", &labels, shard.bytes);
    }
    head(out, "bus_subscriptions", "gauge", "Streams that this node listens to on a shard");
    for (server, shard) in shards() {
        let labels: [(&str, &dyn Display); 2] =
            [("server", &server.address), ("shard", &shard.shard)];
        sample(out, "bus_subscriptions", &labels, shard.subscribers);
    }
}

fn put_stores(out: &mut String, stores: &[(&'static str, Arc<StoreMeter>)]) {
    let help = "Time that calls to a store take, without those that failed";
    head(out, "store_call_duration_seconds", "histogram", help);
    for (contract, meter) in stores {
        let labels: [(&str, &dyn Display); 1] = [("store", contract)];
        put_histogram(out, "store_call_duration_seconds", &labels, &meter.latency());
    }
    let help = "Calls that a store did not carry out";
    head(out, "store_calls_failed", "counter", help);
    for (contract, meter) in stores {
        sample(out, "store_calls_failed_total", &[("store", contract)], meter.failed());
    }
    let pools = || stores.iter().filter_map(|(contract, meter)| Some((contract, meter.pool()?)));
    head(out, "store_connections", "gauge", "Connections to a store that are used now");
    for (contract, pool) in pools() {
        sample(out, "store_connections", &[("store", contract)], pool.in_use);
    }
    head(out, "store_connections_max", "gauge", "Connections to a store that may be used");
    for (contract, pool) in pools() {
        sample(out, "store_connections_max", &[("store", contract)], pool.max);
    }
}

fn put_process(out: &mut String, latest: &NodeSample) {
    let ProcessStatus {
        started_at,
        rss_bytes,
        memory_bytes,
        files,
        files_max,
        disk_free_bytes,
        clock_ms,
        ..
    } = &latest.process;
    // These have the names that all processes use for them.
    let mut standard = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let suffix = if kind == "counter" { "_total" } else { "" };
        out.push_str(&format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n"));
        out.push_str(&format!("{name}{suffix} {value}\n"));
    };
    let float = |figure: Option<u64>| figure.map(|figure| figure as f64);
    let cpu_time = latest.cpu_time.map(|time: Duration| time.as_secs_f64());
    standard("process_cpu_seconds", "counter", "Processor time used", cpu_time);
    standard("process_resident_memory_bytes", "gauge", "Resident memory", float(*rss_bytes));
    standard("process_open_fds", "gauge", "Open files", float(*files));
    standard("process_max_fds", "gauge", "The most files that may be open", float(*files_max));
    let started_at = (*started_at > 0).then_some(*started_at as f64 / 1e3);
    standard("process_start_time_seconds", "gauge", "Start, in seconds since 1970", started_at);
    let figures = [
        ("memory_limit_bytes", "Memory that the process may use", float(*memory_bytes)),
        (
            "disk_free_bytes",
            "Free space on the disk of the data directory",
            float(*disk_free_bytes),
        ),
        (
            "clock_offset_seconds",
            "The clock of this node minus that of Redis",
            clock_ms.map(|ms| ms as f64 / 1e3),
        ),
    ];
    for (name, help, value) in figures {
        head(out, name, "gauge", help);
        if let Some(value) = value {
            sample(out, name, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::status::StatusBoard;
    use crate::protocol::admin::{BusShard, PoolUse, StageName};

    fn exported(board: &StatusBoard) -> String {
        let mut out = String::new();
        put_telemetry(&mut out, board.telemetry());
        out
    }

    #[tokio::test]
    async fn histograms_are_cumulative_and_in_seconds() {
        let board = StatusBoard::default();
        let log = board.telemetry().stage(StageName::Log);
        log.pass(2, Duration::from_millis(3));
        log.pass(1, Duration::from_secs(100));
        board.telemetry().add_worker().end_to_end.record(Duration::from_millis(20), 500);
        board.sample(std::path::Path::new("/"));
        let out = exported(&board);
        assert!(out.contains("# TYPE lcd_stage_duration_seconds histogram\n"), "{out}");
        let buckets: Vec<(f64, u64)> = out
            .lines()
            .filter_map(|line| {
                let rest =
                    line.strip_prefix("lcd_stage_duration_seconds_bucket{stage=\"log\",le=\"")?;
                let (bound, count) = rest.split_once("\"} ")?;
                Some((bound.parse().unwrap(), count.parse().unwrap()))
            })
            .collect();
        assert!(buckets.is_sorted(), "{buckets:?}");
        assert_eq!(buckets.len(), BUCKETS.div_ceil(EXPORTED_STEP) + 1);
        let below = |bound: f64| buckets.iter().rfind(|(of, _)| *of <= bound).unwrap().1;
        assert_eq!((below(0.0028), below(0.005), below(f64::INFINITY)), (0, 2, 3));
        assert!(out.contains("lcd_stage_duration_seconds_sum{stage=\"log\"} 100.006\n"), "{out}");
        assert!(out.contains("lcd_stage_duration_seconds_count{stage=\"log\"} 3\n"), "{out}");
        assert!(out.contains("lcd_stage_items_total{stage=\"log\"} 3\n"), "{out}");
        assert!(out.contains("lcd_delivery_delay_seconds_count 500\n"), "{out}");
        assert!(out.contains("lcd_delivery_delay_seconds_sum 10\n"), "{out}");
    }

    #[tokio::test]
    async fn the_process_has_the_names_of_prometheus() {
        let board = StatusBoard::default();
        board.telemetry().set_started_at(1_750_000_000_500);
        board.telemetry().set_clock_offset_ms(Some(-12));
        board.sample(std::path::Path::new("/"));
        let out = exported(&board);
        for line in [
            "# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total ",
            "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes ",
            "# TYPE process_open_fds gauge\nprocess_open_fds ",
            "# TYPE process_max_fds gauge\nprocess_max_fds ",
            "process_start_time_seconds 1750000000.5\n",
            "lcd_clock_offset_seconds -0.012\n",
            "# TYPE lcd_disk_free_bytes gauge\nlcd_disk_free_bytes ",
        ] {
            assert!(out.contains(line), "{line} in {out}");
        }
    }

    #[tokio::test]
    async fn calls_to_stores_are_exported() {
        let board = StatusBoard::default();
        let meter = board.telemetry().store("metadata store");
        meter.begin().end(false);
        meter.begin().end(true);
        meter.read_pool_with(|| Some(PoolUse { in_use: 3, max: 8 }));
        let out = exported(&board);
        for line in [
            "lcd_store_call_duration_seconds_count{store=\"metadata store\"} 1\n",
            "lcd_store_calls_failed_total{store=\"metadata store\"} 1\n",
            "lcd_store_connections{store=\"metadata store\"} 3\n",
            "lcd_store_connections_max{store=\"metadata store\"} 8\n",
        ] {
            assert!(out.contains(line), "{line} in {out}");
        }
    }

    #[test]
    fn the_load_of_each_shard_is_exported() {
        let shard = BusShard {
            shard: 5,
            messages_per_second: 1.0,
            bytes_per_second: 1.0,
            messages: 70,
            bytes: 9_000,
            subscribers: 3,
            nodes: Vec::new(),
        };
        let works = BusNode { shards: vec![shard], ..BusNode::new("redis-1:6379".to_owned()) };
        let fails =
            BusNode { state: BusNodeState::Fails, ..BusNode::new("redis-2:6379".to_owned()) };
        let mut out = String::new();
        put_bus(&mut out, &[works, fails]);
        for line in [
            "lcd_bus_up{server=\"redis-1:6379\"} 1\n",
            "lcd_bus_up{server=\"redis-2:6379\"} 0\n",
            "lcd_bus_messages_total{server=\"redis-1:6379\",shard=\"5\"} 70\n",
            "lcd_bus_sent_bytes_total{server=\"redis-1:6379\",shard=\"5\"} 9000\n",
            "lcd_bus_subscriptions{server=\"redis-1:6379\",shard=\"5\"} 3\n",
        ] {
            assert!(out.contains(line), "{line} in {out}");
        }
    }
}
