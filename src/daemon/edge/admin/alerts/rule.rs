//! The rules, as `[alerts]` of the configuration and Alertmanager name them.

pub(super) const BREAKER_OPEN: &str = "breaker_open";
pub(super) const NOT_READY: &str = "not_ready";
pub(super) const DRAINING: &str = "draining";
pub(super) const NODE_SILENT: &str = "node_silent";
pub(super) const SERVED_LOW: &str = "served_low";
pub(super) const EGRESS_CAPPED: &str = "egress_capped";
pub(super) const PLACES_LOW: &str = "places_low";
pub(super) const REFUSED_HIGH: &str = "refused_high";
pub(super) const VIEWERS_REFUSED: &str = "viewers_refused";
pub(super) const SLOW_VIEWERS: &str = "slow_viewers";
pub(super) const LAG_HIGH: &str = "lag_high";
pub(super) const LAG_GROWING: &str = "lag_growing";
pub(super) const RECORDS_GONE: &str = "records_gone";
pub(super) const REVIEW_OLD: &str = "review_old";
pub(super) const FLAGGED_HIGH: &str = "flagged_high";
pub(super) const VERSIONS_MIXED: &str = "versions_mixed";
pub(super) const REDIS_NODE_DOWN: &str = "redis_node_down";
pub(super) const QUEUE_HALF: &str = "queue_half";
pub(super) const LATENCY_HIGH: &str = "latency_high";
pub(super) const CLOCK_OFF: &str = "clock_off";
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const FILES_LOW: &str = "files_low";
pub(super) const DEAD_LETTERS: &str = "dead_letters";

/// The subject of [`CERTIFICATE`] for that of the admin API; that of viewers has none.
pub(super) const ADMIN_API: &str = "admin";
