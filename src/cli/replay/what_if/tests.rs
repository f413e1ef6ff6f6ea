//! Calculations on recordings whose answer is known.

use std::path::Path;

use super::*;
use crate::cli::replay::overlay::tests::all_of;
use crate::loadgen::recording::{
    RecordedComment, RecordedEvent, RecordedThrottle, RecordingWriter,
};
use crate::protocol::admin::{RuleLevel, RulesInForce};

/// Writes phases of so many seconds at so many comments per second, of 40 users.
fn write_phases(path: &Path, phases: &[(u64, u64)], throttle: &[(u64, f64)]) {
    let mut events = Vec::new();
    let mut start_ms = 0;
    let mut number = 0;
    for &(seconds, per_second) in phases {
        for n in 0..seconds * per_second {
            events.push(RecordedEvent::Comment(RecordedComment {
                ts_ms: start_ms + n * 1_000 / per_second,
                id: None,
                user: format!("user{}", number % 40).into(),
                user_id: None,
                user_key: None,
                text: format!("comment number {number}").into(),
                moderation: None,
                moderation_s: None,
            }));
            number += 1;
        }
        start_ms += seconds * 1_000;
    }
    for &(ts_ms, share) in throttle {
        let sample_rate = SampleRate::from_share(share).unwrap();
        events.push(RecordedEvent::Throttle(RecordedThrottle { ts_ms, sample_rate, fixed: false }));
    }
    events.sort_by_key(RecordedEvent::ts_ms);
    let mut writer = RecordingWriter::create(path).unwrap();
    events.iter().for_each(|event| writer.write_event(event).unwrap());
    writer.finish().unwrap();
}

fn report(phases: &[(u64, u64)], throttle: &[(u64, f64)], settings: &str) -> WhatIfReport {
    report_at(phases, throttle, settings, 1.0)
}

fn report_at(
    phases: &[(u64, u64)],
    throttle: &[(u64, f64)],
    settings: &str,
    times: f64,
) -> WhatIfReport {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_phases(&path, phases, throttle);
    let selection = all_of(vec![path]);
    let overview = Overview::read(&selection).unwrap();
    let load = Load { times, viewers: 400_000 };
    compute(&settings.parse().unwrap(), &BaseRules::default(), selection, &overview, load).unwrap()
}

const PHASES: [(u64, u64); 3] = [(60, 50), (60, 400), (60, 20)];
const LEVELS: &str = "throttle=0:all,200:25%,1k:5%";

#[test]
fn levels_change_where_the_rate_does() {
    let report = report(&PHASES, &[], LEVELS);
    assert_eq!(report.comments, 28_200);
    assert_eq!((report.now.shown, report.now.sampled_out), (28_200, 0), "below every default");
    let steps: Vec<_> = report.changes.iter().map(|c| (c.from, c.to, c.at_ms / 1_000)).collect();
    // Up when the estimate passes 200/s; down 5 s after it fell below 160/s.
    assert_eq!(steps, [(0, 1, 60), (1, 0, 125)]);
    assert_eq!(report.flaps, 0);
    let all: u64 = report.would_be.shown + report.would_be.sampled_out;
    assert_eq!(all, 28_200);
    let expected = 60.0 * 50.0 + 24_000.0 * 0.25 + 1_200.0;
    let shown = report.would_be.shown as f64;
    assert!((shown / expected - 1.0).abs() < 0.02, "{shown} of {expected}");
    let shares: Vec<_> =
        report.minutes.iter().map(|row| (row.would_be.share() * 100.0).round()).collect();
    assert_eq!(shares[0], 100.0);
    assert!((25.0..28.0).contains(&shares[1]), "{shares:?}");
    assert!(report.would_be.bytes_per_viewer * 3 < report.now.bytes_per_viewer * 2);
    assert_eq!(report.minutes.len(), 3);
}

