//! When each comment is due, and an open loop that keeps to it.
//!
//! The schedule is fixed before the run. Lateness is measured against it, so a server that stalls
//! is charged for every comment it kept waiting, not for one (coordinated omission).

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::comment_text::numbered_text;
use super::recording::RecordedComment;

/// A `dispatch` that takes longer than this was blocked by its receiver.
const BLOCKED_AFTER: Duration = Duration::from_millis(1);

/// A comment and the time at which it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledComment {
    /// Counts from 0 in the order of the schedule.
    pub number: u64,
    /// Time since the start.
    pub due: Duration,
    /// Comments of one lane are sent by one sender, in order.
    pub lane: u64,
    pub text: Arc<str>,
}

/// The comments of a run and their times.
#[derive(Debug, Clone)]
pub enum Workload {
    /// Numbered comments, evenly spread. A rate of 0 sends none.
    Rate { per_second: f64, duration: Duration },
    /// A recording, `speed` times as fast as it was recorded, for at most `limit`.
    Replay { recording: Arc<Vec<RecordedComment>>, speed: f64, limit: Option<Duration> },
}

impl Workload {
    /// Returns how long the schedule takes.
    pub(crate) fn duration(&self) -> Duration {
        match self {
            Self::Rate { duration, .. } => *duration,
            Self::Replay { recording, speed, limit } => {
                let last = recording.last().map_or(Duration::ZERO, |c| at_speed(c.ts_ms, *speed));
                limit.map_or(last, |limit| limit.min(last))
            }
        }
    }

    /// Returns the number of comments.
    pub fn comments(&self) -> u64 {
        match self {
            Self::Rate { per_second, duration } => (per_second * duration.as_secs_f64()) as u64,
            Self::Replay { recording, .. } => {
                let end = self.duration();
                let within = |c: &&RecordedComment| self.due(c.ts_ms) <= end;
                recording.iter().take_while(within).count() as u64
            }
        }
    }

    /// Returns the schedule, in order of time.
    pub(crate) fn schedule(&self) -> Box<dyn Iterator<Item = ScheduledComment> + Send + '_> {
        let numbers = 0..self.comments();
        match self {
            Self::Rate { per_second, .. } => {
                Box::new(numbers.map(move |number| ScheduledComment {
                    number,
                    due: Duration::from_secs_f64(number as f64 / per_second),
                    lane: number,
                    text: numbered_text(number),
                }))
            }
            Self::Replay { recording, .. } => {
                let users = RandomState::with_seeds(1, 2, 3, 4);
                let scheduled =
                    move |(number, comment): (u64, &RecordedComment)| ScheduledComment {
                        number,
                        due: self.due(comment.ts_ms),
                        lane: users.hash_one(comment.sender()),
                        text: comment.text.clone(),
                    };
                Box::new(numbers.zip(recording.iter()).map(scheduled))
            }
        }
    }

    fn due(&self, ts_ms: u64) -> Duration {
        match self {
            Self::Rate { .. } => Duration::ZERO,
            Self::Replay { speed, .. } => at_speed(ts_ms, *speed),
        }
    }
}

fn at_speed(ts_ms: u64, speed: f64) -> Duration {
    Duration::from_secs_f64(ts_ms as f64 / 1000.0 / speed)
}

/// Delay of the loop behind its schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slippage {
    /// The longest time between a comment's due time and its dispatch.
    pub behind_max: Duration,
    /// The same without comments that were late because a sender's queue was full. Those were
    /// delayed by the server, not by the generator.
    pub own_max: Duration,
    /// Time from the start to the last dispatch.
    pub ended_after: Duration,
}

