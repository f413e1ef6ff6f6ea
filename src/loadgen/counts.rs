//! Counts by a stable name, such as an error code.

use std::borrow::Cow;
use std::collections::BTreeMap;

pub type CountsByKind = BTreeMap<Cow<'static, str>, u64>;

/// Adds one to the count of `kind`.
pub(crate) fn count(counts: &mut CountsByKind, kind: &'static str) {
    *counts.entry(kind.into()).or_default() += 1;
}

/// Adds all counts of `more`.
pub(crate) fn add_counts(counts: &mut CountsByKind, more: &CountsByKind) {
    for (kind, count) in more {
        *counts.entry(kind.clone()).or_default() += count;
    }
}
