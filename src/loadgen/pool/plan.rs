//! Describes viewers by a rule instead of a list, so that the plan for a million viewers is a short
//! message to each worker process.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::{Endpoint, Trust};
use crate::loadgen::clock::Micros;
use crate::protocol::StreamId;
use crate::protocol::admin::TransportKind;
use crate::protocol::message::Encoding;

/// The form of the messages that a viewer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireForm {
    pub encoding: Encoding,
    /// True if the viewer offers permessage-deflate.
    pub deflate: bool,
}

impl From<Encoding> for WireForm {
    fn from(encoding: Encoding) -> Self {
        Self { encoding, deflate: false }
    }
}

/// The time that a viewer's connection may take, handshake and `welcome` included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// All viewers of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ViewerPlan {
    pub viewers: u64,
    /// Shared evenly by the viewers.
    pub endpoints: Vec<Endpoint>,
    pub stream: StreamId,
    /// Shared evenly by the viewers.
    pub transports: Vec<TransportKind>,
    /// Shared evenly by the viewers; those without a WebSocket read JSON.
    pub forms: Vec<WireForm>,
    pub trust: Trust,
    /// One per viewer, or none.
    pub tokens: Vec<Arc<str>>,
    /// Percentage of viewers that never read.
    pub slow_percent: f64,
    pub connections_per_second: f64,
    /// Number of addresses from 127.0.0.2 on to connect from. With 0 the kernel chooses.
    pub source_addresses: u32,
    /// From the first packet to the welcome.
    pub connect_timeout: Duration,
}

impl ViewerPlan {
    /// Plans anonymous viewers that read JSON and connect as fast as they can.
    #[cfg(test)]
    pub(crate) fn new(viewers: u64, endpoint: Endpoint, stream: StreamId) -> Self {
        Self {
            viewers,
            endpoints: vec![endpoint],
            stream,
            transports: vec![TransportKind::Websocket],
            forms: vec![Encoding::Json.into()],
            trust: Trust::default(),
            tokens: Vec::new(),
            slow_percent: 0.0,
            connections_per_second: 1e6,
            source_addresses: 0,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// Spreads slow viewers evenly among the others.
    pub(crate) fn is_slow(&self, viewer: u64) -> bool {
        let slow_among = |viewers: u64| (viewers as f64 * self.slow_percent / 100.0) as u64;
        slow_among(viewer + 1) > slow_among(viewer)
    }
}

/// The part of the run that every pool must know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RunContext {
    /// User ids of the run's senders.
    pub own_users: Range<u64>,
    /// Zero of the run's clock.
    pub origin_us: u64,
    /// True to report latencies while the run continues, because a person watches.
    pub live: bool,
}

/// The viewers of one pool. Its methods take the index of a viewer within the pool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PoolPlan {
    /// The plan of all viewers, but with the tokens of this pool only.
    pub viewer_plan: ViewerPlan,
    /// The addresses of each endpoint, in the order in which they are tried.
    pub addresses: Vec<Vec<SocketAddr>>,
    pub part: u64,
    pub parts: u64,
    pub run: RunContext,
}

impl PoolPlan {
    /// Divides the viewers so that each pool has its share of every kind of viewer.
    pub(crate) fn divide(
        mut viewer_plan: ViewerPlan,
        addresses: &[Vec<SocketAddr>],
        parts: u64,
        run: &RunContext,
    ) -> Vec<Self> {
        let tokens = std::mem::take(&mut viewer_plan.tokens);
        let part = |part| {
            let mut plan = Self {
                viewer_plan: viewer_plan.clone(),
                addresses: addresses.to_vec(),
                part,
                parts,
                run: run.clone(),
            };
            let own = (0..plan.viewers())
                .filter_map(|index| tokens.get(plan.global_number(index) as usize));
            plan.viewer_plan.tokens = own.cloned().collect();
            plan
        };
        (0..parts).map(part).collect()
    }

    /// Returns the number of viewers in this pool.
    pub(crate) fn viewers(&self) -> u64 {
        let rows = self.viewer_plan.viewers / self.parts;
        rows + u64::from(self.global_number(rows) < self.viewer_plan.viewers)
    }

    /// Returns the number of a viewer among all viewers. Of each row of `parts` viewers every pool
    /// has one, at a position that differs from row to row. With a fixed position one pool could
    /// have, for example, all viewers whose number is a multiple of ten.
    pub(crate) fn global_number(&self, index: u64) -> u64 {
        let turn = index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        index * self.parts + (self.part + turn) % self.parts
    }

    /// Returns when a viewer connects, counted from the first viewer of the run.
    pub(crate) fn connect_after(&self, index: u64) -> Micros {
        let per_second = self.viewer_plan.connections_per_second;
        (self.global_number(index) as f64 / per_second * 1e6) as Micros
    }

    pub(crate) fn is_slow(&self, index: u64) -> bool {
        self.viewer_plan.is_slow(self.global_number(index))
    }

    pub(crate) fn endpoint(&self, index: u64) -> usize {
        (self.global_number(index) % self.viewer_plan.endpoints.len() as u64) as usize
    }

