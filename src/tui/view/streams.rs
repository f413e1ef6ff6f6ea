//! The streams panel. It scrolls so that the selected stream is visible.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{Column, Grid};
use super::panel;
use crate::protocol::admin::StreamStatus;
use crate::protocol::quantity::{show_count, show_rate, show_share};
use crate::protocol::stream::StreamState;
use crate::tui::state::Console;
use crate::tui::theme::Theme;

const COLUMNS: [Column; 10] = [
    Column { name: "id", width: 6, right: true, rank: 0 },
    Column { name: "title", width: 0, right: false, rank: 1 },
    Column { name: "state", width: 9, right: false, rank: 5 },
    Column { name: "viewers", width: 8, right: true, rank: 3 },
    Column { name: "in/s", width: 6, right: true, rank: 2 },
    Column { name: "shown", width: 6, right: true, rank: 2 },
    Column { name: "throttle", width: 8, right: false, rank: 4 },
    Column { name: "sampled out/s", width: 14, right: true, rank: 6 },
    Column { name: "deleted", width: 8, right: true, rank: 7 },
    Column { name: "received", width: 9, right: true, rank: 8 },
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    let streams = console.streams();
    let area = panel::open(area, buffer, &title(console, streams.len()), theme);
    if area.is_empty() {
        return;
    }
    let grid = Grid::fit(&COLUMNS, area);
    let marked = match console.sort.name() {
        "sampled out" => "sampled out/s",
        name => name,
    };
    grid.header(area.y, buffer, marked, theme.faint);
    let rows = usize::from(area.height - 1);
    let selected = console.selection().map_or(0, |(at, _)| at);
    let first = (selected + 1).saturating_sub(rows);
    for (offset, stream) in streams.iter().skip(first).take(rows).enumerate() {
        let y = area.y + 1 + offset as u16;
        grid.row(y, buffer, &cells(console, stream, theme));
        if first + offset == selected {
            buffer.set_style(Rect { y, height: 1, ..area }, theme.selected);
        }
    }
    if streams.is_empty() && area.height > 1 {
        let text =
            if console.filter.is_empty() { "no streams" } else { "no stream matches the filter" };
        buffer.set_stringn(area.x, area.y + 1, text, area.width.into(), theme.faint);
    }
}

fn title(console: &Console, matching: usize) -> String {
    let all = console.shown().latest().map_or(0, |snapshot| snapshot.streams.len());
    let count = if matching == all { all.to_string() } else { format!("{matching} of {all}") };
    let filter = match console.filter.as_str() {
        "" => String::new(),
        filter => format!(", filter \"{filter}\""),
    };
    format!("streams ({count}) by {}{filter}", console.sort.name())
}

fn cells(console: &Console, stream: &StreamStatus, theme: &Theme) -> [(String, Style); 10] {
    let state = match stream.state {
        StreamState::Live => theme.good,
        StreamState::Scheduled | StreamState::Ended => theme.faint,
    };
    let sampled_out = console.shown().sampled_out(stream.stream_id);
    let share = if stream.shown().is_all() { theme.text } else { theme.warn };
    let faint_if = |zero: bool| if zero { theme.faint } else { theme.text };
    [
        (stream.stream_id.to_string(), theme.text),
        (stream.title.clone(), theme.text),
        (stream.state.as_str().to_owned(), state),
        (show_count(stream.viewers), faint_if(stream.viewers == 0)),
        (show_rate(stream.comments_per_second), faint_if(stream.comments_per_second < 0.05)),
        (show_share(stream.shown()), share),
        throttle(stream, theme),
        (
            sampled_out.map_or("–".to_owned(), show_rate),
            if sampled_out > Some(0.0) { theme.warn } else { theme.faint },
        ),
        (show_count(stream.deleted), faint_if(stream.deleted == 0)),
        (show_count(stream.received), theme.faint),
    ]
}

/// Names what sets the shown share: an egress limit if one applies, else the throttle.
fn throttle(stream: &StreamStatus, theme: &Theme) -> (String, Style) {
    if stream.egress_share.is_all() {
        throttle_state(stream, theme)
    } else {
        ("egress".to_owned(), theme.bad)
    }
}

/// Names the state of the throttle: `fixed` by an operator, or `auto` with its level.
pub(super) fn throttle_state(stream: &StreamStatus, theme: &Theme) -> (String, Style) {
    match (stream.throttle_override, stream.throttle_level) {
        (Some(_), _) => ("fixed".to_owned(), theme.key),
        (None, 0) => ("auto".to_owned(), theme.faint),
        (None, level @ 1) => (format!("auto L{level}"), theme.warn),
        (None, level) => (format!("auto L{level}"), theme.bad),
    }
}
