//! The rule against its definition, for every reader, on any log.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::daemon::testing::comments::{sample_comment, submitted};
use crate::daemon::testing::event_log::InMemoryLog;
use crate::protocol::{Comment, StreamId, UserId};

/// Small, so that windows end within a short log.
const SMALL: Rule = Rule { max_apart_ms: 50, block_offsets: 4, max_blocks: 3, min_blocks: 1 };

/// One record of a generated log.
#[derive(Debug, Clone, Copy)]
struct Sent {
    stream: u64,
    user: u64,
    /// `None`: a comment that cannot be repeated.
    client_ref: Option<u8>,
    /// One of two ids that comments share, or one of its own.
    shared_id: Option<u8>,
    at_ms: u64,
}

fn sent() -> impl Strategy<Value = Sent> {
    let client_ref = prop_oneof![1 => Just(None), 4 => (0..3_u8).prop_map(Some)];
    // Mostly a few milliseconds apart, and sometimes a clock that jumps.
    let at_ms = prop_oneof![8 => 0..20_u64, 1 => 60..80_u64, 1 => 10_000..10_020_u64];
    let shared_id = prop_oneof![Just(None), (0..2_u8).prop_map(Some)];
    (1..3_u64, 1..3_u64, client_ref, shared_id, at_ms).prop_map(
        |(stream, user, client_ref, shared_id, at_ms)| Sent {
            stream,
            user,
            client_ref,
            shared_id,
            at_ms,
        },
    )
}

/// Writes a log. The times of records are sums of the generated ones, so that they grow, except
/// where `jumps` sets the clock back to the beginning.
fn write(records: &[Sent], jumps: &BTreeSet<usize>) -> (SharedLog, Vec<(u64, Sent)>) {
    let log = InMemoryLog::new();
    let mut written = Vec::new();
    let mut now_ms = 100;
    for (index, sent) in records.iter().enumerate() {
        now_ms = if jumps.contains(&index) { 100 } else { now_ms + sent.at_ms };
        let sent = Sent { at_ms: now_ms, ..*sent };
        let comment = Comment {
            stream_id: StreamId(sent.stream),
            user_id: UserId(sent.user),
            ..sample_comment(sent.shared_id.map_or(index as u64 + 10, u64::from))
        };
        let client_ref = sent.client_ref.map(|number| number.to_string().into());
        let event = Event::CommentSubmitted(CommentSubmitted { client_ref, ..submitted(comment) });
        log.put(Topic::CommentEvents, sent.stream, now_ms, event.encode());
        written.push((index as u64 + 1, sent));
    }
    (Arc::new(log), written)
}

/// Returns the repeats of a log, from the text of the rule and the whole log.
fn repeats_by_definition(written: &[(u64, Sent)]) -> BTreeSet<u64> {
    let block = |offset: u64| offset / SMALL.block_offsets;
    let newest = |number: u64| {
        let in_block = written.iter().filter(|(offset, _)| block(*offset) == number);
        in_block.map(|(_, sent)| sent.at_ms).max()
    };
    let start = |offset: u64| {
        let current = block(offset);
        let is_too_old = |number: &u64| {
            let Some(before) = newest(*number) else { return false };
            (number + 1..current)
                .filter_map(newest)
                .any(|later| before + SMALL.max_apart_ms < later)
        };
        let behind_old = (0..current).rev().find(is_too_old).map_or(0, |number| number + 1);
        let longest = current.saturating_sub(SMALL.max_blocks);
        let shortest = current.saturating_sub(SMALL.min_blocks);
        behind_old.clamp(longest, shortest) * SMALL.block_offsets
    };
    let is_repeat = |(offset, sent): &(u64, Sent)| {
        let window = start(*offset)..*offset;
        let same = |other: &&(u64, Sent)| {
            window.contains(&other.0)
                && sent.client_ref.is_some()
                && (other.1.stream, other.1.user, other.1.client_ref)
                    == (sent.stream, sent.user, sent.client_ref)
        };
        let nearest = written.iter().rev().find(same);
        nearest.is_some_and(|(_, other)| {
            let is_same = sent.shared_id.is_some() && sent.shared_id == other.shared_id;
            is_same || other.at_ms.abs_diff(sent.at_ms) <= SMALL.max_apart_ms
        })
    };
    written.iter().filter(|record| is_repeat(record)).map(|(offset, _)| *offset).collect()
}

