//! Nodes, silent ones included.

use crate::protocol::NodeId;
use crate::protocol::admin::{self, NodeStatus};
use crate::protocol::filter::{self, Columns as _, Value};
use crate::protocol::quantity::{show_bytes, show_duration};
use crate::tui::feed::{Moment, is_nearly_full};
use crate::tui::figures;
use crate::tui::table::{Column, Record, RowKey};
use crate::tui::tone::{Cell, Health, Tone};

const fn column(name: &'static str, by: &'static str, width: u16, rank: u8) -> Column {
    Column { name, by, width, right: true, rank, meaning: "" }
}

pub(crate) const NODES: &[Column] = &[
    Column {
        right: false,
        meaning: "✓ works, ▲ at a limit, ‖ draining, ✗ silent",
        ..column("", "", 1, 0)
    },
    Column { right: false, ..column("node", "node", 14, 0) },
    Column { right: false, meaning: "what the node does", ..column("roles", "roles", 11, 8) },
    Column {
        meaning: "connections (viewers and senders), and how many it takes",
        ..column("taken/of", "connections", 11, 1)
    },
    Column {
        right: false,
        meaning: "connections opened and closed per second",
        ..column("new/gone/s", "", 11, 5)
    },
    Column {
        meaning: "time that the busiest delivery worker works",
        ..column("busy", "busy", 5, 2)
    },
    Column { meaning: "processors in use, of those it may use", ..column("CPU", "cpu", 8, 3) },
    Column {
        meaning: "resident memory, of the memory it may use",
        ..column("memory", "memory", 12, 6)
    },
    Column { meaning: "bytes per second to viewers", ..column("sends/s", "sent", 7, 3) },
    Column {
        meaning: "bytes per second that it may send at most; nothing without a limit",
        ..column("limit/s", "limit", 7, 4)
    },
    Column { meaning: "share of deliveries that came late", ..column("late", "late", 6, 7) },
    Column { meaning: "its clock against the Redis node's", ..column("clock", "clock", 7, 9) },
    Column {
        meaning: "partitions of the event log that it reads, of all consumer groups",
        ..column("parts", "partitions", 5, 9)
    },
    Column { right: false, meaning: "version of lcd", ..column("version", "version", 8, 10) },
    Column { meaning: "time since it started", ..column("up", "up", 8, 6) },
    Column { right: false, ..column("state", "state", 0, 4) },
];

/// A node, or the name of a silent one.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow<'a> {
    pub(crate) name: NodeId,
    pub(crate) status: Option<&'a NodeStatus>,
    /// Milliseconds since the last report of a node that does not report any more, if known.
    pub(crate) silent_ms: Option<u64>,
    pub(crate) busy: Option<f64>,
}

impl<'a> NodeRow<'a> {
    pub(crate) const FILTERED: &'static [filter::Column] = NodeStatus::COLUMNS;

    /// Returns the rows of a moment: silent nodes, then nodes at a limit, then the busiest.
    pub(crate) fn of(moment: &'a Moment) -> Vec<Self> {
        let snapshot = &moment.snapshot;
        let silent = snapshot.unreachable.iter().map(|name| (name, None));
        let known = snapshot.nodes.iter().map(|status| (&status.node, Some(status)));
        let mut rows: Vec<_> = silent
            .chain(known)
            .map(|(name, status)| {
                let busy = moment.busiest_worker(name);
                let silent_ms = match status {
                    Some(status) => status.is_silent().then_some(status.seen_ms),
                    None => moment.silent_ms(name),
                };
                Self { name: name.clone(), status, silent_ms, busy }
            })
            .collect();
        rows.sort_by(|a, b| {
            let fullness = b.fullness().total_cmp(&a.fullness());
            b.health().cmp(&a.health()).then(fullness).then(a.name.cmp(&b.name))
        });
        rows
    }

    pub(crate) fn health(&self) -> Health {
        let Some(status) = self.status else { return Health::Bad };
        if status.health == admin::Health::Failing {
            return Health::Bad;
        }
        if status.is_silent() {
            return Health::Warn;
        }
        if status.draining {
            return Health::Idle;
        }
        let limited = status.egress.limited_by.is_some();
        let full = is_nearly_full(status.connections, status.max_connections);
        let busy = self.busy.is_some_and(|busy| busy >= 0.9);
        let alerted = status.health == admin::Health::Degraded;
        if limited || full || busy || alerted { Health::Warn } else { Health::Good }
    }

    /// Returns the share of its scarcest means that a node uses.
    pub(crate) fn fullness(&self) -> f64 {
        let Some(status) = self.status else { return 1.0 };
        let places = status.connections as f64 / status.max_connections.max(1) as f64;
        let egress = status
            .egress
            .limit_bytes_per_second
            .map_or(0.0, |limit| status.egress.sent_bytes_per_second as f64 / limit.max(1) as f64);
        [places, egress, self.busy.unwrap_or(0.0), self.cpu().unwrap_or(0.0)]
            .into_iter()
            .fold(0.0, f64::max)
    }

    /// Returns the share of its processors that a node uses.
    pub(crate) fn cpu(&self) -> Option<f64> {
        self.status?.process.cpu_share()
    }

