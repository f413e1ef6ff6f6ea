//! The test kit of the daemon: one double per contract, sample data, and servers that tests start
//! themselves.

pub(crate) mod bus;
pub(crate) mod comments;
#[cfg(test)]
pub(crate) mod engine_suite;
pub(crate) mod event_log;
#[cfg(test)]
pub(crate) mod frames;
pub(crate) mod reactions;
pub(crate) mod recent;
#[cfg(test)]
#[cfg(feature = "engines")]
pub(crate) mod redis_server;
pub(crate) mod registry;
#[cfg(test)]
#[cfg(feature = "engines")]
#[allow(dead_code, reason = "each engine on real servers uses its own part")]
pub(crate) mod stack;

#[cfg(test)]
pub(crate) use engine_suite::engine_suite;
