//! Rows of the metadata tables, the same in SQLite and PostgreSQL.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::review::{DecidedReview, ReviewVerdict, StoredReview};
use super::room_polls::{PollVotes, add_up};
use super::{KnownUser, PendingEvent, UserRecord};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::backends::sql::{Columns, integer};
use crate::policy::reputation::{CountedCause, Reputation};
use crate::protocol::admin::{
    AuditEntry, Grant, ReviewEvidence, ReviewItem, Sanction, SavedView, Shadow, ViewSettings,
};
use crate::protocol::kept_message::KEPT_FOR_MS;
use crate::protocol::room::{RoomSettings, RoomTerm};
use crate::protocol::stream::Stream;
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{CommentId, KeptMessage, PinnedComment, RoomPoll, StreamId, UserId, json};

pub(super) fn stream(row: &impl Columns) -> Result<Stream, StoreError> {
    Ok(Stream {
        stream_id: StreamId(row.natural("stream_id")?),
        title: row.text("title")?.to_owned(),
        description: row.text("description")?.to_owned(),
        state: enum_from_text(row.text("state")?)?,
        anonymous: row.flag("anonymous")?,
        moderation: enum_from_text(row.text("moderation")?)?,
        created_at: row.natural("created_at")?,
        starts_at: row.natural_or_null("starts_at")?,
        started_at: row.natural_or_null("started_at")?,
        ended_at: row.natural_or_null("ended_at")?,
        room: row.text_or_null("room")?.map_or(Ok(RoomSettings::default()), room_from_text)?,
        pinned: row.text_or_null("pinned")?.map(pinned_from_text).transpose()?,
        poll: row.text_or_null("poll")?.map(poll_from_text).transpose()?.map(Arc::new),
    })
}

fn room_from_text(text: &str) -> Result<RoomSettings, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("settings of a room: {error}")))
}

/// Returns the text of the settings; `None` if nothing is set.
pub(super) fn room_text(settings: &RoomSettings) -> Result<Option<String>, StoreError> {
    if settings.is_default() {
        return Ok(None);
    }
    let text = json::to_string(settings);
    text.map(Some).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn pinned_from_text(text: &str) -> Result<Arc<PinnedComment>, StoreError> {
    let pinned = serde_json::from_str::<PinnedComment>(text);
    pinned
        .map(Arc::new)
        .map_err(|error| StoreError::Corrupt(format!("the pinned comment of a stream: {error}")))
}

/// Returns the text of the pinned comment; `None` if none is pinned.
pub(super) fn pinned_text(pinned: Option<&PinnedComment>) -> Result<Option<String>, StoreError> {
    let text = pinned.map(json::to_string).transpose();
    text.map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn poll_from_text(text: &str) -> Result<RoomPoll, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("a poll: {error}")))
}

