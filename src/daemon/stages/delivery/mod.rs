//! Delivery: the hot path from the bus to every viewer's socket.
//!
//! In: viewers from the gateway, messages from the bus, replies from ingest. Out: WebSocket frames;
//! what viewers send, decoded, to ingest, reactions and auth.
//!
//! ```text
//! bus ─▶ hub ─ frames, encoded once a form ─▶ worker 0: ring of each stream ─▶ its viewers' sockets
//!         │                                  ▶ worker 1: …
//!         └─ holes ◀─ history (recent cache, then the log) ─▶ viewers that come back
//! ```
//!
//! Always holds:
//! - A viewer lives on one worker thread; no lock and no shared count is touched for it per frame.
//! - A frame is encoded once for each form in use on the node, as complete WebSocket bytes.
//! - A viewer has no queue: its cursors point into its stream's rings. An idle one owns its socket,
//!   its entry here and nothing else.
//! - A fan-out is written in slices; between two of them comments are read and answered.
//! - What a viewer is sent joins: the next batch begins where the last ended, or a `gap` says so.
//! - A compressed frame is sent only to who can read it; who cannot gets the same uncompressed. See
//!   `deflate`.
//! - What the node sends stays within what it can send: see `egress`.
//! - Deletions and announcements have a ring of their own, written before comments.
//!
//! When full: a viewer whose cursor fell off the ring of comments gets `gap` and the newest; one that
//! fell off the ring of deletions, or whose private messages outgrow their bound, is closed as a slow
//! consumer. A worker that falls behind loses frames and its viewers get `gap`.

mod catch_up;
mod deflate;
mod egress;
mod frame;
mod handle;
mod history;
mod hub;
mod mailbox;
mod members;
#[cfg(test)]
mod peer;
mod presence;
mod receive;
mod ring;
mod stream;
mod viewer;
#[cfg(test)]
mod wire_bytes_tests;
mod worker;

#[cfg(test)]
pub(crate) use frame::{Frame, Lane};
pub use handle::{
    Delivery, DeliveryError, DeliveryHandle, DeliveryParts, DeliveryTasks, ViewerRequests,
};
pub use history::{History, HistoryError, Past};
pub use hub::HubError;
