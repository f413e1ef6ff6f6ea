//! Egress control: keeps what this node sends within what it can send.
//!
//! In: what the workers wrote of each stream, how many sockets were full, how many comments
//! arrived. Out: the share of each stream's comments that this node shows, in addition to the
//! sampling of the broadcast stage for all nodes.
//!
//! ```text
//! workers ─▶ meter: bytes, full sockets ─▶ policy: limit, fair level ─▶ pace per stream ─▶ hub
//! ```
//!
//! Two limits apply: the configured budget (`delivery.egress_bytes_per_second`), and what the
//! sockets take. While too many sockets are full, a limit below the current rate is set; it is
//! raised again when they drain.
//!
//! Always holds:
//! - Streams share the limit max-min fairly: a stream that wants less than the fair level is shown
//!   whole, and all others are sent equally much.
//! - A share moves along a fixed ladder, at most one rung per tick, and upwards only after a while.
//!   So it neither jumps nor flaps.
//! - A stream never goes silent: about one comment per second is shown, whatever the limit.
//! - Only comments are left out. Which ones is a function of their ids, so all viewers of the node
//!   see the same, and they are counted.

mod fair;
mod ladder;
mod meter;
mod pace;
mod policy;
mod socket_pressure;

use std::time::Duration;

pub(super) use meter::{EgressMeter, MeterReading};
pub(super) use pace::{StreamLoad, StreamPace};
pub(super) use policy::{EgressDecision, Policy};
pub(super) use socket_pressure::SocketLoad;

/// Interval between two adjustments.
pub(super) const TICK: Duration = Duration::from_millis(250);
