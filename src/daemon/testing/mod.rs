//! The test kit of the daemon.

pub(crate) mod comments;
pub(crate) mod engine_suite;
pub(crate) mod event_log;
pub(crate) mod frames;
pub(crate) mod redis_server;
#[allow(dead_code, reason = "each engine on real servers uses its own part")]
pub(crate) mod stack;

pub(crate) use engine_suite::engine_suite;
