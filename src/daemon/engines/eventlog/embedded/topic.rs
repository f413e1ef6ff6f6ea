//! One topic: its segments, its groups, and the thread of its writer.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::disk::{Disk, Platform, write_failure};
use super::groups::TopicGroups;
use super::queue::WriterQueue;
use super::recovery;
use super::retention::RetentionLimits;
use super::scanner::Scanner;
use super::segment::{Segment, SegmentHeader};
use super::table::SegmentTable;
use super::writer::{Acknowledge, Writer, WriterParts, create_segment};
use super::{FIRST_OFFSET, PARTITION};
use crate::daemon::base::config::{EventLogConfig, Guarantee};
use crate::daemon::engines::eventlog::{
    LogError, LogTelemetry, Page, SkipReason, SkippedRecords, Topic,
};

/// Bound of the log that one read scans.
const SCAN_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct TopicLog {
    pub topic: Topic,
    pub table: Arc<SegmentTable>,
    pub groups: Arc<TopicGroups>,
    pub queue: Arc<WriterQueue>,
    pub telemetry: LogTelemetry,
    /// The reason why nothing may be appended.
    pub refusal: Mutex<Option<LogError>>,
    /// Cancelled when the log is closed.
    pub closed: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A topic whose files have been recovered and whose writer has not started.
#[derive(Debug)]
pub(super) struct RecoveredTopic {
    topic: Topic,
    directory: PathBuf,
    table: SegmentTable,
    groups: TopicGroups,
    /// True if no file was found: the topic is new, or its files are lost.
    pub was_missing: bool,
    /// The last segment, if its file is to be created.
    new_segment: Option<Arc<Segment>>,
}

impl RecoveredTopic {
    /// Opens or creates the topic's directory below `root`. Creates no segment, so that another
    /// attempt still finds what is missing.
    pub(super) fn open(root: &Path, topic: Topic, platform: &Platform) -> Result<Self, LogError> {
        let disk = &*platform.disk;
        let directory = root.join(topic.name());
        fs::create_dir_all(&directory).map_err(|e| write_failure("creating", &directory, &e))?;
        disk.sync_directory(root).map_err(|e| write_failure("syncing", root, &e))?;
        let mut segments = recovery::recover(disk, &directory)?;
        let groups = TopicGroups::open(&directory)?;
        let was_missing = segments.is_empty();
        let end = segments.back().map_or(FIRST_OFFSET, |last| last.extent().end);
        let mut new_segment = None;
        let highest = groups.all_committed().iter().map(|(_, next)| *next).max().unwrap_or(0);
        if was_missing || highest > end {
            if highest > end {
                // If these offsets were assigned again, the group would skip their records.
                error!(
                    topic = topic.name(),
                    end,
                    committed = highest,
                    "records that a group has read are missing on disk; skipping their offsets"
                );
                report_lost(topic, end..highest, &groups, platform);
            }
            let header = SegmentHeader {
                base: end.max(highest),
                follows: end,
                created_ms: platform.clock.now_ms(),
            };
            let segment = Arc::new(Segment::empty(&directory, header));
            new_segment = Some(segment.clone());
            segments.push_back(segment);
        }
        let table = SegmentTable::new(segments).ok_or_else(|| {
            LogError::Corrupt(format!("{} holds no segment", directory.display()))
        })?;
        Ok(Self { topic, directory, table, groups, was_missing, new_segment })
    }

    /// Creates the file of the last segment, if there is none yet.
    pub(super) fn create_segment(&mut self, disk: &dyn Disk) -> Result<(), LogError> {
        if let Some(segment) = &self.new_segment {
            create_segment(disk, segment)?;
            self.new_segment = None;
        }
        Ok(())
    }

    pub(super) fn name(&self) -> &'static str {
        self.topic.name()
    }

    pub(super) fn is_empty(&self) -> bool {
        let bounds = self.table.bounds();
        bounds.earliest == bounds.end
    }

    /// Returns the offset that the next record will get.
    pub(super) fn end(&self) -> u64 {
        self.table.end()
    }

    /// Starts the writer.
    pub(super) fn start(
        self,
        config: &EventLogConfig,
        platform: Platform,
        closed: CancellationToken,
    ) -> Result<TopicLog, LogError> {
        let table = Arc::new(self.table);
        let groups = Arc::new(self.groups);
        let queue = Arc::new(WriterQueue::new(config.max_pending_bytes.as_u64()));
        let telemetry = platform.telemetry.clone();
        let parts = WriterParts {
            topic: self.topic.name(),
            directory: self.directory,
            platform,
            table: table.clone(),
            queue: queue.clone(),
            groups: groups.clone(),
            acknowledge: match config.guarantee {
                Guarantee::AtMostOnce => Acknowledge::Written,
                Guarantee::AtLeastOnce | Guarantee::ExactlyOnce => Acknowledge::Durable,
            },
            segment_bytes: config.segment_bytes.as_u64(),
            limits: RetentionLimits {
                retention: config.retention,
                retention_bytes: config.retention_bytes.as_u64(),
            },
        };
        let thread = spawn_writer(parts)?;
        let thread = Mutex::new(Some(thread));
        Ok(TopicLog {
            topic: self.topic,
            table,
            groups,
            queue,
            telemetry,
            refusal: Mutex::default(),
            closed,
            thread,
        })
    }
}