/// Returns the text of a poll.
pub(super) fn poll_text(poll: &RoomPoll) -> Result<String, StoreError> {
    json::to_string(poll).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn poll(row: &impl Columns) -> Result<RoomPoll, StoreError> {
    poll_from_text(row.text("poll")?)
}

/// Returns the option of a row of votes, and its votes.
fn option_votes(row: &impl Columns) -> Result<(usize, u64), StoreError> {
    let option = u8::try_from(row.natural("choice")?)
        .map_err(|_| StoreError::Corrupt("a vote for an option above 255".to_owned()))?;
    Ok((usize::from(option), row.natural("votes")?))
}

/// Returns the votes of polls from rows that are ordered by poll.
pub(super) fn poll_votes(rows: &[impl Columns]) -> Result<Vec<PollVotes>, StoreError> {
    let mut polls: Vec<(u64, Vec<(usize, u64)>)> = Vec::new();
    for row in rows {
        let poll_id = row.natural("poll_id")?;
        let votes = option_votes(row)?;
        match polls.last_mut() {
            Some((last, all)) if *last == poll_id => all.push(votes),
            _ => polls.push((poll_id, vec![votes])),
        }
    }
    let votes = |(poll_id, all)| PollVotes { poll_id, by_option: add_up(all) };
    Ok(polls.into_iter().map(votes).collect())
}

/// Returns the terms, ordered by stream and term.
pub(super) fn room_terms(rows: &[impl Columns]) -> Result<Vec<(StreamId, RoomTerm)>, StoreError> {
    let mut terms = rows.iter().map(room_term).collect::<Result<Vec<_>, _>>()?;
    // Not by the database, whose order of texts depends on its settings.
    terms.sort_by(|(one, this), (other, that)| (one, &this.term).cmp(&(other, &that.term)));
    Ok(terms)
}

pub(super) fn terms_version(row: &impl Columns) -> Result<(StreamId, u64), StoreError> {
    Ok((StreamId(row.natural("stream_id")?), row.natural("terms_version")?))
}

fn room_term(row: &impl Columns) -> Result<(StreamId, RoomTerm), StoreError> {
    let term = row.text("term")?.to_owned();
    let action = enum_from_text(row.text("action")?)?;
    Ok((StreamId(row.natural("stream_id")?), RoomTerm { term, action }))
}

/// Returns the id above the column `highest`.
pub(super) fn next_stream_id(row: &impl Columns) -> Result<StreamId, StoreError> {
    let next = row.integer("highest")?.checked_add(1);
    let next = next.ok_or(StoreError::NotFound("stream id above the highest in use"))?;
    Ok(StreamId(next.unsigned_abs()))
}

pub(super) fn throttle_override(row: &impl Columns) -> Result<(StreamId, FixedRate), StoreError> {
    let share = row.real("throttle_override")?;
    let rate = SampleRate::from_share(share).ok_or_else(|| {
        StoreError::Corrupt(format!("a throttle override of {share}, expected 0 to 1"))
    })?;
    let fixed = FixedRate { rate, until_ms: row.natural_or_null("throttle_until")? };
    Ok((StreamId(row.natural("stream_id")?), fixed))
}

pub(super) fn user(row: &impl Columns) -> Result<UserRecord, StoreError> {
    Ok(UserRecord {
        user_id: UserId(row.natural("user_id")?),
        name: Arc::from(row.text("name")?),
        seen_at: row.natural("seen_at")?,
        account_created: row.natural_or_null("account_created")?,
    })
}

pub(super) fn reputation(row: &impl Columns) -> Result<Reputation, StoreError> {
    Ok(Reputation {
        points: row.real("points")?,
        at: row.natural("at")?,
        since: row.natural_or_null("since")?,
        texts: text_keys_of(row.text("texts")?)?,
    })
}

fn text_keys_of(text: &str) -> Result<VecDeque<u32>, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("keys of removed texts: {error}")))
}

