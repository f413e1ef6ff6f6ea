//! The filter of a consumer, which reads whole partitions in order.

use std::time::Duration;

use ahash::AHashMap;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{RULE, Rule, Window, window_before};
use crate::daemon::engines::eventlog::{LogError, Polled, Record, SharedLog};
use crate::protocol::events::{CommentSubmitted, Event};

/// Time for which reading back is tried again while the log does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Recognizes repeats in the partitions of one consumer. The first record of a partition reads
/// back to the start of its window.
#[derive(Debug)]
pub struct RepeatFilter {
    log: SharedLog,
    rule: Rule,
    /// By partition, with the offset that is added next at the earliest.
    windows: AHashMap<u32, (u64, Window)>,
}

impl RepeatFilter {
    pub fn new(log: SharedLog) -> Self {
        Self::with_rule(log, RULE)
    }

    pub(super) fn with_rule(log: SharedLog, rule: Rule) -> Self {
        Self { log, rule, windows: AHashMap::new() }
    }

    /// To be called before the records of a poll: forgets the partitions that were assigned or
    /// revoked, because records may have been read elsewhere since.
    pub fn follow_assignment(&mut self, polled: &Polled) {
        let assigned = polled.assigned.iter().map(|position| position.partition);
        for partition in assigned.chain(polled.revoked.iter().copied()) {
            self.windows.remove(&partition);
        }
    }

    /// Returns whether a record is a repeat of an earlier one. Every record of the partition must
    /// be given, in order. A record that is read again reads back again.
    ///
    /// # Errors
    /// The log cannot be read back. Nothing was added: the record may be given again.
    pub async fn is_repeat(
        &mut self,
        record: &Record,
        comment: Option<&CommentSubmitted>,
    ) -> Result<bool, LogError> {
        let partition = record.position.partition;
        let offset = record.position.offset;
        if self.windows.get(&partition).is_none_or(|(next, _)| offset < *next) {
            let window = self.read_back(partition, offset).await?;
            self.windows.insert(partition, (offset, window));
        }
        let Some((next, window)) = self.windows.get_mut(&partition) else { return Ok(false) };
        *next = offset + 1;
        Ok(window.add(offset, record.timestamp_ms, comment))
    }

    /// Like [`Self::is_repeat`] for a decoded event.
    pub async fn is_repeated_event(
        &mut self,
        record: &Record,
        event: &Event,
    ) -> Result<bool, LogError> {
        let comment = match event {
            Event::CommentSubmitted(comment) => Some(comment),
            Event::CommentModerated(_) | Event::CommentRestored(_) => None,
        };
        self.is_repeat(record, comment).await
    }

    async fn read_back(&self, partition: u32, offset: u64) -> Result<Window, LogError> {
        let started = Instant::now();
        loop {
            match window_before(&self.log, self.rule, partition, offset).await {
                Err(LogError::Unavailable(error)) if started.elapsed() < PATIENCE => {
                    warn!(partition, offset, error, "earlier comments unknown; reading again");
                    sleep(RETRY_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}
