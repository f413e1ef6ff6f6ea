//! A member of a consumer group.
//!
//! Records written a moment ago are read from the page cache in microseconds, on the task that
//! polls. Other reads (catching up, another segment) may wait for the disk, so they run on the
//! blocking pool. Memory: one chunk (see `chunk`).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout_at};

use super::groups::Member;
use super::scanner::Scanner;
use super::topic::TopicLog;
use super::{FIRST_OFFSET, PARTITION, check_partition};
use crate::daemon::engines::eventlog::{
    CommitOutcome, EventLog, LogConsumer, LogError, NewRecord, Polled, Position, Record,
    SkipReason, SkippedRecords, StartAt, Topic, append_then_commit, run_blocking,
};
use crate::protocol::admin::ProblemCode;

#[derive(Debug)]
pub(super) struct EmbeddedConsumer {
    log: Arc<TopicLog>,
    member: Member,
    /// Offset at which the group begins if it never committed; fixed when the member joined.
    start: u64,
    starts_at_earliest: bool,
    /// The offset after the last record that was returned.
    next: Option<u64>,
    /// Set while this member reads the partition.
    scanner: Option<Scanner>,
    /// True if damage may have been told, by this member or one of the group before it.
    is_damage_told: bool,
}

impl EmbeddedConsumer {
    pub(super) fn join(log: Arc<TopicLog>, name: &str, start: StartAt) -> Result<Self, LogError> {
        let bounds = log.table.bounds();
        let starts_at_earliest = start == StartAt::Earliest;
        let start = match start {
            StartAt::Earliest => bounds.earliest,
            StartAt::Latest => bounds.end,
        };
        let member = log.groups.join(name)?;
        Ok(Self {
            log,
            member,
            start,
            starts_at_earliest,
            next: None,
            scanner: None,
            is_damage_told: true,
        })
    }

    /// Returns a scanner at the offset where the group continues.
    fn resume(&self) -> Scanner {
        let committed = self.member.committed();
        let next = committed.unwrap_or(self.start).max(FIRST_OFFSET);
        let earliest = self.log.table.bounds().earliest;
        if next < earliest {
            self.report_skipped(next..earliest, SkipReason::Removed);
        } else if committed.is_none() && self.starts_at_earliest {
            self.report_skipped(FIRST_OFFSET..earliest, SkipReason::NoPosition);
        }
        Scanner::new(self.log.table.clone(), next.max(earliest))
    }

    /// Reports offsets without a record: they were lost by a disk, or left out by a repair.
    fn report_gaps(&mut self, records: &[Record]) {
        for record in records {
            let offset = record.position.offset;
            if let Some(next) = self.next.filter(|next| *next < offset) {
                self.report_skipped(next..offset, SkipReason::Missing);
            }
            self.next = Some(offset + 1);
        }
    }

    /// Tells that the log is damaged, until this group has read it to the end: the file may be put
    /// back from a copy.
    fn tell_damage(&mut self, polled: &Result<Polled, LogError>) {
        let group = &self.member.name;
        let topic = self.log.topic.name();
        let subject = || format!("{topic}, {group}");
        let problems = self.log.telemetry.problems();
        match polled {
            Err(LogError::Corrupt(text)) => {
                let text = format!("{group} cannot read {topic}: {text}");
                problems.raise(ProblemCode::LogDamaged, &subject(), text);
                self.is_damage_told = true;
            }
            Ok(Polled { records, assigned, .. })
                if self.is_damage_told && records.is_empty() && assigned.is_empty() =>
            {
                problems.clear(ProblemCode::LogDamaged, &subject());
                self.is_damage_told = false;
            }
            _ => {}
        }
    }

    fn report_skipped(&self, offsets: Range<u64>, reason: SkipReason) {
        self.log.telemetry.report_skipped(&SkippedRecords {
            group: &self.member.name,
            topic: self.log.topic.name(),
            partition: PARTITION,
            offsets,
            reason,
        });
    }

    /// Returns a scanner at the same offset with records in memory, if there are any.
    async fn filled(&mut self, scanner: Scanner) -> Result<Scanner, LogError> {
        if scanner.is_buffered() {
            return Ok(scanner);
        }
        let fill = |mut scanner: Scanner| match scanner.fill() {
            Ok(_) => Ok(Ok(scanner)),
            Err(LogError::Expired { wanted, earliest }) => Ok(Err((wanted, earliest))),
            Err(error) => Err(error),
        };
        let filled = if scanner.is_at_tail() {
            fill(scanner)
        } else {
            run_blocking(move || fill(scanner)).await
        };
        match filled? {
            Ok(scanner) => Ok(scanner),
            Err((wanted, earliest)) => {
                self.report_skipped(wanted..earliest, SkipReason::Removed);
                self.next = Some(earliest);
                Ok(Scanner::new(self.log.table.clone(), earliest))
            }
        }
    }
}

