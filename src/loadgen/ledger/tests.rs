//! The ledger against faulty servers, and against a naive account that keeps sets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::protocol::comment::{Deletion, SequencedComment};
use crate::protocol::message::{Encoding, json};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, UserId};

const EPOCH: Epoch = Epoch(1);
const OWN: Range<u64> = 100..200;

fn id(seq: Seq) -> CommentId {
    CommentId::from_unix_ticks(17_000_000_000_000_000 + seq * 977, 7, [1; 6])
}

fn shown(seq: Seq) -> SequencedComment {
    SequencedComment {
        comment_id: id(seq),
        user_id: UserId(100 + seq % 3),
        name: "load".into(),
        message: "hi".into(),
        created_at: 0,
        seq,
        badges: Default::default(),
        parent_id: None,
    }
}

fn batch(from_seq: Seq, to_seq: Seq, seqs: &[Seq]) -> ServerMessage {
    sampled(from_seq, to_seq, seqs, SampleRate::ALL)
}

fn sampled(from_seq: Seq, to_seq: Seq, seqs: &[Seq], sample_rate: SampleRate) -> ServerMessage {
    let comments = seqs.iter().map(|seq| shown(*seq)).collect();
    ServerMessage::Comments(CommentsBatch {
        epoch: EPOCH,
        from_seq,
        to_seq,
        sample_rate,
        comments,
        echo: false,
    })
}

struct LedgerRun {
    handle: SharedLedger,
    now: Micros,
}

impl LedgerRun {
    /// Creates a run whose viewers joined at time 0 after seq 10.
    fn new(viewers: usize) -> Self {
        let run = Self { handle: SharedLedger::new(Ledger::new(viewers, OWN)), now: 0 };
        (0..viewers).for_each(|viewer| run.join(viewer, EPOCH, 10));
        run
    }

    fn join(&self, viewer: usize, epoch: Epoch, seq: Seq) {
        let welcome = Welcome {
            user: None,
            epoch,
            seq,
            sample_rate: SampleRate::ALL,
            viewers: 1,
            reactions: Default::default(),
            pinned: None,
            poll: None,
        };
        self.handle.lock().record_welcome(viewer, &welcome, self.now);
    }

    fn ack(&self, seq: Seq, intended_at: Micros) {
        self.handle.lock().record_ack(AckedComment { seq, comment_id: id(seq), intended_at });
    }

    fn deliver(&self, viewer: usize, message: &ServerMessage) -> ReceivedPayload {
        self.handle.receive(viewer, Encoding::Json, &json::encode(message), self.now)
    }

    fn totals(&self) -> DeliveryTotals {
        let totals = self.handle.lock().totals();
        let DeliveryTotals { expected, delivered, sampled_out, skipped, deleted, lost } = totals;
        assert_eq!(expected, delivered + sampled_out + skipped + deleted + lost, "{totals:?}");
        totals
    }

    fn counters(&self) -> LedgerCounters {
        self.handle.lock().counters
    }
}

#[tokio::test]
async fn latency_counts_from_the_intended_send_time() {
    let mut run = LedgerRun::new(2);
    run.ack(11, 1_000);
    run.now = 6_000;
    run.deliver(0, &batch(11, 12, &[11, 12]));
    run.now = 9_000;
    run.deliver(1, &batch(11, 12, &[11, 12]));
    // The ack may come after the comment was shown.
    run.ack(12, 4_000);
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 4, delivered: 4, ..DeliveryTotals::default() }
    );
    assert!(!run.handle.lock().outstanding());
    let (_, latency) = run.handle.snapshot();
    assert_eq!(latency.len(), 4);
    let near = |value: u64, expected: u64| value.abs_diff(expected) <= expected / 500;
    assert!(near(latency.min(), 2_000) && near(latency.max(), 8_000), "{latency:?}");
    assert_eq!(run.handle.lock().batches.len(), 1, "equal bytes are decoded once");
    assert!(run.handle.lock().batches[0].arrivals.is_empty());
}

#[tokio::test]
async fn a_comment_left_out_of_its_range_is_lost() {
    let run = LedgerRun::new(3);
    (11..=13).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &batch(11, 13, &[11, 12, 13]));
    run.deliver(1, &batch(11, 13, &[11, 13]));
    run.deliver(2, &batch(11, 11, &[11]));
    run.deliver(2, &batch(13, 13, &[13]));
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 9, delivered: 7, lost: 2, ..DeliveryTotals::default() }
    );
}

