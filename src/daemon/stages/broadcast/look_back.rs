//! What stands just before the place where reading begins: who takes a partition over, or starts
//! anew, must know which comments viewers were shown already, as one of them may be sent again.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Position, Record, SharedLog, Topic};
use crate::protocol::events::{CommentSubmitted, Event};

/// How long before the last of them a record may have been appended: longer than a node waits for the
/// log and a viewer for its acknowledgement.
const REPEATED_WITHIN: Duration = Duration::from_secs(30);
/// Records of one step back, and of a partition at least.
const STEP_RECORDS: u64 = 4096;
/// Records read of all partitions together, a step of each always: a fraction of a second, in which
/// nothing is shown. At 50 000 comments a second those of the last 1.3.
const MAX_RECORDS: u64 = 1 << 16;
/// Partitions read at the same time.
const CONCURRENT: usize = 4;

/// The submitted comments just before each position, in order.
pub(super) async fn comments_before(
    log: &SharedLog,
    positions: &[Position],
) -> Result<Vec<(CommentSubmitted, Position)>, LogError> {
    let most = (MAX_RECORDS / positions.len().max(1) as u64).max(STEP_RECORDS);
    let reads: Vec<_> =
        positions.iter().map(|&position| records_before(log, position, most).boxed()).collect();
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
    most: u64,
) -> Result<Vec<Record>, LogError> {
    let mut steps: Vec<Vec<Record>> = Vec::new();
    let mut before = position.offset;
    let mut newest_ms = None;
    while before > 1 && position.offset - before < most {
        let from = before.saturating_sub(STEP_RECORDS).max(1);
        let step = pages(log, Topic::CommentEvents, position.partition, from..before);
        let step: Vec<Record> = step.map_ok(|page| page.records).try_concat().await?;
        let (Some(oldest), Some(newest)) = (step.first(), step.last()) else { break };
        let age_ms =
            newest_ms.get_or_insert(newest.timestamp_ms).saturating_sub(oldest.timestamp_ms);
        steps.push(step);
        if u128::from(age_ms) > REPEATED_WITHIN.as_millis() {
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

    /// The offsets that are looked at before the end of a log of records this many ms apart.
    async fn looked_at(count: u64, apart_ms: u64) -> Vec<u64> {
        let log = InMemoryLog::new();
        let records = (0..count).map(|number| comment(number, number * apart_ms)).collect();
        log.append(Topic::CommentEvents, records).await.unwrap();
        let end = Position { partition: 0, offset: count + 1 };
        let log: SharedLog = Arc::new(log);
        let comments = comments_before(&log, &[end]).await.unwrap();
        comments.iter().map(|(_, position)| position.offset).collect()
    }

    #[tokio::test]
    async fn looks_at_a_step_or_what_was_appended_lately_up_to_a_bound() {
        assert_eq!(looked_at(0, 1).await, Vec::<u64>::new());
        assert_eq!(looked_at(10, 60_000).await, (1..=10).collect::<Vec<_>>());
        let (last, step) = (STEP_RECORDS * 5, STEP_RECORDS);
        assert_eq!(looked_at(last, 60_000).await, (last - step + 1..=last).collect::<Vec<_>>());
        // 4 ms apart: two steps reach 33 s back.
        assert_eq!(looked_at(last, 4).await, (last - 2 * step + 1..=last).collect::<Vec<_>>());
        let many = MAX_RECORDS + 3 * step;
        assert_eq!(looked_at(many, 0).await, (3 * step + 1..=many).collect::<Vec<_>>());
    }
}
