//! Takes over the terminal, and restores it however the console ends: by return, error, panic or
//! signal.

use std::io::{self, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Whether the mouse was taken, for the restoration after a panic.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// Holds the terminal in raw mode on the alternate screen; dropping it restores the terminal.
#[derive(Debug)]
pub(super) struct TerminalSession {
    pub(super) screen: Terminal<CrosstermBackend<io::Stdout>>,
}

impl TerminalSession {
    pub(super) fn start(mouse: bool) -> io::Result<Self> {
        restore_on_panic();
        MOUSE.store(mouse, Ordering::Relaxed);
        enter()?;
        let screen = Terminal::new(CrosstermBackend::new(io::stdout())).inspect_err(|_| leave())?;
        Ok(Self { screen })
    }

    /// Draws a frame; terminals that know how show it at once, not in parts.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<()> {
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        let drawn = self.screen.draw(|frame| draw(frame.area(), frame.buffer_mut())).map(|_| ());
        execute!(io::stdout(), EndSynchronizedUpdate)?;
        drawn
    }

    /// Suspends the process as Ctrl-Z does in other programs, until the shell resumes it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        raise(Signal::SIGTSTP)?;
        enter()?;
        self.screen.clear()
    }
}

impl Drop for TerminalSession {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide).inspect_err(|_| leave())?;
    if MOUSE.load(Ordering::Relaxed) {
        execute!(io::stdout(), EnableMouseCapture).inspect_err(|_| leave())?;
    }
    Ok(())
}

/// Restores the terminal. Errors are ignored, because there is no terminal left to show them on.
fn leave() {
    if MOUSE.load(Ordering::Relaxed) {
        let _ = execute!(io::stdout(), DisableMouseCapture);
    }
    let _ = execute!(io::stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

/// Restores the terminal before a panic message is printed, so that the message is readable.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            previous(info);
        }));
    });
}
