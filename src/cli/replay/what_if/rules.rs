//! The rules that a calculation begins with: those of a configuration file, else those in the
//! recording, else the daemon's defaults.

use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use serde::{Deserialize, Serialize};

use crate::policy::throttle::{MAX_LEVELS, ThrottleLevel, ThrottleRules, levels_step_down};
use crate::protocol::admin::{RuleLevel, RulesInForce};

/// The source of a setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RulesOrigin {
    /// In the value of `--what-if`.
    Given,
    /// The configuration file of this path.
    Config(String),
    /// The header of the recording.
    Recording,
    /// The defaults of a daemon.
    Defaults,
}

impl std::fmt::Display for RulesOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Given => f.write_str("as given"),
            Self::Config(path) => write!(f, "of {path}"),
            Self::Recording => f.write_str("of the recording"),
            Self::Defaults => f.write_str("by default"),
        }
    }
}

/// The rules of one daemon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BaseRules {
    pub(super) throttle: ThrottleRules,
    /// Bytes per second that a node may send; 0 means no budget.
    pub(super) egress: u64,
    pub(super) origin: RulesOrigin,
}

impl Default for BaseRules {
    fn default() -> Self {
        let throttle = ThrottleRules::default();
        Self { throttle, egress: 0, origin: RulesOrigin::Defaults }
    }
}

