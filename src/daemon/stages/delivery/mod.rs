//! Delivery: the hot path from the bus to the socket of every viewer.
//!
//! In: viewers from the gateway, messages from the bus, replies from ingest. Out: WebSocket frames
//! or server-sent events to viewers; decoded requests of viewers to ingest, reactions and auth.
//!
//! ```text
//! bus ─▶ hub ─ frames, encoded once per form ─▶ worker: rings of each stream ─▶ sockets
//!         └─ holes ◀─ history (recent cache, then log) ─▶ catch_up ─▶ returning viewers
//! ```
//!
//! The spine, as function names:
//! - A comment from a viewer: `worker::inbound::read_socket` → `receive_bytes` →
//!   `handle_client_message` → `queue_submission` → `send_submissions` → ingest.
//! - Its ack: ingest → `DeliveryHandle::reply` → `worker::replies::deliver_reply` →
//!   `write_deferred`.
//! - To the other viewers: bus → `hub::handle_batch` → `send_comments` → `send_frame` →
//!   `worker::push_frame` → `worker::fan_out::fan_out_ready_streams` → `FanOut::write`.
//! - A viewer that is behind: `worker::slow_path::write_pending`.
//!
//! Always holds:
//! - A viewer lives on one worker thread. No lock and no shared count is touched for it per frame.
//! - A frame is encoded once per form in use on the node, as complete bytes of a WebSocket or an
//!   event stream.
//! - A viewer has no queue of frames: its cursors point into the rings of its stream. Only a viewer
//!   that is answered over HTTP/2 or polls has a pipe, which holds shared bytes. An idle
//!   viewer costs its socket and its entry on the worker, nothing else.
//! - A fan-out is written in slices; between two of them comments are read and answered.
//! - The batches that a viewer is sent join: each begins where the last ended, or a `gap` comes
//!   between.
//! - A viewer that cannot read a compressed frame is sent the same frame compressed by itself. See
//!   `deflate`.
//! - The node sends no more than it can send. See [`crate::policy::egress`].
//! - Deletions, announcements, the pinned comment and polls have a ring of their own, which is
//!   written before comments.
//!
//! When full: a viewer whose cursor has left the ring of comments gets `gap` and continues with the
//! newest frame. A viewer that missed deletions, or whose private messages exceed their bound, is
//! closed as a slow consumer. A worker that falls behind loses frames, and its viewers get `gap`.

mod audience;
mod catch_up;
mod deflate;
#[cfg(test)]
pub(crate) mod echoing;
mod egress_meter;
mod few_once;
mod form;
mod frame;
mod handle;
mod history;
mod hub;
mod mailbox;
#[cfg(test)]
mod peer;
mod presence;
mod turns;
#[cfg(test)]
mod wire_bytes;
mod worker;

#[cfg(test)]
pub(crate) use frame::{Frame, Lane};
pub use handle::{Delivery, DeliveryError, DeliveryHandle, DeliveryParts, DeliveryTasks};
pub use history::{History, HistoryError, HistoryRead};
pub use hub::HubError;
pub use turns::{VOTES_PER_SECOND, too_many, unknown_reaction};
pub use worker::ViewerRequests;
