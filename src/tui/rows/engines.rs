//! Rows of servers of the bus, consumers of the log, stores, and delivery workers.

use crate::protocol::admin::{
    BreakerState, BreakerStatus, BusNode, BusNodeState, GroupLag, LagState, StoreStatus,
    WorkerStatus,
};
use crate::protocol::filter::{self, Columns as _, Kind, Value};
use crate::protocol::json;
use crate::protocol::quantity::{show_bytes, show_rate};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Health, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: true, rank, meaning: "" }
}

pub(crate) const STORES: &[Column] = &[
    Column { right: false, ..column("", "", 1, 0) },
    Column {
        right: false,
        meaning: "a store, or another dependency with a circuit breaker in front of it",
        ..column("dependency", "dependency", 24, 0)
    },
    Column {
        right: false,
        meaning: "works, FAILS (calls are refused at once), TRIED AGAIN",
        ..column("state", "state", 11, 1)
    },
    Column { meaning: "time in this state", ..column("for", "for", 8, 2) },
    Column {
        meaning: "calls of all nodes per second, without health checks",
        ..column("calls/s", "calls", 7, 3)
    },
    Column {
        right: false,
        meaning: "time of a call that did not fail, of the last ten seconds",
        ..column("p50/p99", "p99", 15, 3)
    },
    Column {
        meaning: "calls per second that it did not carry out",
        ..column("failed/s", "failed", 8, 4)
    },
    Column {
        meaning: "connections used, and the most that may be",
        ..column("pool", "pool", 8, 5)
    },
    Column {
        right: false,
        meaning: "the engine, and its servers or file",
        ..column("where", "where", 24, 6)
    },
    Column { right: false, meaning: "the last error", ..column("error", "error", 0, 3) },
];

/// A store, or another dependency behind a circuit breaker. One of the two is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreRow<'a> {
    breaker: Option<&'a BreakerStatus>,
    store: Option<&'a StoreStatus>,
}

impl<'a> StoreRow<'a> {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("dependency", Kind::Text),
        filter::Column::new("state", Kind::Text),
        filter::Column::new("for", Kind::Duration),
        filter::Column::new("calls", Kind::Number),
        filter::Column::new("p99", Kind::Duration),
        filter::Column::new("failed", Kind::Number),
        filter::Column::new("pool", Kind::Share),
        filter::Column::new("where", Kind::Text),
        filter::Column::new("error", Kind::Text),
    ];

    /// Returns a row for each breaker, and one for each store that has none.
    pub(crate) fn of(breakers: &'a [BreakerStatus], stores: &'a [StoreStatus]) -> Vec<Self> {
        let store_of = |breaker: &BreakerStatus| {
            stores.iter().find(|store| store.contract == breaker.dependency)
        };
        let rows = breakers
            .iter()
            .map(|breaker| Self { breaker: Some(breaker), store: store_of(breaker) });
        let has_none = |store: &&StoreStatus| {
            !breakers.iter().any(|breaker| breaker.dependency == store.contract)
        };
        let others = stores.iter().filter(has_none);
        rows.chain(others.map(|store| Self { breaker: None, store: Some(store) })).collect()
    }

    pub(crate) fn health(&self) -> Health {
        match self.breaker.map(|breaker| breaker.state) {
            None | Some(BreakerState::Closed) => Health::Good,
            Some(BreakerState::HalfOpen) => Health::Warn,
            Some(BreakerState::Open) => Health::Bad,
        }
    }

    /// Returns what is known of it, as JSON.
    pub(crate) fn as_json(&self) -> serde_json::Result<String> {
        match (self.store, self.breaker) {
            (Some(store), _) => json::to_string(store),
            (None, breaker) => json::to_string(&breaker),
        }
    }

    fn name(&self) -> &'a str {
        let of_breaker = self.breaker.map(|breaker| breaker.dependency.as_str());
        of_breaker.or(self.store.map(|store| store.contract.as_str())).unwrap_or_default()
    }

    fn place(&self) -> Option<String> {
        self.store.map(|store| format!("{} {}", store.engine, store.address))
    }

    fn latency(&self) -> Option<String> {
        let latency = &self.store.filter(|store| !store.latency.is_empty())?.latency;
        let quantile = |share| figures::latency(latency.quantile_ms(share));
        Some(format!("{} {}", quantile(0.5), quantile(0.99)))
    }

    /// The error of an outage that is over is of no interest.
    fn error(&self) -> Option<&'a str> {
        let breaker = self.breaker.filter(|breaker| breaker.state != BreakerState::Closed)?;
        breaker.last_error.as_deref()
    }
}