#[tokio::test]
async fn only_viewers_that_stayed_lose_later_comments() {
    let run = LedgerRun::new(3);
    (11..=14).for_each(|seq| run.ack(seq, 0));
    for viewer in 0..3 {
        run.deliver(viewer, &batch(11, 12, &[11, 12]));
    }
    run.deliver(0, &batch(13, 14, &[13, 14]));
    assert!(run.handle.lock().outstanding());
    run.handle.lock().record_disconnect(2, ViewerPresence::Gone);
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 10, delivered: 8, lost: 2, ..DeliveryTotals::default() }
    );
}

#[tokio::test]
async fn repeated_and_late_comments_are_distinguished() {
    let run = LedgerRun::new(1);
    (11..=14).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &batch(11, 11, &[11]));
    run.deliver(0, &batch(13, 14, &[13, 14]));
    run.deliver(0, &batch(12, 12, &[12]));
    assert_eq!((run.counters().out_of_order, run.counters().duplicated), (1, 0));
    run.deliver(0, &batch(12, 14, &[12, 13, 14]));
    assert_eq!((run.counters().out_of_order, run.counters().duplicated), (1, 3));
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 4, delivered: 4, ..DeliveryTotals::default() }
    );
}

#[tokio::test]
async fn disorder_inside_a_batch_is_seen() {
    let run = LedgerRun::new(1);
    (11..=13).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &batch(11, 13, &[12, 11, 13, 13, 99]));
    assert_eq!((run.counters().out_of_order, run.counters().duplicated), (2, 1));
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 3, delivered: 3, ..DeliveryTotals::default() }
    );
}

#[tokio::test]
async fn gaps_samples_and_deletions_are_no_losses() {
    let run = LedgerRun::new(1);
    let rate = SampleRate::from_share(0.5).unwrap();
    (11..=60).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &ServerMessage::Gap { from_seq: 11, to_seq: 20, history: None });
    let kept: Vec<_> = (21..=40).filter(|seq| rate.keeps(id(*seq))).collect();
    run.deliver(0, &sampled(21, 40, &kept, rate));
    let deletion = Deletion { comment_id: id(41), reason: "x".into(), timestamp: 0 };
    run.deliver(0, &ServerMessage::CommentDeleted(deletion));
    run.deliver(0, &batch(41, 60, &(42..=60).collect::<Vec<_>>()));
    let delivered = kept.len() as u64 + 19;
    let totals = DeliveryTotals {
        expected: 50,
        delivered,
        sampled_out: 20 - kept.len() as u64,
        skipped: 10,
        deleted: 1,
        lost: 0,
    };
    assert_eq!(run.totals(), totals);
    let told = run.handle.lock().deletion_latency();
    assert_eq!(told.len(), 1, "one viewer was told of one deletion");
    // A comment that the rate keeps may not hide behind the sample.
    let run = LedgerRun::new(1);
    (21..=40).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &batch(11, 20, &[]));
    run.deliver(0, &sampled(21, 40, &kept[1..], rate));
    assert_eq!(run.totals().lost, 1);
}

#[tokio::test]
async fn a_returning_viewer_resumes_from_its_position() {
    let run = LedgerRun::new(1);
    (11..=14).for_each(|seq| run.ack(seq, 0));
    run.deliver(0, &batch(11, 12, &[11, 12]));
    run.handle.lock().record_disconnect(0, ViewerPresence::Returning);
    assert!(run.handle.lock().outstanding());
    let position = run.handle.lock().position(0).unwrap();
    assert_eq!((position.epoch, position.seq), (EPOCH, 12));
    // A server that ignores the position and welcomes at its end loses the comments between.
    run.join(0, EPOCH, 13);
    run.deliver(0, &batch(14, 14, &[14]));
    assert_eq!(
        run.totals(),
        DeliveryTotals { expected: 4, delivered: 3, lost: 1, ..DeliveryTotals::default() }
    );
    run.join(0, Epoch(2), 3);
    assert_eq!(run.counters().epoch_changes, 1);
    run.deliver(0, &batch(14, 14, &[14]));
    assert_eq!(run.counters().duplicated, 0);
}

#[tokio::test]
async fn a_welcome_beyond_a_later_comment_loses_it() {
    let run = LedgerRun::new(1);
    run.ack(9, 5);
    assert_eq!(run.totals(), DeliveryTotals { expected: 1, lost: 1, ..DeliveryTotals::default() });
}