/// Gives a filter the records of a range and adds the repeats that it finds.
async fn filter(
    filter: &mut RepeatFilter,
    log: &SharedLog,
    range: std::ops::Range<u64>,
    found: &mut BTreeSet<u64>,
) {
    let pages = pages(log, Topic::CommentEvents, 0, range);
    let records: Vec<Record> = pages.map_ok(|page| page.records).try_concat().await.unwrap();
    for record in &records {
        let event = Event::decode(&record.payload).unwrap();
        if filter.is_repeated_event(record, &event).await.unwrap() {
            found.insert(record.position.offset);
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    /// A consumer that starts anywhere, is replaced anywhere and reads some records again finds
    /// the repeats that the whole log has.
    #[test]
    fn consumers_agree_wherever_they_begin(
        records in prop::collection::vec(sent(), 1..80),
        jumps in prop::collection::btree_set(0..80_usize, 0..3),
        begin in 1..80_u64,
        takeovers in prop::collection::vec((1..80_u64, 0..12_u64), 0..4),
    ) {
        let (log, written) = write(&records, &jumps);
        let expected = repeats_by_definition(&written);
        let end = records.len() as u64 + 1;
        let begin = begin.min(end);
        let mut found = BTreeSet::new();
        run(async {
            let mut consumer = RepeatFilter::with_rule(log.clone(), SMALL);
            let mut next = begin;
            for (length, again) in takeovers {
                let until = (next + length).min(end);
                filter(&mut consumer, &log, next..until, &mut found).await;
                next = until.saturating_sub(again).max(begin);
                if again % 2 == 0 {
                    consumer = RepeatFilter::with_rule(log.clone(), SMALL);
                }
            }
            filter(&mut consumer, &log, next..end, &mut found).await;
        });
        let expected: BTreeSet<u64> = expected.range(begin..).copied().collect();
        prop_assert_eq!(found, expected);
    }

    /// Pages of streams, read from anywhere in any order, leave out the same records.
    #[test]
    fn pages_agree_with_consumers(
        records in prop::collection::vec(sent(), 1..80),
        jumps in prop::collection::btree_set(0..80_usize, 0..3),
        reads in prop::collection::vec((1..3_u64, 1..80_u64, 1..20_usize), 1..12),
    ) {
        let (log, written) = write(&records, &jumps);
        let expected = repeats_by_definition(&written);
        let index = RepeatIndex::with_rule(log.clone(), SMALL);
        for (stream, offset, count) in reads {
            let (mut page, all) = run(async {
                let mut page =
                    log.read(Topic::CommentEvents, stream, offset, count).await.unwrap();
                let all: Vec<u64> = page.records.iter().map(|at| at.position.offset).collect();
                index.remove_repeats(&mut page).await.unwrap();
                (page, all)
            });
            let kept: Vec<u64> = page.records.drain(..).map(|at| at.position.offset).collect();
            let right: Vec<u64> =
                all.into_iter().filter(|offset| !expected.contains(offset)).collect();
            prop_assert_eq!(kept, right);
        }
    }
}

fn comment_with_ref(number: u64) -> Vec<u8> {
    let event = submitted(sample_comment(number));
    Event::CommentSubmitted(CommentSubmitted { client_ref: Some("r".into()), ..event }).encode()
}

#[tokio::test]
async fn a_ref_may_be_used_again_after_its_time() {
    let log = InMemoryLog::new();
    let max_apart_ms = MAX_APART.as_millis() as u64;
    for at_ms in [1, max_apart_ms + 1, 2 * max_apart_ms + 2, 5 * max_apart_ms] {
        log.put(Topic::CommentEvents, 5, at_ms, comment_with_ref(at_ms));
    }
    let log: SharedLog = Arc::new(log);
    let mut found = BTreeSet::new();
    filter(&mut RepeatFilter::new(log.clone()), &log, 1..5, &mut found).await;
    assert_eq!(found, BTreeSet::from([2]), "only the second came within the time of another");
}

#[tokio::test]
async fn the_same_id_is_a_repeat_after_any_outage() {
    let log = InMemoryLog::new();
    let hours_ms = 7 * 3_600_000;
    // Between both records of the comment, one block is complete before the outage, so that the
    // first one is in an old block.
    let before = [(1, false), (1, true)].into_iter().chain([(1, false); 3_000]);
    let after = [(hours_ms, false); 3_000].into_iter().chain([(hours_ms, true)]);
    let mut end = 1;
    for (at_ms, is_repeated) in before.chain(after) {
        let other = || Event::CommentSubmitted(submitted(sample_comment(10 + end))).encode();
        let payload = if is_repeated { comment_with_ref(7) } else { other() };
        log.put(Topic::CommentEvents, 5, at_ms, payload);
        end += 1;
    }
    let log: SharedLog = Arc::new(log);
    for (rule, expected) in [
        (RULE, BTreeSet::from([end - 1])),
        (Rule { min_blocks: 5, ..RULE }, BTreeSet::from([end - 1])),
        (Rule { min_blocks: 4, ..RULE }, BTreeSet::new()),
    ] {
        for begin in [1, end - 1] {
            let mut found = BTreeSet::new();
            let mut consumer = RepeatFilter::with_rule(log.clone(), rule);
            filter(&mut consumer, &log, begin..end, &mut found).await;
            assert_eq!(found, expected, "{rule:?}, read from {begin}");
        }
    }
}

#[tokio::test]
async fn reading_back_costs_no_more_than_the_window() {
    // Four records per 10 ms: the window of the end is a minute, 24 000 records and one block.
    let log = InMemoryLog::new();
    for number in 1..=50_000 {
        log.put(Topic::CommentEvents, 5, number / 4 * 10, comment_with_ref(number));
    }
    let log: SharedLog = Arc::new(log);
    let window = window_before(&log, RULE, 0, 50_001).await.unwrap();
    let kept: usize = window.blocks.iter().map(|block| block.keys.len()).sum();
    assert!((24_000..24_000 + 3 * 1024).contains(&kept), "{kept}");
    assert_eq!(window.last.len(), 1);
}
