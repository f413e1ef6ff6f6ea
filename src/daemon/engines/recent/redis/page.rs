//! What the scripts answer, and how an event is written.

use crate::daemon::engines::StoreError;
use crate::daemon::engines::recent::{RecentEvent, RecentPage};
use crate::protocol::CommentId;

/// What an event begins with: its place in decimal, and the comment id under which it may be buried
/// (zeros for a deletion, which never is). The scripts look at nothing behind it.
const PLACE_DIGITS: usize = 20;
const ID_BYTES: usize = 16;

/// The event behind its beginning, as MessagePack arrays like those of the event log.
pub(super) fn encode(event: &RecentEvent) -> Vec<u8> {
    let burial_id = match event {
        RecentEvent::Comment(comment) => *comment.comment_id.0.as_bytes(),
        RecentEvent::Deleted { .. } => [0; ID_BYTES],
    };
    let mut encoded = format!("{:0PLACE_DIGITS$}", event.seq()).into_bytes();
    encoded.extend_from_slice(&burial_id);
    rmp_serde::encode::write(&mut encoded, event)
        .expect("an event has no type MessagePack cannot carry, and memory does not fail");
    encoded
}

fn decode(encoded: &[u8]) -> Result<RecentEvent, StoreError> {
    let event = encoded.get(PLACE_DIGITS + ID_BYTES..).unwrap_or_default();
    rmp_serde::from_slice(event).map_err(|error| unexpected(&format!("not an event: {error}")))
}

/// The answer of `after`.
pub(super) fn read_page(answer: &[Vec<u8>]) -> Result<Option<RecentPage>, StoreError> {
    match answer {
        [known, covered_to, horizon, events @ ..] if known == b"known" => {
            let covered_to = number(covered_to)?.ok_or_else(|| unexpected("no place"))?;
            let horizon = number(horizon)?;
            let events = events.iter().map(|event| decode(event));
            let events = events.collect::<Result<Vec<_>, _>>()?;
            // Of comments this old deletions were forgotten: the log knows.
            let certain = events.iter().all(|event| match event {
                RecentEvent::Comment(comment) => is_certain(comment.comment_id, horizon),
                RecentEvent::Deleted { .. } => true,
            });
            Ok(certain.then_some(RecentPage { events, covered_to }))
        }
        [unknown] if unknown == b"unknown" => Ok(None),
        other => Err(refusal(other)),
    }
}

/// The answer of `buried` for these comments.
pub(super) fn read_burials(
    answer: &[Vec<u8>],
    comment_ids: &[CommentId],
) -> Result<Vec<bool>, StoreError> {
    match answer {
        [known, horizon, flags] if known == b"known" && flags.len() == comment_ids.len() => {
            let horizon = number(horizon)?;
            let buried = comment_ids.iter().zip(flags).map(|(comment_id, flag)| {
                let buried = *flag == b'1';
                if buried || is_certain(*comment_id, horizon) {
                    return Ok(buried);
                }
                Err(StoreError::Incomplete("the oldest deletions are forgotten".to_owned()))
            });
            buried.collect()
        }
        other => Err(refusal(other)),
    }
}

fn is_certain(comment_id: CommentId, horizon: Option<u64>) -> bool {
    horizon.is_none_or(|horizon| comment_id.unix_ms() > horizon)
}

fn refusal(answer: &[Vec<u8>]) -> StoreError {
    match answer {
        [incomplete] if incomplete == b"incomplete" => StoreError::Incomplete(
            "Redis was started anew, and deletions are being read back".to_owned(),
        ),
        _ => unexpected("an answer of another form"),
    }
}

/// A number in decimal; nothing if it is empty.
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
