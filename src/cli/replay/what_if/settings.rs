//! The settings of `--what-if`: `throttle=0:all,200:25%,1k:5% hysteresis=0.8 egress=100m`.

use std::str::FromStr;

use crate::policy::throttle::{ThrottleLevel, ThrottleRules};
use crate::protocol::quantity::{parse_count, parse_duration, parse_share};
use crate::protocol::throttle::SampleRate;

/// The most levels that a daemon takes.
const MAX_LEVELS: usize = 16;

/// Settings of the daemon that a calculation tries.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatIf {
    pub(super) throttle: ThrottleRules,
    /// A share that an operator fixed, in place of the levels.
    pub(super) fixed: Option<SampleRate>,
    /// Bytes per second that a node may send; 0 means no budget.
    pub(super) egress: u64,
    pub(super) nodes: u64,
    /// Comments per minute of one user; 0 means no limit.
    pub(super) comments_per_minute: u32,
}

impl Default for WhatIf {
    /// Returns the defaults of a daemon, without the limit on users: what is recorded was accepted.
    fn default() -> Self {
        Self {
            throttle: ThrottleRules::default(),
            fixed: None,
            egress: 0,
            nodes: 1,
            comments_per_minute: 0,
        }
    }
}

impl FromStr for WhatIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut what_if = Self::default();
        let settings = text.split([' ', ';']).filter(|setting| !setting.is_empty());
        let mut count = 0;
        for setting in settings {
            count += 1;
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("`{setting}` has no value: write throttle=0:all,200:25%"))?;
            match name {
                "throttle" => what_if.set_throttle(value)?,
                "hysteresis" => what_if.throttle.hysteresis = hysteresis(value)?,
                "step_down_after" => what_if.throttle.step_down_after = parse_duration(value)?,
                "egress" => what_if.egress = parse_count(value.trim_end_matches(['B', 'b']))?,
                "nodes" => match parse_count(value)? {
                    0 => return Err("nodes must be at least 1".to_owned()),
                    nodes => what_if.nodes = nodes,
                },
                "rate" => {
                    what_if.comments_per_minute = u32::try_from(parse_count(value)?)
                        .map_err(|_| format!("`{value}` is more than a user can send"))?;
                }
                _ => {
                    return Err(format!(
                        "`{name}` is no setting: expected throttle, hysteresis, step_down_after, \
                         egress, nodes or rate"
                    ));
                }
            }
        }
        if count == 0 {
            return Err("names no setting: write throttle=0:all,200:25%,1k:5%".to_owned());
        }
        Ok(what_if)
    }
}

impl WhatIf {
    /// Takes levels such as `0:all,200:25%`, or a share that is fixed, such as `10%`.
    fn set_throttle(&mut self, value: &str) -> Result<(), String> {
        if !value.contains(':') {
            self.fixed = Some(parse_share(value)?);
            return Ok(());
        }
        let mut levels: Vec<ThrottleLevel> = Vec::new();
        for level in value.split(',') {
            let (from, share) = level
                .split_once(':')
                .ok_or_else(|| format!("`{level}` is no level: write RATE:SHARE, as in 200:25%"))?;
            let level = ThrottleLevel {
                from_per_second: parse_count(from)? as f64,
                sample_rate: parse_share(share)?,
            };
            match levels.last() {
                None if level.from_per_second != 0.0 => {
                    return Err("the first level of throttle must begin at 0: 0:all".to_owned());
                }
                Some(before)
                    if level.from_per_second <= before.from_per_second
                        || level.sample_rate >= before.sample_rate =>
                {
                    return Err("levels of throttle must rise in rate and fall in share".to_owned());
                }
                _ => levels.push(level),
            }
        }
        if levels.len() > MAX_LEVELS {
            return Err(format!("throttle has more than {MAX_LEVELS} levels"));
        }
        self.throttle.levels = levels;
        Ok(())
    }
}

fn hysteresis(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("hysteresis must be above 0 and at most 1, not `{value}`")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_are_read_as_operators_write_them() {
        let text = "throttle=0:all,200:25%,1k:5% hysteresis=0.5 step_down_after=10s \
                    egress=1.5gB nodes=12 rate=30";
        let what_if: WhatIf = text.parse().unwrap();
        let levels: Vec<_> = what_if
            .throttle
            .levels
            .iter()
            .map(|level| (level.from_per_second, level.sample_rate.share()))
            .collect();
        assert_eq!(levels, [(0.0, 1.0), (200.0, 0.25), (1_000.0, 0.05)]);
        assert_eq!(what_if.throttle.hysteresis, 0.5);
        assert_eq!(what_if.throttle.step_down_after, Duration::from_secs(10));
        assert_eq!((what_if.egress, what_if.nodes), (1_500_000_000, 12));
        assert_eq!(what_if.comments_per_minute, 30);
        let fixed: WhatIf = "throttle=10%".parse().unwrap();
        assert_eq!(fixed.fixed, SampleRate::from_share(0.1));
        assert_eq!(fixed.throttle, ThrottleRules::default());
    }

    #[test]
    fn a_wrong_setting_says_what_to_write() {
        for (text, problem) in [
            ("", "names no setting"),
            ("throttle", "has no value"),
            ("speed=3", "is no setting"),
            ("throttle=100:all", "must begin at 0"),
            ("throttle=0:all,200:25%,100:5%", "must rise"),
            ("throttle=0:50%,200:all", "fall in share"),
            ("throttle=0:all,20x:5%", "not a count"),
            ("throttle=0:all,5%", "is no level"),
            ("hysteresis=2", "at most 1"),
            ("nodes=0", "at least 1"),
        ] {
            let error = text.parse::<WhatIf>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
