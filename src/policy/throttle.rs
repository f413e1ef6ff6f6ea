//! Decides the share of a stream's comments that is shown: levels by rate, with hysteresis. A rate
//! that an operator fixed overrides them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::protocol::throttle::SampleRate;

/// The most levels of a throttle.
pub const MAX_LEVELS: usize = 16;

/// The settings of the throttle.
#[derive(Debug, Clone, PartialEq)]
pub struct ThrottleRules {
    /// The first begins at 0, and sample rates fall. At most [`MAX_LEVELS`].
    pub levels: Vec<ThrottleLevel>,
    /// A level is left downwards only below this share of its threshold.
    pub hysteresis: f64,
    /// The time for which the rate must stay below that share.
    pub step_down_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThrottleLevel {
    /// The rate of accepted comments per second at which the level begins.
    pub from_per_second: f64,
    pub sample_rate: SampleRate,
}

/// Returns whether each level begins at a higher rate than the one before it, and shows less.
pub fn levels_step_down(levels: &[ThrottleLevel]) -> bool {
    let steps_down = |pair: &[ThrottleLevel]| {
        pair[0].from_per_second < pair[1].from_per_second
            && pair[0].sample_rate > pair[1].sample_rate
    };
    levels.windows(2).all(steps_down)
}

impl Default for ThrottleRules {
    fn default() -> Self {
        let level = |from_per_second, share| ThrottleLevel {
            from_per_second,
            sample_rate: SampleRate::from_share(share).expect("a literal share of 0 to 1"),
        };
        Self {
            levels: vec![
                level(0.0, 1.0),
                level(5_000.0, 0.5),
                level(20_000.0, 0.1),
                level(50_000.0, 0.05),
            ],
            hysteresis: 0.8,
            step_down_after: Duration::from_secs(5),
        }
    }
}

/// The throttle of one stream. It steps up as soon as a threshold is reached and down only after
/// the rate stayed clearly below it for a while, so a rate near a threshold changes nothing.
#[derive(Debug)]
pub struct ThrottlePolicy {
    level: usize,
    fixed: Option<SampleRate>,
    /// Set while the rate is low enough to leave the level.
    calm: Option<CalmPeriod>,
}

#[derive(Debug, Clone, Copy)]
struct CalmPeriod {
    since: Instant,
    /// Highest rate in the period.
    peak_per_second: f64,
}

impl ThrottlePolicy {
    pub fn new() -> Self {
        Self { level: 0, fixed: None, calm: None }
    }

    /// Returns the current level. Level 0 shows all comments.
    pub fn level(&self) -> u8 {
        self.level as u8
    }

    /// Returns the rate that an operator fixed.
    pub fn fixed(&self) -> Option<SampleRate> {
        self.fixed
    }

    pub fn fix(&mut self, rate: Option<SampleRate>) {
        self.fixed = rate;
    }

    /// Returns the share that is shown now.
    pub fn sample_rate(&self, rules: &ThrottleRules) -> SampleRate {
        self.fixed.unwrap_or_else(|| rules.levels[self.level].sample_rate)
    }

