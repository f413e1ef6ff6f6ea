//! Reads the comment topic of the log backwards.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::pin::pin;

use futures_util::TryStreamExt as _;

use super::Control;
use super::comments::{CLOCK_SKEW_MS, WINDOW};
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Record, Topic};
use crate::protocol::StreamId;

/// The records that a search backwards covers.
#[derive(Debug)]
pub(super) struct SearchRange {
    /// Only the partition of this stream.
    pub(super) stream_id: Option<StreamId>,
    /// Records from this time on, in milliseconds since the Unix epoch.
    pub(super) since_ms: u64,
    /// The most steps of [`WINDOW`] offsets, over all partitions.
    pub(super) max_windows: usize,
}

/// Nothing is older than this: the first offset of a log is 0 or 1, by its engine.
const FIRST_OFFSET: u64 = 1;

/// Called with each record, the latest of a partition first. May end the search of the partition.
type Look<'a> = dyn FnMut(&Record) -> ControlFlow<()> + Send + 'a;

impl Control {
    /// Calls `look` with the records of the range. Returns the latest time before which one of the
    /// partitions was not searched although the range asks for it, in milliseconds since the Unix
    /// epoch: the steps did not suffice, or the log has no older records.
    pub(super) async fn search_back(
        &self,
        range: &SearchRange,
        look: &mut Look<'_>,
    ) -> Result<Option<u64>, LogError> {
        let log = &self.parts.log;
        let streams = self.parts.streams.all();
        let wanted = streams.iter().map(|stream| stream.stream_id);
        let wanted = wanted.filter(|id| range.stream_id.is_none_or(|only| only == *id));
        let partitions: BTreeSet<u32> =
            wanted.map(|id| log.partition_of(Topic::CommentEvents, id.0)).collect();
        let windows_each = range.max_windows.div_ceil(partitions.len().max(1));
        let mut searched_to_ms = None;
        for partition in partitions {
            let to_ms = self.search_partition(range, partition, windows_each, look).await?;
            searched_to_ms = searched_to_ms.max(to_ms);
        }
        Ok(searched_to_ms)
    }

    async fn search_partition(
        &self,
        range: &SearchRange,
        partition: u32,
        windows: usize,
        look: &mut Look<'_>,
    ) -> Result<Option<u64>, LogError> {
        let log = &self.parts.log;
        let bounds = log.bounds(Topic::CommentEvents, partition).await?;
        let oldest_ms = range.since_ms.saturating_sub(CLOCK_SKEW_MS);
        let mut end = bounds.end;
        let mut reached_ms = None;
        for _ in 0..windows {
            let start = end.saturating_sub(WINDOW).max(bounds.earliest);
            let mut window = Vec::new();
            let mut pages = pin!(pages(log, Topic::CommentEvents, partition, start..end));
            while let Some(page) = pages.try_next().await? {
                window.extend(page.records);
            }
            if let Some(first) = window.first() {
                reached_ms = Some(first.timestamp_ms);
            }
            if window.iter().rev().try_for_each(&mut *look).is_break() {
                return Ok(None);
            }
            if reached_ms.is_some_and(|at| at < oldest_ms) || start <= FIRST_OFFSET {
                return Ok(None);
            }
            if start == bounds.earliest {
                break;
            }
            end = start;
        }
        Ok(reached_ms.filter(|at| *at > range.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{STARTED_MS, World};
    use crate::protocol::UserId;

    #[tokio::test]
    async fn a_search_ends_when_it_has_what_it_wants() {
        let world = World::new().await;
        (0..2 * WINDOW).for_each(|number| drop(world.comment(number, "hi")));
        let range =
            SearchRange { stream_id: Some(StreamId(1)), since_ms: STARTED_MS, max_windows: 9 };
        for (wanted, seen) in [(5, 5), (WINDOW + 5, WINDOW + 5), (u64::MAX, 2 * WINDOW)] {
            let mut looks = 0;
            let mut look = |_: &Record| {
                looks += 1;
                if looks == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            world.control.search_back(&range, &mut look).await.unwrap();
            assert_eq!(looks, seen);
        }
        let wrote = async |user, stream| {
            let stream_id = StreamId(stream);
            world.control.has_written_on(stream_id, UserId(user)).await.unwrap()
        };
        assert!(wrote(42, 1).await && !wrote(7, 1).await && !wrote(42, 2).await);
    }
}
