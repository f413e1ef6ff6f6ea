//! Reads a range of a partition page by page.

use std::ops::Range;

use futures_util::stream::{Stream, try_unfold};

use super::{LogError, Record, SharedLog, Topic};

/// Bound of the records of a page.
pub const PAGE_RECORDS: usize = 4096;

/// Consecutive records of a partition.
#[derive(Debug)]
pub struct PartitionPage {
    /// No record is missing from this offset on. It is the end of the page before, unless retention
    /// has removed records since.
    pub from: u64,
    /// Never empty.
    pub records: Vec<Record>,
    /// The offset at which the next page begins, if no record is missing.
    pub next: u64,
}

/// Returns the records of a range of offsets in order, without those that retention removes before
/// they are read.
pub fn pages(
    log: &SharedLog,
    topic: Topic,
    partition: u32,
    range: Range<u64>,
) -> impl Stream<Item = Result<PartitionPage, LogError>> + Send + '_ {
    let Range { start, end } = range;
    try_unfold((start, start), move |(mut from, mut offset)| async move {
        while offset < end {
            let max_records = PAGE_RECORDS.min((end - offset) as usize);
            match log.read_partition(topic, partition, offset, max_records).await {
                Ok(page) => {
                    let mut records = page.records;
                    // Offsets need not be consecutive, so the page may extend beyond the range.
                    records.retain(|record| record.position.offset < end);
                    offset = if page.at_end { end } else { page.next_offset };
                    if !records.is_empty() {
                        let page = PartitionPage { from, records, next: offset };
                        return Ok(Some((page, (offset, offset))));
                    }
                }
                Err(LogError::Expired { earliest, .. }) if earliest > offset => {
                    from = earliest;
                    offset = earliest;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::daemon::engines::eventlog::conformance;
    use crate::daemon::testing::event_log::InMemoryLog;

    const TOPIC: Topic = Topic::CommentEvents;

    async fn offsets(log: &SharedLog, range: Range<u64>) -> Vec<Vec<u64>> {
        let pages: Vec<PartitionPage> = pages(log, TOPIC, 0, range).try_collect().await.unwrap();
        let of_page = |page: &PartitionPage| -> Vec<u64> {
            let offsets: Vec<_> = page.records.iter().map(|at| at.position.offset).collect();
            assert!(page.from <= offsets[0]);
            offsets
        };
        pages.iter().map(of_page).collect()
    }

    #[tokio::test]
    async fn range_is_read_completely() {
        let log: SharedLog = Arc::new(InMemoryLog::new());
        let count = PAGE_RECORDS as u64 + 100;
        log.append(TOPIC, conformance::numbered(1, 0, count as usize)).await.unwrap();
        assert_eq!(offsets(&log, 5..5).await, Vec::<Vec<u64>>::new());
        assert_eq!(offsets(&log, 3..7).await, [vec![3, 4, 5, 6]]);
        let all = offsets(&log, 1..count + 50).await;
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [PAGE_RECORDS, 100]);
        assert_eq!(all.concat(), (1..=count).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn expired_records_are_left_out() {
        let log: SharedLog = Arc::new(InMemoryLog::shaped(1, 6));
        log.append(TOPIC, conformance::numbered(1, 0, 10)).await.unwrap();
        assert!(matches!(log.read_partition(TOPIC, 0, 1, 1).await, Err(LogError::Expired { .. })));
        assert_eq!(offsets(&log, 1..9).await, [vec![6, 7, 8]]);
        let first = pin!(pages(&log, TOPIC, 0, 1..9)).try_next().await.unwrap().unwrap();
        assert_eq!(first.from, 6, "records before it are missing");
        let first = pin!(pages(&log, TOPIC, 0, 7..9)).try_next().await.unwrap().unwrap();
        assert_eq!(first.from, 7);
    }
}
