//! Writes a recording while the console runs. A thread of its own compresses and writes, so a slow
//! disk does not stop the screen.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::{FeedRecordingError, format};
use crate::tui::feed::{Feed, Happening, Moment};

/// Moments that wait to be written.
const MAX_QUEUED: usize = 32;
const THREAD: &str = "lc-record";

/// A moment with what happened since the one before.
struct Queued {
    moment: Arc<Moment>,
    happenings: Vec<Happening>,
}

/// Keeps a feed in a file. Dropping it writes what waits.
#[derive(Debug)]
pub(crate) struct FeedRecorder {
    path: PathBuf,
    /// `None` once it has failed.
    queue: Option<SyncSender<Queued>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// The number of the first happening that is not written.
    next_happening: u64,
    /// Moments that were left out, because the disk is slow.
    left_out: u64,
}

impl FeedRecorder {
    /// Begins a recording in a new file.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, FeedRecordingError> {
        let failed = |source| FeedRecordingError::File { path: path.to_owned(), source };
        let file = File::create_new(path).map_err(failed)?;
        let (queue, queued) = sync_channel(MAX_QUEUED);
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || write_all(file, &queued))
            .map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            queue: Some(queue),
            thread: Some(thread),
            next_happening: 0,
            left_out: 0,
        })
    }

    /// Adds the latest moment. Returns what an operator must know: that the recording has ended, or
    /// that moments are missing.
    pub(crate) fn add(&mut self, feed: &Feed) -> Option<String> {
        let moment = feed.latest()?.clone();
        let queue = self.queue.as_ref()?;
        // Happenings from before the first one have numbers below it, which wrap.
        let is_new = |number: u64| number.wrapping_sub(self.next_happening) <= u64::MAX / 2;
        let new: Vec<_> = feed.numbered().filter(|(number, _)| is_new(*number)).collect();
        let next = new.last().map_or(self.next_happening, |(number, _)| number.wrapping_add(1));
        let happenings = new.into_iter().map(|(_, happening)| happening.clone()).collect();
        match queue.try_send(Queued { moment, happenings }) {
            Ok(()) => self.next_happening = next,
            Err(TrySendError::Full(_)) => {
                self.left_out += 1;
                let moments = self.left_out;
                return Some(format!("the disk is slow: {moments} moments are not recorded"));
            }
            Err(TrySendError::Disconnected(_)) => {
                return self.finish().err().map(|why| format!("the recording has ended: {why}"));
            }
        }
        None
    }

    /// Writes what waits. After a failure that [`Self::add`] has told, it does nothing.
    ///
    /// # Errors
    /// A part of the recording cannot be written.
    pub(crate) fn finish(&mut self) -> Result<(), FeedRecordingError> {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let failed = |_| Err(io::Error::other("the thread that writes has failed"));
        let written = thread.join().unwrap_or_else(failed);
        written.map_err(|source| FeedRecordingError::File { path: self.path.clone(), source })
    }
}

impl Drop for FeedRecorder {
    fn drop(&mut self) {
        // The console ends with another error.
        let _ = self.finish();
    }
}

/// Writes moments until the queue is closed. Each is handed to the kernel whole, so that a kill
/// costs none that was written.
fn write_all(mut file: File, queued: &Receiver<Queued>) -> io::Result<()> {
    for Queued { moment, happenings } in queued {
        file.write_all(&format::encode(&moment, &happenings)?)?;
    }
    file.sync_all()
}
