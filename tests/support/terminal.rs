//! A terminal with a program on it: a pseudo-terminal, and a parser that knows what is shown.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use parking_lot::Mutex;
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use vt100::{Color, MouseProtocolMode, Parser, Screen};

use super::PATIENCE;

/// A screen that is not written to for this long shows a whole frame.
const QUIET: Duration = Duration::from_millis(150);
/// A question of a program, and the answer of a terminal: its attributes, its background.
const QUESTIONS: [(&[u8], &[u8]); 3] = [
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b]11;?\x1b\\", b"\x1b]11;rgb:1d1d/1f1f/2121\x1b\\"),
    (b"\x1b]11;?\x07", b"\x1b]11;rgb:1d1d/1f1f/2121\x07"),
];

pub struct Terminal {
    pty: Arc<Pty>,
    shown: Arc<Mutex<Shown>>,
    child: Child,
    before: Termios,
    reader: Option<JoinHandle<()>>,
}

struct Shown {
    parser: Parser,
    bytes: u64,
    /// When the last bytes came.
    at: Instant,
}

/// A cell as a viewer sees it: a blank has no colour of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownCell {
    pub text: String,
    pub wide: bool,
    pub foreground: Color,
    pub background: Color,
    pub bold: bool,
    pub dim: bool,
    pub italic: bool,
    pub underline: bool,
    pub inverse: bool,
}

fn non_zero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a terminal has rows and columns")
}

