//! Comments that are in the log twice, and the rule by which every reader keeps the first.
//!
//! A viewer whose node died before it acknowledged a comment sends the comment again, with the same
//! `ref`, to another node. [`crate::daemon::engines::reservations`] usually give the second record
//! the id of the first, but a cache may forget. The log has both records, so the log decides.
//!
//! **The rule.** A comment is a repeat of the nearest earlier record in its window that has the
//! same user, stream and `ref`, if both have the same id, or if it was appended at most
//! [`MAX_APART`] away from it, by the times of both records. The window of an offset begins at a
//! multiple of [`BLOCK_OFFSETS`]: at most [`MAX_BLOCKS`] blocks back, and behind the last block
//! that is older than a later, complete block by more than [`MAX_APART`], but at least
//! [`MIN_BLOCKS`] blocks back. So it is a function of the records before the offset, it only moves
//! forward, and whoever reads from the start of the window knows everything there is to know.
//!
//! The same id counts however long the log was away: an append whose answer was lost is repeated
//! under its id, as long as its `ref` is known, soon after the log is back. That is many minutes
//! after the first record, and mostly less than [`MIN_BLOCKS`] blocks behind it.
//!
//! In: records of a partition in order ([`RepeatFilter`]), or pages that begin anywhere
//! ([`RepeatIndex`]). Out: which of them are repeats.
//!
//! Always holds: broadcast, archiver, moderation, warm start, history and `lc tail` drop the same
//! records, wherever they begin to read and however often they read again. A comment whose `ref`
//! may be used again, because its lifetime ended, is never dropped: [`MAX_APART`] is less than the
//! shortest `ingest.ref_lifetime`, and the new comment has a new id.
//!
//! Bounded: a window remembers at most [`MAX_BLOCKS`] blocks of records with a `ref`, about 26 MB
//! (524 288 entries of 41 bytes, and the keys of the blocks); a partition with 1 000 comments/s
//! needs a quarter of that. At 5 000 comments/s the window still covers 52 s.

mod filter;
mod index;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use ahash::{AHashMap, RandomState};
use futures_util::TryStreamExt as _;

pub use self::filter::RepeatFilter;
pub use self::index::RepeatIndex;
use super::pages::{PAGE_RECORDS, pages};
use super::{LogError, Record, SharedLog, Topic};
use crate::daemon::base::config::MIN_REF_LIFETIME;
use crate::protocol::events::{CommentSubmitted, Event};

/// The longest time between the records of one comment. Longer than a node waits for the log and
/// a viewer waits before it sends a comment again.
pub const MAX_APART: Duration = Duration::from_secs(60);
const _: () = assert!(MAX_APART.as_secs() < MIN_REF_LIFETIME.as_secs(), "a ref may be used again");
/// Offsets per block.
pub const BLOCK_OFFSETS: u64 = 1024;
/// Complete blocks in a window, at most.
pub const MAX_BLOCKS: u64 = 256;
/// Complete blocks in a window, at least, if the log has them: 16 384 offsets. More than a
/// partition gets in the first seconds after an outage.
pub const MIN_BLOCKS: u64 = 16;

/// The sizes of the rule. Tests use smaller ones.
#[derive(Debug, Clone, Copy)]
struct Rule {
    max_apart_ms: u64,
    block_offsets: u64,
    max_blocks: u64,
    min_blocks: u64,
}

const RULE: Rule = Rule {
    max_apart_ms: MAX_APART.as_millis() as u64,
    block_offsets: BLOCK_OFFSETS,
    max_blocks: MAX_BLOCKS,
    min_blocks: MIN_BLOCKS,
};

impl Rule {
    fn block_of(self, offset: u64) -> u64 {
        offset / self.block_offsets
    }
}

/// The records of one partition that may still be repeated.
#[derive(Debug)]
struct Window {
    rule: Rule,
    hashers: [RandomState; 2],
    /// The last record with a key.
    last: AHashMap<Key, Seen>,
    blocks: VecDeque<Block>,
}

/// A user, stream and `ref` as a 128-bit hash: nobody can choose refs that collide with another
/// user's.
type Key = [u64; 2];

#[derive(Debug, Clone, Copy)]
struct Seen {
    offset: u64,
    timestamp_ms: u64,
    /// The hash of the comment's id.
    id: u64,
}

#[derive(Debug)]
struct Block {
    number: u64,
    newest_ms: u64,
    /// The keys of its records, in order.
    keys: Vec<Key>,
}

impl Window {
    fn new(rule: Rule) -> Self {
        Self {
            rule,
            hashers: [RandomState::new(), RandomState::new()],
            last: AHashMap::new(),
            blocks: VecDeque::new(),
        }
    }

