//! The overview: what is wrong in words, the pipeline, the rates, the busiest and the fullest.

use ratatui::layout::Rect;

use super::canvas::{Canvas, percent_of, row, split_left, split_top};
use super::table::{facts, wrapped};
use super::{chart, pipeline, table};
use crate::protocol::admin::LATE_AFTER_MS;
use crate::tui::feed::{Alarm, Metric, Moment};
use crate::tui::figures;
use crate::tui::hits::Target;
use crate::tui::state::{Console, Panel};
use crate::tui::table::Record as _;
use crate::tui::text;
use crate::tui::tone::{Cell, Health, Tone};

const RATES: [Metric; 6] = [
    Metric::In,
    Metric::Shown,
    Metric::LeftOut,
    Metric::Refused,
    Metric::Delivered,
    Metric::Viewers,
];
/// From this width on there are two windows.
const WIDE: u16 = 180;
const MINUTE_MS: u64 = 60_000;
/// Rows that an alarm takes at most, and the columns before its text.
const ALARM_ROWS: u16 = 2;
const ALARM_INDENT: usize = 11;
const LATENCIES: [Metric; 3] = [Metric::P50, Metric::P95, Metric::P99];

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let Some(moment) = console.moment() else { return };
    let wide = area.width >= pipeline::WIDTH_OF_BOXES && area.height >= 26;
    let pipeline_rows = 1 + if wide { pipeline::ROWS_OF_BOXES } else { pipeline::ROWS_OF_LINES };
    let rates_rows = 1 + RATES.len() as u16;
    let others = pipeline_rows + rates_rows + if wide { 11 } else { 0 };
    let spare = area.height.saturating_sub(others);
    let alarm_rows = alarm_height(moment, area.width).clamp(1, spare.saturating_sub(1).clamp(1, 7));
    let (top, rest) = split_top(area, 1 + alarm_rows);
    alarms(canvas, top, console);
    let (middle, rest) = split_top(rest, pipeline_rows);
    let inner = canvas.open(middle, &[Cell::new("pipeline", Tone::Title)], &[]);
    let mut stages = pipeline::stages(moment);
    if console.is_out_of_date() {
        stages.iter_mut().for_each(|stage| stage.health = Health::Unknown);
    }
    if wide {
        pipeline::boxes(canvas, inner, &stages);
    } else {
        pipeline::one_line_each(canvas, inner, &stages);
    }
    let (rates, rest) = split_top(rest, rates_rows);
    charts(canvas, rates, console, moment, wide);
    if wide {
        lists(canvas, rest, console);
    }
}

/// Returns the rows that all alarms take.
fn alarm_height(moment: &Moment, width: u16) -> u16 {
    moment.alarms.iter().map(|alarm| rows_of(alarm, width)).sum::<u16>().max(1)
}

/// Returns the rows that one alarm takes where there is room.
fn rows_of(alarm: &Alarm, width: u16) -> u16 {
    let room = usize::from(width).saturating_sub(ALARM_INDENT).max(1);
    text::wrap(&alarm.sentences(), room, ALARM_ROWS.into()).len() as u16
}

/// Returns the first alarm to show so that the selected one is seen.
fn first_alarm(rows: &[u16], selected: usize, room: u16) -> usize {
    let mut first = selected;
    let mut taken = 1 + u16::from(selected + 1 < rows.len());
    while let Some(before) = first.checked_sub(1).filter(|at| taken + rows[*at] <= room) {
        taken += rows[before];
        first = before;
    }
    first
}

/// Draws the alarms, each in at most two rows, with the next step where there is room. What is cut
/// is read by a key of the footer.
pub(super) fn alarms(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.alarms();
    let title = format!("alerts {}", listing.total());
    let area = canvas.open(area, &[Cell::new(title, Tone::Title)], &[]);
    canvas.hits.add(area, Target::Table(Panel::Alarms));
    if listing.rows.is_empty() {
        let line = if console.is_out_of_date() {
            let text = " unknown: no contact to the daemon; nothing was wrong before";
            [Cell::mark(Health::Unknown), Cell::faint(text)]
        } else {
            [Cell::mark(Health::Good), Cell::text(" nothing is wrong that this console sees")]
        };
        canvas.line(area, &line);
        return;
    }
    let focused = console.panel() == Panel::Alarms;
    let rows: Vec<_> = listing.rows.iter().map(|row| rows_of(row.alarm, area.width)).collect();
    let first = if focused { first_alarm(&rows, listing.selected, area.height) } else { 0 };
    let mut at = 0;
    let count = listing.rows.len();
    for (index, record) in listing.rows.iter().enumerate().skip(first) {
        let room = area.height - at;
        let more_follow = index + 1 < count;
        if room == 0 {
            return;
        }
        if room == 1 && more_follow && at > 0 {
            let more = format!("   … {} more", count - index);
            canvas.text(row(area, at), &more, Tone::Faint);
            return;
        }
        let prefix = vec![
            Cell::text(if focused && index == listing.selected { "▶" } else { " " }),
            record.cell(""),
            Cell::faint(format!("{:>7}  ", record.cell("since").text)),
        ];
        let acked = record.alarm.acked_by.as_ref();
        let tone = acked.map_or(record.alarm.severity.health().tone(), |_| Tone::Faint);
        let most = room.saturating_sub(u16::from(more_follow)).clamp(1, ALARM_ROWS);
        let said = record.alarm.sentences();
        for line in wrapped(&prefix, &said, tone, area.width, most.into()) {
            let place = row(area, at);
            canvas.line(place, &line);
            canvas.hits.add(place, Target::Row(Panel::Alarms, record.key()));
            at += 1;
        }
    }
}

