//! The contact to the daemon, which is lost when the connection ends or when no snapshot comes.

use std::time::Duration;

use super::{Connection, Console, Viewpoint};

/// Intervals without a snapshot after which contact is lost.
const MISSED_SNAPSHOTS: u32 = 3;
/// Contact is not lost sooner, as a node is not silent sooner.
pub(super) const MIN_TIMEOUT_MS: u64 = 3_000;

impl Console {
    /// Takes the time between two snapshots.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        let timeout = interval.saturating_mul(MISSED_SNAPSHOTS).as_millis();
        self.contact_timeout_ms = u64::try_from(timeout).unwrap_or(u64::MAX).max(MIN_TIMEOUT_MS);
    }

    /// Notes that the connection ended.
    pub(crate) fn connection_lost(&mut self, why: String, retry_in: Duration) {
        self.interrupt(Connection::Lost { why, retry_in });
    }

    /// Returns the time by `clock_ms` at which contact is lost unless a snapshot comes before;
    /// `None` before the first snapshot and while contact is lost.
    pub(crate) fn contact_ends_ms(&self) -> Option<u64> {
        let came_ms = self.snapshot_came_ms.filter(|_| self.connection == Connection::Live)?;
        Some(came_ms.saturating_add(self.contact_timeout_ms))
    }

    /// Notes that contact is lost, if no snapshot has come for too long.
    pub(crate) fn check_contact(&mut self) {
        if self.contact_ends_ms().is_some_and(|ends_ms| ends_ms <= self.clock_ms) {
            self.interrupt(Connection::Silent);
        }
    }

    /// Returns the time of the last snapshot before contact was lost, in milliseconds since the
    /// Unix epoch; `None` while there is contact.
    pub(crate) fn no_contact_since_ms(&self) -> Option<u64> {
        let latest = self.feed.latest().filter(|_| self.connection != Connection::Live)?;
        Some(latest.at_ms)
    }

    /// Returns whether the screen shows the last known state instead of the present one. A look
    /// into the past shows a state that was known then.
    pub(crate) fn is_out_of_date(&self) -> bool {
        self.connection != Connection::Live && !matches!(self.viewpoint, Viewpoint::Past(_))
    }

    fn interrupt(&mut self, connection: Connection) {
        self.feed.interrupt();
        self.own_alerts.interrupt();
        self.connection = connection;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::commands::Keymap;
    use crate::tui::feed::samples;
    use crate::tui::theme::ThemeName;

    #[test]
    fn contact_is_lost_after_three_intervals() {
        let connection_after = |interval_ms: u64, silent_ms: u64| {
            let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
            console.set_interval(Duration::from_millis(interval_ms));
            console.clock_ms = 60_000;
            console.check_contact();
            assert_eq!(console.connection, Connection::Live, "the first snapshot is waited for");
            console.add_snapshot(samples::healthy(1));
            console.clock_ms += silent_ms;
            console.check_contact();
            console
        };
        assert_eq!(connection_after(1_000, 2_999).connection, Connection::Live);
        assert_eq!(connection_after(1_000, 3_000).connection, Connection::Silent);
        assert_eq!(connection_after(250, 2_999).connection, Connection::Live, "3 s at least");
        assert_eq!(connection_after(5_000, 14_999).connection, Connection::Live);
        let mut silent = connection_after(5_000, 15_000);
        assert!(silent.is_out_of_date());
        assert_eq!(silent.no_contact_since_ms(), Some(silent.now_ms()));
        assert_eq!(silent.contact_ends_ms(), None, "it is lost once");
        silent.add_snapshot(samples::healthy(17));
        assert_eq!(silent.connection, Connection::Live);
        assert_eq!(silent.contact_ends_ms(), Some(90_000));
    }
}