    /// Adds the next record, and returns whether it is a repeat. `comment` is absent for records
    /// that are no comments.
    fn add(&mut self, offset: u64, timestamp_ms: u64, comment: Option<&CommentSubmitted>) -> bool {
        let number = self.rule.block_of(offset);
        if self.blocks.back().is_none_or(|last| last.number < number) {
            self.begin_block(number);
        }
        let key_and_id = comment.and_then(|event| {
            Some((self.key(event)?, self.hashers[0].hash_one(event.comment.comment_id)))
        });
        let Some(block) = self.blocks.back_mut() else { return false };
        block.newest_ms = block.newest_ms.max(timestamp_ms);
        let Some((key, id)) = key_and_id else { return false };
        block.keys.push(key);
        let before = self.last.insert(key, Seen { offset, timestamp_ms, id });
        before.is_some_and(|before| {
            let apart_ms = before.timestamp_ms.abs_diff(timestamp_ms);
            before.id == id || apart_ms <= self.rule.max_apart_ms
        })
    }

    fn begin_block(&mut self, number: u64) {
        let oldest = number.saturating_sub(self.rule.max_blocks);
        let first = first_in_window(self.rule, self.blocks.iter().map(|b| (b.number, b.newest_ms)))
            .min(number.saturating_sub(self.rule.min_blocks));
        while let Some(block) = self.blocks.pop_front_if(|b| b.number < oldest.max(first)) {
            for key in &block.keys {
                let at = self.last.get(key).map(|seen| self.rule.block_of(seen.offset));
                if at == Some(block.number) {
                    self.last.remove(key);
                }
            }
        }
        self.blocks.push_back(Block { number, newest_ms: 0, keys: Vec::new() });
    }

    fn key(&self, event: &CommentSubmitted) -> Option<Key> {
        let client_ref = event.client_ref.as_ref()?;
        let key = (event.comment.user_id, event.comment.stream_id, client_ref);
        Some(self.hashers.each_ref().map(|hasher| hasher.hash_one(key)))
    }
}

/// Returns the first block that is not older than a later one by more than the rule allows.
/// `blocks` are complete ones in order, each with the time of its newest record.
fn first_in_window(rule: Rule, blocks: impl DoubleEndedIterator<Item = (u64, u64)>) -> u64 {
    let mut newest_ms = 0;
    for (number, block_ms) in blocks.rev() {
        if block_ms.saturating_add(rule.max_apart_ms) < newest_ms {
            return number + 1;
        }
        newest_ms = newest_ms.max(block_ms);
    }
    0
}

/// Returns the window just before an offset.
async fn window_before(
    log: &SharedLog,
    rule: Rule,
    partition: u32,
    offset: u64,
) -> Result<Window, LogError> {
    let mut window = Window::new(rule);
    for record in read_back(log, rule, partition, 0..offset).await? {
        add_record(&mut window, &record);
    }
    Ok(window)
}

/// Returns the records before an offset that were appended at most [`MAX_APART`] before it, in
/// order, without those before `known_to`. Some older ones may be among them.
pub async fn records_before(
    log: &SharedLog,
    partition: u32,
    offset: u64,
    known_to: u64,
) -> Result<Vec<Record>, LogError> {
    read_back(log, Rule { min_blocks: 0, ..RULE }, partition, known_to..offset).await
}

/// Reads back from the end of a range to the start of the window there, or of the range.
async fn read_back(
    log: &SharedLog,
    rule: Rule,
    partition: u32,
    range: Range<u64>,
) -> Result<Vec<Record>, LogError> {
    let current = rule.block_of(range.end);
    let current_start = current * rule.block_offsets;
    let oldest = current.saturating_sub(rule.max_blocks) * rule.block_offsets;
    let oldest = oldest.max(range.start);
    let least = current.saturating_sub(rule.min_blocks) * rule.block_offsets;
    let step = (PAGE_RECORDS as u64).next_multiple_of(rule.block_offsets);
    let mut steps: Vec<Vec<Record>> = Vec::new();
    let mut end = range.end;
    while end > oldest {
        // Steps begin with a block, so that all blocks but the current one are complete.
        let is_current = end > current_start;
        let start = if is_current { current_start } else { end.saturating_sub(step) };
        let start = start.max(oldest);
        let read = pages(log, Topic::CommentEvents, partition, start..end);
        let records: Vec<Record> = read.map_ok(|page| page.records).try_concat().await?;
        // Behind the current block, an empty step means that retention has removed the rest.
        let is_empty = records.is_empty();
        steps.push(records);
        end = start;
        let complete = steps.iter().rev().flatten().filter_map(|record| {
            let number = rule.block_of(record.position.offset);
            (number < current).then_some((number, record.timestamp_ms))
        });
        let begins_here = first_in_window(rule, newest_by_block(complete).into_iter()) > 0;
        if (begins_here && start <= least) || (is_empty && !is_current) {
            break;
        }
    }
    Ok(steps.into_iter().rev().flatten().collect())
}

/// Returns the newest time in each block, in order.
fn newest_by_block(records: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut blocks: Vec<(u64, u64)> = Vec::new();
    for (number, ms) in records {
        match blocks.last_mut() {
            Some(last) if last.0 == number => last.1 = last.1.max(ms),
            _ => blocks.push((number, ms)),
        }
    }
    blocks
}

/// Adds a record that is not decoded yet.
fn add_record(window: &mut Window, record: &Record) -> bool {
    let event = Event::decode(&record.payload);
    let comment = match &event {
        Ok(Event::CommentSubmitted(event)) => Some(event),
        _ => None,
    };
    window.add(record.position.offset, record.timestamp_ms, comment)
}
