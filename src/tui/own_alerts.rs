//! Alerts that an operator sets in the console: a condition on the figures of the cluster, and how
//! long it must hold.
//!
//! In: moments, in the order of time. Out: what came true. Always holds: a rule tells once per time
//! that its condition comes true; a time without snapshots does not count as one in which it held.
//! When full: a further rule is refused.

use std::time::Duration;

use super::feed::{Metric, Moment};
use super::figures;
use crate::protocol::filter::{self, Filter, Kind, Value};
use crate::protocol::quantity::{parse_duration, show_duration};

/// The most rules of one console.
const MAX_RULES: usize = 16;
/// The longest time that a condition must hold.
const MAX_HOLD: Duration = Duration::from_hours(1);

/// The figures of the cluster that a condition may name.
const FIGURES: &[filter::Column] = &[
    filter::Column::new("in", Kind::Number),
    filter::Column::new("shown", Kind::Number),
    filter::Column::new("left_out", Kind::Number),
    filter::Column::new("refused", Kind::Number),
    filter::Column::new("delivered", Kind::Number),
    filter::Column::new("skipped", Kind::Number),
    filter::Column::new("sent", Kind::Bytes),
    filter::Column::new("served", Kind::Share),
    filter::Column::new("late", Kind::Share),
    filter::Column::new("p50", Kind::Duration),
    filter::Column::new("p95", Kind::Duration),
    filter::Column::new("p99", Kind::Duration),
    filter::Column::new("viewers", Kind::Number),
    filter::Column::new("senders", Kind::Number),
    filter::Column::new("connections", Kind::Number),
    filter::Column::new("slow", Kind::Number),
    filter::Column::new("behind", Kind::Number),
    filter::Column::new("streams", Kind::Number),
    filter::Column::new("nodes", Kind::Number),
    filter::Column::new("silent", Kind::Number),
    filter::Column::new("alerts", Kind::Number),
    filter::Column::new("queued", Kind::Number),
];

/// The figures of one moment.
struct Figures<'a>(&'a Moment);

impl filter::Row for Figures<'_> {
    fn column(&self, name: &str) -> Option<Value<'_>> {
        let snapshot = &self.0.snapshot;
        let metric = match name {
            "in" => Metric::In,
            "shown" => Metric::Shown,
            "left_out" => Metric::LeftOut,
            "refused" => Metric::Refused,
            "delivered" => Metric::Delivered,
            "skipped" => Metric::Skipped,
            "sent" => Metric::BytesOut,
            "p50" => Metric::P50,
            "p95" => Metric::P95,
            "p99" => Metric::P99,
            "viewers" => Metric::Viewers,
            "behind" => Metric::Behind,
            "served" => return self.0.served().map(Value::Number),
            "late" => return self.0.late().map(Value::Number),
            "senders" => return Some(Value::count(snapshot.senders)),
            "connections" => return Some(Value::count(snapshot.connections)),
            "slow" => return Some(Value::count(snapshot.slow_viewers)),
            "streams" => return Some(Value::count(snapshot.streams.len() as u64)),
            "nodes" => return Some(Value::count(snapshot.nodes.len() as u64)),
            "silent" => return Some(Value::count(snapshot.unreachable.len() as u64)),
            "alerts" => return Some(Value::count(self.0.alarms.len() as u64)),
            "queued" => return Some(Value::count(snapshot.moderation.queued)),
            _ => return None,
        };
        metric.value(self.0).map(Value::Number)
    }

    fn texts(&self, visit: &mut dyn FnMut(&str)) {
        self.0.alarms.iter().for_each(|alarm| visit(&alarm.text));
    }
}

/// A condition that an operator wants to be told of.
#[derive(Debug, Clone)]
struct Rule {
    number: u32,
    condition: Filter,
    hold_ms: u64,
    /// Since when it is true.
    since_ms: Option<u64>,
    is_told: bool,
}

