//! The settings by which a node decides what viewers see.

use serde::{Deserialize, Serialize};

use crate::protocol::throttle::SampleRate;

/// `GET /v1/rules`: the settings of the throttle and of the egress limit on the node that answers.
/// `lc record` writes them into the header of a recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RulesInForce {
    /// `broadcast.throttle`. The first level begins at 0.
    pub throttle: Vec<RuleLevel>,
    /// `broadcast.hysteresis`: a share above 0, at most 1.
    pub hysteresis: f64,
    /// `broadcast.step_down_after`.
    pub step_down_after_ms: u64,
    /// `delivery.egress_bytes_per_second`; 0 means no budget.
    pub egress_bytes_per_second: u64,
}

/// One level of the throttle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RuleLevel {
    /// The rate of accepted comments per second at which the level begins.
    pub from_per_second: f64,
    pub sample_rate: SampleRate,
}
