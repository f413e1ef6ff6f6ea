//! What stages hand each other through the channels that `run` lays: the reason why no stage imports
//! another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::net::Transport;
pub use crate::net::websocket::Deflate;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::Encoding;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    CloseCode, Comment, CommentId, Identity, Seq, StreamId, StreamPosition, UserId,
};

/// One viewer's connection on this node. Reused slots get another generation, so a late reply never
/// reaches the wrong viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub worker: u16,
    pub generation: u32,
    pub slot: u32,
}

/// A comment on its way from a viewer to ingest.
#[derive(Debug)]
pub struct Submission {
    pub stream_id: StreamId,
    pub identity: Arc<Identity>,
    /// As the viewer sent it.
    pub message: String,
    pub client_ref: Option<Arc<str>>,
    pub reply_to: ReplyTo,
}

/// Where the outcome of a submission goes.
#[derive(Debug)]
pub enum ReplyTo {
    Connection(ConnectionId),
    /// A request over HTTP.
    Caller(oneshot::Sender<Result<Accepted, ErrorBody>>),
}

/// A comment that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub comment_id: CommentId,
    pub seq: Seq,
    /// What its sender is shown if the broadcast leaves it out; absent for a repeated submission.
    pub comment: Option<Arc<Comment>>,
    /// Never broadcast: shown to its sender alone.
    pub shadow: bool,
}

/// The outcome of a submission for the connection that made it.
#[derive(Debug)]
pub struct Reply {
    pub connection: ConnectionId,
    pub client_ref: Option<Arc<str>>,
    pub outcome: Result<Accepted, ErrorBody>,
}

/// Takes replies to viewers; delivery implements it. Never waits: a connection that cannot take its
/// reply is closed as a slow consumer.
pub trait ReplySink: Send + Sync + std::fmt::Debug + 'static {
    fn reply(&self, replies: Vec<Reply>);
}

/// What a synchronous check says of a comment before it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screening {
    Accept,
    /// With a stable reason word.
    Reject(Arc<str>),
    /// Store it, show it to its sender alone.
    Shadow(Arc<str>),
    /// A moderator decides before anybody sees it.
    Hold(Arc<str>),
}

/// Moderation before publication, for streams that want it; moderation implements it.
#[async_trait]
pub trait Screen: Send + Sync + std::fmt::Debug + 'static {
    async fn screen(&self, comment: &Comment) -> Result<Screening, ErrorBody>;
    /// Keeps a held comment for review.
    async fn hold(&self, comment: Arc<Comment>, reason: Arc<str>) -> Result<(), ErrorBody>;
}

/// Reactions counted by a worker since its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionCounts {
    pub stream_id: StreamId,
    /// Index into the configured kinds, and how many.
    pub counts: Vec<(u16, u32)>,
}

/// A viewer whose handshake is done, on its way from the gateway to a delivery worker.
#[derive(Debug)]
pub struct NewViewer {
    pub transport: Transport,
    /// Bytes the HTTP library had read beyond the handshake.
    pub early_bytes: Vec<u8>,
    pub stream_id: StreamId,
    /// `None`: an anonymous viewer, or one that has yet to send `auth`.
    pub bearer: Option<Bearer>,
    /// Close it unless a valid `auth` arrives within the auth timeout; until then it gets nothing.
    pub must_authenticate: bool,
    pub encoding: Encoding,
    pub deflate: Deflate,
    /// What the viewer last received before it came back.
    pub resume_from: Option<StreamPosition>,
    /// Released when the connection ends.
    pub permit: Box<dyn Permit>,
}

/// Who a viewer has shown to be.
#[derive(Debug, Clone)]
pub struct Bearer {
    pub identity: Arc<Identity>,
    /// How long the token is still good, leeway included: then the connection is closed.
    pub expires_in: Duration,
}

/// What the gateway holds for a connection (its place in the registry and in the limits). Dropping
/// it gives all of it back.
pub trait Permit: Send + std::fmt::Debug {}

/// Takes viewers; delivery implements it.
pub trait ViewerSink: Send + Sync + std::fmt::Debug + 'static {
    /// Hands a viewer to a worker. The worker sends `welcome`.
    fn attach(&self, viewer: NewViewer);

    /// The answer to an [`AuthRequest`]; on an error the viewer is told and closed. The permit comes
    /// on top of the one the viewer has: both are held until the connection ends.
    fn authenticated(
        &self,
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    );

    /// Closes every connection of a user with a code, and says how many it were.
    fn disconnect_user(&self, user_id: UserId, code: CloseCode) -> BoxFuture<'static, u64>;

    /// Writes to every connection of a user, and says how many it were.
    fn direct(&self, user_id: UserId, from: Arc<str>, message: Arc<str>)
    -> BoxFuture<'static, u64>;

    /// Tells every viewer `bye` with a time to come back drawn from `0..=jitter`, and closes it.
    /// Resolves when all are gone.
    fn dismiss_all(&self, code: CloseCode, jitter: Duration) -> BoxFuture<'static, u64>;

    /// Connections now.
    fn connections(&self) -> u64;
}

/// A node without viewers.
#[derive(Debug)]
pub struct NoViewers;

impl ViewerSink for NoViewers {
    /// Closes it: there is no worker to serve it, and no gateway that could have let it in.
    fn attach(&self, viewer: NewViewer) {
        drop(viewer);
    }

    fn authenticated(&self, _: ConnectionId, _: Result<(Bearer, Box<dyn Permit>), ErrorBody>) {}

    fn disconnect_user(&self, _: UserId, _: CloseCode) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn direct(&self, _: UserId, _: Arc<str>, _: Arc<str>) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn dismiss_all(&self, _: CloseCode, _: Duration) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn connections(&self) -> u64 {
        0
    }
}

/// A token that came in an `auth` message; the gateway verifies it.
#[derive(Debug)]
pub struct AuthRequest {
    pub connection: ConnectionId,
    pub stream_id: StreamId,
    pub token: String,
}

/// An operator's word to the broadcast stage on how much of a stream to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleOrder {
    pub stream_id: StreamId,
    /// `None` gives the decision back to the throttle.
    pub sample_rate: Option<SampleRate>,
}