impl Rule {
    fn text(&self) -> String {
        match self.hold_ms {
            0 => self.condition.to_string(),
            hold_ms => format!("{} for {}", self.condition, show_duration(hold_ms)),
        }
    }
}

/// The rules of one console.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnAlerts {
    rules: Vec<Rule>,
    last_number: u32,
}

impl OwnAlerts {
    /// Adds a rule such as `late>1% for 30s`. Returns its number and its text.
    ///
    /// # Errors
    /// The text is no rule, or there are [`MAX_RULES`].
    pub(crate) fn add(&mut self, text: &str) -> Result<(u32, String), String> {
        if self.rules.len() >= MAX_RULES {
            return Err(format!("there are {MAX_RULES} alerts, the most; alert off N removes one"));
        }
        let (condition, hold) = match text.rsplit_once(" for ") {
            Some((condition, hold)) => (condition, parse_duration(hold.trim())?),
            None => (text, Duration::ZERO),
        };
        if hold > MAX_HOLD {
            return Err(format!("{} is too long: at most 1h", text_after_for(text)));
        }
        let condition = Filter::parse(condition.trim(), FIGURES).map_err(|e| e.to_string())?;
        if condition.is_empty() {
            return Err("write a condition such as late>1% for 30s".to_owned());
        }
        self.last_number += 1;
        let rule = Rule {
            number: self.last_number,
            condition,
            hold_ms: u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
            since_ms: None,
            is_told: false,
        };
        let said = (rule.number, rule.text());
        self.rules.push(rule);
        Ok(said)
    }

    /// Removes a rule. Returns its text; `None` if there is none of that number.
    pub(crate) fn remove(&mut self, number: u32) -> Option<String> {
        let at = self.rules.iter().position(|rule| rule.number == number)?;
        Some(self.rules.remove(at).text())
    }

    /// Returns the numbers and texts of the rules.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u32, String)> + '_ {
        self.rules.iter().map(|rule| (rule.number, rule.text()))
    }

    /// Lists the rules in a sentence.
    pub(crate) fn list(&self, now_ms: u64) -> String {
        if self.rules.is_empty() {
            return "no alerts of your own; :alert late>1% for 30s sets one".to_owned();
        }
        let one = |rule: &Rule| {
            let state = match rule.since_ms {
                Some(since) => {
                    format!(" (true for {})", figures::age(now_ms.saturating_sub(since)))
                }
                None => String::new(),
            };
            format!("{} {}{state}", rule.number, rule.text())
        };
        let rules: Vec<_> = self.rules.iter().map(one).collect();
        format!("your alerts: {}", rules.join("; "))
    }

    /// Notes that moments are missing from here on: nobody knows whether a condition held.
    pub(crate) fn interrupt(&mut self) {
        self.rules.iter_mut().for_each(|rule| rule.since_ms = None);
    }

    /// Forgets what was seen: the next moment is of another cluster.
    pub(crate) fn start_over(&mut self) {
        for rule in &mut self.rules {
            rule.since_ms = None;
            rule.is_told = false;
        }
    }

    /// Looks at the next moment. Returns the texts of the rules that came true.
    pub(crate) fn observe(&mut self, moment: &Moment) -> Vec<String> {
        let figures = Figures(moment);
        let mut told = Vec::new();
        for rule in &mut self.rules {
            if !rule.condition.matches(&figures) {
                (rule.since_ms, rule.is_told) = (None, false);
                continue;
            }
            let since_ms = *rule.since_ms.get_or_insert(moment.at_ms);
            if !rule.is_told && moment.at_ms.saturating_sub(since_ms) >= rule.hold_ms {
                rule.is_told = true;
                told.push(rule.text());
            }
        }
        told
    }
}

