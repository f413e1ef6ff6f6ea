//! Conditions that raise an alert, each with its threshold.

use super::*;
use crate::daemon::edge::admin::lag::UnheldLag;
use crate::protocol::admin::dependency::REVIEW_HOOK;
use crate::protocol::admin::{
    BusNode, BusNodeState, ConsumerLag, DecisionCounts, Egress, EgressLimit, ProcessStatus,
    RecentModeration, RefusedUser, StageName, StageReport,
};
use crate::protocol::latency::LatencyHistogram;
use crate::protocol::{StreamId, UserId};

#[test]
fn a_dead_review_hook_is_one_alert() {
    let open = [breaker(REVIEW_HOOK, BreakerState::Open)];
    assert_eq!(conditions::of_breakers(&open, &[], &settings()), []);
    let problem = Problem {
        code: ProblemCode::ReviewHookFailing.as_str().to_owned(),
        subject: REVIEW_HOOK.to_owned(),
        text: "no valid answers".to_owned(),
        since_ms: 10,
    };
    let mut board = AlertBoard::default();
    board.update(Instant::now(), conditions::of_problems(&[problem], true), None);
    assert_eq!(ids(&board), ["review_hook_failing/review_hook"]);
    let next = &board.raised().next().unwrap().next;
    assert!(next.starts_with("the service and the network"), "{next}");
}

#[test]
fn the_log_is_critical_and_the_bus_is_not() {
    let severity = |dependency, essential: &[&'static str]| {
        let breakers = [breaker(dependency, BreakerState::HalfOpen)];
        conditions::of_breakers(&breakers, essential, &settings())[0].severity
    };
    assert_eq!(severity(EVENT_LOG, &[]), Severity::Critical);
    assert_eq!(severity("fan-out bus", &[]), Severity::Warning);
    assert_eq!(severity("comment store", &["comment store"]), Severity::Critical);
    let closed = [breaker(EVENT_LOG, BreakerState::Closed)];
    assert_eq!(conditions::of_breakers(&closed, &[], &settings()), []);
}

/// Returns the rules of a node whose counters grow as `grow` does in five seconds.
fn rules(grow: impl Fn(&mut NodeReport)) -> Vec<String> {
    let start = Instant::now();
    let mut window = Window::default();
    let mut report = named("a");
    report.node.egress = Egress::default();
    report.node.connections = 1_000;
    report.node.max_connections = 10_000;
    report.slow_viewers = 0;
    window.add(start, &report);
    grow(&mut report);
    window.add(start + Duration::from_secs(5), &report);
    let found = window.conditions(&report, &settings());
    found.into_iter().map(|condition| condition.rule).collect()
}

#[test]
fn refused_comments_lead_to_the_stream_with_most() {
    let start = Instant::now();
    let alert = |refused: &[(u64, u64)], share: u64| {
        let mut window = Window::default();
        let mut report = named("a");
        window.add(start, &report);
        report.counters.received += 1_000;
        *report.counters.refused.entry("rate_limited".to_owned()).or_default() += share;
        let user = |(number, &(stream, refused)): (usize, &(u64, u64))| RefusedUser {
            stream_id: StreamId(stream),
            user_id: UserId(number as u64),
            name: "ann".to_owned(),
            refused,
        };
        report.refused_users = refused.iter().enumerate().map(user).collect();
        window.add(start + Duration::from_secs(5), &report);
        let found = window.conditions(&report, &settings());
        let refuses = found.iter().find(|condition| condition.rule == rule::REFUSED_HIGH).unwrap();
        texts::alert(refuses, Duration::ZERO, Some(&report.node))
    };
    let none = alert(&[], 20);
    assert_eq!(none.next, "lc talkers STREAM --sort -refused");
    let mut known = alert(&[(1, 5), (7, 4), (7, 3)], 30);
    assert_eq!(known.next, "lc talkers 7 --sort -refused");
    texts::join(&mut known, &none);
    assert_eq!(known.next, "lc talkers 7 --sort -refused", "the other node refuses less");
}

