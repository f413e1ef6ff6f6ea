//! The lag of the groups of a topic.

use std::ops::Range;

use super::PARTITION;
use super::topic::TopicLog;
use crate::daemon::engines::eventlog::Bounds;
use crate::protocol::NodeId;
use crate::protocol::admin::ConsumerLag;

/// Returns the lag of each group that has committed. `node` is the one that has the log open.
/// Reads one record for each group that is behind, and so blocks on the disk.
pub(super) fn of_topic(log: &TopicLog, now_ms: u64, node: Option<&NodeId>) -> Vec<ConsumerLag> {
    let Bounds { earliest, end } = log.table.bounds();
    let groups = log.groups.states().into_iter();
    groups
        .map(|group| {
            let next = group.committed.max(earliest);
            ConsumerLag {
                group: group.name,
                topic: log.topic.name().to_owned(),
                partition: PARTITION,
                position: group.committed,
                end,
                lag: end.saturating_sub(next),
                expired: earliest.saturating_sub(group.committed),
                oldest_ms: oldest_ms(log, next..end, now_ms),
                owner: node.filter(|_| group.is_read).cloned(),
                ..ConsumerLag::default()
            }
        })
        .collect()
}

/// Returns the age of the oldest record at these offsets, 0 if there are none.
fn oldest_ms(log: &TopicLog, unread: Range<u64>, now_ms: u64) -> Option<u64> {
    if unread.is_empty() {
        return Some(0);
    }
    // It may have been removed meanwhile.
    let page = log.read_page(None, unread.start, 1).ok()?;
    let oldest = page.records.first()?;
    Some(now_ms.saturating_sub(oldest.timestamp_ms))
}
