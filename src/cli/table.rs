//! Tables of all commands: cut to the width of the terminal, never wrapped.
//!
//! Always holds: a row is one line; the first column, which identifies the row, is the last to be
//! cut; no cell controls the terminal.

use std::io::{IsTerminal as _, stdout};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use unicode_width::UnicodeWidthStr as _;

use crate::protocol::printable::printable;

/// A column that may be cut is not made narrower than this.
const MIN_WIDTH: usize = 12;
/// The spaces between two columns.
const GAP: usize = 2;

#[derive(Debug)]
struct Header {
    name: String,
    is_right: bool,
    /// May be cut: text that people wrote.
    is_flexible: bool,
}

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Rows {
    headers: Vec<Header>,
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn add_row<const N: usize>(&mut self, cells: [String; N]) {
        self.add(cells);
    }

    /// Adds a row with one cell per column.
    pub(super) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }
}

/// Creates a table without borders. A header that starts with `>` aligns its column to the right;
/// one that starts with `~` lets the column be cut on a narrow terminal.
pub(super) fn table(headers: &[&str]) -> Rows {
    let header = |header: &&str| Header {
        name: header.trim_start_matches(['>', '~']).to_owned(),
        is_right: header.starts_with('>'),
        is_flexible: header.starts_with('~'),
    };
    Rows { headers: headers.iter().map(header).collect(), rows: Vec::new() }
}

/// Returns the table as text for this terminal, or `if_empty` if it has no rows.
pub(super) fn show(rows: &Rows, if_empty: &str) -> String {
    show_in(rows, if_empty, terminal_width())
}

/// Returns the width of the terminal, or `None` without one.
pub(super) fn terminal_width() -> Option<usize> {
    // Snapshots must not depend on the terminal that runs the tests.
    if cfg!(test) || !stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(width, _)| usize::from(width)).filter(|width| *width > 0)
}

/// Returns the table as text in this width, or `if_empty` if it has no rows.
pub(super) fn show_in(rows: &Rows, if_empty: &str, width: Option<usize>) -> String {
    if rows.rows.is_empty() {
        return if_empty.to_owned();
    }
    let Fit { columns, left_out } = fit(rows, width.unwrap_or(usize::MAX));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    #[cfg(test)]
    table.force_no_tty();
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|&(index, width)| {
        Cell::new(cut(&rows.headers[index].name, width)).add_attribute(Attribute::Bold)
    }));
    for row in &rows.rows {
        table.add_row(columns.iter().map(|&(index, width)| {
            Cell::new(cut(row.get(index).map_or("", String::as_str), width))
        }));
    }
    for (place, &(index, _)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(place) {
            column.set_padding((0, GAP as u16));
            if rows.headers[index].is_right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let text = table.trim_fmt();
    if left_out.is_empty() {
        return text;
    }
    format!("{text}\nno room for: {} (--columns chooses)", left_out.join(", "))
}

/// The columns that are shown, with their widths, and the names of the others.
struct Fit {
    columns: Vec<(usize, usize)>,
    left_out: Vec<String>,
}

/// Makes flexible columns narrower first, then leaves out columns from the right, flexible ones
/// last. The first column always stays.
fn fit(rows: &Rows, width: usize) -> Fit {
    let mut columns: Vec<_> = (0..rows.headers.len())
        .map(|index| {
            let cells = rows.rows.iter().filter_map(|row| row.get(index));
            let widest = cells.map(|cell| cell.width()).max().unwrap_or(0);
            (index, widest.max(rows.headers[index].name.width()))
        })
        .collect();
    let mut left_out = Vec::new();
    loop {
        let needed = total(&columns);
        if needed <= width {
            break;
        }
        if shrink(rows, &mut columns, needed - width) {
            break;
        }
        let droppable = |place: &usize| *place > 0;
        let rigid = |place: &usize| !rows.headers[columns[*place].0].is_flexible;
        let places = || (0..columns.len()).rev().filter(droppable);
        let Some(place) = places().find(rigid).or_else(|| places().next()) else {
            // Only the first column is left.
            columns[0].1 = width.max(1);
            break;
        };
        let (index, _) = columns.remove(place);
        left_out.insert(0, rows.headers[index].name.clone());
    }
    Fit { columns, left_out }
}

fn total(columns: &[(usize, usize)]) -> usize {
    columns.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Takes the excess from flexible columns, the widest first. Returns whether that was enough; if
/// it was not, nothing has changed.
fn shrink(rows: &Rows, columns: &mut [(usize, usize)], mut excess: usize) -> bool {
    let before = columns.to_vec();
    while excess > 0 {
        let flexible = columns
            .iter_mut()
            .filter(|(index, width)| rows.headers[*index].is_flexible && *width > MIN_WIDTH);
        let Some((_, widest)) = flexible.max_by_key(|(_, width)| *width) else {
            columns.copy_from_slice(&before);
            return false;
        };
        *widest -= 1;
        excess -= 1;
    }
    true
}

/// Writes facts about one thing, one per line, below its name.
pub(super) fn facts(title: &str, facts: &[(&str, String)]) -> String {
    let widest = facts.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    let mut text = format!("{}\n", printable(title));
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        let space = " ".repeat(widest - name.width());
        text.push_str(&format!("\n  {name}{space}  {}", printable(fact)));
    }
    text
}

/// Cuts a text to a width in cells; what is cut ends in `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        // Together characters may be wider or narrower than one by one.
        kept.push(c);
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Rows {
        let mut rows = table(&[">id", ">viewers", ">in/s", "by", "state", "~title"]);
        for (id, viewers, title) in [
            ("7", "398k", "Grand final, main stage"),
            ("12", "1.9k", "視聴会 \u{1b}[2J東京"),
            ("301", "0", ""),
        ] {
            rows.add_row([id, viewers, "640", "egress", "live", title].map(str::to_owned));
        }
        rows
    }

    #[test]
    fn a_narrow_table_is_cut_and_never_wraps() {
        let at = |width| format!("── {width} ──\n{}", show_in(&sample(), "", Some(width)));
        insta::assert_snapshot!([80, 48, 32, 20, 8].map(at).join("\n"));
    }

    #[test]
    fn wide_characters_are_cut_by_their_width() {
        assert_eq!(cut("東京タワー", 5), "東京…");
        assert_eq!(cut("東京", 4), "東京");
        assert_eq!(cut("ab", 1), "…");
    }

    proptest! {
        #[test]
        fn every_line_fits_and_has_its_id(
            width in 4_usize..120,
            titles in proptest::collection::vec(".{0,40}", 1..5),
        ) {
            let mut rows = table(&[">id", "state", "~title"]);
            for title in &titles {
                rows.add_row(["1234".to_owned(), "live".to_owned(), title.clone()]);
            }
            let text = show_in(&rows, "", Some(width));
            let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("no room")).collect();
            prop_assert_eq!(lines.len(), titles.len() + 1);
            for line in &lines[1..] {
                prop_assert!(line.width() <= width, "{}", line);
                prop_assert!(line.contains("1234"), "{}", line);
            }
        }
    }
}
