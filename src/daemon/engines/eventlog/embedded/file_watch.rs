//! Watches the files of an open log. A file that is removed, renamed or replaced keeps its contents
//! for the process that has it open, so writes to it succeed and are lost with the process.
//!
//! A thread compares every segment's path with the file that was there first, once per
//! [`INTERVAL`]. While one differs, appends to its topic are refused, and a problem names it. The
//! writer checks its own file before each answer ([`super::writer`]).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::file_id::{FileId, moved_away};
use super::topic::TopicLog;
use crate::daemon::engines::eventlog::{LogError, LogTelemetry};
use crate::protocol::admin::ProblemCode;

const INTERVAL: Duration = Duration::from_secs(1);

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    /// Dropped to end the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    pub(super) fn start(
        topics: Vec<Arc<TopicLog>>,
        telemetry: LogTelemetry,
    ) -> Result<Self, LogError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut files = KnownFiles::default();
        files.check(&topics, &telemetry);
        let run = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                files.check(&topics, &telemetry);
                telemetry.expire();
            }
        };
        let spawned = std::thread::Builder::new().name("log-files".to_owned()).spawn(run);
        let thread = spawned
            .map_err(|error| LogError::Unavailable(format!("starting a thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic has been logged by the thread.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The files that were at the paths of the segments when these were first seen.
#[derive(Debug, Default)]
struct KnownFiles {
    by_path: HashMap<PathBuf, FileId>,
}

impl KnownFiles {
    /// Compares the files of all topics, and refuses appends to those with a difference.
    fn check(&mut self, topics: &[Arc<TopicLog>], telemetry: &LogTelemetry) {
        let mut seen = HashMap::new();
        for log in topics {
            let topic = log.topic.name();
            let missing = self.missing(log, &mut seen);
            match missing {
                None => telemetry.problems().clear(ProblemCode::LogFilesMissing, topic),
                Some(ref path) => {
                    let LogError::Unavailable(text) = moved_away(path) else { continue };
                    let text = format!("{text}. Records of {topic} are refused until then");
                    telemetry.problems().raise(ProblemCode::LogFilesMissing, topic, text);
                }
            }
            *log.refusal.lock() = missing.map(|path| moved_away(&path));
        }
        self.by_path = seen;
    }

    /// Returns the first segment whose file is not at its path.
    fn missing(&self, log: &TopicLog, seen: &mut HashMap<PathBuf, FileId>) -> Option<PathBuf> {
        let mut missing = None;
        for segment in log.table.segments() {
            let path = segment.path.clone();
            let known = self.by_path.get(&path).copied();
            // A file that cannot be examined now is not known to be missing.
            let Ok(found) = FileId::at(&path) else {
                if let Some(id) = known {
                    seen.insert(path, id);
                }
                continue;
            };
            let is_in_place = found.is_some_and(|found| known.is_none_or(|known| known == found));
            if let Some(id) = known.or(found) {
                seen.insert(path.clone(), id);
            }
            // Retention removes a segment from the table before it removes the file.
            if !is_in_place && missing.is_none() && log.table.contains(segment.header.base) {
                missing = Some(path);
            }
        }
        missing
    }
}
