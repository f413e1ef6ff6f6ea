//! The settings of checks before publication, and of comments that are held.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Checks before publication, on streams in synchronous mode.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScreeningConfig {
    /// Threads of an edge that check comments, at least 1.
    pub threads: usize,
    /// Comments that may wait for their check, or to be held, in an edge. More are refused with
    /// `overloaded`. At least 1.
    pub queue: usize,
}

impl Default for ScreeningConfig {
    fn default() -> Self {
        Self { threads: 2, queue: 8192 }
    }
}

/// Comments that wait in the review queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldConfig {
    /// A comment that was held for longer is rejected. 0: never.
    #[serde(with = "humantime_serde")]
    pub expire_after: Duration,
    /// Moderation counts as down while a published comment has waited longer than this for its
    /// check. From 1 s.
    #[serde(with = "humantime_serde")]
    pub down_after: Duration,
}

impl Default for HeldConfig {
    fn default() -> Self {
        Self { expire_after: Duration::from_secs(24 * 3600), down_after: Duration::from_secs(10) }
    }
}
