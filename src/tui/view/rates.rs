//! The rates panel: comments per second at each stage, with a chart of the recent past.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{RenderDirection, Sparkline, Widget as _};

use super::grid::{Column, Grid};
use super::panel;
use crate::protocol::quantity::show_rate;
use crate::tui::history::{Metric, SnapshotHistory};
use crate::tui::theme::Theme;

/// The cell of the chart column stays empty; the chart is drawn over it.
const COLUMNS: [Column; 4] = [
    Column { name: "", width: 11, right: false, rank: 1 },
    Column { name: "", width: 6, right: true, rank: 0 },
    Column { name: "", width: 0, right: false, rank: 2 },
    Column { name: "", width: 8, right: true, rank: 3 },
];

/// The metrics that are shown if there is no room for all.
const BRIEF: [Metric; 3] = [Metric::In, Metric::Delivered, Metric::Refused];

pub(super) fn draw(area: Rect, buffer: &mut Buffer, history: &SnapshotHistory, theme: &Theme) {
    let area = panel::open(area, buffer, "comments per second", theme);
    let grid = Grid::fit(&COLUMNS, area);
    let metrics =
        if usize::from(area.height) < Metric::ALL.len() { &BRIEF[..] } else { &Metric::ALL };
    for (&metric, row) in metrics.iter().zip(area.rows()) {
        let (name, figure) = styles(metric, history.rate(metric), theme);
        let chart = grid.area(2, row);
        let cells = [
            (metric.name().to_owned(), name),
            (history.rate(metric).map_or("–".to_owned(), show_rate), figure),
            (String::new(), theme.text),
            (peak(history, metric, chart.width), theme.faint),
        ];
        grid.row(row.y, buffer, &cells);
        draw_chart(chart, buffer, history, metric, theme);
    }
}

fn styles(metric: Metric, rate: Option<f64>, theme: &Theme) -> (Style, Style) {
    let some = rate.is_some_and(|rate| rate > 0.0);
    let figure = match metric {
        Metric::SampledOut | Metric::Refused | Metric::Skipped if some => theme.warn,
        _ if some => theme.text,
        _ => theme.faint,
    };
    (theme.faint, figure)
}

/// The newest points that fit, newest first.
fn points(
    history: &SnapshotHistory,
    metric: Metric,
    room: u16,
) -> impl Iterator<Item = Option<f64>> {
    history.chart(metric).iter().rev().take(room.into()).copied()
}

/// Writes the maximum of the visible chart, such as `max 4.2k`.
fn peak(history: &SnapshotHistory, metric: Metric, room: u16) -> String {
    let peak = points(history, metric, room).flatten().fold(0.0, f64::max);
    if peak > 0.0 { format!("max {}", show_rate(peak)) } else { String::new() }
}

fn draw_chart(
    area: Rect,
    buffer: &mut Buffer,
    history: &SnapshotHistory,
    metric: Metric,
    theme: &Theme,
) {
    // The chart takes integers, and rates are often below one, so it is given thousandths.
    let bars: Vec<_> = points(history, metric, area.width)
        .map(|point| point.map(|rate| (rate * 1e3) as u64))
        .collect();
    Sparkline::default()
        .data(bars)
        .style(theme.chart)
        .absent_value_symbol("·")
        .absent_value_style(theme.faint)
        .direction(RenderDirection::RightToLeft)
        .render(area, buffer);
}
