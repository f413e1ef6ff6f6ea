//! Places the panels on the screen.
//!
//! ```text
//! ┌ header ──────────────────────────────────────────────────────────┐  1
//! │ rates                   │ connections                            │  8, 4 below 15 rows
//! │                         │ breakers (a third column from 110 on)  │
//! ├──────────────────────────────────────────────────────────────────┤
//! │ streams                                                          │  the remaining rows
//! ├─────────────────────┬──────────────┬────────────┬────────────────┤
//! │ workers             │ lag          │ moderation │ nodes          │  5 to 14, from 21 rows on
//! ├─────────────────────┴──────────────┴────────────┴────────────────┤
//! │ notice                                                           │  1
//! └ keys ────────────────────────────────────────────────────────────┘  1
//! ```
//!
//! On narrower screens panels are hidden: nodes below 110 columns, moderation, connections and
//! breakers below 64, lag below 40.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget as _};

const RATES_ROWS: u16 = 8;
const BRIEF_ROWS: u16 = 4;
const ROWS_FOR_ALL_RATES: u16 = 12;
const ROWS_FOR_SOME_RATES: u16 = 8;
const WIDE: u16 = 110;
const MIDDLE: u16 = 64;
const NARROW: u16 = 40;

/// The area of each panel; empty if the panel is hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScreenLayout {
    pub(super) header: Rect,
    pub(super) rates: Rect,
    pub(super) connections: Rect,
    pub(super) breakers: Rect,
    pub(super) streams: Rect,
    pub(super) workers: Rect,
    pub(super) lag: Rect,
    pub(super) moderation: Rect,
    pub(super) nodes: Rect,
    pub(super) notice: Rect,
    pub(super) keys: Rect,
}

impl ScreenLayout {
    pub(super) fn of(area: Rect) -> Self {
        let (header, rest) = split_top(area, 1);
        let (rest, keys) = split_bottom(rest, u16::from(area.height >= 3));
        let (body, notice) = split_bottom(rest, u16::from(area.height >= 2));
        let upper_rows = match body.height {
            ROWS_FOR_ALL_RATES.. => RATES_ROWS,
            ROWS_FOR_SOME_RATES.. => BRIEF_ROWS,
            _ => 0,
        };
        let (upper, rest) = split_top(body, upper_rows);
        let lower_rows = if rest.height >= 10 { (rest.height * 2 / 5).clamp(5, 14) } else { 0 };
        let (streams, lower) = split_bottom(rest, lower_rows);
        Self { header, streams, notice, keys, ..Self::default() }.upper(upper).lower(lower)
    }

    fn upper(mut self, area: Rect) -> Self {
        match area.width {
            WIDE.. => {
                [self.rates, self.connections, self.breakers] = columns(area, [50, 22, 28]);
            }
            MIDDLE.. => {
                let [rates, beside] = columns(area, [58, 42]);
                self.rates = rates;
                // With only a few rows, the breakers panel would show nothing.
                let rows = if beside.height > BRIEF_ROWS { 3 } else { beside.height };
                (self.connections, self.breakers) = split_top(beside, rows);
            }
            _ => self.rates = area,
        }
        self
    }

    fn lower(mut self, area: Rect) -> Self {
        match area.width {
            WIDE.. => {
                [self.workers, self.lag, self.moderation, self.nodes] =
                    columns(area, [29, 24, 22, 25]);
            }
            MIDDLE.. => [self.workers, self.lag, self.moderation] = columns(area, [36, 31, 33]),
            NARROW.. => [self.workers, self.lag] = columns(area, [55, 45]),
            _ => self.workers = area,
        }
        self
    }
}

fn split_top(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let below = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, below)
}

fn split_bottom(area: Rect, rows: u16) -> (Rect, Rect) {
    split_top(area, area.height.saturating_sub(rows))
}

/// Splits an area into columns of the given percentages, one cell apart.
fn columns<const N: usize>(area: Rect, percentages: [u32; N]) -> [Rect; N] {
    let mut shares = 0;
    percentages.map(|share| {
        let edge = |shares: u32| area.x + (u32::from(area.width) * shares / 100) as u16;
        let left = edge(shares);
        let right = edge(shares + share);
        shares += share;
        let gap = u16::from(shares < 100);
        Rect { x: left, width: (right - left).saturating_sub(gap), ..area }
    })
}

/// Clears a centred box of at most the given size, and returns its area.
pub(super) fn clear_centered(area: Rect, width: u16, height: u16, buffer: &mut Buffer) -> Rect {
    let width = width.min(area.width);
    let height = height.min(area.height);
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let middle = Rect { x, y, width, height };
    for y in middle.top()..middle.bottom() {
        // A wide character that overlaps the box would hide its edge.
        if x > area.x && Line::raw(buffer[(x - 1, y)].symbol()).width() > 1 {
            buffer[(x - 1, y)].set_symbol(" ");
        }
    }
    Clear.render(middle, buffer);
    middle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels(layout: ScreenLayout) -> [Rect; 11] {
        let ScreenLayout { header, rates, connections, breakers, streams, .. } = layout;
        let ScreenLayout { workers, lag, moderation, nodes, notice, keys, .. } = layout;
        [
            header,
            rates,
            connections,
            breakers,
            streams,
            workers,
            lag,
            moderation,
            nodes,
            notice,
            keys,
        ]
    }

    #[test]
    fn panels_stay_inside_and_never_overlap() {
        for (width, height) in (0..=200).flat_map(|w| (0..=60).map(move |h| (w, h))) {
            let area = Rect::new(3, 2, width, height);
            let shown: Vec<_> = panels(ScreenLayout::of(area))
                .into_iter()
                .filter(|panel| !panel.is_empty())
                .collect();
            for (at, panel) in shown.iter().enumerate() {
                assert_eq!(panel.intersection(area), *panel, "{width}x{height}");
                let clash = shown[at + 1..].iter().find(|other| panel.intersects(**other));
                assert_eq!(clash, None, "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_large_terminal_shows_every_panel() {
        let hidden = |width, height| {
            let layout = ScreenLayout::of(Rect::new(0, 0, width, height));
            panels(layout).iter().filter(|panel| panel.is_empty()).count()
        };
        assert_eq!(hidden(80, 24), 1);
        assert_eq!(hidden(120, 40), 0);
        assert_eq!(hidden(20, 5), 7);
    }
}
