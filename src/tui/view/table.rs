//! Draws tables: the columns that fit, the rows around the selected one, and how many there are
//! more.

use ratatui::layout::Rect;

use super::canvas::{Canvas, cell_width, row, split_top};
use crate::tui::figures;
use crate::tui::hits::Target;
use crate::tui::state::{Console, Panel};
use crate::tui::table::{Column, Listing, Record, RowKey};
use crate::tui::text;
use crate::tui::tone::{Cell, Tone};

/// The least width of the column that takes the rest.
const MIN_FILL: u16 = 8;
/// Columns before the first: the selection, and a mark.
const GUTTER: u16 = 2;

/// A column and its place.
#[derive(Debug, Clone, Copy)]
struct Placed {
    column: Column,
    x: u16,
    width: u16,
}

/// Returns whether a column names its rows. Names often differ at their ends only.
fn is_name(column: &Column) -> bool {
    matches!(column.name, "user" | "name" | "node")
}

/// Chooses the columns that fit, leaving out those of the highest rank. A column takes the width
/// that is wanted for it if at least as much is left for the one that takes the rest.
fn place(columns: &[Column], area: Rect, wanted: impl Fn(&Column) -> u16) -> Vec<Placed> {
    let needed = |kept: &[Column]| {
        let widths = kept.iter().map(|c| if c.width == 0 { MIN_FILL } else { c.width });
        widths.sum::<u16>() + kept.len().saturating_sub(1) as u16
    };
    let room = area.width.saturating_sub(GUTTER + 1);
    let mut kept = columns.to_vec();
    while needed(&kept) > room && kept.len() > 1 {
        let last = (0..kept.len()).max_by_key(|at| kept[*at].rank).unwrap_or(0);
        kept.remove(last);
    }
    let mut spare = room.saturating_sub(needed(&kept));
    for column in kept.iter_mut().filter(|column| column.width > 0) {
        let missing = wanted(column).saturating_sub(column.width);
        if missing <= spare / 2 {
            column.width += missing;
            spare -= missing;
        }
    }
    let mut x = area.x + GUTTER;
    let mut placed = Vec::with_capacity(kept.len());
    for column in kept {
        let width = if column.width == 0 { MIN_FILL + spare } else { column.width };
        let width = width.min(area.right().saturating_sub(x));
        placed.push(Placed { column, x, width });
        x = (x + width + 1).min(area.right());
    }
    placed
}

/// Returns the title of a table: its name, how many rows there are, the filter and the order.
pub(super) fn title<R: Record>(
    name: &str,
    listing: &Listing<R>,
    panel: Panel,
    console: &Console,
) -> Vec<Cell> {
    let state = console.table(panel);
    let named = if console.has_rows_of(panel) {
        format!("{name} {}", listing.total())
    } else {
        name.to_owned()
    };
    let mut title = vec![Cell::new(named, Tone::Title)];
    if console.ago_ms().is_some() && !panel.is_of_snapshots() {
        title.push(Cell::new(" · as it is now", Tone::Warn));
    }
    if state.filter.is_active() {
        let shown = format!(" · where {} → {}", state.filter.in_effect(), listing.rows.len());
        title.push(Cell::new(shown, Tone::Key));
    }
    if let Some(sort) = state.sort {
        let direction = if state.inverted { "▲" } else { "▼" };
        title.push(Cell::faint(format!(" · by {sort} {direction}")));
    }
    if !state.marked.is_empty() {
        title.push(Cell::new(format!(" · {} marked", state.marked.len()), Tone::Key));
    }
    title
}

/// Draws a table with its title line and its header.
pub(super) fn draw<R: Record>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    name: &str,
    panel: Panel,
    listing: &Listing<R>,
    console: &Console,
) {
    draw_titled(canvas, area, &title(name, listing, panel, console), panel, listing, console);
}

/// Draws a table below a title line of its own.
pub(super) fn draw_titled<R: Record>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    title: &[Cell],
    panel: Panel,
    listing: &Listing<R>,
    console: &Console,
) {
    let rows = usize::from(area.height.saturating_sub(2));
    let visible = visible_rows(listing.rows.len(), rows);
    let first = listing.first_shown(visible.max(1));
    let mut right = Vec::new();
    if listing.rows.len() > visible && visible > 0 {
        let last = (first + visible).min(listing.rows.len());
        right.push(Cell::faint(format!("rows {}–{last}", first + 1)));
    }
    let area = canvas.open(area, title, &right);
    body(canvas, area, panel, listing, console);
}

/// Returns the rows that a table takes with its title line, its header and all its rows.
pub(super) fn height<R: Record>(listing: &Listing<R>) -> u16 {
    let rows = listing.rows.len().max(1);
    u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(2)
}

/// Returns how many rows are shown in a room: one less if the last row says how many are not.
fn visible_rows(rows: usize, room: usize) -> usize {
    if rows > room { room.saturating_sub(1) } else { rows }
}

