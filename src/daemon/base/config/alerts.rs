//! `[alerts]`: from when on a measurement is an alert.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::admin::AlertThresholds;

/// Thresholds, and the time for which they must be passed before an alert is raised. Shares are
/// numbers from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertsConfig {
    /// A dependency fails.
    #[serde(with = "humantime_serde")]
    pub breaker_open_hold: Duration,
    /// A server of the fan-out bus does not answer a node.
    #[serde(with = "humantime_serde")]
    pub redis_node_down_hold: Duration,
    /// The most of a stage's queue that is taken.
    pub queue_half: f64,
    #[serde(with = "humantime_serde")]
    pub queue_half_hold: Duration,
    /// The longest time from the creation of a comment to its write, for 19 of 20.
    #[serde(with = "humantime_serde")]
    pub latency_high: Duration,
    #[serde(with = "humantime_serde")]
    pub latency_high_hold: Duration,
    /// The largest offset of a node's clock to that of Redis.
    #[serde(with = "humantime_serde")]
    pub clock_off: Duration,
    #[serde(with = "humantime_serde")]
    pub clock_off_hold: Duration,
    /// The most files that are open, as a share of the process's limit.
    pub files_low: f64,
    /// The least time until the certificate expires.
    #[serde(with = "humantime_serde")]
    pub certificate: Duration,
    /// The age of the last report of a node that was known. A node reports once per second, and
    /// less than two seconds are no silence.
    #[serde(with = "humantime_serde")]
    pub node_silent_hold: Duration,
    /// The least share of deliveries that are not skipped.
    pub served_low: f64,
    #[serde(with = "humantime_serde")]
    pub served_low_hold: Duration,
    /// The node is at its egress limit.
    #[serde(with = "humantime_serde")]
    pub egress_capped_hold: Duration,
    /// The most places of `gateway.max_connections` that are taken.
    pub places_low: f64,
    #[serde(with = "humantime_serde")]
    pub places_low_hold: Duration,
    /// The most comments that are refused, as a share of those that arrive.
    pub refused_high: f64,
    #[serde(with = "humantime_serde")]
    pub refused_high_hold: Duration,
    /// The most viewers with full sockets, as a share of all viewers of a node.
    pub slow_viewers: f64,
    #[serde(with = "humantime_serde")]
    pub slow_viewers_hold: Duration,
    /// The most records that a consumer is behind.
    pub lag_high: u64,
    #[serde(with = "humantime_serde")]
    pub lag_high_hold: Duration,
    /// The age of the oldest record that a consumer has not read, while its lag grows.
    #[serde(with = "humantime_serde")]
    pub lag_growing: Duration,
    #[serde(with = "humantime_serde")]
    pub lag_growing_hold: Duration,
    /// The age of the oldest comment in the review queue.
    #[serde(with = "humantime_serde")]
    pub review_old: Duration,
    /// The most that the share of comments flagged in a minute grows, as a multiple of that of the
    /// hour before.
    pub flagged_high: f64,
    /// Fewer flagged comments in a minute are no alert, whatever their share.
    pub flagged_high_least: u64,
    #[serde(with = "humantime_serde")]
    pub flagged_high_hold: Duration,
    /// Nodes of different versions run together, as during an upgrade.
    #[serde(with = "humantime_serde")]
    pub versions_mixed_hold: Duration,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        let AlertThresholds { lag_growing_ms, latency_high_ms, served_low, clock_off_ms } =
            AlertThresholds::DEFAULT;
        Self {
            breaker_open_hold: Duration::from_secs(1),
            redis_node_down_hold: Duration::from_secs(1),
            queue_half: 0.5,
            queue_half_hold: Duration::from_secs(2),
            latency_high: Duration::from_millis(latency_high_ms),
            latency_high_hold: Duration::from_secs(30),
            clock_off: Duration::from_millis(clock_off_ms),
            clock_off_hold: Duration::from_secs(10),
            files_low: 0.9,
            certificate: Duration::from_secs(14 * 86_400),
            node_silent_hold: Duration::from_secs(4),
            served_low,
            served_low_hold: Duration::from_secs(30),
            egress_capped_hold: Duration::from_secs(10),
            places_low: 0.9,
            places_low_hold: Duration::from_secs(5),
            refused_high: 0.01,
            refused_high_hold: Duration::from_secs(30),
            slow_viewers: 0.01,
            slow_viewers_hold: Duration::from_secs(30),
            lag_high: 100_000,
            lag_high_hold: Duration::from_secs(5),
            lag_growing: Duration::from_millis(lag_growing_ms),
            lag_growing_hold: Duration::from_secs(30),
            review_old: Duration::from_secs(300),
            flagged_high: 5.0,
            flagged_high_least: 20,
            flagged_high_hold: Duration::from_secs(10),
            versions_mixed_hold: Duration::from_secs(3_600),
        }
    }
}

impl AlertsConfig {
    /// Returns the thresholds that consoles are told.
    pub fn thresholds(&self) -> AlertThresholds {
        AlertThresholds {
            lag_growing_ms: self.lag_growing.as_millis() as u64,
            latency_high_ms: self.latency_high.as_millis() as u64,
            served_low: self.served_low,
            clock_off_ms: self.clock_off.as_millis() as u64,
        }
    }

    /// Returns the shares with their keys, for validation.
    pub(super) fn shares(&self) -> [(&'static str, f64); 6] {
        [
            ("alerts.served_low", self.served_low),
            ("alerts.places_low", self.places_low),
            ("alerts.refused_high", self.refused_high),
            ("alerts.slow_viewers", self.slow_viewers),
            ("alerts.queue_half", self.queue_half),
            ("alerts.files_low", self.files_low),
        ]
    }
}
