//! The limit on comments per minute: one token bucket per user, filled evenly, one minute deep.
//!
//! Each edge counts the comments that it receives. Asking the other edges would cost every comment
//! a round trip, and would make Redis a condition for accepting one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::daemon::base::config::RoleLimits;
use crate::protocol::{Identity, Role, UserId};

/// A governor clock on tokio's time, so that tests can pause it.
#[derive(Debug, Clone)]
struct LimiterClock(Instant);

impl Clock for LimiterClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.elapsed())
    }
}

type Limiter =
    RateLimiter<UserId, DefaultKeyedStateStore<UserId>, LimiterClock, NoOpMiddleware<Nanos>>;

/// The limits of all users. One bucket per user that commented within the last minute.
#[derive(Debug)]
pub struct CommentLimits {
    by_role: RoleLimits,
    clock: LimiterClock,
    /// One limiter per quota in use: those of the roles and those in tokens.
    limiters: Mutex<AHashMap<u32, Arc<Limiter>>>,
}

impl CommentLimits {
    pub fn new(by_role: RoleLimits) -> Self {
        Self { by_role, clock: LimiterClock(Instant::now()), limiters: Mutex::default() }
    }

    /// Counts a comment, or returns how long its sender has to wait.
    pub fn check(&self, identity: &Identity) -> Result<(), Duration> {
        let by_role = match identity.role {
            Role::Viewer => self.by_role.viewer,
            Role::Moderator => self.by_role.moderator,
            Role::Broadcaster => self.by_role.broadcaster,
            Role::Admin => self.by_role.admin,
        };
        let per_minute = identity.comments_per_minute.unwrap_or(by_role);
        let Some(quota) = NonZeroU32::new(per_minute) else { return Ok(()) };
        self.limiter(quota)
            .check_key(&identity.user_id)
            .map_err(|refused| refused.wait_time_from(self.clock.now()))
    }

    /// Forgets users whose buckets are full again.
    pub fn forget_idle(&self) {
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
        Identity { user_id: UserId(7), name: "ann".into(), role: Role::Viewer, comments_per_minute }
    }

    #[tokio::test(start_paused = true)]
    async fn the_sixty_first_comment_of_a_minute_waits_a_second() {
        let limits = CommentLimits::new(RoleLimits::default());
        let ann = identity(None);
        (0..60).for_each(|_| assert_eq!(limits.check(&ann), Ok(())));
        let wait = limits.check(&ann).unwrap_err();
        assert!((900..=1_000).contains(&wait.as_millis()), "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(limits.check(&ann), Ok(()));
        assert!(limits.check(&ann).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_in_the_token_overrides_the_role() {
        let limits = CommentLimits::new(RoleLimits::default());
        let bot = identity(Some(0));
        (0..10_000).for_each(|_| assert_eq!(limits.check(&bot), Ok(())));
        let slow = identity(Some(1));
        assert_eq!(limits.check(&slow), Ok(()));
        assert!(limits.check(&slow).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_users_are_forgotten() {
        let limits = CommentLimits::new(RoleLimits::default());
        limits.check(&identity(None)).unwrap();
        tokio::time::advance(Duration::from_secs(120)).await;
        limits.forget_idle();
        assert!(limits.limiters.lock().values().all(|limiter| limiter.is_empty()));
    }
}
