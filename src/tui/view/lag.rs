//! The lag panel: the lag of each consumer of the log, and its change.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{Column, Grid};
use super::panel;
use crate::protocol::quantity::show_count;
use crate::tui::history::GroupLag;
use crate::tui::theme::Theme;

/// Lag from which a consumer is highlighted, in records.
const NOTABLE_LAG: u64 = 1_000;

const COLUMNS: [Column; 4] = [
    Column { name: "consumer", width: 0, right: false, rank: 0 },
    Column { name: "topic", width: 17, right: false, rank: 3 },
    Column { name: "behind", width: 6, right: true, rank: 1 },
    Column { name: "±", width: 6, right: true, rank: 2 },
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer, groups: &[GroupLag], theme: &Theme) {
    let area = panel::open(area, buffer, "consumer lag", theme);
    if area.is_empty() {
        return;
    }
    let grid = Grid::fit(&COLUMNS, area);
    grid.header(area.y, buffer, "", theme.faint);
    for (group, y) in groups.iter().zip(area.y + 1..area.bottom()) {
        grid.row(y, buffer, &cells(group, theme));
    }
}

fn cells(group: &GroupLag, theme: &Theme) -> [(String, Style); 4] {
    let growing = group.change.is_some_and(|change| change > 0);
    let behind = match group.lag {
        0 => theme.good,
        1..NOTABLE_LAG => theme.text,
        _ if growing => theme.bad,
        _ => theme.warn,
    };
    let change = match group.change {
        None | Some(0) => String::new(),
        Some(change) if change > 0 => format!("+{}", show_count(change.unsigned_abs())),
        Some(change) => format!("-{}", show_count(change.unsigned_abs())),
    };
    [
        (group.group.clone(), theme.text),
        (group.topic.clone(), theme.faint),
        (show_count(group.lag), behind),
        (change, if growing { behind } else { theme.faint }),
    ]
}
