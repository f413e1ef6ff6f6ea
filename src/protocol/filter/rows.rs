//! The columns of what the admin API lists; those of what is in force on users are in
//! [`super::user_rows`].

use super::Kind::{Bytes, Duration, Flag, Number, Share, Text, Word};
use super::{Column, Columns, Kind, Row, Value};
use crate::protocol::admin::{
    Alert, AuditEntry, BreakerState, BreakerStatus, ConsumerLag, EgressLimit, EventItem,
    NodeStatus, Status, StreamStatus, WorkerStatus,
};
use crate::protocol::stream::ModerationMode;

/// The states of a node and of a cluster.
const HEALTH: Kind = Word(&["well", "degraded", "failing"]);

/// An item with the time at which it is looked at, for columns such as `age`.
#[derive(Debug, Clone, Copy)]
pub struct At<'a, T> {
    pub item: &'a T,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// Items without columns that depend on the time.
impl<T: Row> Row for At<'_, T> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        self.item.column(name)
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        self.item.texts(visit);
    }
}

impl<T: Columns> Columns for At<'_, T> {
    const COLUMNS: &'static [Column] = T::COLUMNS;
}

impl<T> At<'_, T> {
    pub(super) fn age(&self, at_ms: u64) -> Value<'static> {
        Value::count(self.now_ms.saturating_sub(at_ms))
    }
}

impl Row for StreamStatus {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "id" => Value::count(self.stream_id.0),
            "title" => self.title.as_str().into(),
            "state" => self.state.as_str().into(),
            "viewers" => Value::count(self.viewers),
            "in" => Value::Number(self.comments_per_second),
            "shown" => Value::Number(self.shown_per_second()),
            "share" => Value::Number(self.shown().share()),
            "by" => self.share_set_by().into(),
            "level" => Value::count(self.throttle_level.into()),
            "moderation" => match self.moderation {
                ModerationMode::Async => "async",
                ModerationMode::Sync => "sync",
                ModerationMode::Off => "off",
            }
            .into(),
            "anonymous" => Value::Flag(self.anonymous),
            "received" => Value::count(self.received),
            "left_out" => Value::count(self.sampled_out + self.egress_sampled_out),
            "deleted" => Value::count(self.deleted),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.stream_id.to_string());
        visit(&self.title);
        visit(self.state.as_str());
    }
}

impl Columns for StreamStatus {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Number),
        Column::new("title", Text),
        Column::new("state", Word(&["scheduled", "live", "ended"])),
        Column::new("viewers", Number),
        Column::new("in", Number),
        Column::new("shown", Number),
        Column::new("share", Share),
        Column::new("by", Text),
        Column::new("level", Number),
        Column::new("moderation", Word(&["async", "sync", "off"])),
        Column::new("anonymous", Flag),
        Column::new("received", Number),
        Column::new("left_out", Number),
        Column::new("deleted", Number),
    ];
}

/// Returns a part of a whole, or `None` if there is nothing.
fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Row for NodeStatus {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "node" => self.node.to_string().into(),
            "state" => self.state().into(),
            "health" => self.health.as_str().into(),
            "viewers" => Value::count(self.viewers()),
            "senders" => Value::count(self.senders),
            "connections" => Value::count(self.connections),
            "sse" => Value::count(self.transports.sse),
            "polls" => Value::count(self.transports.poll),
            "max" => Value::count(self.max_connections),
            "places" => Value::Number(self.connections as f64 / self.max_connections.max(1) as f64),
            "sent" => Value::count(self.egress.sent_bytes_per_second),
            "wanted" => Value::count(self.egress.wanted_bytes_per_second),
            "limit" => Value::count(self.egress.limit_bytes_per_second?),
            "limited_by" => match self.egress.limited_by? {
                EgressLimit::Budget => "budget",
                EgressLimit::Sockets => "sockets",
            }
            .into(),
            "lowered" => Value::count(self.egress.streams_lowered),
            "up" => Value::count(self.uptime_ms),
            "listen" => self.listen.as_str().into(),
            "version" => self.version.as_str().into(),
            "cpu" => Value::Number(self.process.cpu_share()?),
            "memory" => Value::count(self.process.rss_bytes?),
            "files" => Value::count(self.process.files?),
            "disk" => Value::count(self.process.disk_free_bytes?),
            "clock" => Value::Number(self.process.clock_ms? as f64),
            "seen" => Value::count(self.seen_ms),
            "partitions" => Value::count(self.partitions.values().sum()),
            "late" => Value::Number(share(self.rates.late, self.rates.delivered)?),
            "roles" => self.roles.join(", ").into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.node.to_string());
        visit(&self.listen);
        visit(&self.version);
        self.roles.iter().for_each(|role| visit(role));
        if self.draining || self.is_silent() {
            visit(self.state());
        }
    }
}