/// Draws the rates, and beside them the latencies if they are known and there is room. A very wide
/// screen has the last minute too.
fn charts(canvas: &mut Canvas<'_>, area: Rect, console: &Console, moment: &Moment, bars: bool) {
    let window_ms = console.window_ms();
    let title = if bars { chart::window_title(window_ms) } else { "rates".to_owned() };
    let bars_of_ms = bars.then_some(window_ms);
    let latencies = !moment.snapshot.end_to_end.is_empty();
    if !latencies || area.width < 70 {
        chart::rows(canvas, area, console, &title, &RATES, bars_of_ms);
        return;
    }
    let share = if area.width >= WIDE { 42 } else { 62 };
    let (left, mut right) = split_left(area, percent_of(area.width, share));
    chart::rows(canvas, left, console, &title, &RATES, bars_of_ms);
    if area.width >= WIDE {
        let (middle, rest) = split_left(right, right.width / 2);
        let minute = chart::window_title(MINUTE_MS);
        chart::rows(canvas, middle, console, &minute, &RATES, Some(MINUTE_MS));
        right = rest;
    }
    let (upper, lower) = split_top(right, 1 + LATENCIES.len() as u16);
    chart::rows(canvas, upper, console, "end to end", &LATENCIES, bars_of_ms);
    let over = format!("over {LATE_AFTER_MS} ms");
    let share = |share: Option<f64>| share.map_or(figures::UNKNOWN.to_owned(), figures::percent);
    let skipped = moment.served().map(|served| 1.0 - served);
    let slow = figures::count(moment.snapshot.slow_viewers);
    let pairs = [
        (over.as_str(), share(moment.late())),
        ("skipped", share(skipped)),
        ("slow viewers", slow),
    ];
    for (at, pair) in pairs.into_iter().enumerate() {
        canvas.line(row(lower, at as u16), &facts(&[pair]));
    }
}

/// Draws the busiest streams, the fullest nodes and the latest happenings.
fn lists(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let happenings = (area.height / 3).clamp(3, 8);
    let (upper, lower) = split_top(area, area.height.saturating_sub(happenings));
    let (left, right) = split_left(upper, percent_of(upper.width, 60));
    let streams = console.streams(Panel::Busiest);
    table::draw(canvas, left, "busiest streams", Panel::Busiest, &streams, console);
    let nodes = console.nodes(Panel::Fullest);
    table::draw(canvas, right, "fullest nodes", Panel::Fullest, &nodes, console);
    just_now(canvas, lower, console);
}

/// Draws what happened last.
pub(super) fn just_now(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let area = canvas.open(area, &[Cell::new("just now", Tone::Title)], &[]);
    let mut any = false;
    for (at, happening) in console.just_now().take(area.height.into()).enumerate() {
        any = true;
        canvas.line(
            row(area, at as u16),
            &[
                Cell::faint(format!(" {} ", figures::clock(happening.at_ms))),
                Cell::mark(happening.health),
                Cell::text(format!(" {:<14} ", happening.name)),
                Cell::text(happening.text.clone()),
            ],
        );
    }
    if !any {
        canvas.text(area, " nothing since this console was started", Tone::Faint);
    }
}

/// Draws what is left on a very small screen: the alarms and four rates.
pub(super) fn brief(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    const BRIEF: [Metric; 4] = [Metric::In, Metric::Shown, Metric::Delivered, Metric::Viewers];
    let rates = if area.height >= 7 { 1 + BRIEF.len() as u16 } else { 0 };
    let (top, rest) = split_top(area, area.height.saturating_sub(rates));
    alarms(canvas, top, console);
    let bars_of_ms = (area.width >= 40).then_some(console.window_ms());
    chart::rows(canvas, rest, console, "rates", &BRIEF, bars_of_ms);
}
