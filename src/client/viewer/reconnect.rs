//! When to come back after a connection ended.

use std::time::Duration;

use super::{ConnectError, ViewerError};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Counts failures and answers with a wait, or with `None` where coming back is of no use.
///
/// The wait the server named in `bye` is kept, for the server has spread its viewers itself. Where it
/// named none, waits double from 250 ms up to 10 s, and each is drawn from its upper half, so that
/// viewers who left together do not return together.
#[derive(Debug, Clone, Default)]
pub struct Reconnect {
    failures: u32,
    told_wait: Option<Duration>,
}

impl Reconnect {
    /// Keeps what a `bye` said.
    pub fn bye(&mut self, reconnect_after_ms: Option<u64>) {
        self.told_wait = reconnect_after_ms.map(Duration::from_millis);
    }

    /// A welcome came: the next failure is the first again.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub fn after_end(&mut self, error: &ViewerError) -> Option<Duration> {
        error.retry().then(|| self.wait())
    }

    pub fn after_failure(&mut self, error: &ConnectError) -> Option<Duration> {
        if let ConnectError::Refused { body: Some(body), .. } = error {
            self.bye(body.retry_after_ms);
        }
        error.retry().then(|| self.wait())
    }

    fn wait(&mut self) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        match self.told_wait.take() {
            Some(wait) => wait,
            None => doubled.mul_f64(rand::random_range(0.5..=1.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::viewer::Closure;
    use crate::protocol::CloseCode;

    fn closed(number: u16) -> ViewerError {
        ViewerError::Closed(Closure { number, reason: String::new() })
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
    fn the_servers_own_wait_goes_first_and_counts_once() {
        let mut reconnect = Reconnect::default();
        reconnect.bye(Some(7_000));
        let end = closed(CloseCode::Shutdown.number());
        assert_eq!(reconnect.after_end(&end), Some(Duration::from_secs(7)));
        assert!(reconnect.after_end(&end).unwrap() <= Duration::from_millis(500));
    }

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
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
