//! Conditions on the report, such as `p99>100ms`, under which a run counts as failed.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::protocol::quantity::parse_count;

/// PoolTotals that are counts or shares without a unit.
pub(crate) const FIGURES: &[&str] = &[
    "viewers",
    "connected",
    "published",
    "acked",
    "delivered",
    "expected",
    "sampled_out",
    "skipped",
    "deleted",
    "lost",
    "duplicated",
    "out_of_order",
    "rejected",
    "connect_refused",
    "unanswered",
    "disconnected",
    "reconnects",
    "reactions_sent",
    "reactions_refused",
    "malformed",
    "duration_s",
    "published_per_second",
    "acked_per_second",
    "delivered_per_second",
    "generator.cpu_percent",
    "generator.late_ms_max",
    "generator.bytes_per_viewer",
];
const LATENCIES: &[&str] = &["latency_ms", "connect_ms", "ack_ms", "deletion_ms", "storm_ms"];
const PERCENTILES: &[&str] = &["p50", "p90", "p99", "p999", "max"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer signs come before their prefixes.
const COMPARISONS: &[(&str, Comparison)] = &[
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// A condition on the report: a figure, a comparison and a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Path to the figure in the report's JSON.
    path: Vec<String>,
    comparison: Comparison,
    limit: f64,
}

impl Threshold {
    /// Returns the names of the figures without a unit of time.
    #[cfg(test)]
    pub(crate) fn figures() -> &'static [&'static str] {
        FIGURES
    }

    /// Returns why the run failed, or `None`. A figure that was not measured, such as a percentile
    /// of nothing, fails too, so that a run that delivers nothing cannot pass.
    pub fn broken_by(&self, report: &Value) -> Option<String> {
        let Some(figure) = self.figure(report) else {
            return Some(format!("{self}: nothing was measured"));
        };
        let limit = self.limit;
        let fails = match self.comparison {
            Comparison::Less => figure < limit,
            Comparison::LessOrEqual => figure <= limit,
            Comparison::Greater => figure > limit,
            Comparison::GreaterOrEqual => figure >= limit,
            Comparison::Equal => figure == limit,
            Comparison::NotEqual => figure != limit,
        };
        fails.then(|| format!("{self}: it is {figure}"))
    }

    fn figure(&self, report: &Value) -> Option<f64> {
        let mut value = report;
        for name in &self.path {
            match (value.get(name), name.as_str()) {
                (Some(inner), _) => value = inner,
                // Rejections are counted by code. A code that never occurred is absent.
                (None, _) if self.path[0] == "rejected" => return Some(0.0),
                (None, _) => return None,
            }
        }
        let name = self.path[0].as_str();
        match value {
            Value::Object(by_code) if ["rejected", "connect_refused"].contains(&name) => {
                Some(by_code.values().filter_map(Value::as_f64).sum())
            }
            value => value.as_f64(),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison);
        write!(f, "{}{}{}", self.path.join("."), sign.map_or("", |(sign, _)| sign), self.limit)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = COMPARISONS
            .iter()
            .filter_map(|(sign, comparison)| Some((text.find(sign)?, sign, *comparison)))
            .min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let Some((at, sign, comparison)) = found else {
            return Err(wrong(text, "it has no comparison"));
        };
        let path = figure_path(text[..at].trim())
            .ok_or_else(|| wrong(text, &format!("there is no figure `{}`", text[..at].trim())))?;
        let limit = limit(&path, text[at + sign.len()..].trim());
        let limit = limit.map_err(|problem| wrong(text, &problem))?;
        Ok(Self { path, comparison, limit })
    }
}

fn wrong(text: &str, problem: &str) -> String {
    format!(
        "`{text}` is not a condition: {problem}; write FIGURE, one of < <= > >= == !=, and a number, \
         as in lost>0, p99>100ms, ack_ms.p50>20ms or rejected.rate_limited>0; figures: {}, and \
         {} of {}",
        FIGURES.join(", "),
        PERCENTILES.join(", "),
        LATENCIES.join(", ")
    )
}

/// Returns the path of a figure. A percentile without a group is one of `latency_ms`.
fn figure_path(name: &str) -> Option<Vec<String>> {
    let path = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect());
    if PERCENTILES.contains(&name) {
        return path(&["latency_ms", name]);
    }
    if let Some(code) = name.strip_prefix("rejected.") {
        let known = crate::protocol::ErrorCode::ALL.iter().any(|known| known.as_str() == code);
        return if known { path(&["rejected", code]) } else { None };
    }
    if FIGURES.contains(&name) {
        return path(&name.split('.').collect::<Vec<_>>());
    }
    let (latency, percentile) = name.split_once('.')?;
    let known = LATENCIES.contains(&latency) && PERCENTILES.contains(&percentile);
    if known { path(&[latency, percentile]) } else { None }
}

