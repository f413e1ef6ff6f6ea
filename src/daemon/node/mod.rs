//! One process: from the configuration to running stages, and back down again.

mod assembly;
pub mod check;
mod first_start;
pub mod run;
mod shutdown;
mod systemd;
mod warm_start;
