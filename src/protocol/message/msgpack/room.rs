//! The rules of a room in MessagePack.

use serde::{Deserialize, Serialize};

use crate::protocol::room::RoomRules;

/// `[slow_ms, followers_ms, subscribers_only, emotes_only, unique_ms, no_links]`. New rules are
/// added at the end and have a default.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CompactRoom {
    slow_ms: Option<u64>,
    followers_ms: Option<u64>,
    subscribers_only: bool,
    emotes_only: bool,
    unique_ms: Option<u64>,
    no_links: bool,
}

impl From<RoomRules> for CompactRoom {
    fn from(rules: RoomRules) -> Self {
        Self {
            slow_ms: rules.slow_ms,
            followers_ms: rules.followers_ms,
            subscribers_only: rules.subscribers_only,
            emotes_only: rules.emotes_only,
            unique_ms: rules.unique_ms,
            no_links: rules.no_links,
        }
    }
}

impl From<CompactRoom> for RoomRules {
    fn from(compact: CompactRoom) -> Self {
        Self {
            slow_ms: compact.slow_ms,
            followers_ms: compact.followers_ms,
            subscribers_only: compact.subscribers_only,
            emotes_only: compact.emotes_only,
            unique_ms: compact.unique_ms,
            no_links: compact.no_links,
        }
    }
}
