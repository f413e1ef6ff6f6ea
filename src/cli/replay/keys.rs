//! Keys that steer a replay, on a terminal.

use std::io::{IsTerminal as _, Stdin, stdin};

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind};
use futures_util::StreamExt as _;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::play::{Control, SEEK_MS};

/// Keys that may wait.
const MAX_QUEUED_KEYS: usize = 16;

/// The keys, for the line that shows progress.
pub(super) const KEYS: &str = "space pauses, ← → seek, + − speed";

/// A terminal that passes keys on as they are pressed. Signals such as Ctrl-C work as always.
struct KeyMode {
    terminal: Stdin,
    before: Termios,
}

impl KeyMode {
    /// Returns `None` if there is no terminal, or if it belongs to another job.
    fn enter() -> Option<Self> {
        let terminal = stdin();
        let is_ours = terminal.is_terminal() && tcgetpgrp(&terminal).ok()? == getpgrp();
        if !is_ours {
            return None;
        }
        let before = tcgetattr(&terminal).ok()?;
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&terminal, SetArg::TCSANOW, &keys).ok()?;
        Some(Self { terminal, before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

/// The controls of a person.
pub(super) struct Controls {
    pub(super) receiver: mpsc::Receiver<Control>,
    /// Ends the reading of keys.
    end: CancellationToken,
    /// Reads keys, if there is a terminal.
    reader: Option<JoinHandle<()>>,
}

impl Controls {
    /// Reads keys until `stop`. Without a terminal, no control ever arrives.
    pub(super) fn listen(stop: &CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_KEYS);
        let end = stop.child_token();
        let mode = KeyMode::enter();
        let reader = mode.map(|mode| tokio::spawn(read_keys(mode, sender, end.clone())));
        Self { receiver, end, reader }
    }

    pub(super) fn has_keys(&self) -> bool {
        self.reader.is_some()
    }

    /// Leaves the terminal as it was.
    pub(super) async fn close(self) {
        self.end.cancel();
        if let Some(reader) = self.reader {
            // A reader that panicked has left the terminal as well.
            let _ = reader.await;
        }
    }
}

async fn read_keys(mode: KeyMode, sender: mpsc::Sender<Control>, end: CancellationToken) {
    let mut events = EventStream::new();
    while let Some(Some(Ok(event))) = end.run_until_cancelled(events.next()).await {
        if let Event::Key(key) = event
            && let Some(control) = control(key)
        {
            // A full queue means that many keys wait already.
            let _ = sender.try_send(control);
        }
    }
    drop(mode);
}

fn control(key: KeyEvent) -> Option<Control> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        // A NUL arrives as Ctrl-Space. A terminal whose input has ended may send it.
        KeyCode::Char(' ') if key.modifiers.is_empty() => Some(Control::TogglePause),
        KeyCode::Left => Some(Control::Seek(-SEEK_MS)),
        KeyCode::Right => Some(Control::Seek(SEEK_MS)),
        KeyCode::PageUp => Some(Control::Seek(-6 * SEEK_MS)),
        KeyCode::PageDown => Some(Control::Seek(6 * SEEK_MS)),
        KeyCode::Up | KeyCode::Char('+') => Some(Control::Faster),
        KeyCode::Down | KeyCode::Char('-') => Some(Control::Slower),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;

    use super::*;

    #[test]
    fn each_key_has_its_control() {
        for (code, expected) in [
            (KeyCode::Char(' '), Some(Control::TogglePause)),
            (KeyCode::Left, Some(Control::Seek(-10_000))),
            (KeyCode::PageDown, Some(Control::Seek(60_000))),
            (KeyCode::Char('+'), Some(Control::Faster)),
            (KeyCode::Char('x'), None),
        ] {
            assert_eq!(control(code.into()), expected, "{code:?}");
        }
    }

    #[test]
    fn only_a_space_without_modifier_pauses() {
        let space = KeyCode::Char(' ');
        for modifiers in [KeyModifiers::CONTROL, KeyModifiers::ALT] {
            assert_eq!(control(KeyEvent::new(space, modifiers)), None, "{modifiers:?}");
        }
        let plus = KeyEvent::new(KeyCode::Char('+'), KeyModifiers::SHIFT);
        assert_eq!(control(plus), Some(Control::Faster));
    }
}
