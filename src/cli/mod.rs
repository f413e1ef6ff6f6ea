//! The commands of `lc`.

pub mod context;
pub mod loadgen;
pub mod recording;