impl filter::Row for StoreRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "dependency" => Some(self.name().into()),
            "state" | "for" | "error" => self.breaker?.column(name),
            "where" => Some(self.place()?.into()),
            "calls" | "p99" | "failed" | "pool" => self.store?.column(name),
            _ => None,
        }
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.name());
        self.place().iter().for_each(|place| visit(place));
        self.error().iter().for_each(|error| visit(error));
    }
}

impl Record for StoreRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Named(self.name().to_owned())
    }

    fn cell(&self, column: &str) -> Cell {
        let health = self.health();
        let known = |text: Option<String>| text.map_or_else(Cell::unknown, Cell::text);
        match column {
            "" => Cell::mark(health),
            "dependency" => Cell::text(self.name().to_owned()),
            "state" => {
                let word = match health {
                    Health::Bad => "FAILS",
                    Health::Warn => "TRIED AGAIN",
                    _ => "works",
                };
                Cell::new(word, health.tone())
            }
            "for" => match self.breaker {
                Some(breaker) => Cell::faint(figures::age(breaker.since_ms)),
                None => Cell::unknown(),
            },
            "calls/s" => known(self.store.map(|store| show_rate(store.calls_per_second))),
            "p50/p99" => known(self.latency()),
            "failed/s" => match self.store {
                Some(store) if store.failed_per_second >= 0.05 => {
                    Cell::new(show_rate(store.failed_per_second), Tone::Bad)
                }
                Some(_) => Cell::faint("0".to_owned()),
                None => Cell::unknown(),
            },
            "pool" => {
                let pool = self.store.and_then(|store| store.pool);
                known(pool.map(|pool| format!("{} of {}", pool.in_use, pool.max)))
            }
            "where" => self.place().map_or_else(Cell::unknown, Cell::faint),
            "error" => Cell::text(self.error().unwrap_or_default().to_owned()),
            _ => Cell::default(),
        }
    }
}

pub(crate) const GROUPS: &[Column] = &[
    Column { right: false, ..column("", "", 1, 0) },
    Column { right: false, meaning: "the consumer group", ..column("group", "group", 12, 0) },
    Column { meaning: "records that it has still to read", ..column("behind", "behind", 7, 1) },
    Column {
        meaning: "age of the oldest record that it has still to read",
        ..column("in time", "in_time", 8, 1)
    },
    Column {
        meaning: "change of the lag per second, over the last 30 s",
        ..column("change", "change", 8, 2)
    },
    Column {
        right: false,
        meaning: "partition with the largest lag, and its busiest streams",
        ..column("worst", "", 22, 4)
    },
    Column {
        right: false,
        meaning: "nodes that read the partitions, with the number of them",
        ..column("owners", "owners", 22, 5)
    },
    Column { right: false, ..column("topic", "topic", 16, 6) },
    Column {
        right: false,
        meaning: "one mark per partition: · none behind, then the later the taller",
        ..column("partitions", "", 0, 3)
    },
];

/// A consumer group of the event log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupRow<'a> {
    pub(crate) group: &'a GroupLag,
    pub(crate) state: LagState,
}

