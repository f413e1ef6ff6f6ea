//! `lc stores`: shows the stores and what is asked of them.

use std::process::ExitCode;

use super::context::Context;
use super::list::{List, ListArgs, left, right, text};
use super::output::UNKNOWN;
use crate::protocol::admin::StoreStatus;
use crate::protocol::quantity::{show_duration, show_rate};

static STORES: List<StoreStatus> = List {
    columns: &[
        left("store", |store, _| store.contract.clone()),
        left("state", |store, _| store.state().to_owned()),
        right("for", |store: &StoreStatus, _| {
            store.breaker.as_ref().map_or(UNKNOWN.to_owned(), |it| show_duration(it.since_ms))
        }),
        right("calls", |store: &StoreStatus, _| show_rate(store.calls_per_second))
            .titled("calls/s"),
        right("p50", |store, _| latency_of(store, 0.5)),
        right("p99", |store, _| latency_of(store, 0.99)),
        right("failed", |store: &StoreStatus, _| show_rate(store.failed_per_second))
            .titled("failed/s"),
        right("pool", |store: &StoreStatus, _| {
            store.pool.map_or(UNKNOWN.to_owned(), |pool| format!("{} of {}", pool.in_use, pool.max))
        }),
        right("nodes", |store: &StoreStatus, _| store.nodes.to_string()).extra(),
        left("engine", |store, _| store.engine.clone()),
        text("address", |store, _| store.address.clone()),
    ],
    sort: "",
    if_empty: "No node has reported its stores yet.",
};

pub(super) async fn run(args: ListArgs, context: &Context) -> anyhow::Result<ExitCode> {
    STORES.view(&args)?.run("/v1/stores", context).await
}

fn latency_of(store: &StoreStatus, share: f64) -> String {
    match store.latency.quantile_ms(share) {
        None => UNKNOWN.to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}ms"),
        Some(ms) => show_duration(ms.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::list::tests::assert_columns_are_known;
    use crate::protocol::admin::{BreakerState, BreakerStatus, PoolUse};
    use crate::protocol::latency::LatencyHistogram;

    #[test]
    fn a_store_that_fails_says_since_when() {
        let mut latency = LatencyHistogram::default();
        latency.record(Duration::from_millis(24), 99);
        let comments = StoreStatus {
            contract: "comment store".to_owned(),
            engine: "cassandra".to_owned(),
            address: "10.0.4.2:9042".to_owned(),
            nodes: 1,
            calls: 100,
            failed: 1,
            calls_per_second: 24.0,
            failed_per_second: 3.0,
            latency,
            pool: None,
            breaker: Some(BreakerStatus {
                dependency: "comment store".to_owned(),
                state: BreakerState::Open,
                last_error: None,
                since_ms: 41_000,
            }),
        };
        let pool = Some(PoolUse { in_use: 3, max: 8 });
        let contract = "recent cache".to_owned();
        let latency = LatencyHistogram::default();
        let recent = StoreStatus { contract, latency, pool, breaker: None, ..comments.clone() };
        assert_columns_are_known(&STORES);
        let text = STORES.as_text(&[comments, recent], 0);
        let lines: Vec<_> = text.lines().collect();
        for part in ["comment store", "fails", "41s", "24", "cassandra", "10.0.4.2:9042"] {
            assert!(lines[1].contains(part), "{part}: {text}");
        }
        for part in ["recent cache", "works", "3 of 8", "–"] {
            assert!(lines[2].contains(part), "{part}: {text}");
        }
    }
}
