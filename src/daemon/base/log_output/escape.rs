//! Makes each event one line, whatever texts are in it.

use std::io;

use crate::protocol::printable::printable_lines;

/// A writer of whole events. Further lines of an event, as of a backtrace, are indented, so that no
/// text in an event looks like another event.
#[derive(Debug)]
pub(super) struct OneLineEach<W>(W);

impl<W> OneLineEach<W> {
    pub(super) fn new(output: W) -> Self {
        Self(output)
    }
}

impl<W: io::Write> io::Write for OneLineEach<W> {
    /// Takes one event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn one_line(event: &str) -> String {
    let (text, end) = match event.strip_suffix('\n') {
        Some(text) => (text, "\n"),
        None => (event, ""),
    };
    printable_lines(text).replace('\n', "\n    ") + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_controls_the_terminal_or_imitates_an_event() {
        let hostile = "INFO name=ann\u{1b}[2J\u{9b}1m\r\nERROR forged\u{202e}\n";
        let line = one_line(hostile);
        assert_eq!(line, "INFO name=ann\u{fffd}[2J\u{fffd}1m\u{fffd}\n    ERROR forged\u{fffd}\n");
        assert_eq!(
            one_line("\u{1b}[32m INFO\u{1b}[0m ready\n"),
            "\u{1b}[32m INFO\u{1b}[0m ready\n"
        );
    }
}
