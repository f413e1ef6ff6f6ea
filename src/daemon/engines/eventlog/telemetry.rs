//! Tells operators what happens to the records of the log: records that a consumer never read, and
//! a log that was replaced.
//!
//! In: engines report what they find. Out: a problem in `lc status`, one log line per change, and
//! the counter `lcd_records_skipped`. Always holds: no consumer passes over records without a call
//! here. Bounded: one entry per consumer group.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::daemon::base::metrics::{ByReason, Reason};
use crate::daemon::base::problems::Problems;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::telemetry::{QueueReading, StageMeter};
use crate::daemon::engines::eventlog::{LogError, NewRecord};
use crate::protocol::admin::{ProblemCode, StageName};
use crate::protocol::quantity::counted;
use crate::protocol::{Epoch, NodeId};

/// Skipped records cannot be undone, so their problem ends by itself, long enough after it for
/// somebody to look.
const LOSS_SHOWN_FOR: Duration = Duration::from_secs(24 * 3600);
/// Partitions that the text of a problem lists.
const LISTED_PARTITIONS: usize = 4;

/// The reason why a consumer did not read records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SkipReason {
    /// Retention or an operator removed them before the group read them.
    Removed,
    /// The group has no position in a partition whose first records are gone.
    NoPosition,
    /// The group had read them, and then the partition became shorter. The same offsets are now
    /// given to other records.
    #[cfg_attr(not(feature = "engines"), expect(dead_code, reason = "only brokers truncate"))]
    Truncated,
    /// They were on the disk, and are not any more, or a repair left them out.
    Missing,
    /// They were read, but their streams have moved to other partitions since, because partitions
    /// were added.
    Moved,
}

/// Records that a group did not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkippedRecords<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) offsets: Range<u64>,
    pub(crate) reason: SkipReason,
}

/// The reporter of a node's log. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LogTelemetry {
    problems: Problems,
    records_skipped: ByReason,
    losses: Arc<Mutex<Losses>>,
    appends: Arc<StageMeter>,
    node: Arc<OnceLock<NodeId>>,
}

/// The size of an append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendSize {
    records: u64,
    /// Of the payloads.
    bytes: u64,
}

impl AppendSize {
    pub(crate) fn of(batch: &[NewRecord]) -> Self {
        let bytes = batch.iter().map(|new| new.payload.len() as u64).sum();
        Self { records: batch.len() as u64, bytes }
    }
}

#[derive(Debug, Default)]
struct Losses {
    by_group: BTreeMap<String, GroupLosses>,
}

#[derive(Debug)]
struct GroupLosses {
    records: u64,
    /// The hull of the offsets, by topic, partition and reason.
    ranges: BTreeMap<(String, u32, SkipReason), Range<u64>>,
    last_at: Instant,
}

impl LogTelemetry {
    pub fn new(board: &StatusBoard) -> Self {
        Self {
            problems: board.problems().clone(),
            records_skipped: board.metrics().records_skipped.clone(),
            losses: Arc::default(),
            appends: board.telemetry().stage(StageName::Log),
            node: Arc::default(),
        }
    }

    /// Sets the name of this node, once.
    pub(crate) fn set_node(&self, node: NodeId) {
        let _ = self.node.set(node);
    }

    /// Returns the name of this node; `None` until it is set.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node.get().cloned()
    }

    /// Sets the bytes that may wait to become durable.
    pub(crate) fn set_max_pending_bytes(&self, bytes: u64) {
        self.appends.set_queue_max(bytes);
    }

    /// Reads the bytes that wait from the engine, for one whose bound is not on all appends
    /// together.
    pub(crate) fn read_pending_with(
        &self,
        read: impl Fn() -> Option<QueueReading> + Send + 'static,
    ) {
        self.appends.read_queue_with(read);
    }

    /// Measures an append from now until it resolves.
    pub(crate) fn measure<T: Send + 'static>(
        &self,
        AppendSize { records, bytes }: AppendSize,
        append: impl Future<Output = Result<T, LogError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, LogError>> {
        let waiting = self.appends.hold(bytes);
        let meter = self.appends.clone();
        let began = Instant::now();
        async move {
            let outcome = append.await;
            drop(waiting);
            match &outcome {
                Ok(_) => meter.pass(records, began.elapsed()),
                Err(_) => meter.refuse(records),
            }
            outcome
        }
        .boxed()
    }

    /// Returns the problems of this node.
    pub(crate) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// Reports records that a group did not and will not read. Does nothing for an empty range.
    pub(crate) fn report_skipped(&self, skipped: &SkippedRecords<'_>) {
        let records = skipped.offsets.end.saturating_sub(skipped.offsets.start);
        self.report_skipped_among(records, skipped);
    }

    /// Like [`Self::report_skipped`] for so many records among the offsets.
    pub(crate) fn report_skipped_among(&self, records: u64, skipped: &SkippedRecords<'_>) {
        let SkippedRecords { group, topic, partition, offsets, reason } = skipped;
        if offsets.is_empty() || records == 0 {
            return;
        }
        warn!(
            group,
            topic,
            partition,
            from = offsets.start,
            to = offsets.end - 1,
            records,
            ?reason,
            "a consumer passes over records"
        );
        let counter = self.records_skipped.get_or_create(&Reason { reason: (*group).to_owned() });
        counter.inc_by(records);
        let mut losses = self.losses.lock();
        let known = losses.by_group.entry((*group).to_owned()).or_insert_with(|| GroupLosses {
            records: 0,
            ranges: BTreeMap::new(),
            last_at: Instant::now(),
        });
        known.records += records;
        known.last_at = Instant::now();
        let range = known
            .ranges
            .entry(((*topic).to_owned(), *partition, *reason))
            .or_insert_with(|| offsets.clone());
        *range = range.start.min(offsets.start)..range.end.max(offsets.end);
        let text = known.describe(group);
        drop(losses);
        self.problems.raise(ProblemCode::RecordsSkipped, group, text);
    }

    /// Reports that a part of the log has been replaced, the event log itself or a topic
    /// beside that of the comments: with its new epoch if that is known, and a sentence that says
    /// how. It is shown until an operator acknowledges it.
    pub(crate) fn report_replaced(&self, part: &str, epoch: Option<Epoch>, text: &str) {
        // Brokers without topic ids: the text says what changed.
        let subject =
            epoch.map_or(format!("{part}, {text}"), |epoch| replaced_subject(part, epoch));
        let text = format!("{text}. {}", ProblemCode::LogReplaced.acknowledge_hint());
        self.problems.raise(ProblemCode::LogReplaced, &subject, text);
    }

    /// Ends the problems of losses that have been shown for a day.
    pub(crate) fn expire(&self) {
        let is_past = |at: Instant| at.elapsed() > LOSS_SHOWN_FOR;
        let mut losses = self.losses.lock();
        losses.by_group.retain(|group, known| {
            let kept = !is_past(known.last_at);
            if !kept {
                self.problems.clear(ProblemCode::RecordsSkipped, group);
            }
            kept
        });
    }
}

