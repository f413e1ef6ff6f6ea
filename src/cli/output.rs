//! Prints data to stdout, as a table or as JSON lines, and everything else to stderr.
//!
//! Always holds: nothing that is printed here controls the terminal; no failed write is a panic.
//! Data that cannot be written is an error, a warning that cannot be written is lost.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use crossterm::cursor::MoveToPreviousLine;
use crossterm::queue;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use serde::Serialize;

use crate::client::outcome_text::missing_nodes;
use crate::protocol::printable::{printable, printable_json, printable_lines};
use crate::protocol::quantity::show_duration;
pub use crate::protocol::quantity::show_time;
use crate::protocol::{NodeId, json};

/// Stands for what is not known in a table.
pub const UNKNOWN: &str = "–";

/// The output format of this run.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON, one object per line.
    pub json: bool,
}

/// Why data did not reach stdout.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Its reader has enough, as in `lc tail 1 | head`.
    #[error("nothing reads standard output any more")]
    Closed,
    #[error("cannot write to standard output: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

impl Output {
    /// Prints a list, as one JSON object per item, or as the text that `to_text` returns.
    pub fn items<T: Serialize>(
        self,
        items: &[T],
        to_text: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        write(&self.text(items, to_text)?)
    }

    /// Prints one item.
    pub fn item<T: Serialize>(
        self,
        item: &T,
        to_text: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        self.items(std::slice::from_ref(item), to_text)
    }

    /// Prints one item that cannot be asked for again, such as the outcome of a change or the
    /// report of a long run. If stdout does not take it, it goes to stderr, and the error is
    /// returned. A reader that closed stdout before has nothing of it: what fits into a pipe is
    /// written at once.
    pub fn result<T: Serialize>(
        self,
        item: &T,
        to_text: impl FnOnce() -> String,
    ) -> Result<(), OutputError> {
        let text = self.text(std::slice::from_ref(item), to_text)?;
        write(&text).inspect_err(|_| note_lines(&text))
    }

    fn text<T: Serialize>(
        self,
        items: &[T],
        to_text: impl FnOnce() -> String,
    ) -> Result<String, OutputError> {
        if self.json { json_lines(items) } else { Ok(to_text()) }
    }
}

fn json_lines<T: Serialize>(items: &[T]) -> Result<String, OutputError> {
    let mut text = String::new();
    for item in items {
        let json = json::to_string(item).map_err(io::Error::from)?;
        text.push_str(&printable_json(&json));
        text.push('\n');
    }
    Ok(text)
}

/// Writes to stdout, ends the line, and flushes, so that the reader of a pipe sees it at once.
pub fn write(text: &str) -> Result<(), OutputError> {
    Ok(write_to(&mut io::stdout().lock(), &printable_lines(text))?)
}

fn write_to(output: &mut impl io::Write, text: &str) -> io::Result<()> {
    output.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        output.write_all(b"\n")?;
    }
    output.flush()
}

/// A text on a terminal that is drawn again and again in the same place.
#[derive(Debug, Default)]
pub struct Redrawn {
    /// Lines on the screen.
    lines: u16,
}

impl Redrawn {
    /// Draws the text in the place of the one before, as far as it fits on the screen.
    pub fn draw(&mut self, text: &str) -> Result<(), OutputError> {
        let height = crossterm::terminal::size().map_or(24, |(_, height)| height);
        let text = printable_lines(text);
        let frame = as_many_lines(&text, usize::from(height.saturating_sub(1).max(1)));
        let mut output = io::stdout().lock();
        queue!(output, BeginSynchronizedUpdate)?;
        if self.lines > 0 {
            queue!(output, MoveToPreviousLine(self.lines))?;
        }
        queue!(output, Clear(ClearType::FromCursorDown))?;
        write_to(&mut output, &frame)?;
        queue!(output, EndSynchronizedUpdate)?;
        self.lines = frame.lines().count() as u16;
        Ok(output.flush()?)
    }
}

/// Cuts a text to a number of lines; the last one tells how many are missing.
fn as_many_lines(text: &str, most: usize) -> String {
    let count = text.lines().count();
    if count <= most {
        return text.to_owned();
    }
    let kept = most.saturating_sub(1);
    let mut cut: String = text.lines().take(kept).flat_map(|line| [line, "\n"]).collect();
    cut.push_str(&format!("… {} more lines", count - kept));
    cut
}

/// Prints one line of diagnostics on stderr.
pub fn note(text: &str) {
    note_lines(&printable(text));
}

/// Prints text whose lines are ours on stderr.
pub fn note_lines(text: &str) {
    // Without a reader of stderr there is nobody to tell.
    let _ = write_to(&mut io::stderr().lock(), &printable_lines(text));
}

/// Warns on stderr about the nodes that are missing from an answer.
pub fn warn_unreachable(unreachable: &[NodeId]) {
    if let Some(warning) = missing_nodes(unreachable) {
        note(&format!("lc: warning: {warning}; their part is missing here"));
    }
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

/// Writes the time since `at_ms` as `3m 20s ago`.
pub fn show_ago(at_ms: u64, now_ms: u64) -> String {
    format!("{} ago", show_duration(now_ms.saturating_sub(at_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_object_per_line() {
        assert_eq!(json_lines(&["a\nb", "c"]).unwrap(), "\"a\\nb\"\n\"c\"\n");
        assert_eq!(json_lines::<u8>(&[]).unwrap(), "");
    }

    #[test]
    fn a_frame_has_no_more_lines_than_the_screen() {
        assert_eq!(as_many_lines("a\nb\nc", 3), "a\nb\nc");
        assert_eq!(as_many_lines("a\nb\nc\nd", 3), "a\nb\n… 2 more lines");
        assert_eq!(as_many_lines("a\nb", 1), "… 2 more lines");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(show_time(1_795_254_408_000), "2026-11-21 09:46:48");
        assert_eq!(show_time(u64::MAX), "9999-12-31 23:59:59");
        assert_eq!(show_ago(1_000, 201_000), "3m 20s ago");
    }
}
