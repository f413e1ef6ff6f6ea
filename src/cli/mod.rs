//! The commands of `lc`.

pub mod context;
pub mod loadgen;
pub mod record;
pub mod recording;
pub mod replay;