/// Draws the header and the rows.
pub(super) fn body<R: Record>(
    canvas: &mut Canvas<'_>,
    area: Rect,
    panel: Panel,
    listing: &Listing<R>,
    console: &Console,
) {
    if area.is_empty() {
        return;
    }
    canvas.hits.add(area, Target::Table(panel));
    let state = console.table(panel);
    let whole = area;
    let (head, area) = split_top(area, 1);
    let room = usize::from(area.height);
    let visible = visible_rows(listing.rows.len(), room);
    let first = listing.first_shown(visible.max(1));
    // Numbers of users are shown in full where there is room. Their length is nearly the same, so
    // the columns do not move as rows come.
    let wanted = |column: &Column| {
        if !is_name(column) || !column.right {
            return 0;
        }
        let rows = listing.rows.iter().skip(first).take(visible);
        rows.map(|record| cell_width(&record.cell(column.name)) as u16).max().unwrap_or(0)
    };
    let columns = place(&state.shown(panel.columns()), whole, wanted);
    for placed in &columns {
        let name = placed.column.name;
        let sorted = state.sort == Some(name);
        let tone = if sorted { Tone::Strong } else { Tone::Faint };
        let cell = Rect { x: placed.x, width: placed.width, ..head };
        write(canvas, cell, &Cell::new(name, tone), placed.column.right);
        canvas.hits.add(cell, Target::Header(panel, name));
    }
    let focused = console.panel() == panel;
    for (offset, record) in listing.rows.iter().skip(first).take(visible).enumerate() {
        let line = row(area, offset as u16);
        let key = record.key();
        let selected = focused && first + offset == listing.selected;
        for placed in &columns {
            let cell = Rect { x: placed.x, width: placed.width, ..line };
            let mut shown = record.cell(placed.column.name);
            // A row of a text has the text where others have a name.
            if is_name(&placed.column) && !matches!(key, RowKey::Text(_)) {
                shown.text = text::cut_middle(&shown.text, cell.width.into()).into_owned();
            }
            write(canvas, cell, &shown, placed.column.right);
        }
        let sign = match (state.marked.contains(&key), selected) {
            (true, _) => "◆",
            (false, true) => "▶",
            (false, false) => " ",
        };
        let gutter = Rect { width: GUTTER.min(line.width), ..line };
        canvas.text(gutter, sign, Tone::Key);
        if selected {
            let style = canvas.theme.selected();
            canvas.style(Rect { width: line.width.saturating_sub(1), ..line }, style);
        }
        canvas.hits.add(line, Target::Row(panel, key));
    }
    if listing.rows.is_empty() {
        let nothing = match listing.hidden {
            0 if !console.has_rows_of(panel) => "not recorded",
            0 => "none",
            _ => "no row matches the filter",
        };
        canvas.text(indented(row(area, 0)), nothing, Tone::Faint);
    } else if listing.rows.len() > visible {
        let more = format!("… {} more", listing.rows.len() - visible);
        canvas.text(indented(row(area, visible as u16)), &more, Tone::Faint);
        scroll_bar(canvas, area, listing.rows.len(), visible, first);
    }
}

fn indented(area: Rect) -> Rect {
    let by = GUTTER.min(area.width);
    Rect { x: area.x + by, width: area.width - by, ..area }
}

/// Writes a cell to the left or the right end of its column.
fn write(canvas: &mut Canvas<'_>, area: Rect, cell: &Cell, right: bool) {
    let wide = cell_width(cell).min(area.width.into()) as u16;
    let indent = if right { area.width - wide } else { 0 };
    let area = Rect { x: area.x + indent, width: area.width - indent, ..area };
    canvas.line(area, std::slice::from_ref(cell));
}

/// Draws the position in a long table at its right edge.
fn scroll_bar(canvas: &mut Canvas<'_>, area: Rect, rows: usize, visible: usize, first: usize) {
    let height = usize::from(area.height);
    let length = (visible * height / rows.max(1)).clamp(1, height.max(1));
    let travel = height.saturating_sub(length);
    let begin = first * travel / rows.saturating_sub(visible).max(1);
    for at in 0..height {
        let inside = (begin..begin + length).contains(&at);
        let line = row(area, at as u16);
        let edge = Rect { x: line.right().saturating_sub(1), width: 1.min(line.width), ..line };
        let sign = if inside { "█" } else { "│" };
        canvas.text(edge, sign, if inside { Tone::Faint } else { Tone::Rule });
    }
}

/// Draws lines below each other. If they do not all fit, the last row says how many are missing.
pub(super) fn lines(canvas: &mut Canvas<'_>, area: Rect, lines: &[Vec<Cell>]) {
    let rows = usize::from(area.height);
    let shown = visible_rows(lines.len(), rows);
    for (at, line) in lines[..shown].iter().enumerate() {
        canvas.line(row(area, at as u16), line);
    }
    if shown < lines.len() {
        let more = format!("… {} more", lines.len() - shown);
        canvas.text(row(area, shown as u16), &more, Tone::Faint);
    }
}

/// Returns label and figure pairs as one line.
pub(super) fn facts(pairs: &[(&str, String)]) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(pairs.len() * 3);
    for (label, figure) in pairs {
        if figure != figures::UNKNOWN {
            cells.push(Cell::faint(format!("{label} ")));
            cells.push(Cell::text(figure.clone()));
            cells.push(Cell::text("  "));
        }
    }
    cells
}

/// Returns a text in rows, the first after a prefix that the others are indented by.
pub(super) fn wrapped(
    prefix: &[Cell],
    shown: &str,
    tone: Tone,
    room: u16,
    rows: usize,
) -> Vec<Vec<Cell>> {
    let indent: usize = prefix.iter().map(cell_width).sum();
    let width = usize::from(room).saturating_sub(indent).max(1);
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    for part in text::wrap(shown, width, rows) {
        let mut line = match lines.len() {
            0 => prefix.to_vec(),
            _ => vec![Cell::text(" ".repeat(indent))],
        };
        line.push(Cell::new(part, tone));
        lines.push(line);
    }
    lines
}
