//! Charts of the recent past: one row with its latest and its highest value, or one over the whole
//! view. The time axis is fixed: the right end is the moment on the screen, the left end is a
//! window before it.

use ratatui::layout::Rect;

use super::canvas::{Canvas, row, split_top};
use crate::tui::feed::Metric;
use crate::tui::figures;
use crate::tui::hits::{Target, TimeAxis};
use crate::tui::state::Console;
use crate::tui::tone::{Cell, Tone};

/// Writes a value of a metric with its unit.
pub(super) fn figure(metric: Metric, value: Option<f64>) -> String {
    match metric {
        Metric::Viewers | Metric::Behind => {
            value.map_or(figures::UNKNOWN.to_owned(), |value| figures::count(value as u64))
        }
        Metric::P50 | Metric::P95 | Metric::P99 => figures::latency(value),
        Metric::BytesOut => figures::bytes_per_second(value),
        _ => figures::per_second(value),
    }
}

fn tone(metric: Metric, value: Option<f64>) -> Tone {
    let some = value.is_some_and(|value| value > 0.0);
    match metric {
        Metric::LeftOut | Metric::Refused | Metric::Skipped if some => Tone::Warn,
        _ if some => Tone::Text,
        _ => Tone::Faint,
    }
}

/// Writes the length of the charts: `last 15 minutes`.
pub(super) fn window_title(window_ms: u64) -> String {
    match window_ms / 60_000 {
        1 => "last minute".to_owned(),
        60 => "last hour".to_owned(),
        minutes => format!("last {minutes} minutes"),
    }
}

/// Returns the latest known value at the moment on the screen.
fn now(console: &Console, metric: Metric) -> Option<f64> {
    let window = console.feed().series().window(metric, console.now_ms(), 1_000, 1);
    window.first().copied().flatten()
}

/// Draws one metric in one row: name, bars, now, peak.
fn one_row(
    canvas: &mut Canvas<'_>,
    area: Rect,
    console: &Console,
    metric: Metric,
    bars_of_ms: Option<u64>,
) {
    const NAME: u16 = 10;
    const FIGURE: u16 = 10;
    let value = now(console, metric);
    let figures = FIGURE * if area.width >= NAME + 3 * FIGURE { 2 } else { 1 };
    let bars = area.width.saturating_sub(NAME + figures + 1);
    let label = Rect { width: NAME.min(area.width), ..area };
    canvas.text(label, metric.name(), Tone::Faint);
    let mut x = area.x + label.width;
    if let Some(window_ms) = bars_of_ms.filter(|_| bars >= 8) {
        let series = console.feed().series();
        let values = series.window(metric, console.now_ms(), window_ms, bars.into());
        let shown = figures::spark(&values);
        let place = Rect { x, width: bars, ..area };
        canvas.text(place, &shown, Tone::Chart);
        add_axis(canvas, place, console.now_ms(), window_ms);
        x += bars;
    }
    let right = Rect { x, width: area.right().saturating_sub(x), ..area };
    let now_text = figure(metric, value);
    let now_cell = Cell::new(format!("{now_text:>10}"), tone(metric, value));
    if figures > FIGURE {
        let window_ms = bars_of_ms.unwrap_or(console.window_ms());
        let peak = console.feed().series().peak(metric, console.now_ms(), window_ms);
        let peak = Cell::faint(format!("{:>10}", figure(metric, peak)));
        canvas.line(right, &[now_cell, peak]);
    } else {
        canvas.line(right, &[now_cell]);
    }
}

/// Notes that the columns of a chart are times, which the mouse chooses.
fn add_axis(canvas: &mut Canvas<'_>, area: Rect, end_ms: u64, window_ms: u64) {
    let axis = TimeAxis { left: area.x, cells: area.width, end_ms, window_ms };
    canvas.hits.add(area, Target::Chart(axis));
}

/// Draws several metrics below each other, with bars over a window if one is given.
pub(super) fn rows(
    canvas: &mut Canvas<'_>,
    area: Rect,
    console: &Console,
    title: &str,
    metrics: &[Metric],
    bars_of_ms: Option<u64>,
) {
    let figures = if area.width >= 40 { "now ──── peak" } else { "now" };
    let area =
        canvas.open(area, &[Cell::new(title, Tone::Title)], &[Cell::faint(figures.to_owned())]);
    for (at, metric) in metrics.iter().enumerate().take(area.height.into()) {
        let line = row(area, at as u16);
        one_row(canvas, line, console, *metric, bars_of_ms);
    }
}

/// Draws one metric over a whole area, with a scale and a time axis.
pub(super) fn enlarged(canvas: &mut Canvas<'_>, area: Rect, console: &Console, metric: Metric) {
    const SCALE: u16 = 11;
    let title = format!("{} · {}", metric.name(), window_title(console.window_ms()));
    let value = format!("now {}", figure(metric, now(console, metric)));
    let area = canvas.open(area, &[Cell::new(title, Tone::Title)], &[Cell::text(value)]);
    let (about, area) = split_top(area, 1);
    canvas.text(about, metric.meaning(), Tone::Faint);
    let Some(height) = area.height.checked_sub(1).filter(|height| *height > 0) else { return };
    let width = area.width.saturating_sub(SCALE);
    let series = console.feed().series();
    let values = series.window(metric, console.now_ms(), console.window_ms(), width.into());
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    for at in 0..height {
        let line = row(area, at);
        let level = most * f64::from(height - at) / f64::from(height);
        if at % 4 == 0 {
            let scale = format!("{:>10}", figure(metric, Some(level)));
            canvas.text(Rect { width: SCALE.min(line.width), ..line }, &scale, Tone::Faint);
        }
        let bars = Rect { x: line.x + SCALE.min(line.width), width, ..line };
        canvas.text(bars, &slice(&values, most, at, height), Tone::Chart);
    }
    let bars = Rect { x: area.x + SCALE.min(area.width), width, height, ..area };
    add_axis(canvas, bars, console.now_ms(), console.window_ms());
    let axis = row(area, height);
    let axis = Rect { x: axis.x + SCALE.min(axis.width), width, ..axis };
    let from = figures::clock(console.now_ms().saturating_sub(console.window_ms()));
    let rest = canvas.line_right(axis, &[Cell::faint(figures::clock(console.now_ms()))]);
    canvas.text(rest, &from, Tone::Faint);
}

/// Returns one row of a chart of several rows.
fn slice(values: &[Option<f64>], most: f64, at: u16, height: u16) -> String {
    let bottom = f64::from(height - 1 - at);
    let cell = |value: &Option<f64>| match value {
        None if at + 1 == height => figures::GAP,
        Some(value) if most > 0.0 => {
            let eighths = ((value.max(0.0) / most * f64::from(height) - bottom) * 8.0).ceil();
            match eighths {
                none if none < 1.0 => " ",
                part => figures::BARS[(part as usize).min(8) - 1],
            }
        }
        _ => " ",
    };
    values.iter().map(cell).collect()
}
