//! The limit on comments per minute: one token bucket per user, filled evenly, one minute deep.
//!
//! Each edge counts the comments that it receives. Asking the other edges would cost every comment
//! a round trip, and would make Redis a condition for accepting one.
//!
//! The clock of the buckets is the latest time that was passed in.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::AHashMap;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::protocol::{Identity, Role, UserId};

/// Comments per minute by role. 0 means no limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoleLimits {
    pub viewer: u32,
    pub moderator: u32,
    pub broadcaster: u32,
    pub admin: u32,
}

impl Default for RoleLimits {
    fn default() -> Self {
        Self { viewer: 60, moderator: 200, broadcaster: 200, admin: 0 }
    }
}

/// The latest time passed in, in nanoseconds since the limits were made.
#[derive(Debug, Clone, Default)]
struct PassedTime(Arc<AtomicU64>);

impl PassedTime {
    /// Time of one thread may arrive after a later time of another, and does not move back.
    fn advance(&self, since_start: Duration) {
        let nanos = u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_max(nanos, Relaxed);
    }
}

impl Clock for PassedTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Relaxed))
    }
}

type Limiter =
    RateLimiter<UserId, DefaultKeyedStateStore<UserId>, PassedTime, NoOpMiddleware<Nanos>>;

/// The limits of all users. One bucket per user that commented within the last minute.
#[derive(Debug)]
pub struct CommentLimits {
    by_role: RoleLimits,
    started: Instant,
    clock: PassedTime,
    /// One limiter per quota in use: those of the roles and those in tokens.
    limiters: Mutex<AHashMap<u32, Arc<Limiter>>>,
}

impl CommentLimits {
    pub fn new(by_role: RoleLimits, now: Instant) -> Self {
        let clock = PassedTime::default();
        Self { by_role, started: now, clock, limiters: Mutex::default() }
    }

    /// Counts a comment, or returns how long its sender has to wait.
    pub fn check(&self, identity: &Identity, now: Instant) -> Result<(), Duration> {
        let by_role = match identity.role {
            Role::Viewer => self.by_role.viewer,
            Role::Moderator => self.by_role.moderator,
            Role::Broadcaster => self.by_role.broadcaster,
            Role::Admin => self.by_role.admin,
        };
        let per_minute = identity.comments_per_minute.unwrap_or(by_role);
        let Some(quota) = NonZeroU32::new(per_minute) else { return Ok(()) };
        self.clock.advance(now.saturating_duration_since(self.started));
        self.limiter(quota)
            .check_key(&identity.user_id)
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    /// Forgets users whose buckets are full again.
    pub fn forget_idle(&self, now: Instant) {
        self.clock.advance(now.saturating_duration_since(self.started));
        let limiters: Vec<_> = self.limiters.lock().values().cloned().collect();
        for limiter in limiters {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    fn limiter(&self, per_minute: NonZeroU32) -> Arc<Limiter> {
        let make = || {
            let quota = Quota::per_minute(per_minute);
            Arc::new(RateLimiter::new(quota, DefaultKeyedStateStore::default(), self.clock.clone()))
        };
        self.limiters.lock().entry(per_minute.get()).or_insert_with(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(comments_per_minute: Option<u32>) -> Identity {
        Identity {
            user_id: UserId(7),
            name: "ann".into(),
            role: Role::Viewer,
            everywhere: Role::Viewer,
            avatar: None,
            comments_per_minute,
            standing: Default::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_sixty_first_comment_of_a_minute_waits_a_second() {
        let limits = CommentLimits::new(RoleLimits::default(), Instant::now());
        let ann = identity(None);
        (0..60).for_each(|_| assert_eq!(limits.check(&ann, Instant::now()), Ok(())));
        let wait = limits.check(&ann, Instant::now()).unwrap_err();
        assert!((900..=1_000).contains(&wait.as_millis()), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(limits.check(&ann, Instant::now()), Ok(()));
        assert!(limits.check(&ann, Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_in_the_token_overrides_the_role() {
        let limits = CommentLimits::new(RoleLimits::default(), Instant::now());
        let bot = identity(Some(0));
        (0..10_000).for_each(|_| assert_eq!(limits.check(&bot, Instant::now()), Ok(())));
        let slow = identity(Some(1));
        assert_eq!(limits.check(&slow, Instant::now()), Ok(()));
        assert!(limits.check(&slow, Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_users_are_forgotten() {
        let limits = CommentLimits::new(RoleLimits::default(), Instant::now());
        limits.check(&identity(None), Instant::now()).unwrap();
        tokio::time::advance(Duration::from_secs(120)).await;
        limits.forget_idle(Instant::now());
        assert!(limits.limiters.lock().values().all(|limiter| limiter.is_empty()));
    }
}
