//! The console on its terminal: what is the same for a live console and for a recording.

use std::io::{self, Write as _};

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
use super::state::{Console, Effect, Notice};
use super::terminal::TerminalSession;
use super::theme::ThemeName;
use super::{ConsoleOptions, figures, view};

/// Bytes of a text that a terminal takes by OSC 52; some take no more.
const MAX_COPIED_BYTES: usize = 70_000;
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
    started: Instant,
    /// When the last frame was drawn.
    pub(super) drawn: Option<Instant>,
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
            started: Instant::now(),
            drawn: None,
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

    pub(super) fn draw(&mut self) -> io::Result<()> {
        self.set_clock();
        let Self { console, terminal, hits, ascii, .. } = self;
        terminal.draw(|area, buffer| {
            console.set_size(area.width, area.height);
            *hits = view::draw(area, buffer, console, *ascii);
        })?;
        self.drawn = Some(Instant::now());
        Ok(())
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
            Effect::Suspend => self.terminal.suspend()?,
            Effect::Redraw => self.terminal.redraw()?,
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
            Ok(name) => Notice::Done(format!("saved {name}")),
            Err(error) => Notice::Failed(format!("cannot save the screen: {error}")),
        });
    }

    fn try_save(&mut self) -> io::Result<String> {
        let size = self.terminal.screen.size()?;
        let mut buffer = Buffer::empty(Rect::new(0, 0, size.width, size.height));
        view::draw(buffer.area, &mut buffer, &self.console, self.ascii);
        let at = figures::clock(self.console.now_ms()).replace(':', "");
        let day = self.console.now_ms() / 86_400_000;
        let name = format!("lc-top-{day}-{at}.txt");
        let mut file = std::fs::File::create_new(&name)?;
        file.write_all(view::text(&buffer).as_bytes())?;
        Ok(name)
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
