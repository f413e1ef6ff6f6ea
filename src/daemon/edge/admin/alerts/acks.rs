//! Acknowledgements, which nodes learn from each other's reports.
//!
//! Always holds: a loss is acknowledged if each of its texts was shown to the operator. One that
//! came or grew later is not. The acknowledgement does not end it: only `lc acknowledge` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::admin::AlertAck;

/// An acknowledgement is forgotten when its alert has been gone for this long: an alert that flaps
/// stays acknowledged, and one that comes back tomorrow does not.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Texts of a loss in one acknowledgement. Further ones stay unacknowledged.
const MAX_SHOWN: usize = 64;

/// Returns what an acknowledgement keeps of the texts of a loss.
pub(super) fn digests(losses: &BTreeSet<String>) -> Vec<u32> {
    losses.iter().take(MAX_SHOWN).map(|text| crc32c::crc32c(text.as_bytes())).collect()
}

#[derive(Debug, Default)]
pub(super) struct Acks {
    /// By the id of the alert, with the time at which it was last there.
    by_id: BTreeMap<String, (AlertAck, Instant)>,
}

impl Acks {
    pub(super) fn add(&mut self, ack: AlertAck, now: Instant) {
        self.by_id.insert(ack.id.clone(), (ack, now));
    }

    /// Takes over what other nodes know of the active alerts. The earliest acknowledgement counts,
    /// but the newest of a loss, because it was given for all texts up to then.
    pub(super) fn merge<'a>(
        &mut self,
        others: impl Iterator<Item = &'a AlertAck>,
        active: &[String],
        now: Instant,
    ) {
        for ack in others.filter(|ack| active.contains(&ack.id)) {
            let known = self.by_id.entry(ack.id.clone()).or_insert_with(|| (ack.clone(), now));
            let is_loss = !ack.shown.is_empty();
            let counts = if is_loss { ack.at > known.0.at } else { ack.at < known.0.at };
            if counts {
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

    /// Returns who has acknowledged an alert. `losses` are the texts of a loss, empty for any other
    /// alert.
    pub(super) fn of(&self, id: &str, losses: &BTreeSet<String>) -> Option<String> {
        let (ack, _) = self.by_id.get(id)?;
        let was_shown = |text: &String| ack.shown.contains(&crc32c::crc32c(text.as_bytes()));
        losses.iter().all(was_shown).then(|| ack.by.clone())
    }

    pub(super) fn list(&self) -> Vec<AlertAck> {
        self.by_id.values().map(|(ack, _)| ack.clone()).collect()
    }
}