#[test]
fn a_short_minute_has_the_rates_of_its_seconds() {
    let near = |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.01, "{value}");
    let short = report(&[(20, 300)], &[], "throttle=50%");
    near(short.minutes[0].seconds, 20.0);
    near(short.minutes[0].in_per_second, 300.0);
    assert!(format_report(&short).contains("150 50%"), "{}", format_report(&short));
    let last = report(&[(90, 100)], &[], "throttle=50%");
    let [first, second] = last.minutes.as_slice() else { panic!("{:?}", last.minutes) };
    assert_eq!(first.seconds, 60.0);
    near(first.in_per_second, 100.0);
    near(second.seconds, 30.0);
    near(second.in_per_second, 100.0);
    let lone = report(&[(1, 1)], &[], "throttle=50%");
    assert_eq!(lone.minutes[0].in_per_second, 1.0, "at least a second");
    let twice = report_at(&[(20, 300)], &[], "throttle=50%", 2.0);
    near(twice.minutes[0].in_per_second, 600.0);
}

#[test]
fn the_daemons_defaults_are_what_now_means() {
    // The defaults begin at 5 000/s.
    let report = report_at(&[(60, 1_000)], &[], "throttle=all", 6.0);
    assert!(report.now.sampled_out > 20_000, "{:?}", report.now);
    assert_eq!(report.would_be.sampled_out, 0);
    assert!(!report.now_is_recorded);
}

#[test]
fn recorded_changes_are_what_was_shown() {
    let report = report(&[(60, 100)], &[(30_000, 0.5)], "throttle=10%");
    assert!(report.now_is_recorded);
    assert_eq!(report.now.sampled_out, 1_500, "half of what came from then on");
    assert_eq!(report.would_be.shown, 600);
    assert!(report.changes.is_empty(), "a fixed share has no levels");
}

#[test]
fn no_limit_comes_on_top_of_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_phases(&path, &[(60, 300)], &[(30_000, 0.5)]);
    let selection = all_of(vec![path]);
    let overview = Overview::read(&selection).unwrap();
    let base = BaseRules { egress: 1_000_000, ..BaseRules::default() };
    let load = Load { times: 1.0, viewers: 400_000 };
    let report = compute(&WhatIf::default(), &base, selection, &overview, load).unwrap();
    assert!(report.now_is_recorded);
    assert_eq!((report.now.sampled_out, report.now.egress_sampled_out), (4_500, 0));
    assert!(report.would_be.egress_sampled_out > 0, "the same limit is computed there");
}

#[test]
fn an_egress_limit_lowers_what_the_throttle_leaves() {
    let generous = report(&[(120, 300)], &[], "egress=100g");
    assert_eq!(generous.would_be.egress_sampled_out, 0);
    let sent = generous.would_be.bytes_per_viewer * 400_000 / 120;
    let budget = sent / 4;
    let tight = report(&[(120, 300)], &[], &format!("egress={budget}"));
    let second_minute = &tight.minutes[1].would_be;
    let used = second_minute.bytes * 400_000 / 60;
    assert!(used <= budget && used > budget / 3, "{used} of {budget}");
    let spread = report(&[(120, 300)], &[], &format!("egress={budget} nodes=5"));
    assert_eq!(spread.would_be.egress_sampled_out, 0, "five nodes have five budgets");
}

#[test]
fn a_limit_of_users_refuses_the_talkative() {
    // 40 users with 75 comments per minute each.
    let report = report(&[(120, 50)], &[], "rate=30");
    let accepted = report.would_be.shown;
    // One bucket of 30 each, and 30 per minute.
    assert!((3_500..=3_640).contains(&accepted), "{accepted}");
    assert_eq!(report.would_be.refused + accepted, 6_000);
}

#[test]
fn a_rate_at_the_threshold_does_not_flap() {
    let waves: Vec<_> = (0..20).flat_map(|_| [(6, 210), (6, 190)]).collect();
    assert_eq!(report(&waves, &[], LEVELS).flaps, 0);
    let nervous = format!("{LEVELS} hysteresis=1 step_down_after=1s");
    assert!(report(&waves, &[], &nervous).flaps > 10);
}

