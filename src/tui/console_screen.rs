//! The console on its terminal: what is the same for a live console and for a recording.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossterm::event::{Event, EventStream, KeyCode};
use futures_util::{Stream, StreamExt as _, stream};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tokio::time::Instant;

use super::background::{self, LateAnswer};
use super::hits::Hits;
use super::input::{self, Clicks};
use super::state::{Console, Effect, Notice, Place};
use super::terminal::TerminalSession;
use super::theme::ThemeName;
use super::{ConsoleOptions, figures, view};

/// Bytes of a text that a terminal takes by OSC 52; some take no more.
const MAX_COPIED_BYTES: usize = 70_000;
/// Screens that are saved in one second. More than a person asks for.
const MAX_OF_ONE_NAME: u32 = 100;
/// Bytes of a text that a terminal shows as a notification.
const MAX_TOLD_BYTES: usize = 200;

/// The state of the console with the terminal that it is drawn on.
pub(super) struct ConsoleScreen {
    pub(super) console: Console,
    ascii: bool,
    terminal: TerminalSession,
    late: LateAnswer,
    /// Characters that were typed before keys were read.
    typed: String,
    hits: Hits,
    clicks: Clicks,
    /// The frame before; `None` if the next one is drawn whole.
    drawn: Option<FrameKind>,
    started: Instant,
}

/// The properties of a frame that change nearly all of its cells when they change.
#[derive(PartialEq)]
struct FrameKind {
    area: Rect,
    place: Place,
    theme: ThemeName,
}

/// The terminal's background, once it was asked for.
#[derive(Debug, Default)]
pub(super) struct Detected {
    theme: ThemeName,
    late: LateAnswer,
    typed: String,
}

impl Detected {
    /// Chooses a theme; asks the terminal if that decides.
    pub(super) fn by_terminal(options: &ConsoleOptions) -> Self {
        let mut answer = background::Answer::default();
        let variable = |name: &str| std::env::var(name).ok();
        let ask = || {
            if options.theme.is_none() {
                // Without an answer the environment decides.
                answer = background::ask().unwrap_or_default();
            }
            answer.background.map(background::Background::is_light)
        };
        let theme = ThemeName::detect(variable, ask);
        Self { theme, late: answer.late, typed: answer.typed }
    }

    pub(super) fn theme(&self) -> ThemeName {
        self.theme
    }
}

impl ConsoleScreen {
    /// Takes over the terminal.
    ///
    /// # Errors
    /// The terminal cannot be read or written.
    pub(super) fn start(
        console: Console,
        options: &ConsoleOptions,
        detected: Detected,
    ) -> io::Result<Self> {
        Ok(Self {
            console,
            ascii: options.ascii || is_dumb_terminal(),
            terminal: TerminalSession::start(options.mouse)?,
            late: detected.late,
            typed: detected.typed,
            hits: Hits::default(),
            clicks: Clicks::default(),
            drawn: None,
            started: Instant::now(),
        })
    }

    /// Returns the keys and the mouse: first what was typed while the terminal was asked.
    pub(super) fn input(&mut self) -> impl Stream<Item = io::Result<Event>> + Unpin + use<> {
        let typed: Vec<_> = std::mem::take(&mut self.typed)
            .chars()
            .map(|c| Ok(Event::Key(KeyCode::Char(c).into())))
            .collect();
        stream::iter(typed).chain(EventStream::new())
    }

    /// Sets the console's clock.
    pub(super) fn set_clock(&mut self) {
        self.console.clock_ms =
            u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    }

    /// Notes that contact is lost, if no snapshot has come for too long.
    pub(super) fn check_contact(&mut self) {
        self.set_clock();
        self.console.check_contact();
    }

    /// Returns the time at which contact is lost unless a snapshot comes before.
    pub(super) fn contact_ends(&self) -> Option<Instant> {
        let ends_ms = self.console.contact_ends_ms()?;
        self.started.checked_add(Duration::from_millis(ends_ms))
    }

