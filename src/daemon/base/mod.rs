//! What every layer stands on: time, settings, figures, supervised tasks, and the types that stages
//! hand to each other. Imports nothing else of the daemon.

pub mod clock;
pub mod config;
pub mod handoff;
pub mod metrics;
pub(crate) mod single_flight;
pub mod status;
pub mod supervise;
pub mod ticker;
pub mod two_generations;
