//! The nodes panel: the nodes of the cluster, unreachable ones first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{Column, Grid};
use super::panel;
use crate::protocol::admin::{NodeStatus, TopSnapshot};
use crate::protocol::quantity::{show_count, show_duration};
use crate::tui::theme::Theme;

const COLUMNS: [Column; 3] = [
    Column { name: "node", width: 0, right: false, rank: 0 },
    Column { name: "conns", width: 6, right: true, rank: 1 },
    Column { name: "up", width: 8, right: true, rank: 2 },
];

pub(super) fn draw(area: Rect, buffer: &mut Buffer, snapshot: &TopSnapshot, theme: &Theme) {
    let area = panel::open(area, buffer, "nodes", theme);
    if area.is_empty() {
        return;
    }
    let grid = Grid::fit(&COLUMNS, area);
    grid.header(area.y, buffer, "", theme.faint);
    let unreachable = snapshot.unreachable.iter().map(|node| {
        [(node.to_string(), theme.bad), ("–".into(), theme.bad), ("NO REPLY".into(), theme.bad)]
    });
    let reached = snapshot.nodes.iter().map(|node| cells(node, theme));
    for (cells, y) in unreachable.chain(reached).zip(area.y + 1..area.bottom()) {
        grid.row(y, buffer, &cells);
    }
}

fn cells(node: &NodeStatus, theme: &Theme) -> [(String, Style); 3] {
    let (up, style) = if node.draining {
        ("draining".to_owned(), theme.warn)
    } else {
        (show_duration(node.uptime_ms), theme.faint)
    };
    [(node.node.to_string(), theme.text), (show_count(node.connections), theme.text), (up, style)]
}
