//! Which limit is at work, and what each stream is given of it.

use std::time::Duration;

use super::fair::{self, Demand};
use super::meter::Reading;
use super::pace::StreamPace;
use super::pressure::Pressure;
use crate::daemon::base::config::DeliveryConfig;
use crate::protocol::admin::EgressLimit;

/// The budget is aimed at from below, because rates swing.
const AIM: f64 = 0.95;

/// Pure but for what it remembers: time comes in as what has elapsed.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Bytes a second.
    budget: Option<f64>,
    pressure: Pressure,
}

/// How things stood at a tick; rates in bytes a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) sent: f64,
    /// What would be sent if every stream were shown whole.
    pub(crate) wanted: f64,
    /// The limit that is less than what is wanted, if one is.
    pub(crate) limit: Option<(EgressLimit, f64)>,
    /// Streams that are not shown whole.
    pub(crate) lowered: usize,
}

impl Policy {
    pub(crate) fn new(config: &DeliveryConfig) -> Self {
        let budget = config.egress_bytes_per_second.as_u64();
        let budget = (budget > 0).then_some(budget as f64);
        Self { budget, pressure: Pressure::new(config.egress_held_up) }
    }

    /// Moves every stream's pace by at most one rung. `turns` are those of all streams within
    /// `elapsed`, `held_up` the viewers whose socket is full now.
    pub(crate) fn observe(
        &mut self,
        paces: &mut [&mut StreamPace],
        turns: Reading,
        held_up: u64,
        elapsed: Duration,
    ) -> Verdict {
        let sum = |of: fn(&StreamPace) -> f64| paces.iter().map(|pace| of(pace)).sum::<f64>();
        let (sent, wanted) = (sum(StreamPace::sent), sum(StreamPace::wanted));
        self.pressure.note(turns, held_up, (sent, wanted), elapsed);
        let limit = self.limit().filter(|(_, _, aim)| *aim < wanted);
        let level = limit.map_or(f64::INFINITY, |(_, _, aim)| level(paces, aim));
        for pace in paces.iter_mut() {
            pace.step(target(pace, level), elapsed);
        }
        let lowered = paces.iter().filter(|pace| pace.is_lowered()).count();
        Verdict { sent, wanted, limit: limit.map(|(kind, limit, _)| (kind, limit)), lowered }
    }

    /// The narrower limit, and what is aimed at under it.
    fn limit(&self) -> Option<(EgressLimit, f64, f64)> {
        let budget = self.budget.map(|limit| (EgressLimit::Budget, limit, limit * AIM));
        let sockets = self.pressure.limit().map(|limit| (EgressLimit::Sockets, limit, limit));
        match (budget, sockets) {
            (Some(budget), Some(sockets)) if sockets.2 < budget.2 => Some(sockets),
            (budget, sockets) => budget.or(sockets),
        }
    }
}

fn demand(pace: &StreamPace) -> Demand {
    let wanted = pace.wanted();
    Demand { wanted, least: wanted * pace.least_share() }
}

fn level(paces: &[&mut StreamPace], aim: f64) -> f64 {
    let demands: Vec<_> = paces.iter().map(|pace| demand(pace)).collect();
    fair::level(&demands, aim)
}

/// The share of a stream at a level; one that is given all it wants may rise as far as it will.
fn target(pace: &StreamPace, level: f64) -> f64 {
    let Demand { wanted, least } = demand(pace);
    if wanted <= level { f64::INFINITY } else { level.max(least) / wanted }
}

#[cfg(test)]
mod tests;