/// Reports records that are missing on the disk, for each group that had not read them.
fn report_lost(topic: Topic, lost: Range<u64>, groups: &TopicGroups, platform: &Platform) {
    for (group, next) in groups.all_committed() {
        platform.telemetry.report_skipped(&SkippedRecords {
            group: &group,
            topic: topic.name(),
            partition: PARTITION,
            offsets: next.max(lost.start)..lost.end,
            reason: SkipReason::Missing,
        });
    }
}

fn spawn_writer(parts: WriterParts) -> Result<JoinHandle<()>, LogError> {
    let active = parts.table.segments().pop();
    let active = active.ok_or_else(|| LogError::Corrupt("a topic without a segment".into()))?;
    let answer_on_exit = AnswerOnExit { topic: parts.topic, queue: parts.queue.clone() };
    let name = format!("log-{}", parts.topic);
    let writer = Writer::new(parts, active)?;
    let run = move || {
        let _answer_on_exit = answer_on_exit;
        writer.run();
    };
    let spawned = std::thread::Builder::new().name(name).spawn(run);
    spawned.map_err(|error| LogError::Unavailable(format!("starting a log's writer: {error}")))
}

/// Answers every batch if the writer's thread panics.
struct AnswerOnExit {
    topic: &'static str,
    queue: Arc<WriterQueue>,
}

impl Drop for AnswerOnExit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!(topic = self.topic, "the event log's writer panicked");
        }
        self.queue.abandon(&stopped(self.topic));
    }
}

pub(super) fn stopped(topic: &str) -> LogError {
    LogError::Unavailable(format!("the writer of {topic} has stopped; restart lcd"))
}

impl TopicLog {
    /// Waits until the writer has written all batches and ended. Close the queue first.
    pub(super) fn finish(&self) {
        let thread = self.thread.lock().take();
        // A panic has been logged by the thread.
        let _ = thread.map(JoinHandle::join);
    }

    /// Fails while a file of the topic is missing.
    pub(super) fn check_files(&self) -> Result<(), LogError> {
        self.refusal.lock().clone().map_or(Ok(()), Err)
    }

    /// Reads a page of one key's records, or of all keys. Blocks on the disk.
    pub(super) fn read_page(
        &self,
        key: Option<u64>,
        offset: u64,
        max_records: usize,
    ) -> Result<Page, LogError> {
        let from = offset.max(FIRST_OFFSET);
        let bounds = self.table.bounds();
        if from < bounds.earliest {
            return Err(LogError::Expired { wanted: offset, earliest: bounds.earliest });
        }
        if from >= bounds.end {
            return Ok(Page { records: Vec::new(), next_offset: bounds.end, at_end: true });
        }
        let mut scanner = Scanner::new(self.table.clone(), from);
        let mut records = Vec::new();
        let mut scanned_bytes = 0;
        while records.len() < max_records && scanned_bytes < SCAN_BYTES {
            if !scanner.is_buffered() && !scanner.fill()? {
                break;
            }
            let Some(record) = scanner.next()? else { break };
            scanned_bytes += record.total_bytes() as u64;
            if record.offset >= from && key.is_none_or(|key| key == record.key) {
                records.push(record.to_record());
            }
        }
        let next_offset = scanner.next_offset();
        Ok(Page { records, next_offset, at_end: next_offset >= self.table.end() })
    }
}
