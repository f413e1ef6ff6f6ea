//! What the archiver has read and not yet committed.

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
    /// With the keys of the records they are about.
    pub(super) dead_letters: Vec<(u64, DeadLetter)>,
    records: usize,
    /// By partition, the offset after the last record taken.
    next: BTreeMap<u32, u64>,
}

impl Batch {
    /// Records taken, whatever became of them.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// What to commit once all of it is stored.
    pub(super) fn positions(&self) -> Vec<Position> {
        let next = self.next.iter();
        next.map(|(&partition, &offset)| Position { partition, offset }).collect()
    }

    pub(super) fn add(&mut self, polled: Polled) {
        for record in &polled.records {
            self.take(record);
            self.records += 1;
            self.next.insert(record.position.partition, record.position.offset + 1);
        }
        // Another member commits those; storing what was read of them does no harm.
        for partition in polled.revoked {
            self.next.remove(&partition);
        }
    }

    fn take(&mut self, record: &Record) {
        match Event::decode(&record.payload) {
            Ok(Event::CommentSubmitted(event)) => self.take_comment(event, record.position),
            Ok(Event::CommentModerated(event)) => self.take_decision(&event),
            Err(error) => {
                warn!(position = ?record.position, %error, "passed over a record");
                let letter =
                    DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Archiver, record, &error);
                self.dead_letters.push((record.key, letter));
            }
        }
    }

    fn take_comment(&mut self, event: CommentSubmitted, position: Position) {
        let CommentSubmitted { comment, shadow, .. } = event;
        self.comments.push(ArchivedComment { comment, seq: position.offset, shadow });
    }

    fn take_decision(&mut self, event: &CommentModerated) {
        let Some(deletion) = event.deletion() else { return };
        self.tombstones.push(Tombstone {
            stream_id: event.stream_id,
            comment_id: deletion.comment_id,
            reason: deletion.reason,
            deleted_at: deletion.timestamp,
        });
    }
}