#[test]
fn each_measurement_has_its_threshold() {
    let none: [&str; 0] = [];
    assert_eq!(rules(|_| ()), none);
    assert_eq!(rules(|report| report.counters.delivered += 100_000), none);
    let skips = |report: &mut NodeReport| {
        report.counters.delivered += 990;
        report.counters.skipped += 10;
    };
    assert_eq!(rules(skips), ["served_low"]);
    let few = |report: &mut NodeReport| report.counters.skipped += 10;
    assert_eq!(rules(few), none, "ten deliveries say nothing");
    let refuses = |report: &mut NodeReport| {
        report.counters.received += 1_000;
        *report.counters.refused.entry("rate_limited".to_owned()).or_default() += 11;
    };
    assert_eq!(rules(refuses), ["refused_high"]);
    let hurry = |report: &mut NodeReport| {
        let refused = &mut report.counters.connections_refused;
        *refused.entry("connection_rate".to_owned()).or_default() += 1;
    };
    assert_eq!(rules(hurry), ["viewers_refused"]);
    assert_eq!(rules(|report| report.slow_viewers = 11), ["slow_viewers"]);
    assert_eq!(rules(|report| report.slow_viewers = 10), none);
    assert_eq!(rules(|report| report.node.connections = 9_001), ["places_low"]);
    let capped = |report: &mut NodeReport| {
        report.node.egress.limited_by = Some(EgressLimit::Budget);
    };
    assert_eq!(rules(capped), ["egress_capped"]);
}

#[test]
fn a_rate_is_over_the_time_that_was_measured() {
    let start = Instant::now();
    let mut window = Window::default();
    let mut report = named("a");
    report.node.egress = Egress::default();
    window.add(start, &report);
    let refused = &mut report.counters.connections_refused;
    *refused.entry("connection_rate".to_owned()).or_default() += 10;
    window.add(start + Duration::from_secs(5), &report);
    let found = window.conditions(&report, &settings());
    let refusing = found.iter().find(|condition| condition.rule == rule::VIEWERS_REFUSED).unwrap();
    assert_eq!(refusing.value, Some(2.0), "10 in five seconds after a start");
}

#[test]
fn a_restarted_counter_is_no_difference() {
    assert_eq!(rules(|report| report.counters = Default::default()), Vec::<String>::new());
}