impl Columns for NodeStatus {
    const COLUMNS: &'static [Column] = &[
        Column::new("node", Text),
        Column::new("state", Word(&["up", "draining", "silent"])),
        Column::new("health", HEALTH),
        Column::new("viewers", Number),
        Column::new("senders", Number),
        Column::new("connections", Number),
        Column::new("sse", Number),
        Column::new("polls", Number),
        Column::new("max", Number),
        Column::new("places", Share),
        Column::new("sent", Bytes),
        Column::new("wanted", Bytes),
        Column::new("limit", Bytes),
        Column::new("limited_by", Text),
        Column::new("lowered", Number),
        Column::new("up", Duration),
        Column::new("listen", Text),
        Column::new("version", Text),
        Column::new("cpu", Share),
        Column::new("memory", Bytes),
        Column::new("files", Number),
        Column::new("disk", Bytes),
        Column::new("clock", Duration),
        Column::new("seen", Duration),
        Column::new("partitions", Number),
        Column::new("late", Share),
        Column::new("roles", Text),
    ];
}

impl Row for WorkerStatus {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "node" => self.node.to_string().into(),
            "worker" => Value::count(self.worker.into()),
            "connections" => Value::count(self.connections),
            "slow" => Value::count(self.slow_viewers),
            "busy" => Value::Number(self.busy_us as f64 / self.wall_us.max(1) as f64),
            "frames" => Value::count(self.frames),
            "delivered" => Value::count(self.delivered),
            "sent" => Value::count(self.bytes_out),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.node.to_string());
    }
}

impl Columns for WorkerStatus {
    const COLUMNS: &'static [Column] = &[
        Column::new("node", Text),
        Column::new("worker", Number),
        Column::new("connections", Number),
        Column::new("slow", Number),
        Column::new("busy", Share),
        Column::new("frames", Number),
        Column::new("delivered", Number),
        Column::new("sent", Bytes),
    ];
}

impl Row for ConsumerLag {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "group" => self.group.as_str().into(),
            "topic" => self.topic.as_str().into(),
            "partition" => Value::count(self.partition.into()),
            "lag" => Value::count(self.lag),
            "in_time" => Value::count(self.oldest_ms?),
            "change" => Value::Number(self.change_per_s?),
            "owner" => self.owner.as_ref()?.to_string().into(),
            "gone" => Value::count(self.expired),
            "position" => Value::count(self.position),
            "end" => Value::count(self.end),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.group);
        visit(&self.topic);
    }
}

impl Columns for ConsumerLag {
    const COLUMNS: &'static [Column] = &[
        Column::new("group", Text),
        Column::new("topic", Text),
        Column::new("partition", Number),
        Column::new("lag", Number),
        Column::new("in_time", Duration),
        Column::new("change", Number),
        Column::new("owner", Text),
        Column::new("gone", Number),
        Column::new("position", Number),
        Column::new("end", Number),
    ];
}

impl Row for BreakerStatus {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "dependency" => self.dependency.as_str().into(),
            "state" => match self.state {
                BreakerState::Closed => "works",
                BreakerState::Open => "fails",
                BreakerState::HalfOpen => "trial",
            }
            .into(),
            "for" => Value::count(self.since_ms),
            "error" => self.last_error.as_deref()?.into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.dependency);
        self.last_error.iter().for_each(|error| visit(error));
    }
}

