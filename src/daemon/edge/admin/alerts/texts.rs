//! The texts of alerts: the effect on viewers, and the next step.

use std::time::Duration;

use super::conditions::Condition;
use super::{nodes_text, rule};
use crate::protocol::StreamId;
use crate::protocol::admin::dependency::{
    COMMENT_STORE, CONNECTION_REGISTRY, EVENT_LOG, FAN_OUT_BUS, METADATA_STORE, REACTION_TOTALS,
    RECENT_CACHE,
};
use crate::protocol::admin::{Alert, NodeStatus, ProblemCode};
use crate::protocol::quantity::{show_bytes, show_count, show_counted, show_duration};

/// The words for a rule that has raised nothing.
pub(super) const WELL: &[(&str, &str)] = &[
    (rule::SERVED_LOW, "deliveries"),
    (rule::LATENCY_HIGH, "latency"),
    (rule::QUEUE_HALF, "queues"),
    (rule::CLOCK_OFF, "clocks"),
    (rule::FILES_LOW, "files"),
    (rule::CERTIFICATE, "certificate"),
    (rule::DEAD_LETTERS, "no dead letters"),
    (rule::EGRESS_CAPPED, "egress"),
    (rule::PLACES_LOW, "places for viewers"),
    (rule::REFUSED_HIGH, "comments accepted"),
    (rule::LAG_HIGH, "consumers"),
    (rule::LAG_GROWING, "consumers in time"),
    (rule::REVIEW_OLD, "review queue"),
    (rule::FLAGGED_HIGH, "flagged comments"),
    (rule::VERSIONS_MIXED, "versions equal"),
];

/// Returns the alert that a condition is, on this node if there is one.
pub(super) fn alert(condition: &Condition, lasted: Duration, node: Option<&NodeStatus>) -> Alert {
    let Condition { rule, subject, severity, value, threshold, viewers, text, .. } = condition;
    let mut alert = Alert {
        id: condition.id(),
        rule: rule.clone(),
        subject: subject.clone(),
        severity: *severity,
        since_ms: lasted.as_millis() as u64,
        nodes: node.iter().map(|node| node.node.clone()).collect(),
        viewers: node.map_or(*viewers, NodeStatus::viewers),
        effect: match rule.as_str() {
            rule::LAG_GROWING => format!("{text}: {}", lag(subject)),
            _ => text.clone(),
        },
        next: match ProblemCode::loss(rule) {
            Some(loss) => format!("when it is dealt with: lc acknowledge {}", loss.as_str()),
            None => match node {
                Some(node) if rule == rule::DRAINING => undrain(node.node.as_str()),
                _ if rule == rule::REFUSED_HIGH => talkers(condition.stream),
                _ => next(rule, subject).to_owned(),
            },
        },
        value: *value,
        threshold: *threshold,
        acked_by: None,
    };
    if let Some(effect) = effect(&alert) {
        alert.effect = effect;
    }
    alert
}

/// Adds what another node reports of the same alert.
pub(super) fn join(known: &mut Alert, other: &Alert) {
    let new: Vec<_> = other.nodes.iter().filter(|node| !known.nodes.contains(node)).collect();
    let is_sum = known.rule == rule::VIEWERS_REFUSED;
    if !new.is_empty() {
        known.viewers += other.viewers;
        if is_sum {
            known.value = Some(known.value.unwrap_or_default() + other.value.unwrap_or_default());
        }
        known.nodes.extend(new.into_iter().cloned().collect::<Vec<_>>());
        if known.rule == rule::DRAINING {
            known.next = next(rule::DRAINING, "").to_owned();
        }
    }
    if known.rule == rule::NODE_SILENT {
        // All tell of the same node; one that has just started does not know its viewers.
        known.viewers = known.viewers.max(other.viewers);
    }
    known.severity = known.severity.max(other.severity);
    known.since_ms = known.since_ms.max(other.since_ms);
    if !is_sum && is_worse(&known.rule, other.value, known.value) {
        known.value = other.value;
        known.threshold = other.threshold;
        if known.rule == rule::REFUSED_HIGH {
            // The stream to look at is that of the worst node.
            known.next = other.next.clone();
        }
    }
    if let Some(effect) = effect(known) {
        known.effect = effect;
    } else if ProblemCode::loss(&known.rule).is_some() && !known.effect.contains(&other.effect) {
        // A loss of one node does not hide that of another.
        known.effect = format!("{}; {}: {}", known.effect, nodes_text(&other.nodes), other.effect);
    }
}

/// Returns whether a measured value is worse than another, as the rule sees it: the sentence tells
/// the worst of all nodes.
fn is_worse(rule: &str, value: Option<f64>, than: Option<f64>) -> bool {
    let Some((value, than)) = value.zip(than) else { return value.is_some() };
    match rule {
        rule::SERVED_LOW | rule::CERTIFICATE => value < than,
        rule::CLOCK_OFF => value.abs() > than.abs(),
        _ => value > than,
    }
}

