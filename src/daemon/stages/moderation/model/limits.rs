//! The thresholds of a task, and the decision that a score leads to.

use crate::classifier::Task;
use crate::daemon::base::config::ModelConfig;
use crate::policy::reputation::Thresholds;
use crate::protocol::events::Decision;

/// Thresholds are not lowered further than this: below it are the scores of ordinary chat.
const LEAST_THRESHOLD: f32 = 0.1;

/// The thresholds of one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TaskLimits {
    /// Score from which a comment is flagged.
    pub(super) flag: f32,
    /// Score from which the action applies.
    pub(super) reject: f32,
    /// With [`Decision::Accept`], nothing is decided by this task.
    pub(super) action: Decision,
}

impl TaskLimits {
    /// Returns the configured limits.
    pub(super) fn of(config: &ModelConfig, task: Task) -> Self {
        match task {
            Task::Toxicity => Self {
                flag: config.toxicity_flag,
                reject: config.toxicity_reject,
                action: config.toxicity_action.into(),
            },
            Task::Spam => Self {
                flag: config.spam_flag,
                reject: config.spam_reject,
                action: config.spam_action.into(),
            },
        }
    }

    /// Returns the limits for a user and a moment: lower by one number; then the limit that flags
    /// is higher by the other, up to the one that rejects, which is never raised.
    pub(super) fn shifted(self, lowered: f32, raised: f32) -> Self {
        let is_shifted = lowered != 0.0 || raised != 0.0;
        if !is_shifted || !lowered.is_finite() || !raised.is_finite() {
            return self;
        }
        let Self { flag, reject, .. } = self;
        let shifted = Thresholds { flag, reject }.shifted(lowered, raised);
        let at_least = |shifted: f32, limit: f32| shifted.max(limit.min(LEAST_THRESHOLD));
        let flag = at_least(shifted.flag, flag);
        Self { flag, reject: at_least(shifted.reject, reject), ..self }
    }

    pub(super) fn decision(self, score: f32) -> Decision {
        if self.action == Decision::Accept {
            return Decision::Accept;
        }
        if score >= self.reject {
            self.action
        } else if score >= self.flag {
            Decision::Flag
        } else {
            Decision::Accept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::RuleAction;

    #[test]
    fn defaults_are_where_the_model_is_fitted_to() {
        let config = ModelConfig::default();
        for task in Task::ALL {
            let limits = TaskLimits::of(&config, task);
            let bounds = task.bounds();
            assert_eq!((limits.flag, limits.reject), (bounds.flag, bounds.reject));
            assert_eq!(limits.action, Decision::Reject);
            assert_eq!(limits.decision(bounds.reject), Decision::Reject);
            assert_eq!(limits.decision(bounds.reject.next_down()), Decision::Flag);
            assert_eq!(limits.decision(bounds.flag), Decision::Flag);
            assert_eq!(limits.decision(bounds.flag.next_down()), Decision::Accept);
        }
    }

    #[test]
    fn lowered_thresholds_are_reached_earlier() {
        let limits = TaskLimits::of(&ModelConfig::default(), Task::Toxicity);
        let lowered = limits.shifted(0.15, 0.0);
        assert_eq!(lowered.decision(0.6), Decision::Reject);
        assert_eq!(lowered.decision(0.36), Decision::Flag);
        let higher = limits.shifted(0.0, 0.15);
        assert_eq!(higher.decision(0.7), Decision::Reject, "no crowd excuses what is rejected");
        assert_eq!(higher.decision(0.69), Decision::Flag);
        assert_eq!(higher.decision(0.6), Decision::Accept);
        let highest = limits.shifted(0.0, 5.0);
        assert_eq!((highest.flag, highest.reject), (limits.reject, limits.reject));
        let least = limits.shifted(5.0, 0.0);
        assert_eq!(least.decision(0.09), Decision::Accept, "ordinary chat passes all the same");
        assert_eq!(least.decision(0.1), Decision::Reject);
        assert_eq!(limits.shifted(f32::NAN, 0.0), limits);
        assert_eq!(limits.shifted(0.0, f32::NAN), limits);
    }

    #[test]
    fn no_crowd_excuses_a_repeat_offender() {
        let limits = TaskLimits::of(&ModelConfig::default(), Task::Toxicity);
        assert_eq!(limits.shifted(0.2, 0.0).decision(0.55), Decision::Reject);
        let in_a_crowd = limits.shifted(0.2, 0.1);
        assert_eq!(in_a_crowd.decision(0.55), Decision::Reject);
        assert_eq!(in_a_crowd.decision(0.45), Decision::Flag);
        assert_eq!(in_a_crowd.decision(0.35), Decision::Accept, "the crowd raises only flags");
    }

    #[test]
    fn actions_are_those_of_the_configuration() {
        use Decision::{Accept, Flag, ShadowBan};
        let decisions = |toxicity_action| {
            let config = ModelConfig { toxicity_action, ..ModelConfig::default() };
            let limits = TaskLimits::of(&config, Task::Toxicity);
            [0.2, 0.6, 0.9].map(|score| limits.decision(score))
        };
        assert_eq!(decisions(RuleAction::Accept), [Accept, Accept, Accept]);
        assert_eq!(decisions(RuleAction::Flag), [Accept, Flag, Flag]);
        assert_eq!(decisions(RuleAction::ShadowBan), [Accept, Flag, ShadowBan]);
    }
}
