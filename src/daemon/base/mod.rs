//! The lowest layer: time, configuration, metrics, supervised tasks, and the types that stages
//! exchange. It imports no other layer of the daemon.

pub mod clock;
pub mod config;
pub(crate) mod disk_probe;
pub(crate) mod free_name;
pub mod handoff;
pub mod http_client;
pub mod log_output;
mod losses;
pub mod metrics;
pub mod moderation_state;
pub mod pipe;
pub mod problems;
pub mod reloads;
pub mod secret_file;
pub(crate) mod shared_reading;
pub(crate) mod single_flight;
pub mod status;
pub mod supervise;
pub mod telemetry;
pub mod ticker;
pub mod two_generations;
