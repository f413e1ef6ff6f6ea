//! Records that the archiver has read and not yet committed.

use std::collections::BTreeMap;

use tracing::warn;

use crate::daemon::engines::comments::{
    ArchiveBatch, Archived, ArchivedComment, ArchivedDeletion, ArchivedRestoration, CommentKey,
    Tombstone,
};
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::repeats::RepeatFilter;
use crate::daemon::engines::eventlog::{ConsumerGroup, LogError, Polled, Position, Record, Topic};
use crate::protocol::events::{CommentModerated, CommentRestored, CommentSubmitted, Event};
use crate::protocol::{Epoch, Seq};

#[derive(Debug)]
pub(super) struct Batch {
    rows: ArchiveBatch,
    /// Each with the key of its record.
    pub(super) dead_letters: Vec<(u64, DeadLetter)>,
    /// Partitions that this member reads since the batch began, each with its first offset.
    pub(super) assigned: Vec<Position>,
    /// Partitions that another member reads now.
    pub(super) revoked: Vec<u32>,
    records: usize,
    /// By partition, how far the batch goes.
    archived: BTreeMap<u32, Archived>,
}

impl Batch {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            rows: ArchiveBatch::new(epoch),
            dead_letters: Vec::new(),
            assigned: Vec::new(),
            revoked: Vec::new(),
            records: 0,
            archived: BTreeMap::new(),
        }
    }

    /// Returns the number of records, whatever they contain.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Returns the positions to commit once the batch is stored.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.archived.values().map(|archived| archived.next).collect()
    }

    /// Returns what the store gets.
    pub(super) fn rows(&mut self) -> &ArchiveBatch {
        self.rows.archived = self.archived.values().copied().collect();
        &self.rows
    }

    /// Adds the records of a poll. Repeats of comments are counted as records and not stored.
    pub(super) async fn add(
        &mut self,
        polled: Polled,
        repeats: &mut RepeatFilter,
    ) -> Result<(), LogError> {
        repeats.follow_assignment(&polled);
        self.assigned.extend(polled.assigned);
        self.add_records(&polled.records, repeats).await?;
        // Another member commits these; storing their records again does no harm.
        for partition in &polled.revoked {
            self.archived.remove(partition);
            self.assigned.retain(|position| position.partition != *partition);
        }
        self.revoked.extend(polled.revoked);
        Ok(())
    }

    pub(super) async fn add_records(
        &mut self,
        records: &[Record],
        repeats: &mut RepeatFilter,
    ) -> Result<(), LogError> {
        for record in records {
            let Position { partition, offset } = record.position;
            let next = Position { partition, offset: offset + 1 };
            let begun = Archived { next, newest: None, rewound: false };
            self.archived.entry(partition).or_insert(begun).next = next;
            self.add_record(record, repeats).await?;
            self.records += 1;
        }
        Ok(())
    }

    async fn add_record(
        &mut self,
        record: &Record,
        repeats: &mut RepeatFilter,
    ) -> Result<(), LogError> {
        match Event::decode(&record.payload) {
            Ok(event) => {
                let is_repeat = repeats.is_repeated_event(record, &event).await?;
                match event {
                    Event::CommentSubmitted(_) if is_repeat => {}
                    Event::CommentSubmitted(event) => self.add_comment(event, record.position),
                    Event::CommentModerated(event) => {
                        self.add_decision(&event, record.position.offset);
                    }
                    Event::CommentRestored(event) => {
                        self.add_restoration(&event, record.position.offset);
                    }
                }
            }
            Err(error) => {
                warn!(position = ?record.position, %error, "skipped a record");
                let letter =
                    DeadLetter::new(Topic::CommentEvents, ConsumerGroup::Archiver, record, &error);
                self.dead_letters.push((record.key, letter));
            }
        }
        Ok(())
    }

    fn add_comment(&mut self, event: CommentSubmitted, position: Position) {
        let CommentSubmitted { comment, shadow, .. } = event;
        if let Some(archived) = self.archived.get_mut(&position.partition) {
            let stream_id = comment.stream_id;
            let comment_id = comment.comment_id;
            archived.newest = Some(CommentKey { stream_id, comment_id });
        }
        self.rows.comments.push(ArchivedComment { comment, seq: position.offset, shadow });
    }

    fn add_decision(&mut self, event: &CommentModerated, seq: Seq) {
        let Some(hidden_from) = event.decision.hides_from() else { return };
        let tombstone = Tombstone {
            stream_id: event.stream_id,
            comment_id: event.comment_id,
            reason: event.reason.clone(),
            deleted_at: event.timestamp,
            hidden_from,
        };
        let author = event.user_id;
        self.rows.deletions.push(ArchivedDeletion { tombstone, seq, author });
    }

    fn add_restoration(&mut self, event: &CommentRestored, seq: Seq) {
        let CommentRestored { stream_id, comment_id, .. } = *event;
        self.rows.restorations.push(ArchivedRestoration { stream_id, comment_id, seq });
    }
}
