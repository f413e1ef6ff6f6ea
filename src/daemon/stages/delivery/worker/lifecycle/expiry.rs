//! Closes viewers whose token expires while they are connected, or whose issuer withdraws the key
//! that signed it. One heap per worker holds the expiry times of viewers with tokens. An entry
//! whose viewer has left or authenticated again is ignored when its time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::daemon::base::handoff::{Bearer, IssuerKeyId};
use crate::daemon::stages::delivery::worker::Worker;
use crate::daemon::stages::delivery::worker::viewer::{Flags, NEVER_S, Viewer};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{CloseCode, ErrorCode};

/// Stale entries that are always kept, so that a small node does not rebuild its heap all the
/// time.
const SPARE_ENTRIES: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expiry {
    at_s: u32,
    slot: u32,
    generation: u32,
}

impl Expiry {
    fn is_of(&self, viewer: &Viewer) -> bool {
        viewer.generation == self.generation && viewer.expires_s == self.at_s
    }
}

/// Expiry times, the soonest first. Bounded by twice the viewers: see [`Self::push`].
#[derive(Debug, Default)]
pub(crate) struct Expiries(BinaryHeap<Reverse<Expiry>>);

impl Expiries {
    /// Adds an entry. Stale entries are removed when all together outnumber the viewers twice;
    /// otherwise long-lived tokens of viewers that come and go would pile up.
    fn push(&mut self, expiry: Expiry, viewers: &slab::Slab<Viewer>) {
        self.0.push(Reverse(expiry));
        if self.0.len() > 2 * viewers.len() + SPARE_ENTRIES {
            self.0.retain(|Reverse(expiry)| {
                viewers.get(expiry.slot as usize).is_some_and(|viewer| expiry.is_of(viewer))
            });
        }
    }

    fn pop_due(&mut self, now_s: u32) -> Option<Expiry> {
        let due = self.0.peek().is_some_and(|Reverse(expiry)| expiry.at_s <= now_s);
        if due { self.0.pop().map(|Reverse(expiry)| expiry) } else { None }
    }
}

impl Worker {
    /// Sets the identity of a viewer until its token expires.
    pub(crate) fn set_bearer(&mut self, slot: usize, bearer: Bearer) {
        self.set_identity(slot, Some(bearer.identity));
        let at_s = expiry_s(self.now - self.started, bearer.expires_in);
        let viewer = &mut self.viewers[slot];
        viewer.expires_s = at_s;
        viewer.issuer_key = bearer.issuer_key;
        if at_s != NEVER_S {
            let expiry = Expiry { at_s, slot: slot as u32, generation: viewer.generation };
            self.expiries.push(expiry, &self.viewers);
        }
    }

    pub(crate) fn close_expired(&mut self) {
        while let Some(expiry) = self.expiries.pop_due(self.now_s()) {
            let slot = expiry.slot as usize;
            let Some(viewer) = self.viewers.get(slot) else { continue };
            if expiry.is_of(viewer) && !viewer.flags.has(Flags::CLOSING) {
                self.close_without_token(slot, "the token has expired: reconnect with a new one");
            }
        }
    }

    /// Closes the viewers whose tokens were signed with one of these keys. Returns their number.
    pub(crate) fn close_signed_by(&mut self, keys: &[IssuerKeyId]) -> u64 {
        let is_signed = |viewer: &Viewer| viewer.issuer_key.is_some_and(|key| keys.contains(&key));
        let is_open = |viewer: &Viewer| !viewer.flags.has(Flags::CLOSING);
        let signed = self.viewers.iter().filter(|(_, it)| is_signed(it) && is_open(it));
        let slots: Vec<_> = signed.map(|(slot, _)| slot).collect();
        for slot in &slots {
            let text = "the key of the token was withdrawn: reconnect with a new token";
            self.close_without_token(*slot, text);
        }
        slots.len() as u64
    }

    fn close_without_token(&mut self, slot: usize, text: &'static str) {
        let error = ErrorBody::new(ErrorCode::TokenExpired, text);
        self.send_error_and_close(slot, error, CloseCode::TokenExpired);
    }
}

/// Returns the second of the worker's clock in which a token that is valid for `left` has
/// expired. It is rounded up, so that no token is cut short. Beyond the end of the clock (136
/// years) it is never.
fn expiry_s(now: Duration, left: Duration) -> u32 {
    let ends = now.saturating_add(left).saturating_add(Duration::from_millis(999));
    u32::try_from(ends.as_secs()).unwrap_or(NEVER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_expires_in_the_second_after_its_last() {
        let at = |now_ms, left_ms| {
            expiry_s(Duration::from_millis(now_ms), Duration::from_millis(left_ms))
        };
        assert_eq!(at(0, 5000), 5);
        assert_eq!(at(400, 5000), 6);
        assert_eq!(at(0, 1), 1);
        assert_eq!(at(1000, 0), 1);
        assert_eq!(expiry_s(Duration::from_secs(5), Duration::MAX), NEVER_S);
    }

    #[test]
    fn soonest_first_and_stale_entries_are_removed() {
        let mut expiries = Expiries::default();
        let nobody = slab::Slab::new();
        for at_s in [7, 3, 5] {
            expiries.push(Expiry { at_s, slot: 0, generation: at_s }, &nobody);
        }
        let order: Vec<_> = std::iter::from_fn(|| expiries.pop_due(5)).map(|e| e.at_s).collect();
        assert_eq!(order, [3, 5]);
        for generation in 0..100_000 {
            expiries.push(Expiry { at_s: 1_000_000, slot: 0, generation }, &nobody);
            assert!(expiries.0.len() <= SPARE_ENTRIES);
        }
    }
}