impl GroupRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("group", Kind::Text),
        filter::Column::new("topic", Kind::Text),
        filter::Column::new("behind", Kind::Number),
        filter::Column::new("in_time", Kind::Duration),
        filter::Column::new("owners", Kind::Text),
        filter::Column::new("change", Kind::Number),
    ];

    pub(crate) fn health(&self) -> Health {
        self.state.into()
    }

    fn worst_text(&self, partition: u32, lag: u64) -> String {
        let mut text = format!("{partition}: {}", figures::count(lag));
        for (index, stream) in self.group.worst_streams.iter().enumerate() {
            text.push_str(if index == 0 { ", stream " } else { " " });
            text.push_str(&stream.to_string());
        }
        text
    }

    /// Draws one mark per partition, against the largest lag.
    fn marks(&self) -> String {
        let most = self.group.partitions.iter().map(|(_, lag)| *lag).max().unwrap_or(0) as f64;
        let mark = |(_, lag): &(u32, u64)| (*lag > 0).then_some(*lag as f64);
        let values: Vec<_> = self.group.partitions.iter().map(mark).collect();
        figures::bars(&values, most)
    }
}

impl filter::Row for GroupRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "group" => self.group.group.as_str().into(),
            "topic" => self.group.topic.as_str().into(),
            "behind" => Value::count(self.group.lag),
            "in_time" => Value::count(self.group.oldest_ms?),
            "owners" => self.group.owners_text().into(),
            "change" => Value::Number(self.group.change_per_s?),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.group.group);
        visit(&self.group.topic);
    }
}

impl Record for GroupRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Named(format!("{} {}", self.group.group, self.group.topic))
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "" => Cell::mark(self.health()),
            "group" => Cell::text(self.group.group.clone()),
            "behind" => Cell::new(figures::count(self.group.lag), self.health().tone()),
            "change" => match self.group.change_per_s {
                Some(change) if self.state == LagState::FallsBack => {
                    Cell::new(figures::change(change), Tone::Warn)
                }
                Some(change) => Cell::faint(figures::change(change)),
                None => Cell::unknown(),
            },
            "in time" => match self.group.oldest_ms {
                Some(ms) => Cell::new(figures::lateness(ms), self.health().tone()),
                None => Cell::unknown(),
            },
            "worst" => match self.group.worst() {
                Some((partition, lag)) if lag > 0 => Cell::text(self.worst_text(partition, lag)),
                _ => Cell::unknown(),
            },
            "owners" => Cell::faint(self.group.owners_text()),
            "topic" => Cell::faint(self.group.topic.clone()),
            "partitions" => Cell::new(self.marks(), Tone::Chart),
            _ => Cell::default(),
        }
    }
}

pub(crate) const BUS: &[Column] = &[
    Column { right: false, ..column("", "", 1, 0) },
    Column { right: false, ..column("server", "server", 22, 0) },
    Column { right: false, ..column("state", "state", 12, 1) },
    Column { meaning: "messages published per second", ..column("msg/s", "messages", 6, 2) },
    Column {
        meaning: "bytes per second to listeners: size times listeners",
        ..column("sent/s", "sent", 8, 2)
    },
    Column { meaning: "pairs of a stream and a node", ..column("listeners", "listeners", 9, 4) },
    Column {
        right: false,
        meaning: "time of a call that publishes, of the last ten seconds",
        ..column("call p50/p99", "", 15, 3)
    },
    Column { meaning: "memory that the server uses", ..column("memory", "memory", 7, 5) },
    Column { meaning: "connections that the server has", ..column("clients", "clients", 7, 6) },
    Column {
        meaning: "connections that the server closed because they read too slowly",
        ..column("cut off", "cut_off", 7, 6)
    },
    Column { right: false, ..column("error", "", 0, 4) },
];

/// A server of the fan-out bus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BusRow<'a>(pub(crate) &'a BusNode);

impl BusRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = &[
        filter::Column::new("server", Kind::Text),
        filter::Column::new("state", Kind::Text),
        filter::Column::new("messages", Kind::Number),
        filter::Column::new("sent", Kind::Bytes),
        filter::Column::new("listeners", Kind::Number),
        filter::Column::new("memory", Kind::Bytes),
        filter::Column::new("clients", Kind::Number),
        filter::Column::new("cut_off", Kind::Number),
    ];

    fn fails(&self) -> bool {
        self.0.state == BusNodeState::Fails
    }

    fn listeners(&self) -> u64 {
        self.0.shards.iter().map(|shard| shard.subscribers).sum()
    }
}

