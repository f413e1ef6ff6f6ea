//! The loop of a replay: waits for the next event's time, and does what keys ask.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::overlay::{Overlay, PlayedEvent};
use super::pace::{Pace, show_position};
use crate::loadgen::recording::RecordingError;

/// Milliseconds that a key moves the position.
pub(super) const SEEK_MS: i64 = 10_000;
/// The factor by which a key changes the speed.
pub(super) const SPEED_STEP: f64 = 1.25;

/// A request of the person at the keyboard while a replay runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Control {
    TogglePause,
    /// Moves by so many milliseconds of the recording.
    Seek(i64),
    Faster,
    Slower,
}

/// The state of a replay that its progress bar shows.
#[derive(Debug, Default)]
pub(super) struct Playing {
    pub(super) position_ms: AtomicU64,
    pub(super) paused: AtomicBool,
    /// The speed in thousandths; 0 means as fast as possible.
    pub(super) times_permille: AtomicU64,
}

impl Playing {
    /// Returns position, length and speed as text.
    pub(super) fn show(&self, length_ms: u64) -> String {
        let position = show_position(self.position_ms.load(Relaxed).min(length_ms));
        let length = show_position(length_ms);
        let speed = match self.times_permille.load(Relaxed) {
            _ if self.paused.load(Relaxed) => "paused".to_owned(),
            0 => "at full speed".to_owned(),
            permille => format!("×{}", permille as f64 / 1e3),
        };
        format!("{position} of {length} {speed}")
    }
}

/// A replay that can be steered.
pub(super) struct Player<'a> {
    pub(super) overlay: Overlay,
    /// `None` plays events as fast as they are taken.
    pub(super) pace: Option<Pace>,
    pub(super) controls: mpsc::Receiver<Control>,
    pub(super) stop: &'a CancellationToken,
    pub(super) playing: &'a Playing,
}

/// The reason for which a wait ended.
enum Woken {
    /// The event is due, or was due at this time.
    Due(Instant),
    Control(Control),
    Stopped,
}

