//! The stores: what is asked of them, how long they take, and whether they work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::breaker::{BreakerState, BreakerStatus};
use crate::protocol::latency::LatencyHistogram;

/// `GET /v1/stores`: the engine behind one contract that stores or caches something. In a
/// [`super::NodeReport`] it is what that node measured; the answer for the cluster adds up all
/// reports. The health checks of the daemon are not counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoreStatus {
    /// The name of the contract, such as `comment store`. Its circuit breaker has the same one.
    pub contract: String,
    /// The engine, as the configuration names it.
    pub engine: String,
    /// The servers, the file, or `in this process`.
    pub address: String,
    /// Number of nodes that use it.
    pub nodes: u64,
    /// Calls since the nodes started, failed ones included.
    pub calls: u64,
    /// Calls that the store did not carry out, because it did not answer or its data is damaged.
    pub failed: u64,
    /// Over the last second.
    pub calls_per_second: f64,
    /// Over the last second.
    pub failed_per_second: f64,
    /// The duration of the calls of the last ten seconds that did not fail.
    #[serde(default)]
    pub latency: LatencyHistogram,
    /// Absent for an engine without a bound on connections. Stores on one PostgreSQL server share
    /// their connections, and each shows all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolUse>,
    /// Absent for a store that has no circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerStatus>,
}

/// The connections to a store, summed over the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolUse {
    pub in_use: u64,
    pub max: u64,
}

impl PoolUse {
    fn plus(self, other: Self) -> Self {
        Self { in_use: self.in_use + other.in_use, max: self.max + other.max }
    }
}

impl StoreStatus {
    /// Adds up the reports of nodes, one row per contract, by name. `breakers` are those of the
    /// cluster.
    pub fn of_cluster<'a>(
        reports: impl IntoIterator<Item = &'a [Self]>,
        breakers: &[BreakerStatus],
    ) -> Vec<Self> {
        let mut stores: BTreeMap<&str, Self> = BTreeMap::new();
        for report in reports.into_iter().flatten() {
            stores
                .entry(&report.contract)
                .and_modify(|known| known.add(report))
                .or_insert_with(|| report.clone());
        }
        let mut stores: Vec<_> = stores.into_values().collect();
        for store in &mut stores {
            let breaker = breakers.iter().find(|breaker| breaker.dependency == store.contract);
            store.breaker = breaker.cloned();
        }
        stores
    }

    fn add(&mut self, other: &Self) {
        self.nodes += other.nodes;
        self.calls += other.calls;
        self.failed += other.failed;
        self.calls_per_second += other.calls_per_second;
        self.failed_per_second += other.failed_per_second;
        self.latency.add(&other.latency);
        self.pool = match (self.pool, other.pool) {
            (Some(one), Some(more)) => Some(one.plus(more)),
            (one, more) => one.or(more),
        };
    }

    /// Names the state of its breaker: `works`, `fails` or `trial`. A store without one works.
    pub fn state(&self) -> &'static str {
        match self.breaker.as_ref().map(|breaker| breaker.state) {
            None | Some(BreakerState::Closed) => "works",
            Some(BreakerState::Open) => "fails",
            Some(BreakerState::HalfOpen) => "trial",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store(contract: &str, calls: u64, pool: Option<PoolUse>) -> StoreStatus {
        let mut latency = LatencyHistogram::default();
        latency.record(Duration::from_millis(4), calls);
        StoreStatus {
            contract: contract.to_owned(),
            engine: "postgres".to_owned(),
            address: "10.0.5.1:5432".to_owned(),
            nodes: 1,
            calls,
            failed: 1,
            calls_per_second: 1.5,
            failed_per_second: 0.5,
            latency,
            pool,
            breaker: None,
        }
    }

    #[test]
    fn stores_of_nodes_are_added_with_their_breaker() {
        let pool = Some(PoolUse { in_use: 3, max: 8 });
        let first = [store("metadata store", 10, pool), store("comment store", 4, None)];
        let second = [store("metadata store", 20, pool)];
        let open = BreakerStatus {
            dependency: "metadata store".to_owned(),
            state: BreakerState::Open,
            last_error: None,
            since_ms: 7,
        };
        let stores =
            StoreStatus::of_cluster([&first[..], &second[..]], std::slice::from_ref(&open));
        let [comments, metadata] = &stores[..] else { panic!("{stores:?}") };
        assert_eq!((comments.contract.as_str(), comments.state()), ("comment store", "works"));
        assert_eq!((metadata.nodes, metadata.calls, metadata.failed), (2, 30, 2));
        assert_eq!((metadata.calls_per_second, metadata.latency.count()), (3.0, 30));
        assert_eq!(metadata.pool, Some(PoolUse { in_use: 6, max: 16 }));
        assert_eq!((metadata.breaker.as_ref(), metadata.state()), (Some(&open), "fails"));
    }
}
