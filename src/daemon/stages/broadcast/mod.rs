//! The broadcast stage: publishes comments from the log to viewers. The object that runs it is the
//! [`Coordinator`]; its consumer group and its node role are called `coordinator` too.
//!
//! In: `comment_events`, as consumer group `coordinator`. Out: batches on the bus, each of which
//! covers a range of its stream's sequence; deletions, ahead of the batches; throttle notices; the
//! recent cache.
//!
//! Always holds:
//! - The `seq` of a comment is its offset in the log. No counter is kept, so a restart or a
//!   take-over numbers everything as before, and repeated publications are recognized by their
//!   `seq`.
//! - Ranges of one stream join, and a range is in the cache before it is on the bus.
//! - A deletion is published at once and is never sampled out. Its comment, if still pending, is
//!   shown to nobody, or only to its author if the deletion is kept from that user.
//! - A comment whose deletion was taken back is at its place again in the recent cache, for viewers
//!   that come later. Nobody is sent it again.
//! - A comment that is in the log twice is shown only at its first place
//!   ([`crate::daemon::engines::eventlog::repeats`]).
//! - Sampling is a pure function of comment and rate. Comments of staff are always shown.
//! - In a room with a message delay, comments are published that much later, with all that follows
//!   them; deletions are not delayed, and a comment that is deleted before its time is shown to
//!   nobody. The committed position stays before what waits, so that another node continues there.
//!
//! When full: without a delay nothing waits longer than one batch interval, and a batch has at most
//! [`pending::MAX_EVENTS`]. Of a delayed stream at most [`held::MAX_BYTES`] wait, of all together
//! at most [`held::MAX_TOTAL_BYTES`]. While the bus is slow, records wait in the log.

mod coordinator;
mod held;
mod moved;
mod overrides;
mod pending;
mod publication;
mod stream_state;
#[cfg(test)]
mod tests;

pub use coordinator::{BroadcastError, Coordinator, CoordinatorParts};
pub use overrides::{RateOverrides, RatesRead};