#[tokio::test]
async fn an_ack_of_another_comment_is_no_delivery() {
    let run = LedgerRun::new(1);
    run.deliver(0, &batch(11, 11, &[11]));
    let other = AckedComment { seq: 11, comment_id: id(999), intended_at: 0 };
    run.handle.lock().record_ack(other);
    assert_eq!(run.totals().lost, 1);
    run.ack(11, 0);
    assert_eq!(run.counters().conflicting_acks, 1);
    let (_, latency) = run.handle.snapshot();
    assert_eq!(latency.len(), 0);
}

#[tokio::test]
async fn byes_and_malformed_payloads_are_returned() {
    let run = LedgerRun::new(1);
    let bye = ServerMessage::Bye { code: Arc::from("shutdown"), reconnect_after_ms: Some(7) };
    assert_eq!(run.deliver(0, &bye), ReceivedPayload::Bye(Some(7)));
    let nonsense = run.handle.receive(0, Encoding::Json, b"{", run.now);
    assert!(matches!(nonsense, ReceivedPayload::Malformed(_)));
    assert!(matches!(run.deliver(0, &batch(20, 15, &[])), ReceivedPayload::Malformed(_)));
    assert_eq!(run.deliver(0, &batch(11, 10, &[])), ReceivedPayload::Recorded);
    assert_eq!(run.counters().malformed, 2);
}

/// One message to a viewer.
#[derive(Debug, Clone)]
struct SentRange {
    from: u64,
    length: u64,
    gap: bool,
    /// Bit `seq % 64` is set where the comment is missing.
    mask: u64,
}

fn sent_range() -> impl Strategy<Value = SentRange> {
    (1_u64..60, 0_u64..10, any::<bool>(), 0_u64..256)
        .prop_map(|(from, length, gap, mask)| SentRange { from, length, gap, mask })
}

#[derive(Default)]
struct NaiveAccount {
    totals: DeliveryTotals,
    duplicated: u64,
    late: u64,
}

fn naive_account(sent: &[Vec<SentRange>], acked: &BTreeSet<Seq>) -> NaiveAccount {
    let NaiveAccount { mut totals, mut duplicated, mut late } = NaiveAccount::default();
    for ranges in sent {
        let mut state: BTreeMap<Seq, &str> = BTreeMap::new();
        let mut furthest = 10;
        for SentRange { from, length, gap, mask } in ranges {
            let before = furthest;
            for seq in *from..=from + length {
                let missing = mask >> (seq % 64) & 1 == 1;
                match state.get(&seq) {
                    _ if seq <= 10 => duplicated += u64::from(!gap && !missing),
                    Some(_) => duplicated += u64::from(!gap && !missing),
                    None => {
                        late += u64::from(!gap && !missing && seq <= before);
                        let outcome = match (gap, missing) {
                            (true, _) => "skipped",
                            (false, true) => "lost",
                            (false, false) => "delivered",
                        };
                        state.insert(seq, outcome);
                    }
                }
                furthest = furthest.max(seq);
            }
        }
        for seq in acked.iter().filter(|seq| **seq > 10) {
            totals.expected += 1;
            match state.get(seq).copied() {
                Some("skipped") => totals.skipped += 1,
                Some("delivered") => totals.delivered += 1,
                _ => totals.lost += 1,
            }
        }
    }
    NaiveAccount { totals, duplicated, late }
}

proptest! {
    #[test]
    fn the_account_agrees_with_a_naive_one(
        sent in prop::collection::vec(prop::collection::vec(sent_range(), 0..15), 1..4),
        acked in prop::collection::btree_set(11_u64..80, 0..60),
        acks_first: bool,
    ) {
        let run = LedgerRun::new(sent.len());
        let ack_all = || acked.iter().rev().for_each(|seq| run.ack(*seq, 0));
        if acks_first {
            ack_all();
        }
        for (viewer, ranges) in sent.iter().enumerate() {
            for SentRange { from, length, gap, mask } in ranges {
                let from = *from;
                let to = from + length;
                let seqs: Vec<_> = (from..=to).filter(|seq| mask >> (seq % 64) & 1 == 0).collect();
                if *gap {
                    run.deliver(viewer, &ServerMessage::Gap { from_seq: from, to_seq: to, history: None });
                } else {
                    run.deliver(viewer, &batch(from, to, &seqs));
                }
            }
        }
        if !acks_first {
            ack_all();
        }
        let NaiveAccount { totals, duplicated, late } = naive_account(&sent, &acked);
        prop_assert_eq!(run.totals(), totals);
        prop_assert_eq!(run.counters().duplicated, duplicated);
        prop_assert_eq!(run.counters().out_of_order, late);
        let (_, latency) = run.handle.snapshot();
        prop_assert_eq!(latency.len(), totals.delivered);
    }
}
