//! Egress control: keeps what one node sends within what it can send.
//!
//! In: what was written of each stream, how many sockets were full, how many comments arrived. Out:
//! the share of each stream's comments that the node shows, in addition to the sampling of the
//! broadcast stage for all nodes.
//!
//! ```text
//! bytes, full sockets ─▶ policy: limit, fair level ─▶ pace per stream ─▶ share
//! ```
//!
//! Two limits apply: the configured budget (`delivery.egress_bytes_per_second`), and what the
//! sockets take. While too many sockets are full, a limit below the current rate is set; it is
//! raised again when they drain.
//!
//! Always holds:
//! - Streams share the limit max-min fairly: a stream that wants less than the fair level is shown
//!   whole, and all others are sent equally much.
//! - A share moves along a fixed ladder, at most one rung per tick, and upwards only after a while.
//!   So it neither jumps nor flaps.
//! - A stream never goes silent: about one comment per second is shown, whatever the limit.
//! - Only comments are left out. Which ones is a function of their ids, so all viewers of the node
//!   see the same, and they are counted.

mod fair;
mod ladder;
mod pace;
mod socket_pressure;

use std::time::Duration;

use fair::Demand;
use socket_pressure::{EgressRates, SocketPressure};

use crate::protocol::admin::EgressLimit;

pub use pace::{StreamLoad, StreamPace};
pub use socket_pressure::{MeterReading, SocketLoad};

/// Interval between two adjustments.
pub const TICK: Duration = Duration::from_millis(250);

/// The target below the budget, because rates vary.
const AIM: f64 = 0.95;

/// The settings of the policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EgressRules {
    /// Bytes per second that the node may send. 0 means no budget.
    pub bytes_per_second: u64,
    /// The share of visits that find a full socket, from which on the node sends less. 0 means
    /// never.
    pub held_up: f64,
}

/// Chooses the limit in force and each stream's part of it.
#[derive(Debug)]
pub struct EgressPolicy {
    /// Bytes per second.
    budget: Option<f64>,
    pressure: SocketPressure,
}

/// The result of an adjustment; rates in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EgressDecision {
    pub sent: f64,
    /// Rate if every stream were shown whole.
    pub wanted: f64,
    /// The limit, if it is below the demand.
    pub limit: Option<LimitInForce>,
    /// Streams not shown whole.
    pub lowered: usize,
}

/// A limit, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitInForce {
    pub kind: EgressLimit,
    pub limit: f64,
    /// Rate that the streams may use together, at or below the limit.
    target: f64,
}

impl EgressPolicy {
    pub fn new(rules: EgressRules) -> Self {
        let budget = (rules.bytes_per_second > 0).then_some(rules.bytes_per_second as f64);
        Self { budget, pressure: SocketPressure::new(rules.held_up) }
    }

    /// Moves the share of every stream by at most one rung.
    pub fn adjust(
        &mut self,
        paces: &mut [&mut StreamPace],
        sockets: SocketLoad,
        elapsed: Duration,
    ) -> EgressDecision {
        let sum = |of: fn(&StreamPace) -> f64| paces.iter().map(|pace| of(pace)).sum::<f64>();
        let rates = EgressRates { sent: sum(StreamPace::sent), wanted: sum(StreamPace::wanted) };
        self.pressure.update(sockets, rates, elapsed);
        let limit = self.limit().filter(|limit| limit.target < rates.wanted);
        let level = limit.map_or(f64::INFINITY, |limit| level(paces, limit.target));
        for pace in paces.iter_mut() {
            pace.step(target(pace, level), elapsed);
        }
        let lowered = paces.iter().filter(|pace| pace.is_lowered()).count();
        EgressDecision { sent: rates.sent, wanted: rates.wanted, limit, lowered }
    }

    /// Returns the limit with the lower target.
    fn limit(&self) -> Option<LimitInForce> {
        let budget = self.budget.map(|limit| LimitInForce {
            kind: EgressLimit::Budget,
            limit,
            target: limit * AIM,
        });
        let sockets = self.pressure.limit().map(|limit| LimitInForce {
            kind: EgressLimit::Sockets,
            limit,
            target: limit,
        });
        match (budget, sockets) {
            (Some(budget), Some(sockets)) if sockets.target < budget.target => Some(sockets),
            (budget, sockets) => budget.or(sockets),
        }
    }
}

fn demand(pace: &StreamPace) -> Demand {
    let wanted = pace.wanted();
    Demand { wanted, least: wanted * pace.least_share() }
}

fn level(paces: &[&mut StreamPace], target: f64) -> f64 {
    let demands: Vec<_> = paces.iter().map(|pace| demand(pace)).collect();
    fair::level(&demands, target)
}

/// Returns the target share of a stream at a level. A stream that is granted everything may rise
/// without bound.
fn target(pace: &StreamPace, level: f64) -> f64 {
    let Demand { wanted, least } = demand(pace);
    if wanted <= level { f64::INFINITY } else { level.max(least) / wanted }
}

#[cfg(test)]
mod tests;
