//! Plays a recording of a feed on the terminal. No daemon is asked.
//!
//! Always holds: moments follow each other with the time that was between them, at most
//! [`MAX_PAUSE`]; a moment that is damaged is named and passed over.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::console_screen::{ConsoleScreen, Detected};
use super::recording::FeedRecording;
use super::state::{Effect, Notice, Seek};
use super::{ConsoleError, ConsoleOptions};

/// The longest wait for the next moment: a gap of a recording is not waited for.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Charts show at most so much.
const CHARTS_MS: u64 = 3_600_000;

/// Shows a recording until the operator quits or `stop` is cancelled.
///
/// # Errors
/// Fails before anything is drawn if the file is no recording or a binding is wrong.
pub async fn replay(
    path: &Path,
    options: ConsoleOptions,
    stop: CancellationToken,
) -> Result<(), ConsoleError> {
    options.check()?;
    if options.view.as_deref().is_some_and(|view| view.starts_with('@')) {
        let why = "a recording has no saved views: the daemon keeps them";
        return Err(ConsoleError::View(why.to_owned()));
    }
    let mut recording = FeedRecording::open(path)?;
    let detected = Detected::by_terminal(&options);
    let mut console = options.console(detected.theme())?;
    let last = recording.len() - 1;
    let happened = recording.take_happenings();
    console.start_replay(recording.time(0), recording.time(last), happened);
    console.notice = recording.cut().map(|cut| Notice::Failed(cut.to_owned()));
    let screen = ConsoleScreen::start(console, &options, detected)?;
    let mut player = Player { recording, screen, at: 0, due: Instant::now() };
    player.show(0);
    player.run(stop).await
}

/// A recording with the console that shows it.
struct Player {
    recording: FeedRecording,
    screen: ConsoleScreen,
    /// The moment on the screen.
    at: usize,
    /// When the next one is shown while it plays.
    due: Instant,
}

impl Player {
    async fn run(&mut self, stop: CancellationToken) -> Result<(), ConsoleError> {
        let mut input = self.screen.input();
        loop {
            self.screen.draw()?;
            let is_last = self.at + 1 == self.recording.len();
            if is_last {
                self.screen.console.stop_playing();
            }
            let plays = self.screen.console.replay().is_some_and(|replay| replay.is_playing);
            tokio::select! {
                event = input.next() => {
                    let effect = match event {
                        Some(event) => self.screen.handle_input(&event?),
                        // The terminal was closed.
                        None => Some(Effect::Quit),
                    };
                    match effect {
                        Some(Effect::Quit) => return Ok(()),
                        // Acts are off, so what is left concerns the terminal only.
                        Some(effect) => drop(self.screen.carry_out(effect)?),
                        None => {}
                    }
                    self.seek();
                }
                () = tokio::time::sleep_until(self.due), if plays => self.show(self.at + 1),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Goes where the keys want to.
    fn seek(&mut self) {
        let last = self.recording.len() - 1;
        let to = match self.screen.console.take_seek() {
            None => {
                // The time that it was stopped for does not count.
                self.due = self.due.max(Instant::now());
                return;
            }
            Some(Seek::To(at_ms)) => self.recording.index_at(at_ms),
            Some(Seek::By(step_ms)) => {
                let wanted = self.recording.time(self.at).saturating_add_signed(step_ms);
                let to = self.recording.index_at(wanted);
                if step_ms < 0 { to.min(self.at.saturating_sub(1)) } else { to.max(self.at + 1) }
            }
        };
        self.show(to.min(last));
    }

    /// Shows a moment, and waits from now on for the next one.
    fn show(&mut self, index: usize) {
        let at = index.min(self.recording.len() - 1);
        match self.recording.moment(at) {
            Ok(moment) => {
                let figures = self.recording.figures(at, CHARTS_MS);
                self.screen.console.show_recorded(moment, figures);
            }
            Err(error) => self.screen.console.notice = Some(Notice::Failed(error.to_string())),
        }
        self.at = at;
        let pause_ms = self.recording.time(at + 1) - self.recording.time(at);
        self.due = Instant::now() + Duration::from_millis(pause_ms).min(MAX_PAUSE);
    }
}
