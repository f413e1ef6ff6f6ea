//! The daemon. Imports go one way: foundations (clock, config, metrics, single_flight, supervise, handoff) ←
//! engine contracts (eventlog, bus, store, registry, reactions, reservations) ← stages ← edges (gateway, admin) ←
//! run. Stages never import each other; `tests/architecture.rs` checks it.

pub mod admin;
mod assembly;
pub mod auth;
pub mod broadcast;
pub mod bus;
pub mod check;
pub mod clock;
pub mod config;
pub mod control;
pub mod delivery;
pub mod direct_path;
pub mod directory;
pub mod engines;
pub mod eventlog;
mod first_start;
pub mod gateway;
pub mod handoff;
pub mod ingest;
pub mod metrics;
pub mod moderation;
pub mod reactions;
pub mod redis_nodes;
pub mod registry;
pub mod reservations;
pub mod run;
mod service_manager;
mod shutdown;
mod single_flight;
pub mod status;
pub mod store;
pub mod supervise;
#[cfg(test)]
pub(crate) mod test_redis;
#[cfg(test)]
#[allow(dead_code, reason = "each engine on real servers uses its own part")]
pub(crate) mod test_stack;
mod warm_start;
