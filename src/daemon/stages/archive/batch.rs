//! Records that the archiver has read and not yet committed.

use std::collections::BTreeMap;

use tracing::warn;

use crate::daemon::engines::comments::{ArchivedComment, Tombstone};
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::{ConsumerGroup, Polled, Position, Record, Topic};
use crate::protocol::events::{CommentModerated, CommentSubmitted, Event};

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) comments: Vec<ArchivedComment>,
    pub(super) tombstones: Vec<Tombstone>,
    /// Each with the key of its record.
    pub(super) dead_letters: Vec<(u64, DeadLetter)>,
    records: usize,
    /// By partition, the offset after the last record of the batch.
    next: BTreeMap<u32, u64>,
}

impl Batch {
    /// Returns the number of records, whatever they contain.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Returns the positions to commit once the batch is stored.
    pub(super) fn positions(&self) -> Vec<Position> {
        let next = self.next.iter();
        next.map(|(&partition, &offset)| Position { partition, offset }).collect()
    }

    pub(super) fn add(&mut self, polled: Polled) {
        for record in &polled.records {
            self.add_record(record);
            self.records += 1;
            self.next.insert(record.position.partition, record.position.offset + 1);
        }
        // Another member commits these; storing their records again does no harm.
        for partition in polled.revoked {
            self.next.remove(&partition);
        }
    }

    fn add_record(&mut self, record: &Record) {
        match Event::decode(&record.payload) {
            Ok(Event::CommentSubmitted(event)) => self.add_comment(event, record.position),
            Ok(Event::CommentModerated(event)) => self.add_decision(&event),
            Err(error) => {
                warn!(position = ?record.position, %error, "skipped a record");
                let letter =
                    DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Archiver, record, &error);
                self.dead_letters.push((record.key, letter));
            }
        }
    }

    fn add_comment(&mut self, event: CommentSubmitted, position: Position) {
        let CommentSubmitted { comment, shadow, .. } = event;
        self.comments.push(ArchivedComment { comment, seq: position.offset, shadow });
    }

    fn add_decision(&mut self, event: &CommentModerated) {
        let Some(deletion) = event.deletion() else { return };
        self.tombstones.push(Tombstone {
            stream_id: event.stream_id,
            comment_id: deletion.comment_id,
            reason: deletion.reason,
            deleted_at: deletion.timestamp,
        });
    }
}