    /// Draws a frame. Returns the time for which the terminal was written to; `None` for a frame
    /// that was drawn whole, or nearly so: the first one, and one of another size, view or theme.
    pub(super) fn draw(&mut self) -> io::Result<Option<Duration>> {
        self.set_clock();
        let Self { console, terminal, hits, ascii, .. } = self;
        let mut drawn = Rect::default();
        let written_for = terminal.draw(|area, buffer| {
            drawn = area;
            console.set_size(area.width, area.height);
            *hits = view::draw(area, buffer, console, *ascii);
        })?;
        let place = self.console.place().clone();
        let kind = FrameKind { area: drawn, place, theme: self.console.theme };
        let before = self.drawn.replace(kind);
        Ok((before == self.drawn).then_some(written_for))
    }

    pub(super) fn handle_input(&mut self, event: &Event) -> Option<Effect> {
        self.set_clock();
        match event {
            Event::Key(key) if self.late.takes(*key, self.console.clock_ms) => None,
            Event::Key(key) => input::press(&mut self.console, *key),
            Event::Mouse(event) => {
                input::mouse(&mut self.console, &mut self.clicks, &self.hits, *event)
            }
            // A new size only needs the next draw; other events are ignored.
            _ => None,
        }
    }

    /// Carries out what concerns the terminal only. Returns any other effect.
    pub(super) fn carry_out(&mut self, effect: Effect) -> io::Result<Option<Effect>> {
        match effect {
            Effect::Suspend => {
                self.terminal.suspend()?;
                self.drawn = None;
            }
            Effect::Redraw => {
                self.terminal.redraw()?;
                self.drawn = None;
            }
            Effect::Copy(text) => copy(&text)?,
            Effect::Save => self.save(),
            other => return Ok(Some(other)),
        }
        Ok(None)
    }

    /// Writes the screen as text into the working directory.
    fn save(&mut self) {
        let notice = self.try_save();
        self.console.notice = Some(match notice {
            Ok(path) => Notice::Done(format!("saved {}", path.display())),
            Err(error) => Notice::Failed(format!("cannot save the screen: {error}")),
        });
    }

    fn try_save(&mut self) -> io::Result<PathBuf> {
        let size = self.terminal.screen.size()?;
        let mut buffer = Buffer::empty(Rect::new(0, 0, size.width, size.height));
        view::draw(buffer.area, &mut buffer, &self.console, self.ascii);
        let at = figures::clock(self.console.now_ms()).replace(':', "");
        let day = self.console.now_ms() / 86_400_000;
        let folder = std::env::current_dir()?;
        save_new(&folder, &format!("lc-top-{day}-{at}"), &view::text(&buffer))
    }
}

/// Writes a text into a new file, and returns its path. If the name is taken, a number is added.
fn save_new(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let file_name = match number {
            1 => format!("{name}.txt"),
            number => format!("{name}-{number}.txt"),
        };
        let path = folder.join(file_name);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MAX_OF_ONE_NAME => {
                number += 1;
            }
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
            }
        }
    }
}

/// Returns whether the terminal shows nothing but ASCII text.
fn is_dumb_terminal() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Copies a text to the clipboard of the terminal, also over SSH.
fn copy(text: &str) -> io::Result<()> {
    let end = text.floor_char_boundary(MAX_COPIED_BYTES.min(text.len()));
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(&text[..end]))?;
    out.flush()
}

/// Rings the bell and has the terminal show a notification (OSC 9).
pub(super) fn ring(text: &str) -> io::Result<()> {
    let shown = super::text::clean(text);
    let end = shown.floor_char_boundary(MAX_TOLD_BYTES.min(shown.len()));
    let mut out = io::stdout();
    write!(out, "\x07\x1b]9;lc top: {}\x07", &shown[..end])?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_screens_of_one_second_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let save = |text: &str| save_new(folder.path(), "lc-top-1-2", text);
        let first = save("one").unwrap();
        let second = save("two").unwrap();
        assert_eq!(first, folder.path().join("lc-top-1-2.txt"));
        assert_eq!(second, folder.path().join("lc-top-1-2-2.txt"));
        assert_eq!(std::fs::read_to_string(first).unwrap(), "one");
        assert_eq!(std::fs::read_to_string(second).unwrap(), "two");
        let missing = save_new(&folder.path().join("missing"), "name", "").unwrap_err();
        assert!(missing.to_string().contains("missing/name.txt"), "{missing}");
    }
}