/// Returns the value of the column of removed texts.
pub(super) fn text_keys(keys: &VecDeque<u32>) -> Result<String, StoreError> {
    json::to_string(keys).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn counted_cause(row: &impl Columns) -> Result<CountedCause, StoreError> {
    let text = row.natural_or_null("text_key")?.map(u32::try_from).transpose();
    Ok(CountedCause {
        points: row.real("points")?,
        at: row.natural("at")?,
        text: text.map_err(|error| StoreError::Corrupt(format!("key of a text: {error}")))?,
    })
}

/// Reads a row of users joined with reputations.
pub(super) fn known_user(row: &impl Columns) -> Result<KnownUser, StoreError> {
    // Of a user without points, the columns of reputations are null.
    let has_points = row.natural_or_null("at")?.is_some();
    Ok(KnownUser {
        user_id: UserId(row.natural("user_id")?),
        is_recorded: row.flag("is_recorded")?,
        account_created: row.natural_or_null("account_created")?,
        reputation: if has_points { reputation(row)? } else { Reputation::default() },
    })
}

/// Returns the time of sending after which messages are still kept; every time, while the clock
/// stands before the first one that may have run out.
pub(super) fn kept_since(now_ms: u64) -> i64 {
    now_ms.checked_sub(KEPT_FOR_MS).map_or(-1, integer)
}

pub(super) fn kept_message(row: &impl Columns) -> Result<KeptMessage, StoreError> {
    Ok(KeptMessage {
        message_id: row.natural("message_id")?,
        from: row.text("sender")?.to_owned(),
        from_user: row.natural_or_null("from_user")?.map(UserId),
        message: row.text("message")?.to_owned(),
        sent_at: row.natural("sent_at")?,
    })
}

pub(super) fn sanction(row: &impl Columns) -> Result<Sanction, StoreError> {
    Ok(Sanction {
        user_id: UserId(row.natural("user_id")?),
        kind: enum_from_text(row.text("kind")?)?,
        stream_id: stream_in_scope(row)?,
        name: row.text_or_null("name")?.map(str::to_owned),
        reason: row.text_or_null("reason")?.map(str::to_owned),
        created_by: row.text("created_by")?.to_owned(),
        created_at: row.natural("created_at")?,
        expires_at: row.natural_or_null("expires_at")?,
    })
}

/// Stands for all streams in the column of the stream of a sanction or shadow.
const ALL_STREAMS: i64 = -1;

/// Returns the value of the column of the stream of a sanction or shadow.
pub(super) fn scope_column(stream_id: Option<StreamId>) -> i64 {
    stream_id.map_or(ALL_STREAMS, |stream_id| integer(stream_id.0))
}

pub(super) fn grant(row: &impl Columns) -> Result<Grant, StoreError> {
    Ok(Grant {
        user_id: UserId(row.natural("user_id")?),
        stream_id: StreamId(row.natural("stream_id")?),
        role: enum_from_text(row.text("role")?)?,
        name: row.text_or_null("name")?.map(str::to_owned),
        created_by: row.text("created_by")?.to_owned(),
        created_at: row.natural("created_at")?,
    })
}

/// Returns the stream of a sanction or shadow; `None` if it holds on all.
fn stream_in_scope(row: &impl Columns) -> Result<Option<StreamId>, StoreError> {
    Ok(match row.integer("stream_id")? {
        ALL_STREAMS => None,
        _ => Some(StreamId(row.natural("stream_id")?)),
    })
}

pub(super) fn shadow(row: &impl Columns) -> Result<Shadow, StoreError> {
    Ok(Shadow {
        user_id: UserId(row.natural("user_id")?),
        stream_id: stream_in_scope(row)?,
        name: row.text_or_null("name")?.map(str::to_owned),
        created_by: row.text("created_by")?.to_owned(),
        created_at: row.natural("created_at")?,
        expires_at: row.natural_or_null("expires_at")?,
    })
}

pub(super) fn review_item(row: &impl Columns) -> Result<ReviewItem, StoreError> {
    Ok(ReviewItem {
        comment_id: row.comment_id()?,
        stream_id: StreamId(row.natural("stream_id")?),
        user_id: UserId(row.natural("user_id")?),
        name: row.text("name")?.to_owned(),
        message: row.text("message")?.to_owned(),
        reason: row.text("reason")?.to_owned(),
        flagged_at: row.natural("flagged_at")?,
        held: row.flag("held")?,
        shadowed: row.flag("shadowed")?,
        badges: row.badges()?,
        parent_id: row.parent_id()?,
        evidence: match row.text_or_null("evidence")? {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                StoreError::Corrupt(format!("what a comment was flagged by: {error}"))
            })?,
            None => ReviewEvidence::default(),
        },
        claimed_by: row.text_or_null("claimed_by")?.map(str::to_owned),
        claim_expires_at: row.natural_or_null("claim_expires_at")?,
        claimed_by_you: false,
        alike: 0,
    })
}

/// Returns the sort key behind which a list begins; the lowest for one that begins at the start.
pub(super) fn sort_key_after(comment_id: Option<CommentId>) -> [u8; 16] {
    comment_id.map_or([0; 16], CommentId::sort_key)
}

