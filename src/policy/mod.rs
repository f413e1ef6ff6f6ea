//! The policies that decide what viewers see: the throttle, the limits of senders, the rules of
//! rooms, the reputation of users and the mood of streams, and the egress of a node. `lcd` applies
//! them, and `lc replay --what-if` computes with some of them.
//!
//! In: rates, traffic, and the time. Out: shares of comments, waits and refusals. Always holds: a
//! policy has no clock, no I/O and no configuration file, so that the same calls have the same
//! result in a daemon, in a test and in a calculation.

pub mod comment_limits;
pub mod crowd;
pub mod egress;
pub mod rate;
pub mod reputation;
pub mod room;
pub mod throttle;

use std::time::Duration;

/// Interval at which the broadcast stage evaluates the rates of streams.
pub const THROTTLE_TICK: Duration = Duration::from_millis(250);
