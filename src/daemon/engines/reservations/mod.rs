//! Reservations of refs: one comment id per `ref`, over all nodes.
//!
//! A viewer whose node died before it acknowledged a comment sends the comment again, with the
//! same `ref`, to another node. That node cannot know whether the first one had appended the
//! comment to the log. Both nodes therefore reserve the ref here before they append, and use the
//! same id: the stores keep the comment once, and the broadcast stage shows it once.
//!
//! In: refs with a proposed comment id. Out: the id to use. Engine: [`redis`]. A single node needs
//! none, because its own memory of refs is enough.
//!
//! Always holds: while the engine answers and forgets nothing, everyone who reserves a ref within
//! its lifetime receives the same id. Otherwise the proposed id is used, so that comments wait only
//! a moment, and the reservation is not certain where the engine can tell. What it cannot tell is
//! decided by the log ([`crate::daemon::engines::eventlog::repeats`]). Nothing is queued here.

#[cfg(feature = "engines")]
pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;

use crate::protocol::{CommentId, StreamId, UserId};

/// A ref, and the id of its comment unless another node reserved the ref first.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub user_id: UserId,
    pub stream_id: StreamId,
    pub client_ref: Arc<str>,
    pub comment_id: CommentId,
}

/// The id of a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    pub comment_id: CommentId,
    /// False if another node may hold the ref: the engine did not answer, or has lost what it knew
    /// less than [`crate::daemon::engines::eventlog::repeats::MAX_APART`] ago.
    pub certain: bool,
}

/// The contract.
#[async_trait]
pub trait Reservations: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the id of each comment, in the order of the proposals. Never fails: without the
    /// engine these are the proposed ids.
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved>;
}

pub type SharedReservations = Arc<dyn Reservations>;