#[test]
fn a_group_has_one_alert_for_its_worst_partition() {
    let lag = |group: &str, partition, lag, expired| ConsumerLag {
        group: group.to_owned(),
        topic: "comment_events".to_owned(),
        partition,
        position: 0,
        end: lag,
        lag,
        expired,
        ..ConsumerLag::default()
    };
    let all = [
        lag("archiver", 0, 150_000, 0),
        lag("archiver", 1, 250_000, 0),
        lag("moderator", 0, 99_999, 7),
    ];
    let found = conditions::of_lag(&all, &settings());
    let found: Vec<_> = found.iter().map(|it| (it.id(), it.value)).collect();
    let expected = [
        ("lag_high/archiver".to_owned(), Some(250_000.0)),
        ("records_gone/moderator".to_owned(), Some(7.0)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_lag_grows_if_it_is_old_and_falls_back() {
    let of = |oldest_ms, change_per_s| ConsumerLag {
        group: "archiver".to_owned(),
        topic: "comment_events".to_owned(),
        lag: 14_000,
        oldest_ms,
        change_per_s,
        ..ConsumerLag::default()
    };
    let quiet = [
        of(Some(5_000), Some(60.0)),
        of(Some(90_000), Some(-60.0)),
        of(Some(90_000), None),
        of(None, Some(60.0)),
    ];
    for lag in quiet {
        assert_eq!(conditions::of_lag(std::slice::from_ref(&lag), &settings()), [], "{lag:?}");
    }
    let found = conditions::of_lag(&[of(Some(8_000), Some(60.0))], &settings());
    let [growing] = &found[..] else { panic!("{found:?}") };
    assert_eq!((growing.id().as_str(), growing.value), ("lag_growing/archiver", Some(8_000.0)));
    assert_eq!(growing.hold, Duration::from_secs(30));
    let effect = texts::alert(growing, growing.hold, None).effect;
    assert_eq!(
        effect,
        "archiver is 8s behind (14k records, +60/s): history lacks the newest comments; live \
         viewers notice nothing"
    );
}

/// A room of the partition has a message delay, so 40 records are always held back.
#[tokio::test(start_paused = true)]
async fn a_lag_behind_held_records_grows() {
    let held_records = BTreeMap::from([(0, 40)]);
    let view = ClusterView::new(NodeReport { held_records, ..named("a") }, Vec::new());
    let unheld = UnheldLag::default();
    let look = |unread: u64| {
        let mut lags = [ConsumerLag {
            group: "coordinator".to_owned(),
            topic: "comment_events".to_owned(),
            position: 100,
            end: 140 + unread,
            lag: 40 + unread,
            // Those of the whole lag.
            oldest_ms: Some(90_000),
            change_per_s: Some(60.0),
            ..ConsumerLag::default()
        }];
        unheld.leave_out_held(&view, &mut lags);
        conditions::of_lag(&lags, &settings())
    };
    for _ in 0..60 {
        assert_eq!(look(0), [], "what is held back is no lag");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for second in 0..=5 {
        assert_eq!(look(second * 60), [], "{second}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let found = look(360);
    let [growing] = &found[..] else { panic!("{found:?}") };
    assert_eq!(growing.id(), "lag_growing/coordinator");
    assert!(
        growing.value.is_some_and(|age_ms| (5_000.0..8_000.0).contains(&age_ms)),
        "{growing:?}"
    );
}

#[test]
fn open_dead_letters_are_an_alert() {
    assert_eq!(conditions::of_dead_letters(0), None);
    let found = conditions::of_dead_letters(2).unwrap();
    assert_eq!((found.id().as_str(), found.value), ("dead_letters", Some(2.0)));
    let alert = texts::alert(&found, Duration::ZERO, None);
    assert_eq!(alert.effect, "2 records put aside, because processing failed");
}

#[test]
fn versions_that_differ_are_named() {
    let mut nodes = [named("a").node, named("b").node];
    assert_eq!(conditions::of_versions(&nodes, &settings()), None);
    nodes[1].version = "9.9.9".to_owned();
    let found = conditions::of_versions(&nodes, &settings()).unwrap();
    assert!(found.text.contains("9.9.9"), "{}", found.text);
    assert_eq!(found.hold, Duration::from_secs(3_600));
}

#[test]
fn a_silent_server_of_the_bus_is_named() {
    let mut server = BusNode::new("10.0.3.12:6379".to_owned());
    assert_eq!(conditions::of_bus(std::slice::from_ref(&server), &settings()), []);
    server.state = BusNodeState::Fails;
    server.since_ms = 41_000;
    let [condition] = &conditions::of_bus(&[server], &settings())[..] else { panic!("one") };
    assert_eq!(condition.id(), "redis_node_down/10.0.3.12:6379");
    let mut node = named("a").node;
    node.connections = 137_000;
    node.senders = 0;
    let alert = texts::alert(condition, condition.lasted, Some(&node));
    assert_eq!(
        alert.effect,
        "Redis node 10.0.3.12:6379 does not answer on a: 137k viewers see comments of its \
         channels through the log: later, none lost"
    );
    assert_eq!(alert.since_ms, 41_000);
}

#[test]
fn a_queue_that_is_half_full_is_told() {
    let stage = |queue, queue_max| {
        let mut stage = named("a").stages.remove(0);
        (stage.queue, stage.queue_max) = (queue, queue_max);
        stage
    };
    let places = StageReport { name: StageName::Gateway, ..stage(80, 100) };
    let stages = [stage(49, 100), stage(50, 0), places];
    assert_eq!(conditions::of_stages(&stages, &settings()), []);
    let found = conditions::of_stages(&[stage(50, 100)], &settings());
    assert_eq!((found[0].id().as_str(), found[0].value), ("queue_half/ingest", Some(0.5)));
}

#[test]
fn latency_and_clock_have_their_limits() {
    let histogram = |ms, count| {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::from_millis(20), 90);
        histogram.record(Duration::from_millis(ms), count);
        histogram
    };
    assert_eq!(conditions::of_latency(&LatencyHistogram::default(), &settings()), None);
    assert_eq!(conditions::of_latency(&histogram(900, 2), &settings()), None, "p95 is 20 ms");
    let late = conditions::of_latency(&histogram(900, 20), &settings()).unwrap();
    assert!((800.0..1_000.0).contains(&late.value.unwrap()), "{late:?}");
    let process = |clock_ms, files| ProcessStatus {
        clock_ms: Some(clock_ms),
        files: Some(files),
        files_max: Some(1_000),
        ..ProcessStatus::default()
    };
    assert_eq!(conditions::of_process(&process(-20, 900), &settings()), []);
    let found = conditions::of_process(&process(-21, 901), &settings());
    let rules: Vec<_> = found.iter().map(|condition| condition.rule.as_str()).collect();
    assert_eq!(rules, ["clock_off", "files_low"]);
    assert_eq!(conditions::of_process(&ProcessStatus::default(), &settings()), []);
}

#[test]
fn a_certificate_is_told_two_weeks_before_its_end() {
    const DAY_MS: u64 = 86_400_000;
    let condition = |left_ms| conditions::of_certificate(Some(left_ms), 0, &settings());
    assert_eq!(conditions::of_certificate(None, 0, &settings()), None);
    assert_eq!(condition(14 * DAY_MS), None);
    let node = named("a").node;
    let effect =
        |left_ms| texts::alert(&condition(left_ms).unwrap(), Duration::ZERO, Some(&node)).effect;
    assert!(effect(13 * DAY_MS).contains("expires in 13d"), "{}", effect(13 * DAY_MS));
    assert!(effect(0).contains("has expired"), "{}", effect(0));
    let of_admin = conditions::of_admin_certificate(Some(0), 0, &settings()).unwrap();
    assert_eq!(of_admin.subject, "admin");
    let effect = texts::alert(&of_admin, Duration::ZERO, Some(&node)).effect;
    assert!(effect.starts_with("the certificate of the admin API"), "{effect}");
}

fn flagged(minute: (u64, u64), hour: (u64, u64)) -> RecentModeration {
    let counts =
        |(checked, flagged)| DecisionCounts { checked, flagged, ..DecisionCounts::default() };
    RecentModeration { minute: counts(minute), hour: counts(hour), ..RecentModeration::default() }
}

#[test]
fn a_jump_of_flagged_comments_is_told() {
    let found = |minute, hour| conditions::of_flagged(&flagged(minute, hour), &settings());
    let condition = found((1_000, 60), (60_000, 600)).expect("six times the usual 1 %");
    assert_eq!((condition.value, condition.threshold), (Some(0.06), Some(0.05)));
    let alert = texts::alert(&condition, condition.hold, Some(&named("a").node));
    let effect = "moderation on a flagged 6% of the comments of the last minute, from 5% on it is \
                  an alert: viewers see those that are not held until a person decides";
    assert_eq!((alert.id.as_str(), alert.effect.as_str()), ("flagged_high", effect));
    assert!(alert.next.contains("lc mod queue"), "{}", alert.next);
    for (minute, hour, why) in [
        ((1_000, 49), (60_000, 600), "less than five times"),
        ((100, 19), (60_000, 600), "fewer than twenty"),
        ((1_000, 60), (99, 0), "an hour of which nothing is known"),
        ((10_000, 49), (60_000, 0), "after an hour without any"),
        ((0, 0), (60_000, 600), "nothing was checked"),
    ] {
        assert_eq!(found(minute, hour), None, "{why}");
    }
}