/// Returns the lowest sort key of comments since a time (milliseconds since the Unix epoch).
pub(super) fn sort_key_since(since_ms: u64) -> [u8; 16] {
    // More than this does not fit an id.
    let ticks = since_ms.saturating_mul(10_000).min(1 << 59);
    let mut key = CommentId::from_unix_ticks(ticks, 0, [0; 6]).sort_key();
    key[8..].fill(0);
    key
}

/// Returns the text of what a comment was flagged by; `None` if nothing is known.
pub(super) fn evidence_text(evidence: &ReviewEvidence) -> Result<Option<String>, StoreError> {
    if *evidence == ReviewEvidence::default() {
        return Ok(None);
    }
    let text = json::to_string(evidence);
    text.map(Some).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Reads an item of the queue, with the column `same`: all undecided items of its text.
pub(super) fn waiting_review(row: &impl Columns) -> Result<ReviewItem, StoreError> {
    let alike = row.natural("same")?.saturating_sub(1);
    Ok(ReviewItem { alike, ..review_item(row)? })
}

pub(super) fn stored_review(row: &impl Columns) -> Result<StoredReview, StoreError> {
    let verdict = row.text_or_null("decision")?.map(|_| verdict(row)).transpose()?;
    Ok(StoredReview { item: review_item(row)?, verdict })
}

pub(super) fn decided_review(row: &impl Columns) -> Result<DecidedReview, StoreError> {
    Ok(DecidedReview { item: review_item(row)?, verdict: verdict(row)? })
}

fn verdict(row: &impl Columns) -> Result<ReviewVerdict, StoreError> {
    Ok(ReviewVerdict {
        decision: enum_from_text(row.text("decision")?)?,
        by: row.text("decided_by")?.to_owned(),
        at: row.natural("decided_at")?,
        reason: row.text_or_null("decided_reason")?.map(str::to_owned),
    })
}

/// Returns the views, ordered by the bytes of their names: databases order texts each their way.
pub(super) fn saved_views(rows: &[impl Columns]) -> Result<Vec<SavedView>, StoreError> {
    let mut views: Vec<_> = rows.iter().map(saved_view).collect::<Result<_, _>>()?;
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(views)
}

fn saved_view(row: &impl Columns) -> Result<SavedView, StoreError> {
    let settings = serde_json::from_str(row.text("settings")?)
        .map_err(|error| StoreError::Corrupt(format!("settings of a saved view: {error}")))?;
    Ok(SavedView {
        name: row.text("name")?.to_owned(),
        settings,
        saved_by: row.text("saved_by")?.to_owned(),
        saved_at: row.natural("saved_at")?,
    })
}

pub(super) fn settings_text(settings: &ViewSettings) -> Result<String, StoreError> {
    json::to_string(settings).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn audit_entry(row: &impl Columns) -> Result<AuditEntry, StoreError> {
    let detail = serde_json::from_str(row.text("detail")?)
        .map_err(|error| StoreError::Corrupt(format!("detail of an audit entry: {error}")))?;
    Ok(AuditEntry {
        audit_id: row.natural("audit_id")?,
        at: row.natural("at")?,
        actor: row.text("actor")?.to_owned(),
        action: row.text("action")?.to_owned(),
        target: row.text("target")?.to_owned(),
        detail,
        undoes: None,
        undone_by: None,
    })
}

pub(super) fn pending_event(row: &impl Columns) -> Result<(u64, PendingEvent), StoreError> {
    let event = PendingEvent {
        stream_id: StreamId(row.natural("stream_id")?),
        payload: row.bytes("payload")?.to_vec(),
    };
    Ok((row.natural("number")?, event))
}

/// Returns the protocol's text for a value of an enum without fields.
pub(super) fn enum_text(value: &impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        other => {
            Err(StoreError::Corrupt(format!("expected an enum without fields, got {other:?}")))
        }
    }
}

/// The inverse of [`enum_text`].
fn enum_from_text<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_value(text.into()).map_err(|error| StoreError::Corrupt(error.to_string()))
}
