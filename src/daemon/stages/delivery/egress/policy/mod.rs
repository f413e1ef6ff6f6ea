//! Chooses the limit in force and each stream's part of it.

use std::time::Duration;

use super::fair::{self, Demand};
use super::pace::StreamPace;
use super::socket_pressure::{EgressRates, SocketLoad, SocketPressure};
use crate::daemon::base::config::DeliveryConfig;
use crate::protocol::admin::EgressLimit;

/// The target below the budget, because rates vary.
const AIM: f64 = 0.95;

/// Has no clock: time is passed in as elapsed durations.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Bytes per second.
    budget: Option<f64>,
    pressure: SocketPressure,
}

/// The result of an adjustment; rates in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct EgressDecision {
    pub(crate) sent: f64,
    /// Rate if every stream were shown whole.
    pub(crate) wanted: f64,
    /// The limit, if it is below the demand.
    pub(crate) limit: Option<LimitInForce>,
    /// Streams not shown whole.
    pub(crate) lowered: usize,
}

/// A limit, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LimitInForce {
    pub(crate) kind: EgressLimit,
    pub(crate) limit: f64,
    /// Rate that the streams may use together, at or below the limit.
    target: f64,
}

impl Policy {
    pub(crate) fn new(config: &DeliveryConfig) -> Self {
        let budget = config.egress_bytes_per_second.as_u64();
        let budget = (budget > 0).then_some(budget as f64);
        Self { budget, pressure: SocketPressure::new(config.egress_held_up) }
    }

    /// Moves the share of every stream by at most one rung.
    pub(crate) fn adjust(
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