/// Returns the sentence of a rule, or `None` if the condition had its own.
fn effect(alert: &Alert) -> Option<String> {
    let viewers = show_counted(alert.viewers, "viewer");
    let see = format!("{viewers} {}", if alert.viewers == 1 { "sees" } else { "see" });
    let on = nodes_text(&alert.nodes);
    let is_one = alert.nodes.len() == 1;
    let are = if is_one { "is" } else { "are" };
    // Of several nodes the worst is told.
    let worst = if is_one { "" } else { ", at worst" };
    let percent = |share: f64| format!("{}%", (share * 1_000.0).round() / 10.0);
    let value = alert.value.unwrap_or_default();
    let threshold = alert.threshold.unwrap_or_default();
    Some(match alert.rule.as_str() {
        rule::BREAKER_OPEN => {
            let effect = outage(&alert.subject, &see);
            format!("{} does not answer on {on}: {effect}", alert.subject)
        }
        rule::REDIS_NODE_DOWN => format!(
            "Redis node {} does not answer on {on}: {see} comments of its channels through the \
             log: later, none lost",
            alert.subject
        ),
        rule::QUEUE_HALF => format!(
            "the queue of {} is {} full on {on}{worst}; what comes when it is full is refused or \
             left out",
            alert.subject,
            percent(value)
        ),
        rule::LATENCY_HIGH => format!(
            "1 of 20 comments reaches the viewers of {on} later than {value:.0} ms{worst} (goal \
             {threshold:.0} ms)"
        ),
        rule::CLOCK_OFF => format!(
            "the clock of {on} is {:.0} ms {}{worst}: times of comments and ends of bans are off \
             as much",
            value.abs(),
            if value > 0.0 { "ahead" } else { "behind" }
        ),
        rule::CERTIFICATE if alert.subject == rule::ADMIN_API => format!(
            "the certificate of the admin API of {on} {}; then lc reaches it by its socket only",
            if value <= 0.0 {
                "has expired".to_owned()
            } else {
                format!("expires in {}{worst}", show_duration(value as u64))
            }
        ),
        rule::CERTIFICATE if value <= 0.0 => {
            format!("the certificate of {on} has expired: viewers do not connect")
        }
        rule::CERTIFICATE => format!(
            "the certificate of {on} expires in {}{worst}; then viewers do not connect",
            show_duration(value as u64)
        ),
        rule::FILES_LOW => {
            format!(
                "{} of the files of {on} are open{worst}; when all are, viewers are refused",
                percent(value)
            )
        }
        rule::DEAD_LETTERS => {
            let records = show_counted(value as u64, "record");
            format!("{records} put aside, because processing failed")
        }
        rule::NOT_READY => {
            format!("{on} {are} not ready; new viewers are refused there")
        }
        rule::DRAINING => {
            let remain = if alert.viewers == 1 { "remains" } else { "remain" };
            format!("{on} {are} draining: no new viewers; {viewers} {remain}")
        }
        rule::NODE_SILENT => {
            let its = match alert.viewers {
                0 => "viewers reconnect".to_owned(),
                1 => format!("{viewers} reconnects"),
                _ => format!("{viewers} reconnect"),
            };
            format!(
                "node {} does not report: its {its} to other nodes, and its partitions move",
                alert.subject
            )
        }
        rule::SERVED_LOW => format!(
            "{} of what {viewers} of {on} should see is written to them{worst} (goal {}); the rest \
             is skipped and in the history",
            percent(value),
            percent(threshold)
        ),
        rule::EGRESS_CAPPED => format!(
            "{on} {are} at the egress limit ({}/s of {}/s{worst}): viewers of the busiest streams \
             see part of the comments",
            show_bytes(value as u64),
            show_bytes(threshold as u64)
        ),
        rule::PLACES_LOW => {
            format!(
                "{} of the places of {on} are taken{worst}; when all are, viewers are refused",
                percent(value)
            )
        }
        rule::REFUSED_HIGH => {
            format!("{} of the comments on {on} are refused{worst}", percent(value))
        }
        rule::VIEWERS_REFUSED => format!(
            "{}/s of the viewers that connect to {on} are told to retry later: more come than \
             gateway.connections_per_second",
            show_count(value.ceil() as u64)
        ),
        rule::SLOW_VIEWERS => {
            format!(
                "{} of the connections of {on} do not read fast enough and skip comments{worst}",
                percent(value)
            )
        }
        rule::LAG_HIGH => format!(
            "{} is {} behind: {}",
            alert.subject,
            show_counted(value as u64, "record"),
            lag(&alert.subject)
        ),
        rule::RECORDS_GONE => format!(
            "{}: {}, removed from the log before it read them",
            alert.subject,
            show_counted(value as u64, "record")
        ),
        rule::REVIEW_OLD => {
            format!("a comment has waited {} for review", show_duration(value as u64))
        }
        rule::FLAGGED_HIGH => format!(
            "moderation on {on} flagged {} of the comments of the last minute{worst}, from {} on it \
             is an alert: viewers see those that are not held until a person decides",
            percent(value),
            percent(threshold)
        ),
        _ => return None,
    })
}

