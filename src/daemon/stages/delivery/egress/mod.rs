//! Egress control: what this node's viewers are sent stays within what the node can send.
//!
//! In: what the workers wrote of each stream, whose sockets held them up, how many comments came to
//! be shown. Out: the share of each stream's comments that this node shows, on top of what the
//! broadcast stage chose for all nodes.
//!
//! ```text
//! workers ─ bytes, full sockets ─▶ meter ─▶ policy: limit ─▶ fair level ─▶ pace of each stream ─▶ hub
//! ```
//!
//! Two things limit a node: the budget it was given (`delivery.egress_bytes_per_second`), and what
//! the sockets take: while too many viewers' sockets are full, a limit below what is sent now is put in
//! force, and raised again when they drain.
//!
//! Always holds:
//! - Streams share the limit max-min fairly: one that wants less than the fair level is shown whole,
//!   and all that want more are sent as much as each other.
//! - A share moves along a fixed ladder, one rung a tick at most, and upwards only after a while, so
//!   that it neither jumps nor flaps.
//! - A stream never goes silent: about a comment a second of it is shown, whatever the limit.
//! - Only comments are left out; what is left out is a function of the comment's id, so that all
//!   viewers of the node see the same, and it is counted.

mod fair;
mod ladder;
mod meter;
mod pace;
mod policy;
mod pressure;

use std::time::Duration;

pub(super) use meter::{Meter, Reading};
pub(super) use pace::{Load, StreamPace};
pub(super) use policy::{Policy, Verdict};

/// The policy looks this often.
pub(super) const TICK: Duration = Duration::from_millis(250);
