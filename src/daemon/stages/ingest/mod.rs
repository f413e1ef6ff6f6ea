//! Ingest: from what a viewer sent to a durable comment and an ack.
//!
//! In: batches of [`crate::daemon::base::handoff::Submission`]s from the delivery workers and the
//! gateway. Out: records in the event log; one reply per submission.
//!
//! Always holds:
//! - An ack is sent only after the log has the comment. Every submission gets exactly one reply.
//! - Replies of one connection about one stream come in the order of its submissions, except that
//!   a submission that finds no place to wait for moderation is answered at once. Those about a
//!   stream whose comments are checked first may come after later ones about other streams.
//! - Comments of one stream are appended in the order of their submission, also those that
//!   moderation checks first; those of other streams do not wait for them ([`screening`]).
//! - A submission repeated with the same `ref` by the same user on the same stream gets the same
//!   comment id and is appended once, also across a restart (the log is read back at start).
//!   Repeated on another node, it gets the same id as long as
//!   [`crate::daemon::engines::reservations`] know it or, while they are not certain, the log can
//!   be read back. It may then be in the log twice: every reader keeps the first, and that is the
//!   place that is acknowledged. The repeat of a held comment gets its answer again, on the same
//!   node and until a restart.
//! - A refused submission changes nothing.
//! - A comment that is accepted keeps the rules of its room, over all nodes as far as
//!   [`crate::daemon::engines::reservations`] answer, else on each node ([`rooms`]).
//!
//! When full: the queue in front holds
//! [`crate::daemon::base::config::IngestConfig::queue_comments`]; a submission that finds it full
//! is answered with `overloaded`. At most [`submit::MAX_IN_FLIGHT`] batches wait for the log; then
//! the queue is not read. While reservations are not certain and a partition of the log answers
//! slowly, all submissions wait 1 s in 10 s for what it has (`earlier`).

mod batch;
mod comment_ids;
mod earlier;
mod refs;
mod reserve;
mod rooms;
mod screening;
mod submit;
mod validate;

pub use comment_ids::CommentIds;
pub use refs::{RefKey, Refs};
pub use rooms::RoomMemory;
pub use screening::{ScreeningParts, ScreeningQueues, ScreeningThreads};
pub use submit::{Ingest, IngestParts, queue, queue_reader};
pub use validate::{InvalidComment, validate};
