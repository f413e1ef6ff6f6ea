//! One process: from the configuration to running stages, and back down again.
//!
//! [`run::run`] is the whole life of a node: `assembly` builds it, binds its addresses and starts
//! its tasks; `shutdown` drains it; `systemd` reports each step to the service manager.

mod assembly;
pub mod check;
mod first_start;
mod log_watch;
pub mod process;
pub mod run;
mod shutdown;
mod systemd;
mod warm_start;
