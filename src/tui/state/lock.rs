//! The lock: acts are off until an operator unlocks them, and again after a while without a key.

/// The time without a key after which acts are off again.
const UNLOCKED_FOR_MS: u64 = 15 * 60_000;

/// Why a console is never unlocked.
pub(crate) const READ_ONLY: &str = "this console is read-only: --read-only, or its context is";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Lock {
    read_only: bool,
    /// The time of the last key since it was unlocked; `None` while it is locked.
    last_key_ms: Option<u64>,
}

impl Lock {
    pub(super) fn new(read_only: bool) -> Self {
        Self { read_only, last_key_ms: None }
    }

    pub(crate) fn is_read_only(self) -> bool {
        self.read_only
    }

    pub(crate) fn is_open(self, now_ms: u64) -> bool {
        let open = |last: u64| now_ms.saturating_sub(last) < UNLOCKED_FOR_MS;
        !self.read_only && self.last_key_ms.is_some_and(open)
    }

    /// Locks if it is open, and opens if it is locked and may be opened.
    pub(crate) fn toggle(&mut self, now_ms: u64) {
        self.last_key_ms = (!self.read_only && !self.is_open(now_ms)).then_some(now_ms);
    }

    /// Notes a key, which keeps it open.
    pub(crate) fn note_key(&mut self, now_ms: u64) {
        self.last_key_ms = if self.is_open(now_ms) { Some(now_ms) } else { None };
    }

    /// Returns why acts are refused, if they are.
    pub(super) fn refusal(self, now_ms: u64, unlock_key: &str) -> Option<String> {
        if self.read_only {
            return Some(READ_ONLY.to_owned());
        }
        (!self.is_open(now_ms)).then(|| format!("locked: {unlock_key} unlocks acts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_locks_again_without_keys() {
        let mut lock = Lock::new(false);
        assert!(!lock.is_open(0));
        lock.toggle(0);
        assert!(lock.is_open(UNLOCKED_FOR_MS - 1));
        lock.note_key(UNLOCKED_FOR_MS - 1);
        assert!(lock.is_open(UNLOCKED_FOR_MS + 1));
        lock.note_key(3 * UNLOCKED_FOR_MS);
        assert!(!lock.is_open(3 * UNLOCKED_FOR_MS), "the key came too late");
        lock.toggle(3 * UNLOCKED_FOR_MS);
        lock.toggle(3 * UNLOCKED_FOR_MS);
        assert!(!lock.is_open(3 * UNLOCKED_FOR_MS));
    }

    #[test]
    fn read_only_is_never_unlocked() {
        let mut lock = Lock::new(true);
        lock.toggle(0);
        assert!(!lock.is_open(0));
        assert!(lock.refusal(0, "!").unwrap().contains("read-only"));
    }
}
