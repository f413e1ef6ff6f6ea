//! The conditions that may become alerts. Pure: measurements and times are passed in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::rule;
use crate::daemon::base::config::AlertsConfig;
use crate::daemon::base::status::EVENT_LOG;
use crate::protocol::admin::dependency::REVIEW_HOOK;
use crate::protocol::admin::{
    Alert, BreakerState, BreakerStatus, BusNode, BusNodeState, ConsumerLag, GroupLag, LagState,
    NodeReport, NodeStatus, Problem, ProblemCode, ProcessStatus, RecentModeration, RefusedUser,
    ReviewItem, Severity, StageName, StageReport,
};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::quantity::{show_counted, show_duration, show_rate};
use crate::protocol::{NodeId, StreamId};

/// Rates are measured over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Fewer deliveries, comments or viewers say nothing about a share.
const FEWEST: u64 = 100;

/// A smaller share of flagged comments counts as this one: after an hour without any, a few are no
/// jump.
const LEAST_USUAL_FLAGGED: f64 = 0.001;

/// A report is late from this age on: the one after it is missing too.
const REPORT_LATE: Duration = Duration::from_secs(2);

/// Something that is wrong at this moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) rule: String,
    pub(super) subject: String,
    pub(super) severity: Severity,
    /// It is an alert once it has lasted for this long.
    pub(super) hold: Duration,
    /// The time that it is known to have lasted, where another clock has measured it.
    pub(super) lasted: Duration,
    pub(super) value: Option<f64>,
    pub(super) threshold: Option<f64>,
    /// The viewers of the node that it is about, if that is another one.
    pub(super) viewers: u64,
    /// A sentence of its own; empty if the rule has one.
    pub(super) text: String,
    /// The stream to look at next, if one is known.
    pub(super) stream: Option<StreamId>,
}

impl Condition {
    fn new(rule: &str, subject: &str, severity: Severity, hold: Duration) -> Self {
        Self {
            rule: rule.to_owned(),
            subject: subject.to_owned(),
            severity,
            hold,
            lasted: Duration::ZERO,
            value: None,
            threshold: None,
            viewers: 0,
            text: String::new(),
            stream: None,
        }
    }

    fn warning(rule: &str, subject: &str, hold: Duration) -> Self {
        Self::new(rule, subject, Severity::Warning, hold)
    }

    fn measured(self, value: f64, threshold: f64) -> Self {
        Self { value: Some(value), threshold: Some(threshold), ..self }
    }

    fn said(self, text: String) -> Self {
        Self { text, ..self }
    }

    fn lasting(self, ms: u64) -> Self {
        Self { lasted: Duration::from_millis(ms), ..self }
    }

    pub(super) fn id(&self) -> String {
        Alert::id_of(&self.rule, &self.subject)
    }
}

/// Problems that are the reason if the node does not serve viewers.
const CRITICAL_PROBLEMS: [ProblemCode; 5] = [
    ProblemCode::DiskFull,
    ProblemCode::TopicMissing,
    ProblemCode::LogFilesMissing,
    ProblemCode::AppendsRefused,
    ProblemCode::PartitionsUnreachable,
];

pub(super) fn of_problems(problems: &[Problem], serves: bool) -> Vec<Condition> {
    let mut found: Vec<Condition> = Vec::new();
    for problem in problems {
        let is_critical =
            !serves && CRITICAL_PROBLEMS.iter().any(|code| code.as_str() == problem.code);
        let severity = if is_critical { Severity::Critical } else { Severity::Warning };
        let condition = Condition::new(&problem.code, &problem.subject, severity, Duration::ZERO)
            .said(problem.text.clone())
            .lasting(problem.since_ms);
        // Several losses of the same part are one alert that tells each.
        match found.iter_mut().find(|known| known.id() == condition.id()) {
            Some(known) => known.text = format!("{}; {}", known.text, condition.text),
            None => found.push(condition),
        }
    }
    found
}

