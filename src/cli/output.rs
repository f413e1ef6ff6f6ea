//! Prints data to stdout, as a table or as JSON lines, and warnings to stderr.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width,
};
use serde::Serialize;

use crate::client::outcome_text::missing_nodes;
use crate::protocol::NodeId;
use crate::protocol::quantity::show_duration;

/// A wrapped column is not made narrower than this number of characters.
const MIN_WRAPPED_WIDTH: u16 = 12;

/// The output format of this run.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON, one object per line.
    pub json: bool,
}

impl Output {
    /// Prints a list, as one JSON object per item, or as the text that `to_text` returns.
    pub fn items<T: Serialize>(
        self,
        items: &[T],
        to_text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = if self.json { json_lines(items)? } else { to_text() };
        write(&text)
    }

    /// Prints one item.
    pub fn item<T: Serialize>(self, item: &T, to_text: impl FnOnce() -> String) -> io::Result<()> {
        self.items(std::slice::from_ref(item), to_text)
    }
}

fn json_lines<T: Serialize>(items: &[T]) -> io::Result<String> {
    let mut text = String::new();
    for item in items {
        text.push_str(&serde_json::to_string(item)?);
        text.push('\n');
    }
    Ok(text)
}

/// Writes to stdout, ends the line, and flushes, so that the reader of a pipe sees it at once.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Warns on stderr about the nodes that are missing from an answer.
pub fn warn_unreachable(unreachable: &[NodeId]) {
    if let Some(warning) = missing_nodes(unreachable) {
        eprintln!("lc: warning: {warning}; their part is missing here");
    }
}

/// Creates a table without borders. A header that starts with `>` aligns its column to the right;
/// one that starts with `~` lets the column wrap on a narrow terminal.
pub fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    // Snapshots must not depend on the terminal that runs the tests.
    #[cfg(test)]
    table.force_no_tty();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(
        headers.iter().map(|name| {
            Cell::new(name.trim_start_matches(['>', '~'])).add_attribute(Attribute::Bold)
        }),
    );
    for (index, name) in headers.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
            column.set_constraint(if name.starts_with('~') {
                ColumnConstraint::LowerBoundary(Width::Fixed(MIN_WRAPPED_WIDTH))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
    }
    table
}

/// Returns the table as text without trailing spaces, or `if_empty` if it has no rows.
pub fn show(table: &Table, if_empty: &str) -> String {
    if table.is_empty() { if_empty.to_owned() } else { table.trim_fmt() }
}

/// Replaces the characters of a user's text that could control the terminal: control characters,
/// and those that change the direction of the text after them.
pub fn sanitize(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_unsafe(c) { '\u{FFFD}' } else { c }).collect()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// Writes a time as `2026-11-21 09:46:48`, in UTC.
pub fn show_time(at_ms: u64) -> String {
    let at = UNIX_EPOCH + std::time::Duration::from_millis(at_ms.min(253_402_300_799_000));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', "")
}

/// Writes the time since `at_ms` as `3m 20s ago`.
pub fn show_ago(at_ms: u64, now_ms: u64) -> String {
    format!("{} ago", show_duration(now_ms.saturating_sub(at_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_text_cannot_control_the_terminal() {
        assert_eq!(sanitize("ok Жук 🪲"), "ok Жук 🪲");
        assert_eq!(
            sanitize("a\u{1b}[2Jb\u{9b}c\u{202e}d\n"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}"
        );
    }

    #[test]
    fn json_is_one_object_per_line() {
        assert_eq!(json_lines(&["a\nb", "c"]).unwrap(), "\"a\\nb\"\n\"c\"\n");
        assert_eq!(json_lines::<u8>(&[]).unwrap(), "");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(show_time(1_795_254_408_000), "2026-11-21 09:46:48");
        assert_eq!(show_time(u64::MAX), "9999-12-31 23:59:59");
        assert_eq!(show_ago(1_000, 201_000), "3m 20s ago");
    }
}
