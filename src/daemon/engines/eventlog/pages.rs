//! A range of a partition, page by page.

use std::ops::Range;

use futures_util::stream::{Stream, try_unfold};

use super::{LogError, Record, SharedLog, Topic};

/// Records of a page, at most.
pub const PAGE_RECORDS: usize = 4096;

/// Some records one after another.
#[derive(Debug)]
pub struct PartitionPage {
    /// From here on none is missing: where the stretch before ended, unless retention has taken what
    /// came after it.
    pub from: u64,
    /// Never empty.
    pub records: Vec<Record>,
    /// Where the stretch after it begins, if nothing is missing.
    pub next: u64,
}

/// The records of a range of offsets in order. What retention has taken, before or while it is read, is
/// left out.
pub fn pages(
    log: &SharedLog,
    topic: Topic,
    partition: u32,
    range: Range<u64>,
) -> impl Stream<Item = Result<PartitionPage, LogError>> + Send + '_ {
    let (start, end) = (range.start, range.end);
    try_unfold((start, start), move |(mut from, mut offset)| async move {
        while offset < end {
            let most = PAGE_RECORDS.min((end - offset) as usize);
            match log.read_partition(topic, partition, offset, most).await {
                Ok(page) => {
                    let mut records = page.records;
                    // Offsets need not be consecutive: as many records may reach further.
                    records.retain(|record| record.position.offset < end);
                    offset = if page.at_end { end } else { page.next_offset };
                    if !records.is_empty() {
                        let page = PartitionPage { from, records, next: offset };
                        return Ok(Some((page, (offset, offset))));
                    }
                }
                Err(LogError::Expired { earliest, .. }) if earliest > offset => {
                    (from, offset) = (earliest, earliest);
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
    async fn a_range_comes_whole_and_nothing_beside_it() {
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
    async fn what_retention_took_is_left_out() {
        let log: SharedLog = Arc::new(InMemoryLog::shaped(1, 6));
        log.append(TOPIC, conformance::numbered(1, 0, 10)).await.unwrap();
        assert!(matches!(log.read_partition(TOPIC, 0, 1, 1).await, Err(LogError::Expired { .. })));
        assert_eq!(offsets(&log, 1..9).await, [vec![6, 7, 8]]);
        let first = pin!(pages(&log, TOPIC, 0, 1..9)).try_next().await.unwrap().unwrap();
        assert_eq!(first.from, 6, "before it some are missing");
        let first = pin!(pages(&log, TOPIC, 0, 7..9)).try_next().await.unwrap().unwrap();
        assert_eq!(first.from, 7);
    }
}
