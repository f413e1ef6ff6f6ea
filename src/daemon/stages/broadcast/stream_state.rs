//! What the coordinator knows of one stream.

use tokio::time::Instant;

use super::pending::PendingBatch;
use crate::daemon::base::config::BroadcastConfig;
use crate::daemon::base::status::StreamGauges;
use crate::policy::rate::RateEstimator;
use crate::policy::throttle::{ThrottlePolicy, ThrottleRules};
use crate::protocol::Seq;
use crate::protocol::throttle::SampleRate;

#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) partition: u32,
    pub(super) pending: PendingBatch,
    pub(super) last_sent: Option<Instant>,
    pub(super) rate: RateEstimator,
    pub(super) policy: ThrottlePolicy,
    /// The rate at which viewers are shown comments. It follows the policy at each tick.
    pub(super) sample_rate: SampleRate,
    pub(super) gauges: StreamGauges,
}

impl StreamState {
    pub(super) fn new(
        partition: u32,
        covered_to: Seq,
        policy: ThrottlePolicy,
        known: Option<StreamGauges>,
        rules: &ThrottleRules,
    ) -> Self {
        // After a restart of the stage, viewers still have the sample rate they were last sent, so
        // a different rate is a change. Counters continue.
        let gauges = known.unwrap_or_else(|| StreamGauges {
            comments_per_second: 0.0,
            sample_rate: policy.sample_rate(rules),
            throttle_level: 0,
            throttle_override: policy.fixed(),
            throttle_until_ms: None,
            received: 0,
            broadcast: 0,
            sampled_out: 0,
            deleted: 0,
        });
        Self {
            partition,
            pending: PendingBatch::after(covered_to),
            last_sent: None,
            rate: RateEstimator::new(Instant::now()),
            sample_rate: known.map_or(SampleRate::ALL, |gauges| gauges.sample_rate),
            policy,
            gauges,
        }
    }

    /// Returns when the pending batch is due: one interval after the last. `None` means now.
    pub(super) fn due(&self, config: &BroadcastConfig) -> Option<Instant> {
        self.last_sent.map(|sent| sent + config.batch_interval)
    }

    pub(super) fn write_gauges(&mut self, per_second: f64, rate: SampleRate) {
        self.gauges.comments_per_second = per_second;
        self.gauges.sample_rate = rate;
        self.gauges.throttle_level = self.policy.level();
        self.gauges.throttle_override = self.policy.fixed();
    }
}