/// Calls `dispatch` with each comment at its due time, or as soon after it as `dispatch` allows,
/// and with the due time as an instant. Ends with the schedule or when `stop` is cancelled.
pub(crate) async fn run_schedule(
    start: Instant,
    schedule: impl Iterator<Item = ScheduledComment>,
    stop: &CancellationToken,
    mut dispatch: impl AsyncFnMut(ScheduledComment, Instant),
) -> Slippage {
    let mut slippage = Slippage::default();
    let mut blocked_until = start;
    for comment in schedule {
        let intended = start + comment.due;
        let mut now = Instant::now();
        if now < intended {
            tokio::select! {
                () = sleep_until(intended) => now = Instant::now(),
                () = stop.cancelled() => break,
            }
        } else if stop.is_cancelled() {
            break;
        }
        let behind = now.saturating_duration_since(intended);
        slippage.behind_max = slippage.behind_max.max(behind);
        if intended >= blocked_until {
            slippage.own_max = slippage.own_max.max(behind);
        }
        dispatch(comment, intended).await;
        let after = Instant::now();
        if after.saturating_duration_since(now) > BLOCKED_AFTER {
            blocked_until = after;
        }
        slippage.ended_after = after.saturating_duration_since(start);
    }
    slippage
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: f64, seconds: u64) -> Workload {
        Workload::Rate { per_second, duration: Duration::from_secs(seconds) }
    }

    async fn run(workload: &Workload, stall_at: u64) -> (Vec<(u64, Duration, Duration)>, Slippage) {
        let start = Instant::now();
        let mut sent = Vec::new();
        let stop = CancellationToken::new();
        let slippage =
            run_schedule(start, workload.schedule(), &stop, async |comment, intended| {
                sent.push((comment.number, intended - start, start.elapsed()));
                if comment.number == stall_at {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            })
            .await;
        (sent, slippage)
    }

    #[tokio::test(start_paused = true)]
    async fn comments_leave_at_their_times() {
        let (sent, slippage) = run(&rate(100.0, 3), u64::MAX).await;
        assert_eq!(sent.len(), 300);
        for (number, intended, at) in sent {
            assert_eq!(intended, Duration::from_millis(10 * number));
            assert_eq!(at, intended);
        }
        assert_eq!(slippage.behind_max, Duration::ZERO);
    }

    /// A closed loop would send comment 51 one second late and report it as on time.
    #[tokio::test(start_paused = true)]
    async fn a_stall_is_charged_to_every_waiting_comment() {
        let (sent, slippage) = run(&rate(100.0, 3), 50).await;
        assert_eq!(sent.len(), 300);
        let late: Vec<_> = sent.iter().filter(|(_, intended, at)| at > intended).collect();
        assert_eq!(late.len(), 99, "those due within the stalled second");
        let waits: Duration = sent.iter().map(|(_, intended, at)| *at - *intended).sum();
        let expected: Duration = (1..100).map(|n| Duration::from_millis(10 * n)).sum();
        assert_eq!(waits, expected);
        assert_eq!(sent[300 - 1].2, Duration::from_millis(2990), "the loop catches up");
        assert_eq!(slippage.behind_max, Duration::from_millis(990));
        assert_eq!(slippage.own_max, Duration::ZERO, "only the receiver stalled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_keeps_speed_and_one_lane_per_user() {
        let line = |ts_ms, user: &str| RecordedComment {
            ts_ms,
            id: None,
            user: user.into(),
            user_id: None,
            user_key: None,
            text: "x".into(),
            moderation: None,
            moderation_s: None,
        };
        let recording = vec![line(0, "a"), line(1_000, "b"), line(4_000, "a"), line(9_000, "c")];
        let mut workload =
            Workload::Replay { recording: Arc::new(recording), speed: 2.0, limit: None };
        let (sent, _) = run(&workload, u64::MAX).await;
        let times: Vec<_> = sent.iter().map(|(_, _, at)| at.as_millis()).collect();
        assert_eq!(times, [0, 500, 2_000, 4_500]);
        let lanes: Vec<_> = workload.schedule().map(|comment| comment.lane).collect();
        assert_eq!(lanes[0], lanes[2]);
        assert_ne!(lanes[0], lanes[1]);
        if let Workload::Replay { limit, .. } = &mut workload {
            *limit = Some(Duration::from_secs(2));
        }
        assert_eq!(workload.comments(), 3);
        assert_eq!(workload.duration(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_zero_schedules_nothing() {
        assert_eq!(rate(0.0, 5).comments(), 0);
        assert_eq!(rate(0.0, 5).schedule().count(), 0);
    }
}
