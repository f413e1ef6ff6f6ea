//! The parts that assembly hands to the gateway.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::Config;
use crate::daemon::base::handoff::{
    AuthRequest, ReactionCounts, RoomRequest, Submission, ViewerSink, Vote,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::comments::SharedCommentStore;
use crate::daemon::engines::directory::{Grants, Sanctions, Streams, Subjects};
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::daemon::engines::recent::SharedRecentCache;
use crate::daemon::engines::registry::SharedRegistry;
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::control::Control;
use crate::daemon::stages::moderation::{ModerationContext, Pipeline};
use crate::protocol::NodeId;

/// Everything the gateway works with.
#[derive(Debug)]
pub struct GatewayParts {
    pub config: Arc<Config>,
    pub clock: SharedClock,
    pub verifier: Arc<Verifier>,
    /// The ids of users whose tokens name them by a text.
    pub subjects: Subjects,
    pub streams: Streams,
    pub sanctions: Sanctions,
    pub grants: Grants,
    pub registry: SharedRegistry,
    pub comments: SharedCommentStore,
    pub recent: SharedRecentCache,
    pub metadata: SharedMetadataStore,
    pub log: SharedLog,
    /// Creates and changes streams.
    pub control: Control,
    pub board: StatusBoard,
    /// Checks the texts of direct messages.
    pub pipeline: Arc<Pipeline>,
    /// Knows how strict these checks are with each user.
    pub context: Arc<ModerationContext>,
    pub sink: Arc<dyn ViewerSink>,
    /// Ingest's queue, bounded in comments. While it is full, requests are answered `overloaded`.
    pub submissions: mpsc::Sender<Submission>,
    /// The queue of the reaction window. While it is full, reactions are answered `overloaded`.
    pub reactions: mpsc::Sender<Vec<ReactionCounts>>,
    /// The queue of votes. While it is full, votes are answered `overloaded`.
    pub votes: mpsc::Sender<Vote>,
    /// `auth` messages of viewers that connected without a token, from delivery.
    pub auth_requests: mpsc::Receiver<AuthRequest>,
    pub room_requests: mpsc::Receiver<RoomRequest>,
    pub node: NodeId,
}
