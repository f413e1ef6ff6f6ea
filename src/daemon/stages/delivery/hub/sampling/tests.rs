//! A node with a budget, and a test that writes on the meter what workers would have sent.

use bytesize::ByteSize;

use super::*;
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::engines::bus::{Batch, BusMessage};
use crate::daemon::stages::delivery::hub::tests::{Rig, STREAM, batch};
use crate::daemon::stages::delivery::mailbox::Command;
use crate::daemon::testing::comments::sample_comment_id;
use crate::policy::egress;

/// Each comment goes to a thousand viewers, as so many bytes.
const COMMENT_BYTES: u64 = 200_000;
const A_TICK: u64 = 25;

fn budget(bytes_per_second: u64) -> DeliveryConfig {
    let egress_bytes_per_second = ByteSize::b(bytes_per_second);
    DeliveryConfig { egress_bytes_per_second, ..DeliveryConfig::default() }
}

/// A stream on its way, a hundred comments a second.
struct Broadcast {
    rig: Rig,
    meter: Arc<EgressMeter>,
    next: Seq,
    /// Everything worker 0 was told.
    told: Vec<ServerMessage>,
}

impl Broadcast {
    async fn start(config: DeliveryConfig) -> Self {
        let rig = Rig::start_with(config).await;
        let meter = rig.watch(0).await.meter;
        Self { rig, meter, next: 1, told: Vec::new() }
    }

    /// Broadcasts for some ticks, `sent` bytes a comment shown, and returns what came of it.
    async fn run(&mut self, ticks: u32, sent: u64) -> Vec<ServerMessage> {
        let before = self.told.len();
        for _ in 0..ticks {
            let to_seq = self.next + A_TICK - 1;
            self.rig.broadcast(batch(self.next, to_seq, &[])).await;
            self.next = to_seq + 1;
            self.take(sent).await;
            tokio::time::sleep(egress::TICK - Duration::from_millis(1)).await;
        }
        self.take(sent).await;
        self.told[before..].to_vec()
    }

    async fn take(&mut self, sent: u64) {
        for command in self.rig.commands(0).await {
            let Command::Frame { frame, .. } = command else { continue };
            self.meter.add_bytes(frame.comments() * sent);
            self.told.push(frame.message().clone());
        }
    }

    /// All ranges, which must join.
    fn ranges(&self) -> Vec<&CommentsBatch> {
        let ranges: Vec<_> = self.told.iter().filter_map(as_batch).collect();
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].to_seq + 1, pair[1].from_seq, "ranges join");
        }
        ranges
    }
}

fn as_batch(message: &ServerMessage) -> Option<&CommentsBatch> {
    match message {
        ServerMessage::Comments(batch) => Some(batch),
        _ => None,
    }
}

fn shown(messages: &[ServerMessage]) -> usize {
    messages.iter().filter_map(as_batch).map(|batch| batch.comments.len()).sum()
}

fn notices(messages: &[ServerMessage]) -> Vec<SampleRate> {
    let notice = |message: &ServerMessage| match message {
        ServerMessage::ThrottleNotification { sample_rate, .. } => Some(*sample_rate),
        _ => None,
    };
    messages.iter().filter_map(notice).collect()
}

#[tokio::test(start_paused = true)]
async fn no_budget_shows_everything_without_notices() {
    let mut broadcast = Broadcast::start(budget(0)).await;
    let messages = broadcast.run(80, COMMENT_BYTES).await;
    assert_eq!((shown(&messages), notices(&messages)), (2_000, Vec::new()));
    assert_eq!(broadcast.rig.board.stream_egress(), []);
}

#[tokio::test(start_paused = true)]
async fn over_budget_comments_are_sampled_and_counted() {
    let mut broadcast = Broadcast::start(budget(5_000_000)).await;
    let messages = broadcast.run(80, COMMENT_BYTES).await;
    let then = broadcast.run(80, COMMENT_BYTES).await;
    let bytes_a_second = shown(&then) as u64 * COMMENT_BYTES / 20;
    assert!((3_000_000..=5_000_000).contains(&bytes_a_second), "{bytes_a_second}");
    let told = notices(&messages);
    assert!((1..=10).contains(&told.len()), "told, and not at every step: {told:?}");
    assert!(told.is_sorted_by(|a, b| a >= b), "down and down: {told:?}");
    let ranges = broadcast.ranges();
    let rate = ranges.last().unwrap().sample_rate;
    for batch in &ranges {
        // Each frame is what its rate says: it is from this that senders know what was left out.
        let keeps = (batch.from_seq..=batch.to_seq)
            .filter(|seq| batch.sample_rate.keeps(sample_comment_id(*seq)));
        assert!(batch.comments.iter().map(|comment| comment.seq).eq(keeps));
    }
    let left_out = 4_000 - ranges.iter().map(|batch| batch.comments.len() as u64).sum::<u64>();
    let [row] = broadcast.rig.board.stream_egress().try_into().unwrap();
    assert_eq!((row.stream_id, row.share), (STREAM, rate));
    assert_eq!(row.sampled_out, left_out);
    let metrics = broadcast.rig.board.metrics();
    assert_eq!(metrics.comments_egress_sampled_out.get(), left_out);
    let egress = broadcast.rig.board.egress();
    assert_eq!(egress.limited_by, Some(crate::protocol::admin::EgressLimit::Budget));
    assert_eq!((egress.limit_bytes_per_second, egress.streams_lowered), (Some(5_000_000), 1));
    assert!(egress.wanted_bytes_per_second > 18_000_000, "{egress:?}");
}