/// The part of a configuration that matters here. The daemon checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigFile {
    broadcast: BroadcastSection,
    delivery: DeliverySection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BroadcastSection {
    throttle: Option<Vec<ThrottleLevel>>,
    hysteresis: Option<f64>,
    #[serde(with = "humantime_serde::option")]
    step_down_after: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeliverySection {
    egress_bytes_per_second: Option<ByteSize>,
}

impl BaseRules {
    /// Reads the rules of a daemon's configuration file. What the file lacks has the daemon's
    /// defaults.
    ///
    /// # Errors
    /// A sentence says why the file cannot be read, or which setting is wrong.
    pub(crate) fn of_config(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let file: ConfigFile = Figment::from(Toml::string(&text))
            .extract()
            .map_err(|error| format!("{shown}: {}", on_one_line(&error)))?;
        let ConfigFile { broadcast, delivery } = file;
        let defaults = ThrottleRules::default();
        let throttle = ThrottleRules {
            levels: broadcast.throttle.unwrap_or(defaults.levels),
            hysteresis: broadcast.hysteresis.unwrap_or(defaults.hysteresis),
            step_down_after: broadcast.step_down_after.unwrap_or(defaults.step_down_after),
        };
        check(&throttle).map_err(|problem| format!("{shown} at `broadcast`: {problem}"))?;
        Ok(Self {
            throttle,
            egress: delivery.egress_bytes_per_second.map_or(0, |bytes| bytes.as_u64()),
            origin: RulesOrigin::Config(shown.to_string()),
        })
    }

    /// Takes the rules in the header of a recording.
    ///
    /// # Errors
    /// A sentence says what no daemon has.
    pub(crate) fn of_recording(rules: &RulesInForce) -> Result<Self, String> {
        let level = |level: &RuleLevel| {
            let RuleLevel { from_per_second, sample_rate } = *level;
            ThrottleLevel { from_per_second, sample_rate }
        };
        let throttle = ThrottleRules {
            levels: rules.throttle.iter().map(level).collect(),
            hysteresis: rules.hysteresis,
            step_down_after: Duration::from_millis(rules.step_down_after_ms),
        };
        check(&throttle).map_err(|problem| format!("the rules in the recording: {problem}"))?;
        let egress = rules.egress_bytes_per_second;
        Ok(Self { throttle, egress, origin: RulesOrigin::Recording })
    }
}

fn on_one_line(error: &figment::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks rules as the daemon does.
fn check(rules: &ThrottleRules) -> Result<(), String> {
    check_levels(&rules.levels)?;
    check_hysteresis(rules.hysteresis)
}

/// Checks the levels of the throttle. The policy relies on a first level at 0.
pub(super) fn check_levels(levels: &[ThrottleLevel]) -> Result<(), String> {
    if levels.first().is_none_or(|first| first.from_per_second != 0.0) {
        return Err("the first level of throttle must begin at 0: 0:all".to_owned());
    }
    if levels.len() > MAX_LEVELS {
        return Err(format!("throttle has more than {MAX_LEVELS} levels"));
    }
    if levels_step_down(levels) {
        Ok(())
    } else {
        Err("levels of throttle must rise in rate and fall in share".to_owned())
    }
}

pub(super) fn check_hysteresis(hysteresis: f64) -> Result<(), String> {
    if hysteresis > 0.0 && hysteresis <= 1.0 {
        Ok(())
    } else {
        Err(format!("hysteresis must be above 0 and at most 1, not `{hysteresis}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_config(text: &str) -> Result<BaseRules, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lcd.toml");
        std::fs::write(&path, text).unwrap();
        BaseRules::of_config(&path)
    }

    #[test]
    fn a_configuration_file_has_the_rules() {
        let text = "[gateway]\nlisten = \"0.0.0.0:80\"\n[broadcast]\nhysteresis = 0.5\nthrottle = [\n\
                    { from_per_second = 0, sample_rate = 1.0 },\n\
                    { from_per_second = 100.5, sample_rate = 0.25 },\n]\n\
                    [delivery]\negress_bytes_per_second = \"50MB\"\n";
        let rules = of_config(text).unwrap();
        let levels: Vec<_> = rules
            .throttle
            .levels
            .iter()
            .map(|l| (l.from_per_second, l.sample_rate.share()))
            .collect();
        assert_eq!(levels, [(0.0, 1.0), (100.5, 0.25)]);
        assert_eq!(rules.throttle.hysteresis, 0.5);
        assert_eq!(rules.throttle.step_down_after, Duration::from_secs(5), "the default");
        assert_eq!(rules.egress, 50_000_000);
        assert!(matches!(&rules.origin, RulesOrigin::Config(path) if path.ends_with("lcd.toml")));
        let empty = of_config("").unwrap();
        assert_eq!(empty.throttle, ThrottleRules::default());
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        for (text, problem) in [
            ("[broadcast\n", "lcd.toml"),
            ("[broadcast]\nthrottle = []\n", "must begin at 0"),
            ("[broadcast]\nhysteresis = 2\n", "at most 1"),
            ("[broadcast]\nstep_down_after = \"soon\"\n", "step_down_after"),
        ] {
            let error = of_config(text).unwrap_err();
            assert!(error.contains(problem) && !error.contains('\n'), "{text}: {error}");
        }
        let absent = BaseRules::of_config(Path::new("/nonexistent/lcd.toml")).unwrap_err();
        assert!(absent.contains("/nonexistent/lcd.toml"), "{absent}");
    }

    /// A daemon answers with the rules of its configuration.
    #[test]
    fn a_recording_has_the_rules() {
        let level = |from_per_second, share| RuleLevel {
            from_per_second,
            sample_rate: crate::protocol::throttle::SampleRate::from_share(share).unwrap(),
        };
        let rules = RulesInForce {
            throttle: vec![level(0.0, 1.0), level(300.0, 0.1)],
            hysteresis: 0.7,
            step_down_after_ms: 2_500,
            egress_bytes_per_second: 9_000,
        };
        let base = BaseRules::of_recording(&rules).unwrap();
        assert_eq!(base.throttle.levels.len(), 2);
        assert_eq!(base.throttle.step_down_after, Duration::from_millis(2_500));
        assert_eq!(base.egress, 9_000);
        let wrong = RulesInForce { throttle: vec![level(5.0, 1.0)], ..rules };
        assert!(BaseRules::of_recording(&wrong).unwrap_err().contains("begin at 0"));
    }

    #[cfg(feature = "daemon")]
    #[test]
    fn the_defaults_are_those_of_the_daemon() {
        let config = crate::daemon::base::config::Config::default();
        let base = BaseRules::default();
        assert_eq!(base.throttle, config.broadcast.throttle_rules());
        assert_eq!(base.egress, config.delivery.egress_bytes_per_second.as_u64());
    }
}
