//! The encoding of an event in Redis, and the answers of the scripts.

use ahash::AHashMap;
use uuid::Uuid;

use crate::daemon::engines::StoreError;
use crate::daemon::engines::recent::{DeletionState, RecentEvent, RecentPage};
use crate::protocol::{CommentId, Seq, tolerant};

/// Every stored event begins with its sequence number in decimal and its comment id (zeros for a
/// deletion, which has no tombstone). Besides that, the scripts only look for the id of a comment
/// in the encoding of a deletion.
const SEQ_DIGITS: usize = 20;
const ID_BYTES: usize = 16;
/// Replaces the first digit of a comment that a script found hidden from others than its author.
const HIDDEN: u8 = b'H';

/// Returns the prefix and the event as MessagePack arrays, like those of the event log.
pub(super) fn encode(event: &RecentEvent) -> Vec<u8> {
    let comment_id = match event {
        RecentEvent::Comment(comment) | RecentEvent::Own(comment) => {
            *comment.comment_id.0.as_bytes()
        }
        RecentEvent::Deleted { .. } => [0; ID_BYTES],
    };
    let mut encoded = format!("{:0SEQ_DIGITS$}", event.seq()).into_bytes();
    encoded.extend_from_slice(&comment_id);
    rmp_serde::encode::write(&mut encoded, event)
        .expect("an event has no type MessagePack cannot carry, and memory does not fail");
    encoded
}

fn decode(encoded: &[u8]) -> Result<RecentEvent, StoreError> {
    let event = encoded.get(SEQ_DIGITS + ID_BYTES..).unwrap_or_default();
    let event: RecentEvent = tolerant::from_slice(event)
        .map_err(|error| unexpected(&format!("not an event: {error}")))?;
    Ok(match event {
        RecentEvent::Comment(comment) if encoded.first() == Some(&HIDDEN) => {
            RecentEvent::Own(comment)
        }
        event => event,
    })
}

/// Decodes the answer of `after.lua`.
pub(super) fn decode_page(answer: &[Vec<u8>]) -> Result<Option<RecentPage>, StoreError> {
    match answer {
        [known, covered_to, horizon, events @ ..] if known == b"known" => {
            let covered_to = number(covered_to)?.ok_or_else(|| unexpected("no sequence number"))?;
            let horizon = number(horizon)?;
            let events = events.iter().map(|event| decode(event));
            let events = events.collect::<Result<Vec<_>, _>>()?;
            // The tombstones of comments this old were dropped; the caller reads the log.
            let certain = events.iter().all(|event| match event {
                RecentEvent::Comment(comment) | RecentEvent::Own(comment) => {
                    is_certain(comment.comment_id, horizon)
                }
                RecentEvent::Deleted { .. } => true,
            });
            Ok(certain.then_some(RecentPage { events, covered_to }))
        }
        [unknown] if unknown == b"unknown" => Ok(None),
        other => Err(answer_error(other)),
    }
}

/// Decodes the answer of `earlier.lua`. Deletions are left out.
pub(super) fn decode_places(answer: &[Vec<u8>]) -> Result<AHashMap<CommentId, Seq>, StoreError> {
    let mut places = AHashMap::with_capacity(answer.len());
    for event in answer {
        let (seq, id) = event.split_at_checked(SEQ_DIGITS).ok_or_else(|| unexpected("no event"))?;
        let seq = number(seq)?.ok_or_else(|| unexpected("no sequence number"))?;
        let id = Uuid::from_slice(id).map_err(|_| unexpected("no comment id"))?;
        if !id.is_nil() {
            places.insert(CommentId(id), seq);
        }
    }
    Ok(places)
}

/// Decodes the answer of `deletion_states.lua` for these comments.
pub(super) fn decode_states(
    answer: &[Vec<u8>],
    comment_ids: &[CommentId],
) -> Result<Vec<DeletionState>, StoreError> {
    match answer {
        [known, horizon, flags] if known == b"known" && flags.len() == comment_ids.len() => {
            let horizon = number(horizon)?;
            let flags = comment_ids.iter().zip(flags).map(|(comment_id, flag)| match flag {
                b'1' => Ok(DeletionState::Deleted),
                b'3' => Ok(DeletionState::HiddenFromOthers),
                // A restored comment may have been deleted again since.
                _ if !is_certain(*comment_id, horizon) => {
                    Err(StoreError::Incomplete("the oldest tombstones were dropped".to_owned()))
                }
                b'2' => Ok(DeletionState::Restored),
                _ => Ok(DeletionState::NotDeleted),
            });
            flags.collect()
        }
        other => Err(answer_error(other)),
    }
}

fn is_certain(comment_id: CommentId, horizon: Option<u64>) -> bool {
    horizon.is_none_or(|horizon| comment_id.unix_ms() > horizon)
}

fn answer_error(answer: &[Vec<u8>]) -> StoreError {
    match answer {
        [incomplete] if incomplete == b"incomplete" => StoreError::Incomplete(
            "Redis was restarted, and deletions are being restored".to_owned(),
        ),
        _ => unexpected("an answer of unknown form"),
    }
}

/// Parses a decimal number; an empty text is `None`.
fn number(text: &[u8]) -> Result<Option<u64>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| unexpected("not a number"))
}

fn unexpected(what: &str) -> StoreError {
    StoreError::Corrupt(format!("the recent cache in Redis: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tombstones_are_certain_below_the_horizon() {
        let comment_id = CommentId::from_unix_ticks(17_500_000_000_000_000, 0, [2, 0, 0, 0, 0, 1]);
        let state = |flag: &[u8], horizon_ms: u64| {
            let horizon = horizon_ms.to_string().into_bytes();
            let answer = [b"known".to_vec(), horizon, flag.to_vec()];
            decode_states(&answer, &[comment_id]).ok().map(|states| states[0])
        };
        for (flag, expected) in [
            (b"0", DeletionState::NotDeleted),
            (b"1", DeletionState::Deleted),
            (b"2", DeletionState::Restored),
            (b"3", DeletionState::HiddenFromOthers),
        ] {
            assert_eq!(state(flag, comment_id.unix_ms() - 1), Some(expected));
            let below = state(flag, comment_id.unix_ms() + 1);
            let has_tombstone =
                matches!(expected, DeletionState::Deleted | DeletionState::HiddenFromOthers);
            assert_eq!(below, Some(expected).filter(|_| has_tombstone));
        }
    }
}