impl GroupLosses {
    fn describe(&self, group: &str) -> String {
        let effect = match group {
            "archiver" => "the comments among them are in no history",
            "coordinator" => "the comments among them were not sent to viewers",
            "moderator" => "the comments among them were not moderated",
            _ => "they were not processed",
        };
        let records = counted(self.records, "record");
        let mut text = format!("{group} did not read {records} of the log: ");
        for (index, ((topic, partition, reason), range)) in
            self.ranges.iter().take(LISTED_PARTITIONS).enumerate()
        {
            let separator = if index == 0 { "" } else { "; " };
            let from = range.start;
            let to = range.end - 1;
            let why = reason.describe();
            let _ = write!(
                text,
                "{separator}{topic} partition {partition} offsets {from} to {to} {why}"
            );
        }
        let more = self.ranges.len().saturating_sub(LISTED_PARTITIONS);
        if more > 0 {
            let _ = write!(text, "; and {}", counted(more as u64, "more partition"));
        }
        let next_step = self.ranges.keys().map(|(_, _, reason)| reason.next_step()).next();
        let _ = write!(text, "; {effect}. {}", next_step.unwrap_or_default());
        text
    }
}

impl SkipReason {
    fn describe(self) -> &'static str {
        match self {
            Self::Removed => "were removed before it read them",
            Self::NoPosition => "are gone, and it has no position that says whether it read them",
            Self::Truncated => {
                "were read and then lost by the servers, which give the offsets again"
            }
            Self::Missing => "are missing on the disk",
            Self::Moved => {
                "are of streams that moved to other partitions when partitions were added"
            }
        }
    }

    fn next_step(self) -> &'static str {
        match self {
            Self::Removed | Self::NoPosition => {
                "Keep the log for longer (eventlog.retention, or the topic's retention.ms), or do not \
                 stop the consumer for longer than that"
            }
            Self::Truncated => "Look for brokers that lost data or became leader out of sync",
            Self::Missing => "Restore the files of the log from a copy, if there is one",
            Self::Moved => {
                "Viewers find them in the history. Add partitions while few comments are sent"
            }
        }
    }
}

/// Returns the subject of the loss with which a part of the log got this epoch.
pub(crate) fn replaced_subject(part: &str, epoch: Epoch) -> String {
    format!("{part}, epoch {epoch}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::status::EVENT_LOG;

    fn skipped(partition: u32, offsets: Range<u64>) -> SkippedRecords<'static> {
        let group = "archiver";
        let topic = "comment_events";
        let reason = SkipReason::Removed;
        SkippedRecords { group, topic, partition, offsets, reason }
    }

    #[tokio::test(start_paused = true)]
    async fn skipped_records_are_told_counted_and_end() {
        let board = StatusBoard::default();
        let telemetry = LogTelemetry::new(&board);
        telemetry.report_skipped(&skipped(3, 7..7));
        assert_eq!(board.problems().list(), []);
        telemetry.report_skipped(&skipped(3, 7..10));
        telemetry.report_skipped(&skipped(3, 12..13));
        (4..9).for_each(|partition| telemetry.report_skipped(&skipped(partition, 1..2)));
        let [problem] = &board.problems().list()[..] else { panic!("one problem") };
        assert_eq!(
            (problem.code.as_str(), problem.subject.as_str()),
            ("records_skipped", "archiver")
        );
        for part in [
            "archiver did not read 9 records",
            "comment_events partition 3 offsets 7 to 12 were removed",
            "and 2 more partitions",
            "in no history",
            "eventlog.retention",
        ] {
            assert!(problem.text.contains(part), "{part}: {}", problem.text);
        }
        let text = board.metrics().render("");
        assert!(text.contains("lcd_records_skipped_total{reason=\"archiver\"} 9"), "{text}");
        telemetry.report_replaced(EVENT_LOG, Some(Epoch(7)), "the topic was created again");
        tokio::time::advance(LOSS_SHOWN_FOR).await;
        telemetry.expire();
        assert_eq!(board.problems().list().len(), 2);
        tokio::time::advance(Duration::from_secs(1)).await;
        telemetry.expire();
        let [problem] = &board.problems().list()[..] else { panic!("until acknowledged") };
        assert_eq!(problem.code, "log_replaced");
        assert!(problem.text.ends_with("`lc acknowledge log_replaced`"), "{}", problem.text);
    }
}