/// Returns what follows the last `for`.
fn text_after_for(text: &str) -> &str {
    text.rsplit_once(" for ").map_or(text, |(_, hold)| hold.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::feed::samples;

    fn at(second: u64, queued: u64) -> Moment {
        let mut snapshot = samples::healthy(second);
        snapshot.moderation.queued = queued;
        Moment { at_ms: second * 1_000, ..samples::moment(snapshot) }
    }

    #[test]
    fn a_rule_tells_once_it_has_held_long_enough() {
        let mut alerts = OwnAlerts::default();
        let added = alerts.add("queued>3 and viewers>0 for 5s").unwrap();
        assert_eq!(added.0, 1);
        let told = |alerts: &mut OwnAlerts, seconds: std::ops::Range<u64>, queued| {
            seconds.flat_map(|second| alerts.observe(&at(second, queued))).count()
        };
        assert_eq!(told(&mut alerts, 0..4, 9), 0);
        assert_eq!(told(&mut alerts, 4..5, 0), 0, "it holds no longer");
        assert_eq!(told(&mut alerts, 5..10, 9), 0);
        assert_eq!(alerts.observe(&at(10, 9)), [added.1]);
        assert_eq!(told(&mut alerts, 11..60, 9), 0, "once");
        assert!(alerts.list(20_000).contains("(true for "), "{}", alerts.list(20_000));
        assert_eq!(told(&mut alerts, 60..61, 0), 0);
        assert_eq!(told(&mut alerts, 61..80, 9), 1, "and again when it comes true again");
        alerts.start_over();
        assert_eq!(told(&mut alerts, 80..85, 9), 0);
        assert_eq!(told(&mut alerts, 85..90, 9), 1, "and of another cluster");
    }

    #[test]
    fn a_gap_does_not_count_as_time_that_held() {
        let mut alerts = OwnAlerts::default();
        alerts.add("queued>3 for 5s").unwrap();
        assert!(alerts.observe(&at(1, 9)).is_empty());
        alerts.interrupt();
        assert!(alerts.observe(&at(60, 9)).is_empty(), "nothing is known of the minute before");
        assert_eq!(alerts.observe(&at(65, 9)).len(), 1);
        alerts.interrupt();
        assert!(alerts.observe(&at(90, 9)).is_empty() && alerts.observe(&at(99, 9)).is_empty());
    }

    #[test]
    fn a_rule_without_a_time_tells_at_once() {
        let mut alerts = OwnAlerts::default();
        alerts.add("queued=2").unwrap();
        assert_eq!(alerts.observe(&at(1, 2)), ["queued=2"]);
    }

    #[test]
    fn rules_are_bounded_and_removed_by_number() {
        let mut alerts = OwnAlerts::default();
        assert!(alerts.list(0).contains("no alerts"));
        for number in 1..=16 {
            assert_eq!(alerts.add("p99>150ms").unwrap().0, number);
        }
        assert!(alerts.add("p99>150ms").unwrap_err().contains("16 alerts"));
        assert_eq!(alerts.remove(3).as_deref(), Some("p99>150ms"));
        assert_eq!(alerts.remove(3), None);
        assert_eq!(alerts.add("p99>1s").unwrap().0, 17, "a number is never used again");
    }

    #[test]
    fn wrong_rules_say_what_is_right() {
        let mut alerts = OwnAlerts::default();
        for (rule, part) in [
            ("", "such as late>1%"),
            ("late> for 3s", ""),
            ("weather=good", "weather"),
            ("late>1% for ever", "ever"),
            ("late>1% for 2h", "at most 1h"),
        ] {
            let error = alerts.add(rule).unwrap_err();
            assert!(error.contains(part), "{rule}: {error}");
        }
        assert_eq!(alerts.numbered().count(), 0);
    }

    #[test]
    fn every_figure_has_a_value() {
        let moment = at(5, 1);
        for column in FIGURES {
            let figures = Figures(&moment);
            assert!(filter::Row::column(&figures, column.name).is_some(), "{}", column.name);
        }
    }
}
