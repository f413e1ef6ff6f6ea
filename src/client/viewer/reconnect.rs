//! Decides when to reconnect after a connection ended.

use std::time::Duration;

use super::{ConnectError, ViewerError};
use crate::net::backoff::{Backoff, BackoffBounds};

const BOUNDS: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(250), longest: Duration::from_secs(10) };

/// Counts failures and returns the next wait, or `None` where reconnecting is of no use.
///
/// A wait that the server named in `bye` is kept, since the server has spread its viewers itself.
/// Otherwise waits double from 250 ms up to 10 s, and each is drawn from its upper half, so that
/// viewers that left together do not return together.
#[derive(Debug, Default)]
pub struct Reconnect {
    /// Absent before the first failure: most viewers never fail, and a load run has a million.
    backoff: Option<Box<Backoff>>,
    requested_wait: Option<Duration>,
}

impl Reconnect {
    /// Keeps the wait that a `bye` named.
    pub fn bye(&mut self, reconnect_after_ms: Option<u64>) {
        self.requested_wait = reconnect_after_ms.map(Duration::from_millis);
    }

    /// Resets the waits after a welcome.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub fn after_end(&mut self, error: &ViewerError) -> Option<Duration> {
        if let ViewerError::Refused { retry_after_ms: Some(wait_ms), .. } = error {
            self.bye(Some(*wait_ms));
        }
        // A `bye` with a wait asks to come back, whatever the close code.
        (self.requested_wait.is_some() || error.retry()).then(|| self.wait())
    }

    pub fn after_failure(&mut self, error: &ConnectError) -> Option<Duration> {
        if let ConnectError::Refused { body: Some(body), .. } = error {
            self.bye(body.retry_after_ms);
        }
        if let ConnectError::NotWelcome {
            error: ViewerError::Refused { retry_after_ms: Some(wait_ms), .. },
            ..
        } = error
        {
            self.bye(Some(*wait_ms));
        }
        error.retry().then(|| self.wait())
    }

    fn wait(&mut self) -> Duration {
        let backoff = self.backoff.get_or_insert_with(|| Box::new(BOUNDS.start()));
        // A wait that the server named counts as a failure, too.
        let own = backoff.next_pause_with_jitter();
        self.requested_wait.take().unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::websocket::CloseStatus;
    use crate::protocol::{CloseCode, ErrorCode};

    fn closed(number: u16) -> ViewerError {
        ViewerError::Closed(CloseStatus { number, reason: String::new() })
    }

    #[test]
    fn every_close_code_is_honoured() {
        for code in CloseCode::ALL {
            let wait = Reconnect::default().after_end(&closed(code.number()));
            assert_eq!(wait.is_some(), code.reconnect(), "{code:?}");
        }
        assert!(Reconnect::default().after_end(&closed(1012)).is_some());
        assert!(Reconnect::default().after_end(&ViewerError::Broken("reset".into())).is_some());
        assert!(Reconnect::default().after_end(&ViewerError::BadMessage("?".into())).is_none());
    }

    #[test]
    fn a_requested_wait_goes_first_and_counts_once() {
        let mut reconnect = Reconnect::default();
        reconnect.bye(Some(7_000));
        let end = closed(CloseCode::Shutdown.number());
        assert_eq!(reconnect.after_end(&end), Some(Duration::from_secs(7)));
        assert!(reconnect.after_end(&end).unwrap() <= Duration::from_millis(500));
    }

    #[test]
    fn a_timed_ban_is_waited_for() {
        let banned = closed(CloseCode::Banned.number());
        assert_eq!(Reconnect::default().after_end(&banned), None);
        let mut reconnect = Reconnect::default();
        reconnect.bye(Some(60_000));
        assert_eq!(reconnect.after_end(&banned), Some(Duration::from_secs(60)));
        let refused = |retry_after_ms| ViewerError::Refused {
            code: ErrorCode::Banned,
            message: String::new(),
            retry_after_ms,
        };
        let wait = |error| {
            let error = ConnectError::NotWelcome { url: String::new(), error };
            Reconnect::default().after_failure(&error)
        };
        assert_eq!(wait(refused(None)), None);
        assert_eq!(wait(refused(Some(5_000))), Some(Duration::from_secs(5)));
    }

    #[test]
    fn waits_double_and_a_success_resets_them() {
        let mut reconnect = Reconnect::default();
        let end = ViewerError::Broken("reset".into());
        for expected in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let wait = reconnect.after_end(&end).unwrap();
            let most = Duration::from_millis(expected);
            assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
        reconnect.succeeded();
        assert!(reconnect.after_end(&end).unwrap() <= Duration::from_millis(250));
    }
}