impl Columns for BreakerStatus {
    const COLUMNS: &'static [Column] = &[
        Column::new("dependency", Text),
        Column::new("state", Text),
        Column::new("for", Duration),
        Column::new("error", Text),
    ];
}

impl Row for At<'_, AuditEntry> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let entry = self.item;
        Some(match name {
            "id" => Value::count(entry.audit_id),
            "age" => self.age(entry.at),
            "by" => entry.actor.as_str().into(),
            "action" => entry.action.as_str().into(),
            "target" => entry.target.as_str().into(),
            "detail" => entry.detail.to_string().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.actor);
        visit(&self.item.action);
        visit(&self.item.target);
        visit(&self.item.detail.to_string());
    }
}

impl Columns for At<'_, AuditEntry> {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Number),
        Column::new("age", Duration),
        Column::new("by", Text),
        Column::new("action", Text),
        Column::new("target", Text),
        Column::new("detail", Text),
    ];
}

impl Row for Alert {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "id" => self.id.as_str().into(),
            "rule" => self.rule.as_str().into(),
            "subject" => self.subject.as_str().into(),
            "severity" => self.severity.as_str().into(),
            "since" => Value::count(self.since_ms),
            "viewers" => Value::count(self.viewers),
            "nodes" => Value::count(self.nodes.len() as u64),
            "acked" => Value::Flag(self.acked_by.is_some()),
            "by" => self.acked_by.as_deref()?.into(),
            "effect" => self.effect.as_str().into(),
            "next" => self.next.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.id);
        visit(&self.effect);
        self.nodes.iter().for_each(|node| visit(node.as_str()));
    }
}

impl Columns for Alert {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Text),
        Column::new("rule", Text),
        Column::new("subject", Text),
        Column::new("severity", Text),
        Column::new("since", Duration),
        Column::new("viewers", Number),
        Column::new("nodes", Number),
        Column::new("acked", Flag),
        Column::new("by", Text),
        Column::new("effect", Text),
        Column::new("next", Text),
    ];
}

impl Row for At<'_, EventItem> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let event = self.item;
        Some(match name {
            "id" => Value::count(event.id),
            "age" => self.age(event.at),
            "node" => event.node.as_str().into(),
            "kind" => event.kind.as_str().into(),
            "subject" => event.subject.as_str().into(),
            "audit" => Value::count(event.audit_id?),
            "text" => event.text.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.item.kind.as_str());
        visit(&self.item.subject);
        visit(&self.item.text);
        visit(self.item.node.as_str());
    }
}

impl Columns for At<'_, EventItem> {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Number),
        Column::new("age", Duration),
        Column::new("node", Text),
        Column::new("kind", Text),
        Column::new("subject", Text),
        Column::new("audit", Number),
        Column::new("text", Text),
    ];
}

impl Row for Status {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "health" => self.health.as_str().into(),
            "ready" => Value::Flag(self.ready),
            "draining" => Value::Flag(self.draining),
            "alerts" => Value::count(self.alerts.len() as u64),
            "viewers" => Value::count(self.viewers),
            "connections" => Value::count(self.connections),
            "streams" => Value::count(self.live_streams),
            "served" => Value::Number(self.served?),
            "p99" => Value::Number(self.p99_ms?),
            "up" => Value::count(self.uptime_ms),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.node.as_str());
        self.cluster.iter().for_each(|cluster| visit(cluster));
        visit(self.health.as_str());
        self.alerts.iter().for_each(|alert| visit(&alert.id));
    }
}

impl Columns for Status {
    const COLUMNS: &'static [Column] = &[
        Column::new("health", HEALTH),
        Column::new("ready", Flag),
        Column::new("draining", Flag),
        Column::new("alerts", Number),
        Column::new("viewers", Number),
        Column::new("connections", Number),
        Column::new("streams", Number),
        Column::new("served", Share),
        Column::new("p99", Duration),
        Column::new("up", Duration),
    ];
}
