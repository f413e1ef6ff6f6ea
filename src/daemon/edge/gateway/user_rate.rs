//! A limit for each user, in windows of time that begin for all users at once.

use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::protocol::UserId;

/// Counts what users do on this node. Holds a number for each user of the present window.
#[derive(Debug)]
pub(super) struct UserRate {
    /// 0 means no limit.
    limit: u32,
    window_ms: u64,
    used: Mutex<UsedWindow>,
}

#[derive(Debug, Default)]
struct UsedWindow {
    window: u64,
    by_user: AHashMap<UserId, u32>,
}

impl UserRate {
    /// Returns a limit per window. 0 means no limit.
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        let window_ms = (window.as_millis() as u64).max(1);
        Self { limit, window_ms, used: Mutex::default() }
    }

    /// Takes one of the turns that a user has in the present window.
    ///
    /// # Errors
    /// The milliseconds until the next window, if none is left.
    pub(super) fn take(&self, user_id: UserId, now_ms: u64) -> Result<(), u64> {
        if self.limit == 0 {
            return Ok(());
        }
        let window = now_ms / self.window_ms;
        let mut used = self.used.lock();
        if used.window != window {
            *used = UsedWindow { window, by_user: AHashMap::new() };
        }
        let count = used.by_user.entry(user_id).or_default();
        if *count == self.limit {
            return Err(self.window_ms - now_ms % self.window_ms);
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_the_turns_of_a_window() {
        let rate = UserRate::new(2, Duration::from_secs(60));
        let take = |user, now_ms| rate.take(UserId(user), now_ms);
        assert_eq!([take(1, 60_000), take(1, 90_000)], [Ok(()), Ok(())]);
        assert_eq!(take(1, 119_000), Err(1_000));
        assert_eq!(take(2, 119_000), Ok(()), "another user");
        assert_eq!(take(1, 120_000), Ok(()), "the next window");
        let unlimited = UserRate::new(0, Duration::from_secs(1));
        assert!((0..1_000).all(|_| unlimited.take(UserId(1), 0).is_ok()));
    }
}
