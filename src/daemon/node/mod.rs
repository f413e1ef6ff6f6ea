//! One process: from the configuration to running stages, and back down again.
//!
//! [`run::run`] is the whole life of a node: `assembly` builds it, binds its addresses and starts
//! its tasks; `shutdown` drains it; `systemd` reports each step to the service manager.

mod assembly;
pub mod check;
mod disk_watch;
mod first_start;
mod identity;
mod log_watch;
mod moderation_watch;
mod preflight;
pub mod process;
mod reload;
pub mod repair_log;
pub mod run;
mod running;
mod shutdown;
mod systemd;
mod warm_start;

pub use preflight::InvalidConfiguration;
