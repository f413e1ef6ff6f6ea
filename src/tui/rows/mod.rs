//! The rows of the tables, with the cells of their columns.

mod comments;
mod decisions;
mod engines;
mod events;
mod nodes;
mod reviews;
mod streams;

pub(crate) use comments::{COMMENTS, CommentRow, CommentState, Speaker, TALKERS, TalkerRow};
pub(crate) use decisions::{DECISIONS, DecisionRow, OFFENDERS, OffenderRow};
pub(crate) use engines::{BUS, BusRow, GROUPS, GroupRow, STORES, StoreRow, WORKERS, WorkerRow};
pub(crate) use events::{ALARMS, AlarmRow, EVENTS, EventRow};
pub(crate) use nodes::{NODES, NodeRow};
pub(crate) use reviews::{REVIEWS, ReviewRow};
pub(crate) use streams::{STREAMS, StreamRow};

/// Shown instead of names and texts that are hidden.
const VEILED: &str = "▒▒▒▒▒▒▒▒";

/// Hides a text of others, on a projector.
fn veil(text: &str, veiled: bool) -> &str {
    if veiled { VEILED } else { text }
}