impl Terminal {
    /// Runs a program on a terminal of this size.
    pub fn run(command: Command, rows: u16, columns: u16) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let before = tcgetattr(&pty).unwrap();
        let pty = Arc::new(pty);
        let parser = Parser::new(non_zero(rows), non_zero(columns), 0);
        let shown = Arc::new(Mutex::new(Shown { parser, bytes: 0, at: Instant::now() }));
        let child = command.env("TERM", "xterm-256color").spawn(pts).unwrap();
        let reader = std::thread::spawn({
            let pty = pty.clone();
            let shown = shown.clone();
            move || read(&pty, &shown)
        });
        Self { pty, shown, child, before, reader: Some(reader) }
    }

    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let mut shown = self.shown.lock();
        shown.parser.set_size(non_zero(rows), non_zero(columns));
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Returns the bytes that the program has written.
    pub fn bytes(&self) -> u64 {
        self.shown.lock().bytes
    }

    pub fn text(&self) -> String {
        self.with_screen(Screen::contents)
    }

    pub fn with_screen<T>(&self, read: impl FnOnce(&Screen) -> T) -> T {
        read(self.shown.lock().parser.screen())
    }

    /// Waits until the screen is as wanted, for at most [`PATIENCE`].
    pub fn until(&self, what: &str, is_so: impl Fn(&Screen) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.with_screen(&is_so) {
            assert!(Instant::now() < deadline, "{what}; the screen is\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the screen shows a text.
    pub fn until_shows(&self, text: &str) {
        self.until(&format!("never shows {text:?}"), |screen| screen.contents().contains(text));
    }

    /// Waits until the screen no longer shows a text.
    pub fn until_hides(&self, text: &str) {
        self.until(&format!("always shows {text:?}"), |screen| !screen.contents().contains(text));
    }

    /// Waits until nothing is written for a moment.
    pub fn until_quiet(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.shown.lock().at.elapsed() < QUIET {
            assert!(Instant::now() < deadline, "it never stops writing");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the column and row of the first cell of a text, counted from 1 as the mouse does.
    pub fn place_of(&self, text: &str) -> (usize, usize) {
        let rows: Vec<String> = self.with_screen(|screen| {
            let (_, columns) = screen.size();
            screen.rows(0, columns.get()).collect()
        });
        let found = rows.iter().enumerate().find_map(|(row, shown)| Some((row, shown.find(text)?)));
        let (row, at) = found.unwrap_or_else(|| panic!("no {text:?} on the screen:\n{rows:#?}"));
        (rows[row][..at].chars().count() + 1, row + 1)
    }

    /// Clicks on a text with the left button.
    pub fn click(&self, text: &str) {
        let (column, row) = self.place_of(text);
        self.press(&format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"));
    }

    /// Returns the rows of the screen.
    pub fn cells(&self) -> Vec<Vec<ShownCell>> {
        self.with_screen(|screen| {
            let (rows, columns) = screen.size();
            let cell = |row, column| {
                let cell = screen.cell(row, column).expect("a cell of the screen");
                let second_half = cell.is_wide_continuation();
                let blank = cell.contents().trim().is_empty() && !second_half;
                ShownCell {
                    text: if blank { " ".to_owned() } else { cell.contents().to_owned() },
                    wide: cell.is_wide(),
                    foreground: if blank { Color::Default } else { cell.fgcolor() },
                    background: cell.bgcolor(),
                    bold: !blank && cell.bold(),
                    dim: !blank && cell.dim(),
                    italic: !blank && cell.italic(),
                    underline: cell.underline(),
                    inverse: cell.inverse(),
                }
            };
            (0..rows.get())
                .map(|row| (0..columns.get()).map(|column| cell(row, column)).collect())
                .collect()
        })
    }

    /// Fails if the screen, which is the result of many changes, differs from one that is drawn
    /// from nothing. The screen must be paused; a clock in it may run on.
    pub fn assert_fresh(&self) {
        const CTRL_L: &str = "\x0c";
        let mut different = String::new();
        for _ in 0..20 {
            self.until_quiet();
            let before = self.cells();
            let bytes = self.bytes();
            self.press(CTRL_L);
            let deadline = Instant::now() + PATIENCE;
            while self.bytes() == bytes {
                assert!(Instant::now() < deadline, "Ctrl-L draws nothing");
                std::thread::sleep(Duration::from_millis(5));
            }
            self.until_quiet();
            let after = self.cells();
            if before == after {
                return;
            }
            different = first_difference(&before, &after);
        }
        panic!("{different}; the screen is\n{}", self.text());
    }

    /// Waits for the end of the program, and until everything it wrote is shown.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; it shows\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Returns what of the terminal is not as it was before the program.
    pub fn changes(&self) -> Vec<&'static str> {
        let now = tcgetattr(&*self.pty).unwrap();
        let before = &self.before;
        self.with_screen(|screen| {
            [
                ("input modes", now.input_flags == before.input_flags),
                ("output modes", now.output_flags == before.output_flags),
                ("control modes", now.control_flags == before.control_flags),
                ("local modes", now.local_flags == before.local_flags),
                ("control characters", now.control_chars == before.control_chars),
                ("alternate screen", !screen.alternate_screen()),
                ("hidden cursor", !screen.hide_cursor()),
                ("bracketed paste", !screen.bracketed_paste()),
                ("mouse", screen.mouse_protocol_mode() == MouseProtocolMode::None),
                ("keypad", !screen.application_keypad() && !screen.application_cursor()),
                (
                    "colours",
                    screen.fgcolor() == Color::Default && screen.bgcolor() == Color::Default,
                ),
            ]
            .into_iter()
            .filter_map(|(what, same)| (!same).then_some(what))
            .collect()
        })
    }

    /// Fails unless the terminal is as it was before the program.
    pub fn assert_restored(&self, when: &str) {
        let changes = self.changes();
        assert!(changes.is_empty(), "{when}: {changes:?}; the screen is\n{}", self.text());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Shows what the program writes, and answers what it asks, until it closes the terminal.
fn read(mut pty: &Pty, shown: &Mutex<Shown>) {
    let mut buffer = vec![0; 64 << 10];
    let mut unanswered = Vec::new();
    // The kernel reports the closed terminal as an error.
    while let Ok(count @ 1..) = pty.read(&mut buffer) {
        let bytes = &buffer[..count];
        {
            let mut shown = shown.lock();
            shown.parser.process(bytes);
            shown.bytes += count as u64;
            shown.at = Instant::now();
        }
        unanswered.extend_from_slice(bytes);
        for answer in take_answers(&mut unanswered) {
            // The program may have ended meanwhile.
            let _ = pty.write_all(answer);
        }
    }
}

/// Returns the answers to the questions in what a program wrote, in the order of the questions, as
/// terminals answer. What may be the beginning of a further question stays.
fn take_answers(written: &mut Vec<u8>) -> Vec<&'static [u8]> {
    let mut answers = Vec::new();
    let mut rest = 0;
    while let Some(escape) = written[rest..].iter().position(|byte| *byte == b'\x1b') {
        let from = rest + escape;
        let text = &written[from..];
        if let Some((question, answer)) = QUESTIONS.iter().find(|(q, _)| text.starts_with(q)) {
            answers.push(*answer);
            rest = from + question.len();
        } else if QUESTIONS.iter().any(|(question, _)| question.starts_with(text)) {
            rest = from;
            break;
        } else {
            rest = from + 1;
        }
    }
    let has_begun = written.get(rest) == Some(&b'\x1b');
    written.drain(..if has_begun { rest } else { written.len() });
    answers
}

fn first_difference(before: &[Vec<ShownCell>], after: &[Vec<ShownCell>]) -> String {
    for (row, (before, after)) in before.iter().zip(after).enumerate() {
        for (column, (before, after)) in before.iter().zip(after).enumerate() {
            if before != after {
                return format!("row {row}, column {column}: {before:?} drawn again is {after:?}");
            }
        }
    }
    "nothing differs".to_owned()
}
