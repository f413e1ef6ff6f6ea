//! The reasons that a service gives.

use std::collections::BTreeSet;

use parking_lot::Mutex;

/// The words of a service that are kept. Counters and decisions are kept by reason, so their number
/// must be bounded.
const MAX_REASONS: usize = 64;

/// The reasons that a service has given so far. They live as long as the process.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    known: Mutex<BTreeSet<&'static str>>,
}

impl Reasons {
    /// Returns the word for the life of the process, or `other` if it is one too many.
    pub(super) fn keep(&self, word: &str, other: &'static str) -> &'static str {
        let mut known = self.known.lock();
        if let Some(kept) = known.get(word) {
            return kept;
        }
        if known.len() >= MAX_REASONS {
            return other;
        }
        let kept: &'static str = Box::leak(word.into());
        known.insert(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_cannot_make_reasons_without_end() {
        let reasons = Reasons::default();
        let kept: BTreeSet<_> =
            (0..1_000).map(|n| reasons.keep(&format!("word_{n}"), "other")).collect();
        assert_eq!(kept.len(), MAX_REASONS + 1);
        assert_eq!(reasons.keep("word_7", "other"), "word_7");
        assert_eq!(reasons.keep("word_999", "other"), "other");
    }
}
