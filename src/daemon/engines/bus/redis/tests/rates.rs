//! Rates of the bus on this machine, printed with `--nocapture`; asserts that nothing is lost or
//! out of order.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::daemon::engines::bus::{Batch, HeldBack};
use crate::protocol::comment::SequencedComment;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Epoch, UserId};

/// As the coordinator makes them on a busy stream.
fn batch(number: u64, comments: u64) -> BusMessage {
    let from_seq = number * comments;
    let comment = |seq| SequencedComment {
        comment_id: CommentId::from_unix_ticks(17_500_000_000_000_000 + seq, 5, [2, 0, 0, 0, 0, 1]),
        user_id: UserId(1_000_000 + seq),
        name: "a_viewer".into(),
        message: "what a goal, in the last minute of all minutes!".into(),
        created_at: 1_750_000_000_000,
        seq,
        badges: Default::default(),
        parent_id: None,
    };
    BusMessage::Batch(Arc::new(Batch {
        epoch: Epoch(1),
        from_seq,
        to_seq: from_seq + comments - 1,
        sample_rate: SampleRate::ALL,
        comments: (from_seq..from_seq + comments).map(comment).collect(),
        sampled_out: 0,
        deletions: Vec::new(),
        staff: Vec::new(),
        own: Vec::new(),
        held_back: HeldBack::default(),
    }))
}

async fn listen(bus: &RedisBus, streams: u64) -> Box<dyn BusListener> {
    let (subscriptions, listener) = bus.listen(&NodeId::new("edge")).await.unwrap();
    for stream in 1..=streams {
        subscriptions.subscribe(StreamId(stream)).await.unwrap();
    }
    listener
}

/// One batch at a time on a quiet bus: from the call to its being heard.
async fn latencies(bus: &RedisBus, comments: u64) -> Vec<Duration> {
    let mut listener = listen(bus, 1).await;
    let mut latencies = Vec::new();
    for number in 0..2000 {
        let message = batch(number, comments);
        let started = Instant::now();
        let (published, heard) =
            tokio::join!(bus.publish(A, vec![message.clone()]), next(&mut listener));
        latencies.push(started.elapsed());
        published.unwrap();
        assert_eq!(heard, BusEvent::Message(A, message));
    }
    latencies.sort();
    latencies
}

/// Many streams at once, each waiting for its call before the next: calls a second.
async fn rate(bus: &Arc<RedisBus>, streams: u64, calls: u64, comments: u64) -> f64 {
    let mut listener = listen(bus, streams).await;
    let heard = Arc::new(AtomicU64::new(0));
    let counter = heard.clone();
    let reader = tokio::spawn(async move {
        let mut expected = vec![0; streams as usize + 1];
        while counter.load(Ordering::Relaxed) < streams * calls {
            let (stream_id, batch) = match next(&mut listener).await {
                BusEvent::Message(stream_id, BusMessage::Batch(batch)) => (stream_id, batch),
                other => panic!("only batches were published, {other:?} was heard"),
            };
            assert_eq!(batch.from_seq, expected[stream_id.0 as usize], "stream {stream_id}");
            expected[stream_id.0 as usize] = batch.to_seq + 1;
            counter.fetch_add(1, Ordering::Relaxed);
        }
        listener.lost()
    });
    let started = Instant::now();
    let publishers: Vec<_> = (1..=streams)
        .map(|stream| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for number in 0..calls {
                    bus.publish(StreamId(stream), vec![batch(number, comments)]).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(reader.await.unwrap(), 0, "lost");
    (streams * calls) as f64 / started.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn full_speed_keeps_every_message_in_order() {
    for nodes in [1, 3] {
        let urls = stack::redis();
        let config = RedisConfig { listener_messages: 1 << 20, ..on_stack(&urls[..nodes]) };
        let bus = Arc::new(open(&config));
        let alone = latencies(&bus, 20).await;
        let p50 = alone[alone.len() / 2];
        let p99 = alone[alone.len() * 99 / 100];
        println!("{nodes} Redis nodes, a batch of 20 comments alone: p50 {p50:?}, p99 {p99:?}");
        let bus = Arc::new(open(&RedisConfig { prefix: format!("{}2:", config.prefix), ..config }));
        let calls = rate(&bus, 32, 500, 20).await;
        println!(
            "{nodes} Redis nodes, 32 streams at once: {calls:.0} batches/s, {:.0} comments/s",
            calls * 20.0
        );
    }
}
