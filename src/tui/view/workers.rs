//! The workers panel: the load, the viewers and the output of each delivery worker.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::grid::{Column, Grid};
use super::panel;
use crate::protocol::admin::{TopSnapshot, WorkerStatus};
use crate::protocol::quantity::{show_bytes, show_count, show_rate};
use crate::tui::history::SnapshotHistory;
use crate::tui::theme::Theme;

const COLUMNS: [Column; 6] = [
    Column { name: "worker", width: 0, right: false, rank: 1 },
    Column { name: "load", width: 4, right: true, rank: 0 },
    Column { name: "conns", width: 5, right: true, rank: 2 },
    Column { name: "slow", width: 4, right: true, rank: 4 },
    Column { name: "out/s", width: 5, right: true, rank: 3 },
    Column { name: "B/s", width: 6, right: true, rank: 5 },
];

pub(super) fn draw(
    area: Rect,
    buffer: &mut Buffer,
    history: &SnapshotHistory,
    snapshot: &TopSnapshot,
    theme: &Theme,
) {
    let area = panel::open(area, buffer, "workers", theme);
    if area.is_empty() {
        return;
    }
    let grid = Grid::fit(&COLUMNS, area);
    grid.header(area.y, buffer, "", theme.faint);
    let one_node = snapshot.workers.iter().all(|worker| worker.node == snapshot.node);
    let rows = usize::from(area.height - 1);
    let hidden = snapshot.workers.len().saturating_sub(rows);
    // If not all workers fit, the busiest are shown.
    let mut workers: Vec<_> = snapshot.workers.iter().collect();
    if hidden > 0 {
        let load = |worker: &WorkerStatus| history.worker(worker).map_or(0.0, |rates| rates.load);
        workers.sort_by(|a, b| load(b).total_cmp(&load(a)));
    }
    for (worker, y) in workers.into_iter().zip(area.y + 1..area.bottom()) {
        grid.row(y, buffer, &cells(worker, one_node, history, theme));
    }
}

fn cells(
    worker: &WorkerStatus,
    one_node: bool,
    history: &SnapshotHistory,
    theme: &Theme,
) -> [(String, Style); 6] {
    let rates = history.worker(worker);
    let show = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let load = match rates {
        Some(rates) if rates.load >= 0.9 => theme.bad,
        Some(rates) if rates.load >= 0.7 => theme.warn,
        _ => theme.good,
    };
    let name = if one_node {
        worker.worker.to_string()
    } else {
        format!("{}/{}", worker.node, worker.worker)
    };
    let slow = if worker.slow_viewers > 0 { theme.warn } else { theme.faint };
    [
        (name, theme.text),
        (show(rates.map(|rates| format!("{:.0}%", rates.load * 100.0))), load),
        (show_count(worker.connections), theme.text),
        (show_count(worker.slow_viewers), slow),
        (show(rates.map(|rates| show_rate(rates.delivered))), theme.text),
        (show(rates.map(|rates| show_bytes(rates.bytes as u64))), theme.faint),
    ]
}
