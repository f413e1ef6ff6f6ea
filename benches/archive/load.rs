//! Appends comments to the log at an even rate, as edges do.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use live_comments::daemon::engines::eventlog::{NewRecord, Topic};
use live_comments::protocol::events::{CommentSubmitted, Event};
use live_comments::protocol::{Comment, CommentId, Role, StreamId, UserId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::servers::Servers;

/// The interval at which due comments are appended together.
const TICK: Duration = Duration::from_millis(5);
/// Appends in flight; further ones wait, and are late.
const UNDER_WAY: usize = 256;
const NODE: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// The load to send.
pub(super) struct Load {
    rate: u64,
    duration: Duration,
    first_stream: u64,
    streams: u64,
    first_tick: u64,
}

/// The load that was sent.
pub(super) struct Sent {
    pub(super) comments: u64,
    /// Time until the last acknowledgement.
    pub(super) took: Duration,
    /// Time from when a batch was due until it was acknowledged.
    pub(super) acks_ms: Vec<f32>,
    /// The largest lag of the archiver.
    pub(super) lag_max: u64,
}

impl Load {
    /// Uses streams that no earlier run has used.
    pub(super) fn new(rate: u64, duration: Duration, streams: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        Self {
            rate,
            duration,
            first_stream: now.as_millis() as u64,
            streams,
            first_tick: now.as_micros() as u64 * 10,
        }
    }

    pub(super) fn streams(&self) -> Range<u64> {
        self.first_stream..self.first_stream + self.streams
    }

    pub(super) async fn send(&self, servers: &Servers) -> anyhow::Result<Sent> {
        let began = Instant::now();
        let permits = Arc::new(Semaphore::new(UNDER_WAY));
        let mut appends = JoinSet::new();
        let mut acks_ms = Vec::new();
        let mut comments = 0;
        let mut lag_max = 0;
        let mut lag_at = began + Duration::from_millis(500);
        let mut tick = tokio::time::interval(TICK);
        while began.elapsed() < self.duration {
            let due = tick.tick().await.into_std();
            let end = (due.saturating_duration_since(began) + TICK).min(self.duration);
            let until = (end.as_secs_f64() * self.rate as f64) as u64;
            let records = (comments..until).map(|number| self.record(number)).collect();
            comments = until;
            let permit = permits.clone().acquire_owned().await?;
            let append = servers.log.append(Topic::CommentEvents, records);
            appends.spawn(async move {
                let outcome = append.await;
                drop(permit);
                outcome.map(|_| due.elapsed().as_secs_f32() * 1000.0)
            });
            while let Some(done) = appends.try_join_next() {
                acks_ms.push(done??);
            }
            if due >= lag_at {
                lag_max = lag_max.max(servers.lag().await?);
                lag_at += Duration::from_millis(500);
            }
        }
        while let Some(done) = appends.join_next().await {
            acks_ms.push(done??);
        }
        Ok(Sent { comments, took: began.elapsed(), acks_ms, lag_max })
    }

    fn record(&self, number: u64) -> NewRecord {
        let ticks = self.first_tick + number * 10_000_000 / self.rate;
        let comment_id = CommentId::from_unix_ticks(ticks, 5, NODE);
        let stream = self.first_stream + number % self.streams;
        let comment = Comment {
            stream_id: StreamId(stream),
            comment_id,
            user_id: UserId(1 + number % 100_000),
            name: format!("viewer{}", number % 100_000).into(),
            message: format!("what a goal, that is number {number} of the evening!").into(),
            created_at: comment_id.unix_ms(),
            badges: Default::default(),
            parent_id: None,
        };
        let event = CommentSubmitted {
            comment: Arc::new(comment),
            role: Role::Viewer,
            client_ref: None,
            shadow: false,
            screened: false,
        };
        let payload = Event::CommentSubmitted(event).encode().into();
        NewRecord { key: stream, timestamp_ms: comment_id.unix_ms(), payload }
    }
}
