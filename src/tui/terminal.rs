//! Takes over the terminal, and restores it however the console ends: by return, error, panic or
//! signal.

use std::io::{self, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

    /// Draws a frame; terminals that know how show it at once, not in parts. Returns the time for
    /// which the terminal was written to: a link that takes less than is written makes it wait.
    pub(super) fn draw(&mut self, draw: impl FnOnce(Rect, &mut Buffer)) -> io::Result<Duration> {
        let started = Instant::now();
        let mut drawing = Duration::ZERO;
        execute!(io::stdout(), BeginSynchronizedUpdate)?;
        let drawn = self.screen.draw(|frame| {
            let started = Instant::now();
            draw(frame.area(), frame.buffer_mut());
            drawing = started.elapsed();
        });
        let drawn = drawn.map(|_| ());
        execute!(io::stdout(), EndSynchronizedUpdate)?;
        drawn?;
        Ok(started.elapsed().saturating_sub(drawing))
    }

    /// Suspends the process as Ctrl-Z does in other programs, until the shell resumes it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        raise(Signal::SIGTSTP)?;
        enter()?;
        self.redraw()
    }

    /// Clears the terminal, so that the next frame is drawn whole. Unlike [`Terminal::clear`] it
    /// does not wait for the terminal to tell where its cursor is.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        let size = self.screen.size()?;
        self.screen.resize(Rect::new(0, 0, size.width, size.height))
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::num::NonZeroU16;

    use nix::sys::termios::tcgetattr;
    use pty_process::blocking::{Command, open};

    use super::TerminalSession;

    /// Runs in a process of its own, with a terminal.
    #[test]
    #[ignore = "a_panic_restores_the_terminal starts it"]
    fn child_panics_on_its_terminal() {
        let _session = TerminalSession::start(true).unwrap();
        panic!("a panel is gone");
    }

    #[test]
    fn a_panic_restores_the_terminal() {
        let (mut pty, pts) = open().unwrap();
        pty.resize(pty_process::Size::new(24, 100)).unwrap();
        let before = tcgetattr(&pty).unwrap();
        let child = "tui::terminal::tests::child_panics_on_its_terminal";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", child, "--include-ignored", "--nocapture"])
            .spawn(pts)
            .unwrap();
        let mut written = Vec::new();
        // The kernel reports the closed terminal as an error.
        let _ = pty.read_to_end(&mut written);
        assert!(!process.wait().unwrap().success());
        let size = |number| NonZeroU16::new(number).unwrap();
        let mut parser = vt100::Parser::new(size(24), size(100), 0);
        parser.process(&written);
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert!(screen.contents().contains("a panel is gone"), "{}", screen.contents());
        let after = tcgetattr(&pty).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
        assert_eq!(after.input_flags, before.input_flags);
        assert_eq!(after.output_flags, before.output_flags);
        let entered = written.windows(8).any(|bytes| bytes == b"\x1b[?1049h");
        assert!(entered, "it had the alternate screen");
    }
}