    /// Says what the node is short of.
    pub(crate) fn state(&self) -> Cell {
        let Some(status) = self.status else {
            let since = self.silent_ms.map(|ms| format!(" {}", figures::age(ms)));
            return Cell::new(format!("silent{}", since.unwrap_or_default()), Tone::Bad);
        };
        if let Some(ms) = self.silent_ms {
            return Cell::new(format!("silent {}", figures::age(ms)), Tone::Warn);
        }
        if status.health == admin::Health::Failing {
            return Cell::new("failing", Tone::Bad);
        }
        if status.draining {
            return Cell::new("draining", Tone::Warn);
        }
        let lowered = status.egress.streams_lowered;
        if status.egress.limited_by.is_some() {
            let streams = figures::counted(lowered, "stream");
            return Cell::new(format!("sends all it may: {streams} lowered"), Tone::Warn);
        }
        match self.health() {
            Health::Warn if self.fullness() >= 0.9 => Cell::new("nearly full", Tone::Warn),
            Health::Warn => Cell::new("has alerts", Tone::Warn),
            _ => Cell::faint("works"),
        }
    }
}

impl filter::Row for NodeRow<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        match (self.status, name) {
            (_, "busy") => self.busy.map(Value::Number),
            (Some(status), _) => status.column(name),
            (None, "node") => Some(self.name.to_string().into()),
            (None, "state") => Some("silent".into()),
            (None, "seen") => self.silent_ms.map(Value::count),
            (None, _) => None,
        }
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        match self.status {
            Some(status) => status.texts(visit),
            None => {
                visit(self.name.as_str());
                visit("silent");
            }
        }
    }
}

impl Record for NodeRow<'_> {
    fn key(&self) -> RowKey {
        RowKey::Node(self.name.clone())
    }

    fn cell(&self, column: &str) -> Cell {
        match column {
            "" => return Cell::mark(self.health()),
            "node" => return Cell::text(self.name.to_string()),
            "state" => return self.state(),
            _ => {}
        }
        let Some(status) = self.status else { return Cell::unknown() };
        let process = &status.process;
        let known = |text: Option<String>| text.map_or_else(Cell::unknown, Cell::text);
        match column {
            "roles" => Cell::faint(status.roles.join(" ")),
            "taken/of" if status.max_connections == 0 => Cell::unknown(),
            "taken/of" => {
                let full = is_nearly_full(status.connections, status.max_connections);
                let text = format!(
                    "{}/{}",
                    figures::count(status.connections),
                    figures::count(status.max_connections)
                );
                Cell::new(text, if full { Tone::Warn } else { Tone::Text })
            }
            "new/gone/s" => {
                let rates = &status.rates;
                let opened = figures::plain_rate(Some(rates.connections_opened));
                let closed = figures::plain_rate(Some(rates.connections_closed));
                Cell::faint(format!("+{opened} −{closed}"))
            }
            "busy" => match self.busy {
                Some(busy) if busy >= 0.9 => Cell::new(figures::whole_percent(busy), Tone::Bad),
                Some(busy) if busy >= 0.7 => Cell::new(figures::whole_percent(busy), Tone::Warn),
                Some(busy) => Cell::text(figures::whole_percent(busy)),
                None => Cell::unknown(),
            },
            "CPU" => known(process.cpu.map(|cpu| {
                format!("{cpu:.1}/{}", process.cores.map_or("–".into(), |c| c.to_string()))
            })),
            "memory" => known(process.rss_bytes.map(|bytes| {
                let of = process
                    .memory_bytes
                    .map_or(String::new(), |all| format!("/{}", show_bytes(all)));
                format!("{}{of}", show_bytes(bytes))
            })),
            "sends/s" => Cell::text(show_bytes(status.egress.sent_bytes_per_second)),
            "limit/s" => match status.egress.limit_bytes_per_second {
                Some(limit) => Cell::new(show_bytes(limit), Tone::Warn),
                None => Cell::default(),
            },
            "late" => {
                let rates = &status.rates;
                let late = rates.late / rates.delivered;
                known((rates.delivered > 0.0).then(|| figures::percent(late)))
            }
            "clock" => known(process.clock_ms.map(|ms| format!("{ms:+} ms"))),
            "parts" => match status.partitions.values().sum::<u64>() {
                0 => Cell::default(),
                count => Cell::text(figures::count(count)),
            },
            "version" => Cell::faint(status.version.clone()),
            "up" => Cell::faint(show_duration(status.uptime_ms)),
            _ => Cell::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::feed::samples;

    #[test]
    fn a_late_report_is_seen_before_the_node_is_gone() {
        let mut snapshot = samples::healthy(60);
        snapshot.nodes[1].seen_ms = 3_400;
        snapshot.nodes[2].partitions =
            [("coordinator".to_owned(), 50), ("archiver".to_owned(), 100)].into();
        snapshot.nodes[2].health = admin::Health::Degraded;
        let moment = samples::moment(snapshot);
        let rows = NodeRow::of(&moment);
        let row = |name: &str| rows.iter().find(|row| row.name.as_str() == name).unwrap();
        assert_eq!(row("edge-2").state().text, "silent 0:03");
        assert_eq!(row("edge-2").health(), Health::Warn);
        assert_eq!(row("coord-1").cell("parts").text, "150");
        assert_eq!(row("coord-1").state().text, "has alerts");
        assert_eq!(row("edge-1").cell("parts").text, "");
    }
}
