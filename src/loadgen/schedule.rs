//! When which comment is to be sent, and an open loop that keeps to it.
//!
//! The plan is fixed before the run: what is late is late against the plan, so a server that stalls
//! is charged for every comment it kept waiting, not for one (coordinated omission).

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::text::numbered_text;
use crate::cli::recording::RecordedComment;

/// A comment and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Counts from 0 in the order of the plan.
    pub number: u64,
    /// Since the start.
    pub due: Duration,
    /// Comments of one lane are sent by one sender, in order.
    pub lane: u64,
    pub text: Arc<str>,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(crate) enum Workload {
    /// Numbered comments, evenly spread. A rate of 0 sends none.
    Rate { per_second: f64, duration: Duration },
    /// A recording, `speed` times as fast as it was; at most for `limit`.
    Replay { recording: Arc<Vec<RecordedComment>>, speed: f64, limit: Option<Duration> },
}

impl Workload {
    /// How long it takes.
    pub(crate) fn duration(&self) -> Duration {
        match self {
            Self::Rate { duration, .. } => *duration,
            Self::Replay { recording, speed, limit } => {
                let last = recording.last().map_or(Duration::ZERO, |c| at_speed(c.ts_ms, *speed));
                limit.map_or(last, |limit| limit.min(last))
            }
        }
    }

    /// How many comments that makes.
    pub(crate) fn comments(&self) -> u64 {
        match self {
            Self::Rate { per_second, duration } => (per_second * duration.as_secs_f64()) as u64,
            Self::Replay { recording, .. } => {
                let end = self.duration();
                let within = |c: &&RecordedComment| self.due(c.ts_ms) <= end;
                recording.iter().take_while(within).count() as u64
            }
        }
    }

    /// The plan, in order of time.
    pub(crate) fn plan(&self) -> Box<dyn Iterator<Item = Planned> + Send + '_> {
        let numbers = 0..self.comments();
        match self {
            Self::Rate { per_second, .. } => Box::new(numbers.map(move |number| Planned {
                number,
                due: Duration::from_secs_f64(number as f64 / per_second),
                lane: number,
                text: numbered_text(number),
            })),
            Self::Replay { recording, .. } => {
                let users = RandomState::with_seeds(1, 2, 3, 4);
                let planned = move |(number, comment): (u64, &RecordedComment)| Planned {
                    number,
                    due: self.due(comment.ts_ms),
                    lane: users.hash_one(&comment.user),
                    text: comment.text.clone(),
                };
                Box::new(numbers.zip(recording.iter()).map(planned))
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

/// How well the loop kept to the plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slippage {
    /// The latest any comment was handed over after its time.
    pub behind_max: Duration,
    /// The same, without comments that were late because a sender's queue was full, which is the
    /// server's doing.
    pub own_max: Duration,
    /// When the last comment was handed over, since the start.
    pub ended_after: Duration,
}

/// Hands each comment to `dispatch` at its time, or as soon after as `dispatch` allows, with the
/// time it was meant for. Ends with the plan or when `stop` is cancelled.
pub(crate) async fn keep_pace(
    start: Instant,
    plan: impl Iterator<Item = Planned>,
    stop: &CancellationToken,
    mut dispatch: impl AsyncFnMut(Planned, Instant),
) -> Slippage {
    let mut slippage = Slippage::default();
    let mut blocked_until = start;
    for planned in plan {
        let intended = start + planned.due;
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
        dispatch(planned, intended).await;
        let after = Instant::now();
        if after.saturating_duration_since(now) > Duration::from_millis(1) {
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
        let slippage = keep_pace(start, workload.plan(), &stop, async |planned, intended| {
            sent.push((planned.number, intended - start, start.elapsed()));
            if planned.number == stall_at {
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

    /// A closed loop would send comment 51 a second late and call it on time.
    #[tokio::test(start_paused = true)]
    async fn a_stall_is_charged_to_every_comment_it_kept_waiting() {
        let (sent, slippage) = run(&rate(100.0, 3), 50).await;
        assert_eq!(sent.len(), 300);
        let late: Vec<_> = sent.iter().filter(|(_, intended, at)| at > intended).collect();
        assert_eq!(late.len(), 99, "those of the second that was stalled, without its ends");
        let waits: Duration = sent.iter().map(|(_, intended, at)| *at - *intended).sum();
        let expected: Duration = (1..100).map(|n| Duration::from_millis(10 * n)).sum();
        assert_eq!(waits, expected);
        assert_eq!(sent[300 - 1].2, Duration::from_millis(2990), "the plan is caught up with");
        assert_eq!(slippage.behind_max, Duration::from_millis(990));
        assert_eq!(slippage.own_max, Duration::ZERO, "the receiver of the comments stalled");
    }

    #[tokio::test(start_paused = true)]
    async fn a_recording_is_played_at_its_speed_by_lanes_of_its_users() {
        let line = |ts_ms, user: &str| RecordedComment {
            ts_ms,
            user: user.into(),
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
        let lanes: Vec<_> = workload.plan().map(|planned| planned.lane).collect();
        assert_eq!(lanes[0], lanes[2]);
        assert_ne!(lanes[0], lanes[1]);
        if let Workload::Replay { limit, .. } = &mut workload {
            *limit = Some(Duration::from_secs(2));
        }
        assert_eq!(workload.comments(), 3);
        assert_eq!(workload.duration(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_of_nothing_plans_nothing() {
        assert_eq!(rate(0.0, 5).comments(), 0);
        assert_eq!(rate(0.0, 5).plan().count(), 0);
    }
}
