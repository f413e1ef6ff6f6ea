//! What the scripts answer, and how an event is written.

use crate::daemon::store::StoreError;
use crate::daemon::store::recent::{RecentEvent, RecentPage};
use crate::protocol::CommentId;

/// The comment id under which an event may be buried; a deletion is never.
pub(super) fn burial_id(event: &RecentEvent) -> &[u8] {
    match event {
        RecentEvent::Comment(comment) => comment.comment_id.0.as_bytes(),
        RecentEvent::Deleted { .. } => &[],
    }
}

/// MessagePack arrays, as in the event log.
pub(super) fn encode(event: &RecentEvent) -> Vec<u8> {
    rmp_serde::to_vec(event)
        .expect("an event has no type MessagePack cannot carry, and memory does not fail")
}

/// The answer of `after`.
pub(super) fn read_page(answer: &[Vec<u8>]) -> Result<Option<RecentPage>, StoreError> {
    match answer {
        [known, covered_to, horizon, events @ ..] if known == b"known" => {
            let covered_to = number(covered_to)?.ok_or_else(|| unexpected("no place"))?;
            let horizon = number(horizon)?;
            let events = events.iter().map(|event| {
                rmp_serde::from_slice(event)
                    .map_err(|error| unexpected(&format!("not an event: {error}")))
            });
            let events = events.collect::<Result<Vec<RecentEvent>, _>>()?;
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
