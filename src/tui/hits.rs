//! Where on the screen what can be clicked was drawn.

use ratatui::layout::{Position, Rect};

use super::commands::Command;
use super::feed::time_of_cell;
use super::state::{Panel, View};
use super::table::RowKey;

/// A place of the screen that the mouse can hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    View(View),
    /// A key of the footer.
    Key(Command),
    Header(Panel, &'static str),
    Row(Panel, RowKey),
    /// The table itself, for the wheel.
    Table(Panel),
    Chart(TimeAxis),
}

/// The times that the columns of a chart stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeAxis {
    /// The first column of the chart, and how many there are.
    pub(crate) left: u16,
    pub(crate) cells: u16,
    /// The time at the right end, and the length of the axis.
    pub(crate) end_ms: u64,
    pub(crate) window_ms: u64,
}

impl TimeAxis {
    /// Returns the last millisecond that a column stands for; left and right of the chart, that of
    /// its first and last column.
    pub(crate) fn at(&self, x: u16) -> u64 {
        let cell = x.saturating_sub(self.left).min(self.cells.saturating_sub(1));
        time_of_cell(self.end_ms, self.window_ms, self.cells.into(), cell.into())
    }
}

/// The targets of the last frame, in the order in which they were drawn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hits {
    targets: Vec<(Rect, Target)>,
}

impl Hits {
    pub(crate) fn add(&mut self, area: Rect, target: Target) {
        if !area.is_empty() {
            self.targets.push((area, target));
        }
    }

    /// Forgets what an overlay covers.
    pub(crate) fn cover(&mut self, area: Rect) {
        self.targets.retain(|(target, _)| !target.intersects(area));
    }

    /// Returns the smallest target at a cell: a row rather than its table.
    pub(crate) fn at(&self, x: u16, y: u16) -> Option<&Target> {
        let under = self.targets.iter().filter(|(area, _)| area.contains(Position { x, y }));
        under.min_by_key(|(area, _)| area.area()).map(|(_, target)| target)
    }

    #[cfg(test)]
    pub(crate) fn areas(&self) -> impl Iterator<Item = Rect> + '_ {
        self.targets.iter().map(|(area, _)| *area)
    }
}