    /// Moves between levels according to the rate of the stream.
    pub fn observe(&mut self, per_second: f64, now: Instant, rules: &ThrottleRules) {
        let levels = &rules.levels;
        let reached = highest(levels, |level| level.from_per_second <= per_second);
        if reached > self.level {
            self.level = reached;
            self.calm = None;
            return;
        }
        let leave_below = levels[self.level].from_per_second * rules.hysteresis;
        if self.level == 0 || per_second >= leave_below {
            self.calm = None;
            return;
        }
        let mut calm = self.calm.unwrap_or(CalmPeriod { since: now, peak_per_second: per_second });
        calm.peak_per_second = calm.peak_per_second.max(per_second);
        self.calm = Some(calm);
        if now.saturating_duration_since(calm.since) >= rules.step_down_after {
            let peak = calm.peak_per_second;
            self.level = highest(levels, |level| level.from_per_second * rules.hysteresis <= peak)
                .min(self.level - 1);
            self.calm = None;
        }
    }
}

impl Default for ThrottlePolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the highest level that fits. The first always does, because its threshold is 0.
fn highest(levels: &[ThrottleLevel], fits: impl Fn(&ThrottleLevel) -> bool) -> usize {
    levels.iter().rposition(fits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(policy: &ThrottlePolicy) -> f64 {
        policy.sample_rate(&ThrottleRules::default()).share()
    }

    #[tokio::test(start_paused = true)]
    async fn each_threshold_has_its_rate() {
        let rules = ThrottleRules::default();
        for (per_second, expected) in [
            (0.0, 1.0),
            (4_999.0, 1.0),
            (5_000.0, 0.5),
            (19_999.0, 0.5),
            (20_000.0, 0.1),
            (49_999.0, 0.1),
            (50_000.0, 0.05),
            (1e9, 0.05),
        ] {
            let mut policy = ThrottlePolicy::new();
            policy.observe(per_second, Instant::now(), &rules);
            assert_eq!(share(&policy), expected, "at {per_second}/s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rate_near_a_threshold_does_not_flap() {
        let rules = ThrottleRules::default();
        let mut policy = ThrottlePolicy::new();
        let start = Instant::now();
        let mut changes = 0;
        let mut before = policy.level();
        for tick in 0..2_400 {
            let rate = if tick % 2 == 0 { 5_200.0 } else { 4_800.0 };
            policy.observe(rate, start + Duration::from_millis(250) * tick, &rules);
            changes += u32::from(policy.level() != before);
            before = policy.level();
        }
        assert_eq!(changes, 1, "up once, then steady for ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn steps_down_to_the_right_level_after_a_calm_period() {
        let rules = ThrottleRules::default();
        let mut policy = ThrottlePolicy::new();
        let start = Instant::now();
        policy.observe(60_000.0, start, &rules);
        assert_eq!(policy.level(), 3);
        policy.observe(6_000.0, start + Duration::from_secs(1), &rules);
        policy.observe(6_000.0, start + Duration::from_millis(5_900), &rules);
        assert_eq!(policy.level(), 3, "not yet");
        policy.observe(6_000.0, start + Duration::from_secs(6), &rules);
        assert_eq!(policy.level(), 1, "6 000/s is level 1");
        policy.observe(10.0, start + Duration::from_secs(7), &rules);
        policy.observe(10.0, start + Duration::from_secs(12), &rules);
        assert_eq!(policy.level(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn fixed_rate_overrides_the_levels() {
        let rules = ThrottleRules::default();
        let mut policy = ThrottlePolicy::new();
        policy.fix(SampleRate::from_share(0.25));
        policy.observe(60_000.0, Instant::now(), &rules);
        assert_eq!(share(&policy), 0.25);
        policy.fix(None);
        assert_eq!(share(&policy), 0.05);
    }

    proptest! {
        /// For any rates, two steps down are at least `step_down_after` apart, and the level
        /// never shows more than the rate allows.
        #[test]
        fn it_never_flaps(rates in proptest::collection::vec(0.0_f64..80_000.0, 1..300)) {
            let rules = ThrottleRules::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let start = runtime.block_on(async { Instant::now() });
            let mut policy = ThrottlePolicy::new();
            let mut last_down: Option<Instant> = None;
            for (tick, rate) in rates.into_iter().enumerate() {
                let now = start + Duration::from_millis(250) * tick as u32;
                let before = policy.level();
                policy.observe(rate, now, &rules);
                let reached = highest(&rules.levels, |l| l.from_per_second <= rate) as u8;
                prop_assert!(policy.level() >= reached);
                if policy.level() < before {
                    if let Some(last) = last_down {
                        prop_assert!(now - last >= rules.step_down_after);
                    }
                    last_down = Some(now);
                }
            }
        }
    }
}
