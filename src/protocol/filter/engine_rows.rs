//! The columns of what the cluster stands on: consumer groups, stores, dead letters.

use super::Kind::{Bytes, Duration, Number, Share, Text};
use super::rows::At;
use super::{Column, Columns, Row, Value};
use crate::protocol::admin::{DeadLetterItem, GroupLag, StoreStatus};

impl Row for GroupLag {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "group" => self.group.as_str().into(),
            "topic" => self.topic.as_str().into(),
            "behind" => Value::count(self.lag),
            "in_time" => Value::count(self.oldest_ms?),
            "change" => Value::Number(self.change_per_s?),
            "gone" => Value::count(self.expired),
            "partitions" => Value::count(self.partitions.len() as u64),
            "worst" => Value::count(self.worst()?.1),
            "owners" => self.owners_text().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.group);
        visit(&self.topic);
        self.owners.keys().for_each(|owner| visit(owner.as_str()));
    }
}

impl Columns for GroupLag {
    const COLUMNS: &'static [Column] = &[
        Column::new("group", Text),
        Column::new("topic", Text),
        Column::new("behind", Number),
        Column::new("in_time", Duration),
        Column::new("change", Number),
        Column::new("gone", Number),
        Column::new("partitions", Number),
        Column::new("worst", Number),
        Column::new("owners", Text),
    ];
}

impl Row for StoreStatus {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        Some(match name {
            "store" => self.contract.as_str().into(),
            "state" => self.state().into(),
            "for" => Value::count(self.breaker.as_ref()?.since_ms),
            "calls" => Value::Number(self.calls_per_second),
            "p50" => Value::Number(self.latency.quantile_ms(0.5)?),
            "p99" => Value::Number(self.latency.quantile_ms(0.99)?),
            "failed" => Value::Number(self.failed_per_second),
            "pool" => {
                let pool = self.pool?;
                Value::Number(pool.in_use as f64 / pool.max.max(1) as f64)
            }
            "nodes" => Value::count(self.nodes),
            "engine" => self.engine.as_str().into(),
            "address" => self.address.as_str().into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.contract);
        visit(&self.engine);
        visit(&self.address);
    }
}

impl Columns for StoreStatus {
    const COLUMNS: &'static [Column] = &[
        Column::new("store", Text),
        Column::new("state", Text),
        Column::new("for", Duration),
        Column::new("calls", Number),
        Column::new("p50", Duration),
        Column::new("p99", Duration),
        Column::new("failed", Number),
        Column::new("pool", Share),
        Column::new("nodes", Number),
        Column::new("engine", Text),
        Column::new("address", Text),
    ];
}

impl Row for At<'_, DeadLetterItem> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let letter = self.item;
        Some(match name {
            "id" => letter.id.as_str().into(),
            "age" => self.age(letter.at),
            "state" => letter.state.as_str().into(),
            "stream" => Value::count(letter.stream_id.0),
            "group" => letter.group.as_str().into(),
            "place" => format!("{} {} at {}", letter.topic, letter.partition, letter.offset).into(),
            "bytes" => Value::count(letter.bytes),
            "by" => letter.by.as_deref()?.into(),
            "comment" => letter.comment_id?.to_string().into(),
            "reason" => letter.reason.as_str().into(),
            "message" => letter.message.as_deref()?.into(),
            _ => return None,
        })
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        visit(&self.item.id);
        visit(&self.item.group);
        visit(&self.item.reason);
        self.item.message.iter().for_each(|message| visit(message));
    }
}

impl Columns for At<'_, DeadLetterItem> {
    const COLUMNS: &'static [Column] = &[
        Column::new("id", Text),
        Column::new("age", Duration),
        Column::new("state", Text),
        Column::new("stream", Number),
        Column::new("group", Text),
        Column::new("place", Text),
        Column::new("bytes", Bytes),
        Column::new("by", Text),
        Column::new("comment", Text),
        Column::new("reason", Text),
        Column::new("message", Text),
    ];
}
