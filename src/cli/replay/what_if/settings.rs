//! The settings of `--what-if`: `throttle=0:all,200:25%,1k:5% hysteresis=0.8 egress=100m`.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::rules::{BaseRules, RulesOrigin, check_hysteresis, check_levels};
use crate::policy::throttle::{ThrottleLevel, ThrottleRules};
use crate::protocol::quantity::{
    parse_count, parse_duration, parse_share, show_bytes, show_duration, show_share,
};
use crate::protocol::throttle::SampleRate;

/// Settings of the daemon that a calculation tries. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WhatIf {
    throttle: Option<ThrottleSetting>,
    hysteresis: Option<f64>,
    step_down_after: Option<Duration>,
    /// Bytes per second that a node may send; 0 means no budget.
    egress: Option<u64>,
    nodes: Option<u64>,
    /// Comments per minute of one user; 0 means no limit.
    comments_per_minute: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
enum ThrottleSetting {
    Levels(Vec<ThrottleLevel>),
    /// A share that an operator fixed, in place of the levels.
    Fixed(SampleRate),
}

/// The whole set of settings of a calculation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CompleteSettings {
    pub(super) throttle: ThrottleRules,
    /// A share that an operator fixed, in place of the levels.
    pub(super) fixed: Option<SampleRate>,
    /// Bytes per second that a node may send; 0 means no budget.
    pub(super) egress: u64,
    pub(super) nodes: u64,
    /// Comments per minute of one user; 0 means no limit.
    pub(super) comments_per_minute: u32,
}

/// A setting as it was used, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct UsedSetting {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) from: RulesOrigin,
}

impl FromStr for WhatIf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut what_if = Self::default();
        for setting in text.split([' ', ';']).filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                format!(
                    "`{setting}` has no value: write throttle=0:all,200:25%, and files before \
                     --what-if"
                )
            })?;
            match name {
                "throttle" => what_if.throttle = Some(throttle(value)?),
                "hysteresis" => what_if.hysteresis = Some(hysteresis(value)?),
                "step_down_after" => what_if.step_down_after = Some(parse_duration(value)?),
                "egress" => what_if.egress = Some(parse_count(value.trim_end_matches(['B', 'b']))?),
                "nodes" => match parse_count(value)? {
                    0 => return Err("nodes must be at least 1".to_owned()),
                    nodes => what_if.nodes = Some(nodes),
                },
                "rate" => {
                    let rate = u32::try_from(parse_count(value)?)
                        .map_err(|_| format!("`{value}` is more than a user can send"))?;
                    what_if.comments_per_minute = Some(rate);
                }
                _ => {
                    return Err(format!(
                        "`{name}` is no setting: expected throttle, hysteresis, step_down_after, \
                         egress, nodes or rate"
                    ));
                }
            }
        }
        Ok(what_if)
    }
}

impl WhatIf {
    /// Returns the settings that are given, and for the others those of `base`. There is one node,
    /// and no limit on users: what is recorded was accepted.
    pub(super) fn on(&self, base: &BaseRules) -> CompleteSettings {
        let BaseRules { throttle, egress, .. } = base;
        let fixed = match self.throttle {
            Some(ThrottleSetting::Fixed(share)) => Some(share),
            _ => None,
        };
        let levels = match &self.throttle {
            Some(ThrottleSetting::Levels(levels)) => levels.clone(),
            _ => throttle.levels.clone(),
        };
        CompleteSettings {
            throttle: ThrottleRules {
                levels,
                hysteresis: self.hysteresis.unwrap_or(throttle.hysteresis),
                step_down_after: self.step_down_after.unwrap_or(throttle.step_down_after),
            },
            fixed,
            egress: self.egress.unwrap_or(*egress),
            nodes: self.nodes.unwrap_or(1),
            comments_per_minute: self.comments_per_minute.unwrap_or(0),
        }
    }

