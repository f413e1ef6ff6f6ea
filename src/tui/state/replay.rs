//! A recording that the console shows instead of a daemon.

use super::{Console, Panel, Viewpoint};
use crate::tui::feed::{Happening, Metric, Moment};

/// A place in a recording that the operator wants to go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The last moment that is not later.
    To(u64),
    /// So many milliseconds forward or back, and at least one moment.
    By(i64),
}

/// The recording, and what keys want of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) is_playing: bool,
    wanted: Option<Seek>,
}

impl Console {
    /// Makes it the console of a recording from `first_ms` to `last_ms`.
    pub(crate) fn start_replay(&mut self, first_ms: u64, last_ms: u64, happened: Vec<Happening>) {
        self.feed.set_happenings(happened);
        self.replay = Some(Replay { first_ms, last_ms, is_playing: true, wanted: None });
    }

    pub(crate) fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// Returns whether the rows of a panel are known: a recording has only those of snapshots.
    pub(crate) fn has_rows_of(&self, panel: Panel) -> bool {
        self.replay.is_none() || panel.is_of_snapshots()
    }

    /// Stops at the moment on the screen.
    pub(crate) fn stop_playing(&mut self) {
        if let Some(replay) = &mut self.replay {
            replay.is_playing = false;
        }
    }

    /// Returns where the keys since the last call want to go.
    pub(crate) fn take_seek(&mut self) -> Option<Seek> {
        self.replay.as_mut()?.wanted.take()
    }

    /// Shows a moment of the recording. `figures` are those of the charts up to it, oldest first.
    pub(crate) fn show_recorded<'a>(
        &mut self,
        moment: Moment,
        figures: impl Iterator<Item = (u64, &'a [f32; Metric::ALL.len()])>,
    ) {
        self.feed.show_recorded(moment, figures);
        self.viewpoint = Viewpoint::Live;
    }

    /// Goes somewhere in the recording. Returns `None` if the console has a daemon, else whether
    /// the recording has that time.
    pub(super) fn seek(&mut self, to: Seek) -> Option<bool> {
        let replay = self.replay.as_mut()?;
        let known = match to {
            // A second is shown that has only begun when the recording was.
            Seek::To(at_ms) => at_ms.saturating_add(1_000) > replay.first_ms,
            Seek::By(_) => true,
        };
        if known {
            replay.wanted = Some(to);
        }
        Some(known)
    }
}
