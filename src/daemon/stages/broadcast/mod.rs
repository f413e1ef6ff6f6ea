//! The broadcast stage: from the log's order to what viewers are shown.
//!
//! In: `comment_events`, as consumer group `coordinator`. Out: batches on the bus, each covering a
//! range of its stream's sequence; deletions ahead of them; throttle notices; the recent cache.
//!
//! Always holds:
//! - A comment's place is its offset in the log: no counter is kept, so a restart or a take-over
//!   numbers everything as before. What is published again after one is recognized by its place.
//! - Ranges of one stream join, and the cache has a range before the bus carries it.
//! - A deletion is published at once and never sampled; a comment still waiting is taken out.
//! - A comment that is in the log twice under one id is shown at its first place alone, if it is
//!   repeated soon enough ([`repeats`]), also if another node had its partition then ([`look_back`]).
//! - What a rate leaves out is a pure function of comment and rate; staff is never left out.
//!
//! When full: nothing waits longer than one batch interval, and a batch is cut at
//! [`pending::MAX_EVENTS`]; while the bus is slow the log keeps what comes.

mod coordinator;
mod look_back;
mod pending;
mod rate;
mod repeats;
#[cfg(test)]
mod tests;
mod throttle;

pub use coordinator::{BroadcastError, Coordinator, CoordinatorParts, RateOverrides};
pub use rate::RateEstimator;
pub use throttle::ThrottlePolicy;