/// Parses a limit. Times are in milliseconds unless they name a unit. Counts may be written `10k`.
fn limit(path: &[String], text: &str) -> Result<f64, String> {
    if LATENCIES.contains(&path[0].as_str()) {
        let (number, factor) = match text {
            _ if text.ends_with("us") => (&text[..text.len() - 2], 1e-3),
            _ if text.ends_with("ms") => (&text[..text.len() - 2], 1.0),
            _ if text.ends_with('s') => (&text[..text.len() - 1], 1e3),
            _ => (text, 1.0),
        };
        return finite(number)
            .map(|number| number * factor)
            .ok_or_else(|| format!("`{text}` is not a time such as 100ms, 0.5s or 800us"));
    }
    let count = || parse_count(text).ok().map(|count| count as f64);
    finite(text).or_else(count).ok_or_else(|| format!("`{text}` is not a number such as 0 or 10k"))
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn broken(text: &str) -> bool {
        let report = json!({
            "lost": 3, "delivered": 20_000, "latency_ms": {"p99": 120.5, "max": null},
            "ack_ms": {"p50": 0.9}, "rejected": {"rate_limited": 2, "overloaded": 5},
            "generator": {"cpu_percent": 40.0},
        });
        text.parse::<Threshold>().unwrap().broken_by(&report).is_some()
    }

    #[test]
    fn conditions_read_the_report() {
        for text in [
            "lost>0",
            "lost == 3",
            "lost!=0",
            "p99>100ms",
            "p99 >= 0.1s",
            "latency_ms.p99 > 50",
            "ack_ms.p50>800us",
            "rejected>6",
            "rejected.rate_limited>1",
            "delivered<30k",
            "generator.cpu_percent>30",
            "max>1s",
            "p50<1",
            "lost>=3",
            "lost<=3",
        ] {
            assert!(broken(text), "{text}");
        }
        for text in [
            "lost>3",
            "lost<3",
            "lost!=3",
            "p99>0.2s",
            "rejected>7",
            "rejected.banned>0",
            "delivered<20k",
            "ack_ms.p50>1ms",
        ] {
            assert!(!broken(text), "{text}");
        }
    }

    #[test]
    fn bad_conditions_show_an_example() {
        for text in [
            "",
            "lost",
            "lost>",
            ">0",
            "lost>x",
            "loss>0",
            "p98>1ms",
            "p99>1h",
            "rejected.foo>0",
            "lost>inf",
            "lost=0",
            "latency_ms>5",
            "lost>1ms",
            "p99>NaN",
        ] {
            let error = text.parse::<Threshold>().unwrap_err();
            assert!(error.contains("as in lost>0, p99>100ms"), "{text}: {error}");
        }
    }

    fn any_figure() -> impl Strategy<Value = String> {
        let plain = prop::sample::select(FIGURES).prop_map(str::to_owned);
        let percentile = (prop::sample::select(LATENCIES), prop::sample::select(PERCENTILES))
            .prop_map(|(latency, percentile)| format!("{latency}.{percentile}"));
        prop_oneof![plain, percentile]
    }

    proptest! {
        #[test]
        fn conditions_survive_display_and_parse(
            figure in any_figure(),
            comparison in prop::sample::select(COMPARISONS),
            limit in -1e9_f64..1e9,
            space in " {0,3}",
        ) {
            let text = format!("{space}{figure}{space}{}{space}{limit}{space}", comparison.0);
            let threshold: Threshold = text.parse().unwrap();
            prop_assert_eq!(threshold.comparison, comparison.1);
            prop_assert_eq!(threshold.limit, limit);
            prop_assert_eq!(threshold.path.join("."), figure);
            prop_assert_eq!(threshold.to_string().parse::<Threshold>().unwrap(), threshold);
        }

        #[test]
        fn any_text_is_a_condition_or_names_itself(text in ".{0,40}") {
            match text.parse::<Threshold>() {
                Ok(threshold) => {
                    prop_assert_eq!(threshold.to_string().parse::<Threshold>(), Ok(threshold));
                }
                Err(error) => prop_assert!(!error.is_empty()),
            }
        }
    }
}