    /// Returns each setting with its origin, as `--what-if` takes them.
    pub(super) fn used(&self, base: &BaseRules) -> Vec<UsedSetting> {
        let settings = self.on(base);
        let unless_given = |is_given: bool, otherwise: &RulesOrigin| {
            if is_given { RulesOrigin::Given } else { otherwise.clone() }
        };
        let of_base = |is_given| unless_given(is_given, &base.origin);
        let of_tool = |is_given| unless_given(is_given, &RulesOrigin::Defaults);
        let used = |name, value, from| UsedSetting { name, value, from };
        let throttle = match settings.fixed {
            Some(share) => show_share(share),
            None => show_levels(&settings.throttle.levels),
        };
        let step_down_after_ms = settings.throttle.step_down_after.as_millis() as u64;
        let or_none = |amount: u64, shown: String| match amount {
            0 => "none".to_owned(),
            _ => shown,
        };
        let rate = settings.comments_per_minute;
        vec![
            used("throttle", throttle, of_base(self.throttle.is_some())),
            used(
                "hysteresis",
                settings.throttle.hysteresis.to_string(),
                of_base(self.hysteresis.is_some()),
            ),
            used(
                "step_down_after",
                show_duration(step_down_after_ms),
                of_base(self.step_down_after.is_some()),
            ),
            used(
                "egress",
                or_none(settings.egress, show_bytes(settings.egress)),
                of_base(self.egress.is_some()),
            ),
            used("nodes", settings.nodes.to_string(), of_tool(self.nodes.is_some())),
            used(
                "rate",
                or_none(rate.into(), rate.to_string()),
                of_tool(self.comments_per_minute.is_some()),
            ),
        ]
    }
}

/// Writes levels as `0:all,200:25%`.
fn show_levels(levels: &[ThrottleLevel]) -> String {
    let level = |level: &ThrottleLevel| {
        format!("{}:{}", level.from_per_second, show_share(level.sample_rate))
    };
    levels.iter().map(level).collect::<Vec<_>>().join(",")
}

/// Takes levels such as `0:all,200:25%`, or a share that is fixed, such as `10%`.
fn throttle(value: &str) -> Result<ThrottleSetting, String> {
    if !value.contains(':') {
        return Ok(ThrottleSetting::Fixed(parse_share(value)?));
    }
    let mut levels: Vec<ThrottleLevel> = Vec::new();
    for level in value.split(',') {
        let (from, share) = level
            .split_once(':')
            .ok_or_else(|| format!("`{level}` is no level: write RATE:SHARE, as in 200:25%"))?;
        levels.push(ThrottleLevel {
            from_per_second: parse_count(from)? as f64,
            sample_rate: parse_share(share)?,
        });
    }
    check_levels(&levels)?;
    Ok(ThrottleSetting::Levels(levels))
}

fn hysteresis(value: &str) -> Result<f64, String> {
    let share = value.parse::<f64>().unwrap_or(f64::NAN);
    check_hysteresis(share)
        .map_err(|_| format!("hysteresis must be above 0 and at most 1, not `{value}`"))?;
    Ok(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> CompleteSettings {
        text.parse::<WhatIf>().unwrap().on(&BaseRules::default())
    }

    #[test]
    fn settings_are_read_as_operators_write_them() {
        let text = "throttle=0:all,200:25%,1k:5% hysteresis=0.5 step_down_after=10s \
                    egress=1.5gB nodes=12 rate=30";
        let settings = complete(text);
        let levels: Vec<_> = settings
            .throttle
            .levels
            .iter()
            .map(|level| (level.from_per_second, level.sample_rate.share()))
            .collect();
        assert_eq!(levels, [(0.0, 1.0), (200.0, 0.25), (1_000.0, 0.05)]);
        assert_eq!(settings.throttle.hysteresis, 0.5);
        assert_eq!(settings.throttle.step_down_after, Duration::from_secs(10));
        assert_eq!((settings.egress, settings.nodes), (1_500_000_000, 12));
        assert_eq!(settings.comments_per_minute, 30);
        let fixed = complete("throttle=10%");
        assert_eq!(fixed.fixed, SampleRate::from_share(0.1));
        assert_eq!(fixed.throttle, ThrottleRules::default());
        assert_eq!(complete("").throttle, ThrottleRules::default());
    }

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let base = BaseRules {
            throttle: ThrottleRules { hysteresis: 0.6, ..ThrottleRules::default() },
            egress: 5_000_000,
            origin: RulesOrigin::Config("lcd.toml".to_owned()),
        };
        let what_if: WhatIf = "throttle=0:all,200:25% nodes=3".parse().unwrap();
        let settings = what_if.on(&base);
        assert_eq!((settings.throttle.levels.len(), settings.throttle.hysteresis), (2, 0.6));
        assert_eq!((settings.egress, settings.nodes), (5_000_000, 3));
        let used = what_if.used(&base);
        let shown: Vec<_> =
            used.iter().map(|used| format!("{}={} {}", used.name, used.value, used.from)).collect();
        assert_eq!(
            shown,
            [
                "throttle=0:all,200:25% as given",
                "hysteresis=0.6 of lcd.toml",
                "step_down_after=5s of lcd.toml",
                "egress=5MB of lcd.toml",
                "nodes=3 as given",
                "rate=none by default",
            ]
        );
    }

    #[test]
    fn a_wrong_setting_says_what_to_write() {
        for (text, problem) in [
            ("throttle", "has no value"),
            ("chat.lcr", "files before --what-if"),
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
