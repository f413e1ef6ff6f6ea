//! Dead letters: records that a consumer could not process, in a topic of the log.
//!
//! In: requests of operators. Out: a list of them, and records that are appended again. Always
//! holds: what was done about a dead letter is in the audit log, and only there, so every node sees
//! the same. A record is requeued through the pending events of the metadata store, as every change
//! that takes effect in the log, and at most once. Consumers read it as new, those too that had
//! processed it, unless it is still in their window of repeats; so a comment that was deleted
//! meanwhile is not requeued.
//!
//! Bounded: the newest [`MAX_LETTERS`] dead letters are looked at, and the newest [`MAX_ENTRIES`]
//! audit entries about them. What is older counts as dealt with.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::pin::pin;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use super::events::pending;
use super::{Actor, Control, ControlError, validate};
use crate::daemon::engines::eventlog::dead_letter::DeadLetter;
use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, Record, Topic};
use crate::daemon::engines::metadata::NewAudit;
use crate::protocol::StreamId;
use crate::protocol::admin::{
    AuditEntry, DeadLetterFailure, DeadLetterItem, DeadLetterState, DeadLettersOutcome,
    DeadLettersRequest, MAX_DEAD_LETTERS, audit_action,
};
use crate::protocol::events::{CommentModerated, CommentRestored, Event};
use crate::protocol::printable::printable;

/// The target of the audit entries.
const TARGET: &str = "dead letters";
/// Dead letters that are looked at, from the end of the topic.
const MAX_LETTERS: usize = 1_000;
/// A letter has at most two entries: one that acknowledges it, and one that requeues it. The newest
/// ones are about letters that are looked at now, or about as many older ones that were then. With
/// fewer entries a letter that was requeued would be open again, and be requeued again.
const MAX_ENTRIES: usize = 4 * MAX_LETTERS;

/// The place of the record that a dead letter is about. Several groups may have failed on it.
type Origin = (String, u32, u64);

/// A dead letter and what it takes to requeue it.
struct Letter {
    item: DeadLetterItem,
    /// Absent if this version cannot read the record.
    event: Option<Event>,
}

impl Letter {
    fn origin(&self) -> Origin {
        (self.item.topic.clone(), self.item.partition, self.item.offset)
    }
}

/// The number of dead letters that nobody has dealt with, and what it was counted from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenDeadLetters {
    pub open: u64,
    /// Of each partition.
    offsets: Vec<Range<u64>>,
    latest_entry: Option<u64>,
}

/// The decisions of operators, read from the audit log.
#[derive(Debug, Default)]
struct Dealt {
    requeued: BTreeMap<Origin, String>,
    acknowledged: BTreeMap<String, String>,
}

impl Dealt {
    /// Reads entries, newest first. Those about an earlier log are about other records.
    fn of(entries: &[AuditEntry], epoch: &Value) -> Self {
        let mut dealt = Self::default();
        for entry in entries.iter().rev().filter(|entry| entry.detail["epoch"] == *epoch) {
            let detail = &entry.detail;
            match entry.action.as_str() {
                audit_action::REQUEUE_DEAD_LETTER => {
                    if let Some(origin) = origin_in(detail) {
                        dealt.requeued.insert(origin, entry.actor.clone());
                    }
                }
                audit_action::ACK_DEAD_LETTERS => {
                    let ids = detail["ids"].as_array().into_iter().flatten();
                    for id in ids.filter_map(Value::as_str) {
                        dealt.acknowledged.insert(id.to_owned(), entry.actor.clone());
                    }
                }
                _ => {}
            }
        }
        dealt
    }

    fn mark(&self, letter: &mut Letter) {
        let requeued = self.requeued.get(&letter.origin());
        let acknowledged = self.acknowledged.get(&letter.item.id);
        let (state, by) = match (requeued, acknowledged) {
            (Some(by), _) => (DeadLetterState::Requeued, by),
            (None, Some(by)) => (DeadLetterState::Acknowledged, by),
            (None, None) => return,
        };
        letter.item.state = state;
        letter.item.by = Some(by.clone());
    }
}

