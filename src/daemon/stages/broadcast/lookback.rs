//! Reads the comments just before the offset at which reading of a partition begins. A coordinator
//! that starts or takes a partition over must know which comments were shown already, because a
//! viewer may send one of them again.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Position, Record, SharedLog, Topic};
use crate::protocol::events::{CommentSubmitted, Event};

/// Age, relative to the newest record, up to which records are read. Longer than a node waits for
/// the log and a viewer waits for its acknowledgement.
const MAX_AGE: Duration = Duration::from_secs(30);
/// Records per step back; at least one step is read per partition.
const STEP_RECORDS: u64 = 4096;
/// Bound of the records of all partitions, besides one step each. Reading them takes a fraction of
/// a second, during which nothing is shown. At 50 000 comments/s it covers the last 1.3 s.
const MAX_RECORDS: u64 = 1 << 16;
/// Partitions read at the same time.
const CONCURRENT: usize = 4;

/// Returns the submitted comments just before each position, in order.
pub(super) async fn comments_before(
    log: &SharedLog,
    positions: &[Position],
) -> Result<Vec<(CommentSubmitted, Position)>, LogError> {
    let max_records = (MAX_RECORDS / positions.len().max(1) as u64).max(STEP_RECORDS);
    let reads: Vec<_> = positions
        .iter()
        .map(|&position| records_before(log, position, max_records).boxed())
        .collect();
    let records: Vec<_> = stream::iter(reads).buffered(CONCURRENT).try_collect().await?;
    let comment = |record: Record| match Event::decode(&record.payload) {
        Ok(Event::CommentSubmitted(event)) => Some((event, record.position)),
        _ => None,
    };
    Ok(records.into_iter().flatten().filter_map(comment).collect())
}

async fn records_before(
    log: &SharedLog,
    position: Position,
    max_records: u64,
) -> Result<Vec<Record>, LogError> {
    let mut steps: Vec<Vec<Record>> = Vec::new();
    let mut before = position.offset;
    let mut newest_ms = None;
    while before > 1 && position.offset - before < max_records {
        let from = before.saturating_sub(STEP_RECORDS).max(1);
        let step = pages(log, Topic::CommentEvents, position.partition, from..before);
        let step: Vec<Record> = step.map_ok(|page| page.records).try_concat().await?;
        let (Some(oldest), Some(newest)) = (step.first(), step.last()) else { break };
        let age_ms =
            newest_ms.get_or_insert(newest.timestamp_ms).saturating_sub(oldest.timestamp_ms);
        steps.push(step);
        if u128::from(age_ms) > MAX_AGE.as_millis() {
            break;
        }
        before = from;
    }
    Ok(steps.into_iter().rev().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::engines::eventlog::{EventLog as _, NewRecord};
    use crate::daemon::stages::broadcast::tests::{STREAM, record, submitted};
    use crate::daemon::testing::event_log::InMemoryLog;
    use crate::protocol::Role;

    fn comment(number: u64, timestamp_ms: u64) -> NewRecord {
        let event = submitted(STREAM, number, Role::Viewer, false);
        NewRecord { timestamp_ms, ..record(&Event::CommentSubmitted(event)) }
    }

    /// Returns the offsets read before the end of a log whose records are `apart_ms` apart.
    async fn offsets_read(count: u64, apart_ms: u64) -> Vec<u64> {
        let log = InMemoryLog::new();
        let records = (0..count).map(|number| comment(number, number * apart_ms)).collect();
        log.append(Topic::CommentEvents, records).await.unwrap();
        let end = Position { partition: 0, offset: count + 1 };
        let log: SharedLog = Arc::new(log);
        let comments = comments_before(&log, &[end]).await.unwrap();
        comments.iter().map(|(_, position)| position.offset).collect()
    }

    #[tokio::test]
    async fn reads_one_step_or_recent_records_up_to_a_bound() {
        assert_eq!(offsets_read(0, 1).await, Vec::<u64>::new());
        assert_eq!(offsets_read(10, 60_000).await, (1..=10).collect::<Vec<_>>());
        let step = STEP_RECORDS;
        let last = 5 * step;
        assert_eq!(offsets_read(last, 60_000).await, (last - step + 1..=last).collect::<Vec<_>>());
        // 4 ms apart: two steps reach 33 s back.
        assert_eq!(offsets_read(last, 4).await, (last - 2 * step + 1..=last).collect::<Vec<_>>());
        let many = MAX_RECORDS + 3 * step;
        assert_eq!(offsets_read(many, 0).await, (3 * step + 1..=many).collect::<Vec<_>>());
    }
}