/// Returns the conditions of the breakers that are not closed. That of the review hook has none:
/// the problem `review_hook_failing` is raised and ends with it, and tells more.
pub(super) fn of_breakers(
    breakers: &[BreakerStatus],
    essential: &[&'static str],
    settings: &AlertsConfig,
) -> Vec<Condition> {
    let failing = breakers.iter().filter(|breaker| {
        breaker.state != BreakerState::Closed && breaker.dependency != REVIEW_HOOK
    });
    let condition = |breaker: &BreakerStatus| {
        let is_critical =
            breaker.dependency == EVENT_LOG || essential.contains(&breaker.dependency.as_str());
        let severity = if is_critical { Severity::Critical } else { Severity::Warning };
        let subject = &breaker.dependency;
        let hold = settings.breaker_open_hold;
        Condition::new(rule::BREAKER_OPEN, subject, severity, hold).lasting(breaker.since_ms)
    };
    failing.map(condition).collect()
}

pub(super) fn of_readiness(is_ready: bool, is_draining: bool) -> Option<Condition> {
    if is_draining {
        return Some(Condition::warning(rule::DRAINING, "", Duration::ZERO));
    }
    // At the start of a node this is not worth a word.
    let hold = Duration::from_secs(10);
    (!is_ready).then(|| Condition::new(rule::NOT_READY, "", Severity::Critical, hold))
}

/// Nodes that are known and have never reported: they are starting, or hang.
pub(super) fn of_nodes_without_report(nodes: &[NodeId], settings: &AlertsConfig) -> Vec<Condition> {
    nodes.iter().map(|node| silent(node, settings)).collect()
}

/// Nodes that have reported before, with the ages of their last reports, and the viewers that they
/// had then.
pub(super) fn of_silences(
    silences: &[(NodeId, Duration)],
    last_viewers: &BTreeMap<NodeId, u64>,
    settings: &AlertsConfig,
) -> Vec<Condition> {
    let late = silences.iter().filter(|(_, age)| *age >= REPORT_LATE);
    let condition = |(node, age): &(NodeId, Duration)| {
        // The server has measured the age, so the alert does not wait for it again.
        let condition = silent(node, settings).lasting(age.as_millis() as u64);
        Condition { viewers: last_viewers.get(node).copied().unwrap_or(0), ..condition }
    };
    late.map(condition).collect()
}

fn silent(node: &NodeId, settings: &AlertsConfig) -> Condition {
    Condition::warning(rule::NODE_SILENT, node.as_str(), settings.node_silent_hold)
}

pub(super) fn of_versions(nodes: &[NodeStatus], settings: &AlertsConfig) -> Option<Condition> {
    let versions: BTreeSet<_> = nodes.iter().map(|node| node.version.as_str()).collect();
    let listed = versions.iter().copied().collect::<Vec<_>>().join(", ");
    (versions.len() > 1).then(|| {
        Condition::warning(rule::VERSIONS_MIXED, "", settings.versions_mixed_hold)
            .said(format!("versions {listed} run together"))
    })
}

/// Returns the conditions of each consumer group and topic: its worst partition has too many
/// records, its oldest record is too old and the group falls back, or records are gone.
pub(super) fn of_lag(lag: &[ConsumerLag], settings: &AlertsConfig) -> Vec<Condition> {
    let mut found = Vec::new();
    for group in GroupLag::of(lag) {
        let name = &group.group;
        let behind = group.worst().map_or(0, |(_, lag)| lag);
        if behind >= settings.lag_high {
            let condition = Condition::warning(rule::LAG_HIGH, name, settings.lag_high_hold);
            found.push(condition.measured(behind as f64, settings.lag_high as f64));
        }
        found.extend(growing(&group, settings));
        if group.expired > 0 {
            let condition = Condition::warning(rule::RECORDS_GONE, name, Duration::ZERO);
            found.push(condition.measured(group.expired as f64, 0.0));
        }
    }
    found
}

/// A group that is behind and catches up needs nobody. One whose age is not known does not yet.
fn growing(group: &GroupLag, settings: &AlertsConfig) -> Option<Condition> {
    let behind_ms = group.oldest_ms?;
    let most_ms = settings.thresholds().lag_growing_ms;
    let change = group.change_per_s?;
    (group.state(most_ms) == LagState::FallsBack).then(|| {
        let hold = settings.lag_growing_hold;
        let condition = Condition::warning(rule::LAG_GROWING, &group.group, hold);
        let records = show_counted(group.lag, "record");
        let change = show_rate(change);
        let behind = show_duration(behind_ms);
        let text = format!("{} is {behind} behind ({records}, +{change}/s)", group.group);
        condition.measured(behind_ms as f64, most_ms as f64).said(text)
    })
}

/// Dead letters that nobody has requeued or acknowledged.
pub(super) fn of_dead_letters(open: u64) -> Option<Condition> {
    (open > 0).then(|| {
        let condition = Condition::warning(rule::DEAD_LETTERS, "", Duration::ZERO);
        condition.measured(open as f64, 0.0)
    })
}

/// The limit of a time; that itself is well.
#[derive(Clone, Copy)]
enum Limit {
    Most(Duration),
    Least(Duration),
}

/// Returns a condition if a time has passed its limit.
fn of_time(rule: &str, ms: u64, limit: Limit) -> Option<Condition> {
    let (is_passed, limit) = match limit {
        Limit::Most(most) => (u128::from(ms) > most.as_millis(), most),
        Limit::Least(least) => (u128::from(ms) < least.as_millis(), least),
    };
    let condition = Condition::warning(rule, "", Duration::ZERO);
    is_passed.then(|| condition.measured(ms as f64, limit.as_millis() as f64))
}

pub(super) fn of_review(
    oldest: Option<&ReviewItem>,
    now_ms: u64,
    settings: &AlertsConfig,
) -> Option<Condition> {
    let age_ms = now_ms.saturating_sub(oldest?.flagged_at);
    of_time(rule::REVIEW_OLD, age_ms, Limit::Most(settings.review_old))
}

/// The share of comments flagged in the last minute, if it has jumped against the hour before.
/// Without enough comments in that hour nothing is known.
pub(super) fn of_flagged(recent: &RecentModeration, settings: &AlertsConfig) -> Option<Condition> {
    let minute = recent.minute;
    let share = minute.flagged_share()?;
    let usual = recent.hour.flagged_share().filter(|_| recent.hour.checked >= FEWEST)?;
    let most = usual.max(LEAST_USUAL_FLAGGED) * settings.flagged_high;
    let is_jump = share >= most && minute.flagged >= settings.flagged_high_least;
    is_jump.then(|| {
        let condition = Condition::warning(rule::FLAGGED_HIGH, "", settings.flagged_high_hold);
        condition.measured(share, most)
    })
}

pub(super) fn of_certificate(
    expires_at_ms: Option<u64>,
    now_ms: u64,
    settings: &AlertsConfig,
) -> Option<Condition> {
    let left_ms = expires_at_ms?.saturating_sub(now_ms);
    of_time(rule::CERTIFICATE, left_ms, Limit::Least(settings.certificate))
}

/// Like [`of_certificate`], for that of the admin API.
pub(super) fn of_admin_certificate(
    expires_at_ms: Option<u64>,
    now_ms: u64,
    settings: &AlertsConfig,
) -> Option<Condition> {
    let condition = of_certificate(expires_at_ms, now_ms, settings)?;
    Some(Condition { subject: rule::ADMIN_API.to_owned(), ..condition })
}

pub(super) fn of_bus(servers: &[BusNode], settings: &AlertsConfig) -> Vec<Condition> {
    let failing = servers.iter().filter(|server| server.state == BusNodeState::Fails);
    let condition = |server: &BusNode| {
        let hold = settings.redis_node_down_hold;
        let condition = Condition::warning(rule::REDIS_NODE_DOWN, &server.address, hold);
        condition.lasting(server.since_ms)
    };
    failing.map(condition).collect()
}

/// Stages whose queue has no bound are not looked at, nor is the gateway, whose queue are the
/// places for viewers: a node that is half full is well, and `places_low` tells of one that is not.
pub(super) fn of_stages(stages: &[StageReport], settings: &AlertsConfig) -> Vec<Condition> {
    let condition = |stage: &StageReport| {
        let taken = share(stage.queue, stage.queue_max);
        (taken >= settings.queue_half).then(|| {
            let hold = settings.queue_half_hold;
            let condition = Condition::warning(rule::QUEUE_HALF, stage.name.as_str(), hold);
            condition.measured(taken, settings.queue_half)
        })
    };
    let is_queue = |stage: &&StageReport| stage.name != StageName::Gateway && stage.queue_max > 0;
    stages.iter().filter(is_queue).filter_map(condition).collect()
}

/// From the creation of a comment to its write, over all viewers of this node.
pub(super) fn of_latency(
    end_to_end: &LatencyHistogram,
    settings: &AlertsConfig,
) -> Option<Condition> {
    let p95_ms = end_to_end.quantile_ms(0.95)?;
    let most_ms = settings.latency_high.as_secs_f64() * 1e3;
    (p95_ms > most_ms).then(|| {
        let condition = Condition::warning(rule::LATENCY_HIGH, "", settings.latency_high_hold);
        condition.measured(p95_ms, most_ms)
    })
}

pub(super) fn of_process(process: &ProcessStatus, settings: &AlertsConfig) -> Vec<Condition> {
    let mut found = Vec::new();
    let most_ms = settings.clock_off.as_millis() as f64;
    let off_ms = process.clock_ms.unwrap_or_default() as f64;
    if off_ms.abs() > most_ms {
        let condition = Condition::warning(rule::CLOCK_OFF, "", settings.clock_off_hold);
        found.push(condition.measured(off_ms, most_ms));
    }
    let files = share(process.files.unwrap_or_default(), process.files_max.unwrap_or_default());
    if files > settings.files_low {
        let condition = Condition::warning(rule::FILES_LOW, "", Duration::ZERO);
        found.push(condition.measured(files, settings.files_low));
    }
    found
}

/// The counters of a node at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    delivered: u64,
    skipped: u64,
    received: u64,
    refused: u64,
    viewers_refused: u64,
}