#[tokio::test(start_paused = true)]
async fn joiner_is_told_the_rate_and_all_is_shown_again() {
    let mut broadcast = Broadcast::start(budget(5_000_000)).await;
    broadcast.run(80, COMMENT_BYTES).await;
    let start = broadcast.rig.watch(1).await;
    assert!((0.1..0.3).contains(&start.sample_rate.share()), "{:?}", start.sample_rate);
    assert!(Arc::ptr_eq(&start.meter, &broadcast.meter), "one meter for all workers");
    // Most viewers go.
    let messages = broadcast.run(200, COMMENT_BYTES / 1000).await;
    assert_eq!(notices(&messages).last(), Some(&SampleRate::ALL));
    assert_eq!(shown(&broadcast.run(8, 0).await), 200);
    broadcast.ranges();
}

#[tokio::test(start_paused = true)]
async fn deletions_and_staff_are_never_left_out() {
    let mut broadcast = Broadcast::start(budget(1_000)).await;
    broadcast.run(80, COMMENT_BYTES).await;
    let from_seq = broadcast.next;
    let to_seq = from_seq + 99;
    let deletions: Vec<Seq> = (from_seq..=to_seq).filter(|seq| seq % 10 == 0).collect();
    let staff = vec![from_seq + 1, from_seq + 2, from_seq + 3];
    let all = Batch { staff: staff.clone(), ..batch(from_seq, to_seq, &deletions) };
    broadcast.rig.broadcast(all).await;
    broadcast.next = to_seq + 1;
    let before = broadcast.told.len();
    broadcast.take(0).await;
    let messages = &broadcast.told[before..];
    let deleted = messages.iter().filter(|m| matches!(m, ServerMessage::CommentDeleted(_)));
    assert_eq!(deleted.count(), deletions.len());
    let frame = messages.iter().find_map(as_batch).unwrap();
    let seqs: Vec<_> = frame.comments.iter().map(|comment| comment.seq).collect();
    assert!(staff.iter().all(|seq| seqs.contains(seq)), "{seqs:?}");
    assert!(seqs.len() < 10, "{seqs:?}");
}

#[tokio::test(start_paused = true)]
async fn empty_range_is_sent_soon_at_its_own_rate() {
    let mut broadcast = Broadcast::start(budget(0)).await;
    let nothing = |from_seq, to_seq, sample_rate| Batch {
        sample_rate,
        comments: Vec::new(),
        sampled_out: 1,
        ..batch(from_seq, to_seq, &[])
    };
    let half = SampleRate::from_share(0.5).unwrap();
    broadcast.rig.broadcast(nothing(1, 2, SampleRate::NONE)).await;
    broadcast.rig.broadcast(nothing(3, 4, SampleRate::NONE)).await;
    broadcast.take(0).await;
    assert_eq!(broadcast.ranges().len(), 0, "an empty frame costs as much as a comment");
    broadcast.rig.broadcast(nothing(5, 6, half)).await;
    tokio::time::sleep(2 * EMPTY_AFTER).await;
    broadcast.take(0).await;
    let ranges = broadcast.ranges();
    let ranges: Vec<_> = ranges.iter().map(|b| (b.from_seq, b.to_seq, b.sample_rate)).collect();
    assert_eq!(ranges, [(1, 4, SampleRate::NONE), (5, 6, half)]);
}

#[tokio::test(start_paused = true)]
async fn hole_between_empty_ranges_stays_visible() {
    let mut broadcast = Broadcast::start(budget(0)).await;
    let nothing = |from_seq, to_seq| Batch {
        sample_rate: SampleRate::NONE,
        comments: Vec::new(),
        sampled_out: 1,
        ..batch(from_seq, to_seq, &[])
    };
    let publish = |batch| BusMessage::Batch(Arc::new(batch));
    broadcast.rig.publish(publish(nothing(1, 2))).await;
    broadcast.rig.publish(publish(nothing(50, 51))).await;
    broadcast.rig.publish(publish(batch(52, 53, &[]))).await;
    broadcast.take(0).await;
    let ranges: Vec<_> = broadcast.told.iter().filter_map(as_batch).collect();
    let ranges: Vec<_> = ranges.iter().map(|b| (b.from_seq, b.to_seq)).collect();
    assert_eq!(ranges, [(1, 2), (50, 51), (52, 53)]);
}

#[tokio::test(start_paused = true)]
async fn rate_with_a_lost_notice_is_announced() {
    let mut broadcast = Broadcast::start(budget(0)).await;
    let tenth = SampleRate::from_share(0.1).unwrap();
    broadcast.rig.broadcast(Batch { sample_rate: tenth, ..batch(1, 2, &[]) }).await;
    tokio::time::sleep(2 * egress::TICK).await;
    broadcast.take(0).await;
    assert_eq!(notices(&broadcast.told), [tenth]);
}
