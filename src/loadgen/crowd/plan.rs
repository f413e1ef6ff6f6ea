//! Who watches: a rule instead of a list, so that a million viewers fit into a line to a worker.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::{Endpoint, Trust};
use crate::loadgen::ledger::Micros;
use crate::protocol::StreamId;
use crate::protocol::message::Encoding;

/// What a viewer asks the server to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireForm {
    pub encoding: Encoding,
    /// permessage-deflate.
    pub deflate: bool,
}

impl From<Encoding> for WireForm {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, deflate: false }
    }
}

/// All viewers of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AudiencePlan {
    pub viewers: u64,
    /// They share the viewers evenly.
    pub endpoints: Vec<Endpoint>,
    pub stream: StreamId,
    /// So do these.
    pub forms: Vec<WireForm>,
    pub trust: Trust,
    /// One for each viewer, or none.
    pub tokens: Vec<Arc<str>>,
    /// How many in a hundred never read.
    pub slow_percent: f64,
    /// Connections a second.
    pub connect_rate: f64,
    /// Addresses from 127.0.0.2 on to connect from; 0 leaves it to the kernel.
    pub source_addresses: u32,
    /// From the first packet to the welcome.
    pub connect_timeout: Duration,
}

impl AudiencePlan {
    /// Anonymous viewers that read JSON and connect as fast as they can.
    pub(crate) fn new(viewers: u64, endpoint: Endpoint, stream: StreamId) -> Self {
        Self {
            viewers,
            endpoints: vec![endpoint],
            stream,
            forms: vec![Encoding::Json.into()],
            trust: Trust::default(),
            tokens: Vec::new(),
            slow_percent: 0.0,
            connect_rate: 1e6,
            source_addresses: 0,
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Spreads slow viewers evenly among the others.
    pub(crate) fn is_slow(&self, viewer: u64) -> bool {
        let slow_among = |viewers: u64| (viewers as f64 * self.slow_percent / 100.0) as u64;
        slow_among(viewer + 1) > slow_among(viewer)
    }
}

/// What one reader of viewers has to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CrowdPlan {
    /// `tokens` are those of this part alone.
    pub audience: AudiencePlan,
    /// Of each endpoint, in the order in which they are tried.
    pub addresses: Vec<Vec<SocketAddr>>,
    pub part: u64,
    pub parts: u64,
    /// The ids of this run's senders.
    pub own_users: Range<u64>,
    /// The zero of the run's clock.
    pub origin_us: u64,
    /// Somebody looks: tell latencies while the run goes on.
    pub live: bool,
}

impl CrowdPlan {
    /// Divides an audience so that each part has its share of every kind of viewer.
    pub(crate) fn divide(
        mut audience: AudiencePlan,
        addresses: &[Vec<SocketAddr>],
        parts: u64,
        own_users: &Range<u64>,
        origin_us: u64,
        live: bool,
    ) -> Vec<Self> {
        let tokens = std::mem::take(&mut audience.tokens);
        let whole = |part| Self {
            audience: audience.clone(),
            addresses: addresses.to_vec(),
            part,
            parts,
            own_users: own_users.clone(),
            origin_us,
            live,
        };
        let with_tokens = |mut plan: Self| {
            let own = (0..plan.viewers()).filter_map(|seat| tokens.get(plan.viewer(seat) as usize));
            plan.audience.tokens = own.cloned().collect();
            plan
        };
        (0..parts).map(whole).map(with_tokens).collect()
    }

    /// How many sit here.
    pub(crate) fn viewers(&self) -> u64 {
        let rows = self.audience.viewers / self.parts;
        rows + u64::from(self.viewer(rows) < self.audience.viewers)
    }

    /// The number, among all, of the viewer on a seat. In each row of `parts` viewers every part has
    /// one, at a place that differs from row to row, lest one part have all that is every tenth.
    pub(crate) fn viewer(&self, seat: u64) -> u64 {
        let turn = seat.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        seat * self.parts + (self.part + turn) % self.parts
    }

    /// When it is to connect, since the first does.
    pub(crate) fn due(&self, seat: u64) -> Micros {
        (self.viewer(seat) as f64 / self.audience.connect_rate * 1e6) as Micros
    }