impl Sample {
    fn of(report: &NodeReport) -> Self {
        let counters = &report.counters;
        let by_rate = crate::protocol::ErrorCode::ConnectionRate.as_str();
        Self {
            delivered: counters.delivered,
            skipped: counters.skipped,
            received: counters.received,
            refused: counters.refused.values().sum(),
            viewers_refused: counters.connections_refused.get(by_rate).copied().unwrap_or(0),
        }
    }

    /// The difference to an earlier sample of the same process.
    fn since(self, earlier: Self) -> Self {
        Self {
            delivered: self.delivered.saturating_sub(earlier.delivered),
            skipped: self.skipped.saturating_sub(earlier.skipped),
            received: self.received.saturating_sub(earlier.received),
            refused: self.refused.saturating_sub(earlier.refused),
            viewers_refused: self.viewers_refused.saturating_sub(earlier.viewers_refused),
        }
    }
}

/// The samples of the last [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(Instant, Sample)>);

impl Window {
    pub(super) fn add(&mut self, now: Instant, report: &NodeReport) {
        self.0.push_back((now, Sample::of(report)));
        // One sample may be older, so that a difference over the whole window exists.
        while self.0.len() > 2 && now.saturating_duration_since(self.0[1].0) >= WINDOW {
            self.0.pop_front();
        }
    }

