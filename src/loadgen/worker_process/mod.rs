//! Worker processes: each runs one viewer pool and is controlled over its standard input and
//! output.
//!
//! [`parent`] starts workers, [`child`] is what runs inside one, [`pipe`] frames the messages
//! between them.

mod child;
mod parent;
mod pipe;

pub use child::main;
pub(crate) use parent::start;
#[cfg(test)]
pub(crate) use parent::start_on_threads;

/// The hidden command of `lc` that runs a worker.
pub(crate) const COMMAND: &str = "loadgen-worker";