    pub(crate) fn is_slow(&self, seat: u64) -> bool {
        self.audience.is_slow(self.viewer(seat))
    }

    pub(crate) fn endpoint(&self, seat: u64) -> usize {
        (self.viewer(seat) % self.audience.endpoints.len() as u64) as usize
    }

    /// Each endpoint has its share of each form.
    pub(crate) fn form(&self, seat: u64) -> WireForm {
        let forms = &self.audience.forms;
        forms[(self.round(seat) % forms.len() as u64) as usize]
    }

    /// And of each source.
    pub(crate) fn source(&self, seat: u64) -> Option<Ipv4Addr> {
        let sources = u64::from(self.audience.source_addresses);
        let number = self.round(seat).checked_rem(sources)?;
        Some(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + number as u32))
    }

    pub(crate) fn token(&self, seat: u64) -> Option<&str> {
        self.audience.tokens.get(seat as usize).map(|token| &**token)
    }

    fn round(&self, seat: u64) -> u64 {
        self.viewer(seat) / self.audience.endpoints.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn plan(viewers: u64) -> AudiencePlan {
        AudiencePlan::new(viewers, Endpoint::plain("h", 1), StreamId(1))
    }

    #[test]
    fn slow_viewers_are_spread_among_the_others() {
        let slow = |slow_percent: f64| {
            let plan = AudiencePlan { slow_percent, ..plan(0) };
            (0..1000).filter(|viewer| plan.is_slow(*viewer)).collect::<Vec<_>>()
        };
        assert_eq!(slow(1.0).len(), 10);
        assert_eq!(slow(0.0).len(), 0);
        assert_eq!(slow(100.0).len(), 1000);
        assert_eq!(slow(0.25), [399, 799]);
    }

    proptest! {
        #[test]
        fn every_viewer_sits_in_one_part_with_its_own_token(viewers in 0_u64..500, parts in 1_u64..9) {
            let tokens = (0..viewers).map(|viewer| viewer.to_string().into()).collect();
            let audience = AudiencePlan { tokens, ..plan(viewers) };
            let mut seen = BTreeSet::new();
            let divided = CrowdPlan::divide(audience, &[], parts, &(0..0), 0, false);
            let sizes: Vec<_> = divided.iter().map(CrowdPlan::viewers).collect();
            for part in divided {
                let mut last_due = 0;
                for seat in 0..part.viewers() {
                    let viewer = part.viewer(seat);
                    prop_assert!(viewer < viewers && seen.insert(viewer));
                    let token = viewer.to_string();
                    prop_assert_eq!(part.token(seat), Some(token.as_str()));
                    prop_assert!(part.due(seat) >= last_due);
                    last_due = part.due(seat);
                }
            }
            prop_assert_eq!(seen.len() as u64, viewers);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn endpoints_encodings_and_sources_are_shared_evenly() {
        let endpoints = vec![Endpoint::plain("a", 1), Endpoint::plain("b", 1)];
        let forms = vec![Encoding::Json.into(), Encoding::Msgpack.into()];
        let audience = AudiencePlan { endpoints, forms, source_addresses: 3, ..plan(12_000) };
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        let mut slow_in = BTreeSet::new();
        let audience = AudiencePlan { slow_percent: 1.0, ..audience };
        for part in CrowdPlan::divide(audience, &[], 2, &(0..0), 0, false) {
            for seat in 0..part.viewers() {
                let encoding = part.form(seat).encoding == Encoding::Json;
                *counts.entry((part.endpoint(seat), encoding, part.source(seat))).or_default() += 1;
                if part.is_slow(seat) {
                    slow_in.insert(part.part);
                }
            }
        }
        assert_eq!(counts.len(), 12);
        assert!(counts.values().all(|count| *count == 1_000), "{counts:?}");
        let sources: BTreeSet<_> = counts.keys().filter_map(|(_, _, source)| *source).collect();
        assert_eq!(sources.first(), Some(&Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(slow_in.len(), 2, "each part has slow viewers");
    }
}