    fn difference(&self) -> Sample {
        match (self.0.front(), self.0.back()) {
            (Some((_, first)), Some((_, last))) => last.since(*first),
            _ => Sample::default(),
        }
    }

    /// Returns the time of the difference: less than [`WINDOW`] after a start, never nothing.
    fn span(&self) -> Duration {
        let span = match (self.0.front(), self.0.back()) {
            (Some((first, _)), Some((last, _))) => last.saturating_duration_since(*first),
            _ => Duration::ZERO,
        };
        span.max(Duration::from_secs(1))
    }

    pub(super) fn conditions(
        &self,
        report: &NodeReport,
        settings: &AlertsConfig,
    ) -> Vec<Condition> {
        let seen = self.difference();
        let node = &report.node;
        let mut found = Vec::new();
        let written = seen.delivered + seen.skipped;
        let served = share(seen.delivered, written);
        if written >= FEWEST && served < settings.served_low {
            let condition = Condition::warning(rule::SERVED_LOW, "", settings.served_low_hold);
            found.push(condition.measured(served, settings.served_low));
        }
        let refused = share(seen.refused, seen.received);
        if seen.received >= FEWEST && refused > settings.refused_high {
            let condition = Condition::warning(rule::REFUSED_HIGH, "", settings.refused_high_hold);
            let stream = most_refusals(&report.refused_users);
            let condition = Condition { stream, ..condition };
            found.push(condition.measured(refused, settings.refused_high));
        }
        if seen.viewers_refused > 0 {
            let condition = Condition::warning(rule::VIEWERS_REFUSED, "", Duration::ZERO);
            let per_second = seen.viewers_refused as f64 / self.span().as_secs_f64();
            found.push(Condition { value: Some(per_second), ..condition });
        }
        let slow = share(report.slow_viewers, node.connections);
        if node.connections >= FEWEST && slow > settings.slow_viewers {
            let condition = Condition::warning(rule::SLOW_VIEWERS, "", settings.slow_viewers_hold);
            found.push(condition.measured(slow, settings.slow_viewers));
        }
        let places = share(node.connections, node.max_connections);
        if node.max_connections > 0 && places > settings.places_low {
            let condition = Condition::warning(rule::PLACES_LOW, "", settings.places_low_hold);
            found.push(condition.measured(places, settings.places_low));
        }
        if node.egress.limited_by.is_some() {
            let condition =
                Condition::warning(rule::EGRESS_CAPPED, "", settings.egress_capped_hold);
            let sent = node.egress.sent_bytes_per_second as f64;
            let limit = node.egress.limit_bytes_per_second.unwrap_or_default() as f64;
            found.push(condition.measured(sent, limit));
        }
        found
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Returns the stream on which most comments of these users were refused, or `None` without users.
fn most_refusals(users: &[RefusedUser]) -> Option<StreamId> {
    let mut streams: BTreeMap<u64, u64> = BTreeMap::new();
    for user in users {
        *streams.entry(user.stream_id.0).or_default() += user.refused;
    }
    streams.into_iter().max_by_key(|(_, refused)| *refused).map(|(stream, _)| StreamId(stream))
}