impl Player<'_> {
    /// Calls `dispatch` with each event at its time, and with that time as an instant. Ends with
    /// the recordings or when stopped.
    ///
    /// # Errors
    /// A recording cannot be read.
    pub(super) async fn run(
        mut self,
        mut dispatch: impl AsyncFnMut(PlayedEvent, Instant),
    ) -> Result<(), RecordingError> {
        loop {
            let Some(at_ms) = self.overlay.peek_ms()? else { return Ok(()) };
            self.show();
            match self.wait(at_ms).await {
                Woken::Due(due) => {
                    if self.pace.is_none() {
                        self.playing.position_ms.store(at_ms, Relaxed);
                    }
                    if let Some(event) = self.overlay.next()? {
                        dispatch(event, due).await;
                    }
                }
                Woken::Control(control) => self.apply(control)?,
                Woken::Stopped => return Ok(()),
            }
        }
    }

    async fn wait(&mut self, at_ms: u64) -> Woken {
        if self.stop.is_cancelled() {
            return Woken::Stopped;
        }
        if let Ok(control) = self.controls.try_recv() {
            return Woken::Control(control);
        }
        let now = Instant::now();
        let due = match &self.pace {
            Some(pace) => pace.due(at_ms),
            None => Some(now),
        };
        if let Some(due) = due.filter(|due| *due <= now) {
            return Woken::Due(due);
        }
        let reached = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
            due.unwrap_or(now)
        };
        tokio::select! {
            due = reached => Woken::Due(due),
            Some(control) = self.controls.recv() => Woken::Control(control),
            () = self.stop.cancelled() => Woken::Stopped,
        }
    }

    fn apply(&mut self, control: Control) -> Result<(), RecordingError> {
        let now = Instant::now();
        match (control, &mut self.pace) {
            (Control::TogglePause, Some(pace)) => pace.toggle_pause(now),
            (Control::Faster, Some(pace)) => pace.speed_up(SPEED_STEP, now),
            (Control::Slower, Some(pace)) => pace.speed_up(SPEED_STEP.recip(), now),
            (Control::Seek(by_ms), Some(pace)) => {
                let target_ms = pace.position_ms(now).saturating_add_signed(by_ms);
                self.overlay.seek(target_ms)?;
                pace.move_to(target_ms, now);
            }
            // Without a pace there is no position to move, and acks decide the speed.
            (_, None) => {}
        }
        Ok(())
    }

    fn show(&self) {
        if let Some(pace) = &self.pace {
            self.playing.position_ms.store(pace.position_ms(Instant::now()), Relaxed);
            self.playing.paused.store(pace.is_paused(), Relaxed);
            self.playing.times_permille.store((pace.times() * 1e3) as u64, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::cli::replay::overlay::tests::{all_of, write_recording};

    /// Plays ten comments, one per second, and applies controls at their times (in milliseconds).
    async fn play(times: f64, steps: &[(u64, Control)]) -> Vec<(u64, u64)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        write_recording(&path, 10, 2, 1_000);
        play_file(&path, times, steps).await
    }

    async fn play_file(path: &Path, times: f64, steps: &[(u64, Control)]) -> Vec<(u64, u64)> {
        let overlay = Overlay::open(all_of(vec![path.to_owned()])).unwrap();
        let (asks, controls) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let playing = Playing::default();
        let start = Instant::now();
        let pace = Some(Pace::new(times, 0, start));
        let player = Player { overlay, pace, controls, stop: &stop, playing: &playing };
        let mut seen = Vec::new();
        let played = player.run(async |event, due| {
            assert_eq!(due, Instant::now());
            let PlayedEvent::Comment(comment) = event else { panic!("only comments: {event:?}") };
            seen.push((comment.comment.ts_ms, start.elapsed().as_millis() as u64));
        });
        let steer = async {
            for (at_ms, control) in steps {
                sleep_until(start + Duration::from_millis(*at_ms)).await;
                asks.send(*control).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = played => result.unwrap(),
            () = steer => {}
        }
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn comments_come_at_their_times() {
        let seen = play(1.0, &[]).await;
        assert_eq!(seen, (0..10).map(|n| (n * 1_000, n * 1_000)).collect::<Vec<_>>());
        let seen = play(4.0, &[]).await;
        assert_eq!(seen, (0..10).map(|n| (n * 1_000, n * 250)).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_delays_what_follows() {
        let seen = play(1.0, &[(2_500, Control::TogglePause), (9_500, Control::TogglePause)]).await;
        assert_eq!(seen[2], (2_000, 2_000));
        assert_eq!(seen[3], (3_000, 10_000));
        assert_eq!(seen.len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn seeking_repeats_and_skips() {
        let seen =
            play(1.0, &[(2_500, Control::Seek(-2_000)), (3_200, Control::Seek(5_500))]).await;
        let recorded: Vec<_> = seen.iter().map(|(recorded, _)| *recorded).collect();
        assert_eq!(recorded, [0, 1_000, 2_000, 1_000, 7_000, 8_000, 9_000]);
        let seen = play(1.0, &[(500, Control::Seek(60_000))]).await;
        assert_eq!(seen.len(), 1, "beyond the end is the end");
        let seen = play(1.0, &[(1_500, Control::Seek(-60_000))]).await;
        assert_eq!(seen.len(), 12, "before the start is the start");
    }

    #[tokio::test(start_paused = true)]
    async fn speed_changes_while_it_runs() {
        let steps = [Control::Faster; 3].map(|control| (0, control));
        let seen = play(1.0, &steps).await;
        let last = seen.last().unwrap().1;
        assert!((4_500..4_700).contains(&last), "{last} ms at 1.95 times");
        let seen = play(1.0, &[(0, Control::Slower)]).await;
        assert_eq!(seen.last().unwrap().1, 11_250);
    }
}
