//! The names of the dependencies. The circuit breaker in front of one, what is measured of it, and
//! the sentences about it find each other by them.

pub const EVENT_LOG: &str = "event log";
pub const FAN_OUT_BUS: &str = "fan-out bus";
pub const COMMENT_STORE: &str = "comment store";
pub const METADATA_STORE: &str = "metadata store";
pub const REACTION_TOTALS: &str = "reaction totals";
pub const RECENT_CACHE: &str = "recent cache";
pub const CONNECTION_REGISTRY: &str = "connection registry";
pub const REVIEW_HOOK: &str = "review hook";
