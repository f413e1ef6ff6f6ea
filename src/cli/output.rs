//! Data on stdout, as tables for people or as JSON lines for programs; diagnostics on stderr.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width,
};
use serde::Serialize;

use crate::client::wording::missing_nodes;
use crate::protocol::NodeId;
use crate::protocol::quantity::show_duration;

/// Characters below which a wrapped column cannot be read.
const LEAST_WRAPPED_WIDTH: u16 = 12;

/// Which form of output this run has.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON, one object a line.
    pub json: bool,
}

impl Output {
    /// Prints a list: one JSON object an item, or what `human` makes of them.
    pub fn items<T: Serialize>(
        self,
        items: &[T],
        human: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = if self.json { json_lines(items)? } else { human() };
        write(&text)
    }

    /// Prints one thing.
    pub fn item<T: Serialize>(self, item: &T, human: impl FnOnce() -> String) -> io::Result<()> {
        self.items(std::slice::from_ref(item), human)
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

/// Writes to stdout with a line end, at once, so that whoever follows a pipe sees it.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Says on stderr which nodes an answer lacks.
pub fn warn_unreachable(unreachable: &[NodeId]) {
    if let Some(warning) = missing_nodes(unreachable) {
        eprintln!("lc: warning: {warning}; what is theirs is missing here");
    }
}

/// A table without lines, to be read, copied and cut. A `>` before a header aligns its column to the
/// right; a `~` lets it wrap where the terminal is narrow.
pub fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    // So that snapshots are the same whoever runs the tests.
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
            column.set_constraint(match name.starts_with('~') {
                true => ColumnConstraint::LowerBoundary(Width::Fixed(LEAST_WRAPPED_WIDTH)),
                false => ColumnConstraint::ContentWidth,
            });
        }
    }
    table
}

/// The table as text without spaces at line ends; `nothing` where it has no row.
pub fn show(table: &Table, nothing: &str) -> String {
    if table.is_empty() { nothing.to_owned() } else { table.trim_fmt() }
}

/// Text that came from a user, made harmless for a terminal: no control characters, and none that
/// turn the direction of what follows.
pub fn harmless(text: &str) -> String {
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { '\u{FFFD}' } else { c }).collect()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// `2026-11-21 09:46:48`, in UTC.
pub fn show_time(at_ms: u64) -> String {
    let at = UNIX_EPOCH + std::time::Duration::from_millis(at_ms.min(253_402_300_799_000));
    humantime::format_rfc3339_seconds(at).to_string().replace('T', " ").replace('Z', "")
}

/// `3m 20s ago`.
pub fn show_ago(at_ms: u64, now_ms: u64) -> String {
    format!("{} ago", show_duration(now_ms.saturating_sub(at_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_users_cannot_steer_the_terminal() {
        assert_eq!(harmless("ok Жук 🪲"), "ok Жук 🪲");
        assert_eq!(
            harmless("a\u{1b}[2Jb\u{9b}c\u{202e}d\n"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        assert_eq!(json_lines(&["a\nb", "c"]).unwrap(), "\"a\\nb\"\n\"c\"\n");
        assert_eq!(json_lines::<u8>(&[]).unwrap(), "");
    }

    #[test]
    fn times_are_plain_utc() {
        assert_eq!(show_time(1_795_254_408_000), "2026-11-21 09:46:48");
        assert_eq!(show_time(u64::MAX), "9999-12-31 23:59:59");
        assert_eq!(show_ago(1_000, 201_000), "3m 20s ago");
    }
}