/// Returns the effect of an outage on viewers.
fn outage(dependency: &str, see: &str) -> String {
    match dependency {
        EVENT_LOG => format!("comments are refused and may be sent again; {see} nothing new"),
        FAN_OUT_BUS => {
            format!("{see} comments through the log: later, none lost")
        }
        CONNECTION_REGISTRY => {
            "commands reach every node through the log; figures of other nodes are missing"
                .to_owned()
        }
        RECENT_CACHE => "returning viewers are served from the log".to_owned(),
        REACTION_TOTALS => "reactions are counted later".to_owned(),
        COMMENT_STORE => {
            "history lacks the newest comments until it is back; live viewers notice nothing"
                .to_owned()
        }
        METADATA_STORE => {
            "bans in force stay in force; changes by operators are refused".to_owned()
        }
        other if other.starts_with(COMMENT_STORE) => "history cannot be read".to_owned(),
        other if other.starts_with(METADATA_STORE) => "settings are those from before".to_owned(),
        _ => "it is done without, or later".to_owned(),
    }
}

fn lag(group: &str) -> &'static str {
    match group {
        "archiver" => "history lacks the newest comments; live viewers notice nothing",
        "moderator" => "comments are checked later than they are shown",
        "coordinator" => "viewers see comments later",
        _ => "it acts on what happened earlier",
    }
}

/// The next step if one node drains.
fn undrain(node: &str) -> String {
    format!("lc drain {node} --undo, or stop the node")
}

/// The next step if comments are refused: the users with most refusals.
fn talkers(stream: Option<StreamId>) -> String {
    let stream = stream.map_or_else(|| "STREAM".to_owned(), |stream| stream.to_string());
    format!("lc talkers {stream} --sort -refused")
}

fn next(rule: &str, subject: &str) -> &'static str {
    match rule {
        rule::BREAKER_OPEN => match subject {
            EVENT_LOG => "lc status; the log's servers or disk; it is taken back by itself",
            _ => "its server and the network to it; it is taken back by itself",
        },
        rule::REDIS_NODE_DOWN => "lc shards; redis-cli -h HOST ping; it is taken back by itself",
        rule::QUEUE_HALF => "lc top; which stage after it is slow?",
        rule::LATENCY_HIGH => "lc top; which stage takes the time?",
        rule::CLOCK_OFF => "chronyc tracking, or timedatectl, on that node",
        rule::CERTIFICATE => "renew it, then systemctl reload lcd",
        rule::FILES_LOW => "LimitNOFILE in the unit of lcd",
        rule::DEAD_LETTERS => "lc dead-letters; then lc dead-letters requeue or ack",
        rule::NOT_READY => "the log of the daemon",
        rule::DRAINING => "lc nodes; then lc drain NODE --undo, or stop the node, for each",
        rule::NODE_SILENT => "lc nodes; is the process running, does it reach the registry?",
        rule::SERVED_LOW | rule::SLOW_VIEWERS => "lc workers; lc streams --sort -in",
        rule::EGRESS_CAPPED => "lc nodes; lc throttle STREAM SHARE, or more edges",
        rule::PLACES_LOW => "more edges, or gateway.max_connections",
        rule::VIEWERS_REFUSED => "nothing after a restart; otherwise more edges",
        rule::LAG_HIGH | rule::LAG_GROWING => "lc lag; lc stores: is its store slow?",
        rule::RECORDS_GONE => "is it running, and does eventlog.retention outlast its pauses?",
        rule::REVIEW_OLD => "lc mod queue",
        rule::FLAGGED_HIGH => "lc mod queue --sort -alike; in a raid lc room STREAM shield on",
        rule::VERSIONS_MIXED => "finish the upgrade: lc nodes --sort version",
        _ if rule == ProblemCode::ReviewHookFailing.as_str() => {
            "the service and the network to it; it is taken back by itself"
        }
        _ if rule == ProblemCode::ReloadFailed.as_str() => {
            "mend the file: lcd check; then systemctl reload lcd"
        }
        _ if rule == ProblemCode::IssuerKeysFailing.as_str() => {
            "the issuer, the network to it, and what it publishes; it is tried again by itself"
        }
        _ => "",
    }
}