#[test]
fn a_gap_of_years_is_not_computed() {
    const YEARS: u64 = 100 * 365 * 86_400;
    let gap = report(&[(60, 50), (60, 400), (YEARS, 0), (60, 50)], &[], LEVELS);
    let steps: Vec<_> = gap.changes.iter().map(|c| (c.from, c.to, c.at_ms / 1_000)).collect();
    assert_eq!(steps, [(0, 1, 60), (1, 0, 125)]);
    assert_eq!(gap.minutes.len(), 3);
    assert_eq!(gap.minutes[2].would_be.left_out, 0);
    // A recorded change in the gap counts after it.
    let gap = report(&[(60, 100), (YEARS, 0), (60, 100)], &[(3_600_000, 0.5)], "throttle=10%");
    assert_eq!(gap.minutes[0].now.left_out, 0);
    assert!((2_999..=3_001).contains(&gap.now.sampled_out), "{:?}", gap.now);
}

/// A part of a recording is computed as if it were a recording of its own.
#[test]
fn the_clocks_begin_with_the_first_comment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_phases(&path, &[(601, 1), (10, 400)], &[]);
    let load = Load { times: 1.0, viewers: 1 };
    let part = Selection { from_ms: 601_000, ..all_of(vec![path]) };
    let overview = Overview::read(&part).unwrap();
    let settings = LEVELS.parse().unwrap();
    let part = compute(&settings, &BaseRules::default(), part, &overview, load).unwrap();
    let whole = report(&[(10, 400)], &[], LEVELS);
    assert_eq!(part.would_be.sampled_out, whole.would_be.sampled_out);
    assert_eq!(part.changes[0].at_ms, whole.changes[0].at_ms + 601_000);
    assert_eq!(part.minutes[0].minute, 10);
}

#[test]
fn a_recording_with_rules_has_its_throttle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_phases(&path, &[(20, 300)], &[]);
    let selection = all_of(vec![path]);
    let mut overview = Overview::read(&selection).unwrap();
    overview.rules = Some(RulesInForce {
        throttle: vec![
            RuleLevel { from_per_second: 0.0, sample_rate: SampleRate::ALL },
            RuleLevel { from_per_second: 100.0, sample_rate: SampleRate::from_share(0.1).unwrap() },
        ],
        hysteresis: 0.8,
        step_down_after_ms: 5_000,
        egress_bytes_per_second: 0,
    });
    let base = BaseRules::of_recording(overview.rules.as_ref().unwrap()).unwrap();
    let settings = WhatIf::default();
    let at = |times| {
        let load = Load { times, viewers: 1 };
        compute(&settings, &base, selection.clone(), &overview, load).unwrap()
    };
    let same_speed = at(1.0);
    assert!(same_speed.now_is_recorded);
    assert_eq!(same_speed.now.sampled_out, 0, "no change was recorded");
    assert!(same_speed.would_be.sampled_out > 5_000, "{:?}", same_speed.would_be);
    let twice = at(2.0);
    assert!(!twice.now_is_recorded);
    assert_eq!(twice.now, twice.would_be, "both by the rules of the recording");
}

#[test]
fn the_table_reads_as_documented() {
    let side = |shown, left_out, bytes| MinuteSide { shown, left_out, bytes };
    let calm = side(3_000, 0, 150_000);
    let rows = [
        (50.0, calm.clone(), calm),
        (400.0, side(24_000, 0, 960_000), side(6_100, 17_900, 300_000)),
        (20.0, side(1_200, 0, 60_000), side(1_130, 70, 56_000)),
    ];
    let row = |(minute, (in_per_second, now, would_be))| MinuteRow {
        minute,
        seconds: 60.0,
        in_per_second,
        now,
        would_be,
    };
    let text = format_report(&WhatIfReport {
        comments: 28_200,
        viewers: 400_000,
        now: Totals { shown: 28_200, most_per_second: 400, ..Totals::default() },
        now_is_recorded: false,
        now_by: RulesOrigin::Recording,
        would_be: Totals {
            shown: 10_230,
            sampled_out: 17_970,
            most_per_second: 108,
            ..Totals::default()
        },
        settings: "throttle=0:all,200:25%,1k:5% nodes=2"
            .parse::<WhatIf>()
            .unwrap()
            .used(&BaseRules { origin: RulesOrigin::Recording, ..BaseRules::default() }),
        minutes: (0..).zip(rows).map(row).collect(),
        changes: vec![
            LevelChange { at_ms: 60_500, from: 0, to: 1 },
            LevelChange { at_ms: 125_250, from: 1, to: 0 },
        ],
        flaps: 0,
    });
    insta::assert_snapshot!(text);
}