/// Takes at most `max_records` of the records in memory.
fn take_buffered(scanner: &mut Scanner, max_records: usize) -> Result<Vec<Record>, LogError> {
    let from = scanner.next_offset();
    let mut records = Vec::new();
    while records.len() < max_records {
        match scanner.next() {
            Ok(Some(record)) if record.offset >= from => records.push(record.to_record()),
            Ok(Some(_)) => {}
            Ok(None) => break,
            // Records before the damage are delivered; the next poll fails.
            Err(_) if !records.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(records)
}

#[async_trait]
impl LogConsumer for EmbeddedConsumer {
    async fn poll(&mut self, max_records: usize, max_wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + max_wait;
        let max_records = max_records.max(1);
        let log = self.log.clone();
        let mut end = log.table.subscribe();
        let mut members = self.member.subscribe();
        loop {
            if log.closed.is_cancelled() {
                return Err(LogError::Closed);
            }
            end.mark_unchanged();
            members.mark_unchanged();
            if self.member.is_reader() {
                let polled = self.read(max_records).await;
                self.tell_damage(&polled);
                let polled = polled?;
                if !polled.records.is_empty() || !polled.assigned.is_empty() {
                    return Ok(polled);
                }
            } else if self.scanner.take().is_some() {
                return Ok(Polled { revoked: vec![PARTITION], ..Polled::default() });
            }
            let change = async {
                tokio::select! {
                    _ = end.changed() => {}
                    _ = members.changed() => {}
                    () = log.closed.cancelled() => {}
                }
            };
            if timeout_at(deadline, change).await.is_err() {
                return Ok(Polled::default());
            }
        }
    }

    async fn commit(&mut self, next: &[Position]) -> Result<(), LogError> {
        let Some(last) = next.last() else { return Ok(()) };
        for position in next {
            check_partition(position.partition)?;
        }
        let log = self.log.clone();
        let member = self.member.clone();
        let offset = last.offset;
        run_blocking(move || {
            if log.closed.is_cancelled() {
                return Err(LogError::Closed);
            }
            let end = log.table.readable_end();
            if offset > end {
                let text = format!("cannot commit offset {offset}: the partition ends at {end}");
                return Err(LogError::Unavailable(text));
            }
            member.commit(offset)
        })
        .await
    }

    async fn append_and_commit(
        &mut self,
        log: &dyn EventLog,
        outputs: &mut Vec<(Topic, Vec<NewRecord>)>,
        next: &[Position],
    ) -> Result<CommitOutcome, LogError> {
        append_then_commit(self, log, outputs, next).await
    }
}

impl EmbeddedConsumer {
    /// Reads the records available now. The consumer does not change before the last await, so a
    /// dropped poll has consumed nothing.
    async fn read(&mut self, max_records: usize) -> Result<Polled, LogError> {
        loop {
            let unread = match &self.scanner {
                Some(scanner) if scanner.is_buffered() => None,
                Some(scanner) => Some(scanner.fork()),
                None => Some(self.resume()),
            };
            let mut assigned = Vec::new();
            if let Some(unread) = unread {
                let filled = self.filled(unread).await?;
                if self.scanner.is_none() {
                    assigned.push(Position { partition: PARTITION, offset: filled.next_offset() });
                }
                self.scanner = Some(filled);
            }
            let Some(scanner) = &mut self.scanner else { return Ok(Polled::default()) };
            let had_records = scanner.is_buffered();
            match take_buffered(scanner, max_records) {
                // All of them were before the offset at which the group continues.
                Ok(records) if records.is_empty() && assigned.is_empty() && had_records => continue,
                Ok(records) => {
                    if let Some(position) = assigned.first() {
                        self.next = Some(position.offset);
                    }
                    self.report_gaps(&records);
                    return Ok(Polled { records, assigned, revoked: Vec::new() });
                }
                Err(error) => {
                    if !assigned.is_empty() {
                        // The assignment was not reported, so it is made again.
                        self.scanner = None;
                    }
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.log.groups.leave(&self.member);
    }
}