    /// Returns a viewer's transport. The viewers of each endpoint share the transports evenly, and
    /// those of each transport the forms.
    pub(crate) fn transport(&self, index: u64) -> TransportKind {
        let ViewerPlan { forms, transports, .. } = &self.viewer_plan;
        let round = self.round(index) / forms.len() as u64;
        transports[(round % transports.len() as u64) as usize]
    }

    /// Returns a viewer's form. The viewers of each endpoint share the forms evenly.
    pub(crate) fn form(&self, index: u64) -> WireForm {
        if self.transport(index) != TransportKind::Websocket {
            return Encoding::Json.into();
        }
        let forms = &self.viewer_plan.forms;
        forms[(self.round(index) % forms.len() as u64) as usize]
    }

    /// Returns a viewer's source address. The viewers of each endpoint share the addresses evenly.
    pub(crate) fn source(&self, index: u64) -> Option<Ipv4Addr> {
        let sources = u64::from(self.viewer_plan.source_addresses);
        let number = self.round(index).checked_rem(sources)?;
        Some(Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + number as u32))
    }

    pub(crate) fn token(&self, index: u64) -> Option<&str> {
        self.viewer_plan.tokens.get(index as usize).map(|token| &**token)
    }

    fn round(&self, index: u64) -> u64 {
        self.global_number(index) / self.viewer_plan.endpoints.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn plan(viewers: u64) -> ViewerPlan {
        ViewerPlan::new(viewers, Endpoint::plain("h", 1), StreamId(1))
    }

    #[test]
    fn slow_viewers_are_spread_among_the_others() {
        let slow = |slow_percent: f64| {
            let plan = ViewerPlan { slow_percent, ..plan(0) };
            (0..1000).filter(|viewer| plan.is_slow(*viewer)).collect::<Vec<_>>()
        };
        assert_eq!(slow(1.0).len(), 10);
        assert_eq!(slow(0.0).len(), 0);
        assert_eq!(slow(100.0).len(), 1000);
        assert_eq!(slow(0.25), [399, 799]);
    }

    proptest! {
        #[test]
        fn every_viewer_is_in_one_pool_with_its_token(viewers in 0_u64..500, parts in 1_u64..9) {
            let tokens = (0..viewers).map(|viewer| viewer.to_string().into()).collect();
            let viewer_plan = ViewerPlan { tokens, ..plan(viewers) };
            let mut seen = BTreeSet::new();
            let divided = PoolPlan::divide(viewer_plan, &[], parts, &RunContext::default());
            let sizes: Vec<_> = divided.iter().map(PoolPlan::viewers).collect();
            for part in divided {
                let mut last_due = 0;
                for index in 0..part.viewers() {
                    let viewer = part.global_number(index);
                    prop_assert!(viewer < viewers && seen.insert(viewer));
                    let token = viewer.to_string();
                    prop_assert_eq!(part.token(index), Some(token.as_str()));
                    prop_assert!(part.connect_after(index) >= last_due);
                    last_due = part.connect_after(index);
                }
            }
            prop_assert_eq!(seen.len() as u64, viewers);
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn transports_are_shared_evenly_and_forms_by_sockets() {
        let forms = vec![Encoding::Json.into(), Encoding::Msgpack.into()];
        let transports = TransportKind::ALL.to_vec();
        let viewer_plan = ViewerPlan { forms, transports, ..plan(6_000) };
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for part in PoolPlan::divide(viewer_plan, &[], 2, &RunContext::default()) {
            for index in 0..part.viewers() {
                let json = part.form(index).encoding == Encoding::Json;
                *counts.entry((part.transport(index).as_str(), json)).or_default() += 1;
            }
        }
        let expected = [
            (("poll", true), 2_000),
            (("sse", true), 2_000),
            (("websocket", false), 1_000),
            (("websocket", true), 1_000),
        ];
        assert_eq!(counts, BTreeMap::from(expected));
    }

    #[test]
    fn endpoints_encodings_and_sources_are_shared_evenly() {
        let endpoints = vec![Endpoint::plain("a", 1), Endpoint::plain("b", 1)];
        let forms = vec![Encoding::Json.into(), Encoding::Msgpack.into()];
        let viewer_plan = ViewerPlan { endpoints, forms, source_addresses: 3, ..plan(12_000) };
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        let mut slow_in = BTreeSet::new();
        let viewer_plan = ViewerPlan { slow_percent: 1.0, ..viewer_plan };
        for part in PoolPlan::divide(viewer_plan, &[], 2, &RunContext::default()) {
            for index in 0..part.viewers() {
                let encoding = part.form(index).encoding == Encoding::Json;
                *counts.entry((part.endpoint(index), encoding, part.source(index))).or_default() +=
                    1;
                if part.is_slow(index) {
                    slow_in.insert(part.part);
                }
            }
        }
        assert_eq!(counts.len(), 12);
        assert!(counts.values().all(|count| *count == 1_000), "{counts:?}");
        let sources: BTreeSet<_> = counts.keys().filter_map(|(_, _, source)| *source).collect();
        assert_eq!(sources.first(), Some(&Ipv4Addr::new(127, 0, 0, 2)));
        assert_eq!(slow_in.len(), 2, "each pool has slow viewers");
    }
}