impl filter::Row for BusRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let server = self.0;
        Some(match name {
            "server" => server.address.as_str().into(),
            "state" => if self.fails() { "fails" } else { "works" }.into(),
            "messages" => Value::Number(server.messages_per_second),
            "sent" => Value::Number(server.bytes_per_second),
            "listeners" => Value::count(self.listeners()),
            "memory" => Value::count(server.memory_bytes?),
            "clients" => Value::count(server.clients?),
            "cut_off" => Value::count(server.cut_off?),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.0.address);
        self.0.error.iter().for_each(|error| visit(error));
    }
}

impl Record for BusRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Named(self.0.address.clone())
    }

    fn cell(&self, column: &str) -> Cell {
        let server = self.0;
        let health = if self.fails() { Health::Bad } else { Health::Good };
        let known = |text: Option<String>| text.map_or_else(Cell::unknown, Cell::text);
        match column {
            "" => Cell::mark(health),
            "server" => Cell::text(server.address.clone()),
            "state" => {
                let word = if self.fails() { "silent" } else { "works" };
                Cell::new(format!("{word} {}", figures::age(server.since_ms)), health.tone())
            }
            "msg/s" => Cell::text(show_rate(server.messages_per_second)),
            "sent/s" => {
                known(server.sent_per_second().map(|rate| show_bytes(rate.max(0.0) as u64)))
            }
            "listeners" => Cell::text(figures::count(self.listeners())),
            "call p50/p99" => {
                let quantile = |share| figures::latency(server.publish.quantile_ms(share));
                known(
                    (!server.publish.is_empty())
                        .then(|| format!("{} {}", quantile(0.5), quantile(0.99))),
                )
            }
            "memory" => known(server.memory_bytes.map(show_bytes)),
            "clients" => known(server.clients.map(figures::count)),
            "cut off" => known(server.cut_off.map(figures::count)),
            "error" if self.fails() => Cell::text(server.error.clone().unwrap_or_default()),
            _ => Cell::default(),
        }
    }
}

pub(crate) const WORKERS: &[Column] = &[
    Column { right: false, ..column("", "", 1, 0) },
    Column { meaning: "number of the delivery worker", ..column("worker", "worker", 6, 0) },
    Column { meaning: "time that it works", ..column("busy", "busy", 5, 1) },
    Column {
        meaning: "connections that it serves: viewers and senders",
        ..column("connections", "connections", 11, 2)
    },
    Column { meaning: "connections whose socket is full", ..column("slow", "slow", 5, 3) },
];

/// A delivery worker with the share of time that it works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerRow<'a> {
    pub(crate) status: &'a WorkerStatus,
    pub(crate) busy: Option<f64>,
}

impl WorkerRow<'_> {
    pub(crate) const FILTERED: &'static [filter::Column] = WorkerStatus::COLUMNS;

    fn health(&self) -> Health {
        match self.busy {
            Some(busy) if busy >= 0.9 => Health::Bad,
            Some(busy) if busy >= 0.7 => Health::Warn,
            Some(_) => Health::Good,
            None => Health::Unknown,
        }
    }
}

impl filter::Row for WorkerRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        match name {
            // That of the status is since the worker started.
            "busy" => self.busy.map(Value::Number),
            _ => self.status.column(name),
        }
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        self.status.texts(visit);
    }
}

impl Record for WorkerRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Worker(self.status.node.clone(), self.status.worker)
    }

    fn cell(&self, column: &str) -> Cell {
        let status = self.status;
        match column {
            "" => Cell::mark(self.health()),
            "worker" => Cell::text(status.worker.to_string()),
            "busy" => match self.busy {
                Some(busy) => Cell::new(figures::whole_percent(busy), self.health().tone()),
                None => Cell::unknown(),
            },
            "connections" => Cell::text(figures::count(status.connections)),
            "slow" => Cell::figure(figures::count(status.slow_viewers), status.slow_viewers == 0),
            _ => Cell::default(),
        }
    }
}
