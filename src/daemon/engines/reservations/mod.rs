//! Reservations over all nodes: one comment id per `ref`, and what one comment takes of its room.
//!
//! A viewer whose node died before it acknowledged a comment sends the comment again, with the
//! same `ref`, to another node. That node cannot know whether the first one had appended the
//! comment to the log. Both nodes therefore reserve the ref here before they append, and use the
//! same id: the stores keep the comment once, and the broadcast stage shows it once.
//!
//! A room in slow mode lets each user comment once in a time, and another rule refuses a text that
//! was said before. Comments of one user, or of one text, may reach several nodes. Each claims what
//! its comment takes of the room, and the first has it for the time of the rule.
//!
//! In: refs with a proposed comment id, and claims. Out: the id to use, and whether a claim is
//! free. Engine: [`redis`]. A single node needs none, because its own memory is enough.
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

/// The part of a room that one comment takes for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimKey {
    /// A user's turn in slow mode.
    Turn { stream_id: StreamId, user_id: UserId },
    /// A text, by its [`alike_hash`](crate::protocol::text::alike_hash). With an author, only the
    /// author sees the comment, and a claim of anybody else does not meet this one.
    Text { stream_id: StreamId, hash: u64, author: Option<UserId> },
}

/// A claim of a comment. Claims with other times are others: after a rule has changed, everybody
/// begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub key: ClaimKey,
    /// Another place that must be free as well, and that the claim does not take.
    pub also_met: Option<ClaimKey>,
    pub comment_id: CommentId,
    /// The time of the rule, in milliseconds, at least 1.
    pub for_ms: u64,
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It was free, or the same comment holds it.
    Free,
    /// Another comment holds it, or the place that it [also meets](Claim::also_met), for another
    /// `wait_ms`, at least 1. The claim may hold its own place nevertheless, until it is released.
    Taken { wait_ms: u64 },
    /// The engine did not answer.
    Unknown,
}

/// The contract.
#[async_trait]
pub trait Reservations: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the id of each comment, in the order of the proposals. Never fails: without the
    /// engine these are the proposed ids.
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved>;

    /// Returns the answer to each claim, in the order of the claims. Never fails: without the
    /// engine they are [`Claimed::Unknown`].
    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed>;

    /// Frees what these comments hold. Claims of others are left alone. Without the engine they end
    /// with their time.
    async fn release(&self, claims: Vec<Claim>);
}

pub type SharedReservations = Arc<dyn Reservations>;
