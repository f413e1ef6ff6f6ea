//! Reservations of refs: which comment id a `ref` stands for, over all nodes.
//!
//! A viewer whose node died before it acknowledged a comment sends it again, with the same `ref`, to
//! another. That node cannot know whether the first one had it in the log already; so both ask here
//! first, and append it under one id: the stores keep it once, and the broadcast shows it once.
//!
//! In: refs with the id their comment would have. Out: the id it must have. Engine: [`redis`]; a node
//! alone needs none, its memory of refs is enough.
//!
//! Always holds: everyone who reserves a ref within its lifetime is given the same id, as long as the
//! engine is reached; otherwise the id proposed, so that comments never wait for this for longer than
//! a moment. Nothing queues here.

pub mod redis;

use std::sync::Arc;

use async_trait::async_trait;

use crate::protocol::{CommentId, StreamId, UserId};

/// A ref, and the id its comment has unless another node was first.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub user_id: UserId,
    pub stream_id: StreamId,
    pub client_ref: Arc<str>,
    pub comment_id: CommentId,
}

/// The contract.
#[async_trait]
pub trait Reservations: Send + Sync + std::fmt::Debug + 'static {
    /// The id of each comment, in the order of the proposals. Never fails; see the module's text.
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<CommentId>;
}

pub type SharedReservations = Arc<dyn Reservations>;