fn origin_in(detail: &Value) -> Option<Origin> {
    let topic = detail["topic"].as_str()?.to_owned();
    let partition = u32::try_from(detail["partition"].as_u64()?).ok()?;
    Some((topic, partition, detail["offset"].as_u64()?))
}

impl Control {
    /// Returns dead letters, newest first, at most `limit`, of one stream if one is given.
    pub async fn dead_letters(
        &self,
        stream_id: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<DeadLetterItem>, ControlError> {
        let letters = self.letters().await?;
        let items = letters.into_iter().rev().map(|letter| letter.item);
        let wanted = items.filter(|item| stream_id.is_none_or(|wanted| item.stream_id == wanted));
        Ok(wanted.take(limit).collect())
    }

    /// Returns the number of dead letters that nobody has dealt with.
    pub async fn open_dead_letters(&self) -> Result<u64, ControlError> {
        let letters = self.letters().await?;
        Ok(letters.iter().filter(|letter| letter.item.state == DeadLetterState::Open).count()
            as u64)
    }

    /// Counts the open ones again if dead letters came or went, or if one was dealt with, since an
    /// earlier count. Otherwise it costs little, however many there are.
    pub async fn recount_dead_letters(
        &self,
        known: &OpenDeadLetters,
    ) -> Result<OpenDeadLetters, ControlError> {
        let log = &self.parts.log;
        let mut offsets = Vec::new();
        for partition in 0..log.partitions(Topic::DeadLetters) {
            let bounds = log.bounds(Topic::DeadLetters, partition).await?;
            offsets.push(bounds.earliest..bounds.end);
        }
        if offsets.iter().all(Range::is_empty) {
            return Ok(OpenDeadLetters { offsets, ..OpenDeadLetters::default() });
        }
        let are_same = offsets == known.offsets;
        // One that was dealt with is never open again.
        if are_same && known.open == 0 {
            return Ok(known.clone());
        }
        // Before they are counted: what is done meanwhile changes the next look.
        let entries = self.parts.metadata.audit_about(TARGET, 1).await?;
        let latest_entry = entries.first().map(|entry| entry.audit_id);
        if are_same && latest_entry == known.latest_entry {
            return Ok(known.clone());
        }
        let open = self.open_dead_letters().await?;
        Ok(OpenDeadLetters { open, offsets, latest_entry })
    }

    /// Appends the records of dead letters again, so that every consumer reads them.
    pub async fn requeue_dead_letters(
        &self,
        actor: &Actor,
        request: &DeadLettersRequest,
    ) -> Result<DeadLettersOutcome, ControlError> {
        // Those that cannot be requeued stay open. Before the others, they would fill each request.
        let Chosen { letters, left } =
            self.chosen(request, |letter| letter.item.not_requeueable.is_some()).await?;
        let mut outcome = DeadLettersOutcome { left, ..DeadLettersOutcome::default() };
        let mut done = BTreeSet::new();
        for letter in letters {
            let id = letter.item.id.clone();
            let origin = letter.origin();
            if letter.item.state == DeadLetterState::Requeued || done.contains(&origin) {
                outcome.done.push(id);
                continue;
            }
            match (letter.event, letter.item.not_requeueable) {
                (Some(event), None) => {
                    if self.is_deleted(&event).await? {
                        let why = "the comment was deleted meanwhile".to_owned();
                        outcome.failed.push(DeadLetterFailure { id, why });
                        continue;
                    }
                    let audit_id = self.requeue(actor, &id, &origin, event, request).await?;
                    outcome.audit_ids.push(audit_id);
                    outcome.done.push(id);
                    done.insert(origin);
                }
                (_, why) => {
                    let why = why.unwrap_or_default();
                    outcome.failed.push(DeadLetterFailure { id, why });
                }
            }
        }
        Ok(outcome)
    }

    /// Returns whether the event is a comment that viewers must not see again.
    async fn is_deleted(&self, event: &Event) -> Result<bool, ControlError> {
        let Event::CommentSubmitted(submitted) = event else { return Ok(false) };
        let stored = self.parts.comments.get(submitted.comment.comment_id).await?;
        Ok(stored.is_some_and(|stored| stored.deleted))
    }

    async fn requeue(
        &self,
        actor: &Actor,
        id: &str,
        (topic, partition, offset): &Origin,
        event: Event,
        request: &DeadLettersRequest,
    ) -> Result<u64, ControlError> {
        let detail = json!({
            "id": id, "topic": topic, "partition": partition, "offset": offset,
            "epoch": self.epoch_value(), "note": request.note,
        });
        let audit = self.dead_letter_entry(actor, audit_action::REQUEUE_DEAD_LETTER, detail);
        let audit_id = self.parts.metadata.audit_with_event(pending(&event), None, audit).await?;
        match self.publish(audit_id, event).await {
            // Some node appends it later: it is dealt with.
            Ok(()) | Err(ControlError::Deferred { .. }) => Ok(audit_id),
            Err(error) => Err(error),
        }
    }

    /// Records that operators know of dead letters, which ends their alert.
    pub async fn acknowledge_dead_letters(
        &self,
        actor: &Actor,
        request: &DeadLettersRequest,
    ) -> Result<DeadLettersOutcome, ControlError> {
        let Chosen { letters, left } = self.chosen(request, |_| false).await?;
        let mut outcome = DeadLettersOutcome { left, ..DeadLettersOutcome::default() };
        let is_open = |letter: &&Letter| letter.item.state == DeadLetterState::Open;
        let ids: Vec<_> =
            letters.iter().filter(is_open).map(|letter| letter.item.id.clone()).collect();
        if !ids.is_empty() {
            let epoch = self.epoch_value();
            let detail = json!({ "ids": ids, "epoch": epoch, "note": request.note });
            let audit = self.dead_letter_entry(actor, audit_action::ACK_DEAD_LETTERS, detail);
            outcome.audit_ids.push(self.parts.metadata.audit(audit).await?);
        }
        outcome.done = letters.into_iter().map(|letter| letter.item.id).collect();
        Ok(outcome)
    }

    fn dead_letter_entry(&self, actor: &Actor, action: &'static str, detail: Value) -> NewAudit {
        NewAudit {
            at: self.parts.clock.now_ms(),
            actor: actor.name().to_owned(),
            action,
            target: TARGET.to_owned(),
            detail,
            points: None,
        }
    }

    fn epoch_value(&self) -> Value {
        Value::from(self.parts.log.epoch().0)
    }

    /// Returns the dead letters that a request names, the oldest first. Of all open ones, those
    /// that `is_last` come behind the others.
    async fn chosen(
        &self,
        request: &DeadLettersRequest,
        is_last: impl Fn(&Letter) -> bool,
    ) -> Result<Chosen, ControlError> {
        validate::operator_note(request.note.as_deref())?;
        let problem = match (request.all, request.ids.len()) {
            (true, 0) => None,
            (true, _) => Some("must be empty with `all`".to_owned()),
            (false, 0) => Some("must name a dead letter, or `all` be true".to_owned()),
            (false, 1..=MAX_DEAD_LETTERS) => None,
            (false, _) => Some(format!("has more than {MAX_DEAD_LETTERS} dead letters")),
        };
        if let Some(problem) = problem {
            return Err(ControlError::Invalid { field: "ids", problem });
        }
        let mut letters = self.letters().await?;
        if request.all {
            letters.retain(|letter| letter.item.state == DeadLetterState::Open);
            letters.sort_by_key(is_last);
            let left = letters.len().saturating_sub(MAX_DEAD_LETTERS) as u64;
            letters.truncate(MAX_DEAD_LETTERS);
            return Ok(Chosen { letters, left });
        }
        let is_known = |id: &String| letters.iter().any(|letter| letter.item.id == *id);
        if let Some(unknown) = request.ids.iter().find(|id| !is_known(id)) {
            let shown: String = unknown.chars().take(40).collect();
            return Err(ControlError::UnknownDeadLetter(printable(&shown)));
        }
        letters.retain(|letter| request.ids.contains(&letter.item.id));
        Ok(Chosen { letters, left: 0 })
    }

    /// Returns the newest dead letters, the oldest of them first, with what was done about each.
    async fn letters(&self) -> Result<Vec<Letter>, ControlError> {
        let log = &self.parts.log;
        let mut letters = Vec::new();
        for partition in 0..log.partitions(Topic::DeadLetters) {
            let bounds = log.bounds(Topic::DeadLetters, partition).await?;
            let from = bounds.end.saturating_sub(MAX_LETTERS as u64).max(bounds.earliest);
            letters.extend(self.letters_of(partition, from..bounds.end).await?);
        }
        if letters.is_empty() {
            return Ok(letters);
        }
        letters.sort_by_key(|letter: &Letter| letter.item.at);
        let older = letters.len().saturating_sub(MAX_LETTERS);
        letters.drain(..older);
        let entries = self.parts.metadata.audit_about(TARGET, MAX_ENTRIES).await?;
        let dealt = Dealt::of(&entries, &self.epoch_value());
        letters.iter_mut().for_each(|letter| dealt.mark(letter));
        Ok(letters)
    }

    async fn letters_of(&self, partition: u32, range: Range<u64>) -> Result<Vec<Letter>, LogError> {
        let mut letters = Vec::new();
        let mut pages = pin!(pages(&self.parts.log, Topic::DeadLetters, partition, range));
        while let Some(page) = pages.try_next().await? {
            letters.extend(page.records.iter().filter_map(letter_in));
        }
        Ok(letters)
    }
}

/// The dead letters of a request.
struct Chosen {
    /// The oldest first.
    letters: Vec<Letter>,
    /// Open ones beyond the bound of a request.
    left: u64,
}

/// Reads a record of the topic of dead letters. `None` if it is none.
fn letter_in(record: &Record) -> Option<Letter> {
    let letter = DeadLetter::decode(&record.payload).ok()?;
    let decoded = Event::decode(&letter.payload);
    let not_requeueable = match &decoded {
        _ if letter.is_cut() => Some("only the beginning of the record is kept".to_owned()),
        _ if letter.topic != Topic::CommentEvents.name() => {
            Some(format!("records of {} are not requeued", letter.topic))
        }
        Ok(_) => None,
        Err(error) => Some(format!("this version of lcd cannot read it either: {error}")),
    };
    let event = decoded.ok();
    let mut comment_id = None;
    let mut message = None;
    match &event {
        Some(Event::CommentSubmitted(submitted)) => {
            comment_id = Some(submitted.comment.comment_id);
            message = Some(submitted.comment.message.to_string());
        }
        Some(
            Event::CommentModerated(CommentModerated { comment_id: of, .. })
            | Event::CommentRestored(CommentRestored { comment_id: of, .. }),
        ) => {
            comment_id = Some(*of);
        }
        None => {}
    }
    let item = DeadLetterItem {
        id: format!("{}-{}", record.position.partition, record.position.offset),
        at: record.timestamp_ms,
        state: DeadLetterState::Open,
        by: None,
        group: letter.group,
        reason: letter.reason,
        topic: letter.topic,
        partition: letter.partition,
        offset: letter.offset,
        stream_id: StreamId(record.key),
        bytes: letter.payload.len() as u64,
        not_requeueable,
        comment_id,
        message,
    };
    Some(Letter { item, event })
}
