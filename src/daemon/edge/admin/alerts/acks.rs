//! Acknowledgements, which nodes learn from each other's reports.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::admin::AlertAck;

/// An acknowledgement is forgotten when its alert has been gone for this long: an alert that flaps
/// stays acknowledged, and one that comes back tomorrow does not.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Acks {
    /// By the id of the alert, with the time at which it was last there.
    by_id: BTreeMap<String, (AlertAck, Instant)>,
}

impl Acks {
    pub(super) fn add(&mut self, ack: AlertAck, now: Instant) {
        self.by_id.insert(ack.id.clone(), (ack, now));
    }

    /// Takes over what other nodes know of the active alerts. The earliest acknowledgement counts.
    pub(super) fn merge<'a>(
        &mut self,
        others: impl Iterator<Item = &'a AlertAck>,
        active: &[String],
        now: Instant,
    ) {
        for ack in others.filter(|ack| active.contains(&ack.id)) {
            let known = self.by_id.entry(ack.id.clone()).or_insert_with(|| (ack.clone(), now));
            if ack.at < known.0.at {
                known.0 = ack.clone();
            }
        }
        for id in active {
            if let Some((_, last_active)) = self.by_id.get_mut(id) {
                *last_active = now;
            }
        }
        self.by_id.retain(|_, (_, last_active)| {
            now.saturating_duration_since(*last_active) < FORGOTTEN_AFTER
        });
    }

    pub(super) fn of(&self, id: &str) -> Option<String> {
        self.by_id.get(id).map(|(ack, _)| ack.by.clone())
    }

    pub(super) fn list(&self) -> Vec<AlertAck> {
        self.by_id.values().map(|(ack, _)| ack.clone()).collect()
    }
}
