//! Live comments for very large events: `lcd`, the daemon, and `lc`, the operator's tool.
pub mod cli;
pub mod client;
pub mod daemon;
pub mod loadgen;
pub mod net;
pub mod protocol;
pub mod tui;
