//! The state of one stream in the coordinator.

use tokio::time::Instant;

use super::held::{DueRecord, HeldRecords, StreamRecord};
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
    /// Records that the message delay of the room holds back.
    pub(super) held: HeldRecords,
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
            held: HeldRecords::default(),
            last_sent: None,
            rate: RateEstimator::new(Instant::now()),
            sample_rate: known.map_or(SampleRate::ALL, |gauges| gauges.sample_rate),
            policy,
            gauges,
        }
    }

    /// Adds a record to the pending batch, or holds it back until it is due. Returns whether the
    /// batch has it.
    pub(super) fn accept(&mut self, seq: Seq, record: StreamRecord, due: Option<Instant>) -> bool {
        if due.is_none() && self.held.is_empty() {
            self.add(DueRecord { seq, record, removal: None });
            return true;
        }
        // A comment or a deletion may have left the others already, and wait for the next batch
        // only.
        match &record {
            StreamRecord::Deletion(removal) => {
                self.held.hide(removal);
                self.pending.hide(removal);
            }
            StreamRecord::Restoration(comment_id) => {
                self.held.restore(*comment_id);
                self.pending.remove_deletions(*comment_id);
            }
            StreamRecord::Comment { .. } | StreamRecord::Nothing => {}
        }
        self.held.push(seq, record, due);
        false
    }

    /// Moves records that are due, or the oldest while more than `max_bytes` wait, into the pending
    /// batch until it is full. Returns whether there is something to publish.
    pub(super) fn release(&mut self, now: Instant, max_bytes: usize) -> bool {
        while !self.pending.is_full()
            && let Some(due) = self.held.pop_due(now, max_bytes)
        {
            self.add(due);
        }
        !self.pending.is_empty()
    }

    fn add(&mut self, due: DueRecord) {
        let DueRecord { seq, record, removal } = due;
        match record {
            StreamRecord::Comment { event, times } => {
                // Counted here and not when it is read: what waits is read again after a restart.
                self.gauges.received += 1;
                self.pending.add_comment(seq, &event, self.sample_rate, times);
                if let Some(removal) = &removal {
                    self.pending.hide(removal);
                }
            }
            StreamRecord::Deletion(removal) => self.pending.add_deletion(seq, removal),
            StreamRecord::Restoration(comment_id) => self.pending.add_restoration(seq, comment_id),
            StreamRecord::Nothing => self.pending.skip(seq),
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
