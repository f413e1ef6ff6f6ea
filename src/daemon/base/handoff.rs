//! The types that stages exchange through channels created by the assembly. Because of them no
//! stage imports another.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::daemon::base::pipe::PipeWriter;
use crate::net::Transport;
pub use crate::net::websocket::Deflate;
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::events::{CommentModerated, Decision, Evidence};
use crate::protocol::message::{Encoding, ServerMessage};
use crate::protocol::room::RoomPatch;
use crate::protocol::throttle::FixedRate;
use crate::protocol::{
    CloseCode, Comment, CommentId, Identity, ModerationAct, Role, Seq, StreamId, StreamPosition,
    UserId, UserScope,
};

/// One viewer connection on this node. A reused slot gets a new generation, so a late reply never
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
    /// The comment that this one answers.
    pub parent_id: Option<CommentId>,
    pub reply_to: ReplyTo,
}

/// The receiver of a submission's outcome.
#[derive(Debug)]
pub enum ReplyTo {
    Connection(ConnectionId),
    /// A handler of an HTTP request.
    Caller(oneshot::Sender<Result<Accepted, ErrorBody>>),
}

/// A comment that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub comment_id: CommentId,
    pub seq: Seq,
    /// Shown to the sender if the broadcast leaves it out. `None` for a repeated submission.
    pub comment: Option<Arc<Comment>>,
    /// The room has a message delay: the sender is shown the comment before all others.
    pub delayed: bool,
}

/// The outcome of a submission for the connection that made it.
#[derive(Debug)]
pub struct Reply {
    pub connection: ConnectionId,
    pub client_ref: Option<Arc<str>>,
    pub outcome: Result<Accepted, ErrorBody>,
}

/// Takes replies to viewers. Implemented by delivery. Never waits: a connection that cannot take
/// its reply is closed as a slow consumer.
pub trait ReplySink: Send + Sync + std::fmt::Debug + 'static {
    fn reply(&self, replies: Vec<Reply>);
}

/// The result of checking a comment before it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Screening {
    Accept,
    /// Refuses it, with a stable reason.
    Reject(Arc<str>),
    /// Stores it and shows it only to its sender.
    Shadow(Arc<str>),
    /// Keeps it hidden until a moderator decides.
    Hold(Held),
}

/// Why a comment is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// A stable word.
    pub reason: Arc<str>,
    pub evidence: Evidence,
}

/// The result of a check, and what [`Screen::record`] stores of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Screened {
    pub screening: Screening,
    /// The event of a decision other than accept.
    pub decided: Option<CommentModerated>,
    /// Whether points of its user were counted.
    pub has_points: bool,
}

/// The time for a held comment to be stored. Its sender is told then that it may be held or not.
pub const HOLD_TIME: Duration = Duration::from_secs(5);

/// Moderation before publication, for streams in synchronous mode. Implemented by moderation.
#[async_trait]
pub trait Screen: Send + Sync + std::fmt::Debug + 'static {
    /// Reads what is known of users whose comments are about to be screened, all at once. Waits for
    /// a bounded time.
    async fn prepare(&self, _users: &[UserId]) {}

    /// Checks a comment of a sender with this role, so that it ends by the deadline if it can.
    /// `None` if it is not checked: a part of the check failed or had no time, and the others found
    /// nothing. Dropped if it takes longer than the room allows.
    async fn screen(
        &self,
        comment: &Comment,
        role: Role,
        deadline: Instant,
    ) -> Result<Option<Screened>, ErrorBody>;

    /// Records a decision under its user, as far as the log accepts it, and stores the points that
    /// were counted.
    async fn record(&self, decided: Option<CommentModerated>);

    /// Stores a held comment for review, and returns after it is durable. Callers wait for
    /// [`HOLD_TIME`]; the comment of one that leaves earlier may be stored or not.
    async fn hold(&self, comment: Arc<Comment>, held: Held) -> Result<(), ErrorBody>;
}

/// Some of the unchecked comments, in the order of their creation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UncheckedPage {
    /// Without those that somebody looks at.
    pub comments: Vec<Comment>,
    /// More may follow behind this one.
    pub next: Option<CommentId>,
}

/// The comments in the review queue that no stage has checked, and those that wait too long.
/// Implemented by control.
#[async_trait]
pub trait HeldComments: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the oldest unchecked comments, at most `limit`, from the start or behind one.
    async fn unchecked(
        &self,
        after: Option<CommentId>,
        limit: usize,
    ) -> Result<UncheckedPage, ErrorBody>;

    /// Returns whether a comment of a stream that was decided earlier is not in the log yet.
    async fn is_stream_pending(&self, stream_id: StreamId) -> Result<bool, ErrorBody>;

    /// Carries out a decision about an unchecked comment: publishes it, rejects it, or leaves it to
    /// a person. Returns what was done, which is [`Decision::Flag`] if the author may not publish
    /// any more; `None` if somebody else has decided it or looks at it.
    async fn decide(&self, decided: CommentModerated) -> Result<Option<Decision>, ErrorBody>;

    /// Rejects at most `limit` of the comments that have waited since before a time (milliseconds
    /// since the Unix epoch). Returns their number.
    async fn expire(&self, before_ms: u64, limit: usize) -> Result<usize, ErrorBody>;
}

/// Finds links, for rooms that refuse them. Implemented by moderation.
pub trait LinkFinder: Send + Sync + std::fmt::Debug + 'static {
    /// Returns whether a text has a link, other than to hosts that the site allows.
    fn has_link(&self, text: &str) -> bool;
}

/// Reactions counted by a worker since its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactionCounts {
    pub stream_id: StreamId,
    /// Pairs of an index into the configured kinds and a count.
    pub counts: Vec<(u16, u32)>,
}

/// A vote on its way to be counted.
#[derive(Debug)]
pub struct Vote {
    pub stream_id: StreamId,
    pub user_id: UserId,
    pub poll_id: u64,
    /// As the viewer sent it, counted from 0.
    pub option: u64,
    /// When this node received it, in milliseconds since the Unix epoch.
    pub arrived_ms: u64,
    pub reply_to: VoteReplyTo,
}

/// The receiver of a vote's outcome.
#[derive(Debug)]
pub enum VoteReplyTo {
    /// Answered through [`ViewerSink::room_changed`].
    Connection { connection: ConnectionId, client_ref: Option<Arc<str>> },
    /// A handler of an HTTP request.
    Caller(oneshot::Sender<Result<(), ErrorBody>>),
}

/// A viewer after its handshake, passed from the gateway to a delivery worker.
#[derive(Debug)]
pub struct NewViewer {
    pub link: ViewerLink,
    pub stream_id: StreamId,
    /// `None` for an anonymous viewer, or one that has not sent `auth` yet.
    pub bearer: Option<Bearer>,
    /// The viewer receives nothing until it sends a valid `auth`, and is closed after the auth
    /// timeout.
    pub must_authenticate: bool,
    /// The last position that a returning viewer received.
    pub resume_from: Option<StreamPosition>,
    /// Released when the connection ends.
    pub permit: Box<dyn Permit>,
}

/// The way in which a viewer is sent its messages.
#[derive(Debug)]
pub enum ViewerLink {
    /// A socket after its WebSocket handshake.
    WebSocket {
        transport: Transport,
        /// Bytes the HTTP library had read beyond the handshake.
        early_bytes: Vec<u8>,
        encoding: Encoding,
        deflate: Deflate,
    },
    /// A socket after a request for an event stream over HTTP/1.1. `head` is the head of the
    /// answer, which is written first; the body ends with the connection.
    EventSocket { transport: Transport, head: Bytes },
    /// The body of an event stream over HTTP/2.
    EventPipe(PipeWriter),
    /// The mailbox of a poller.
    Poll(PipeWriter),
}

impl ViewerLink {
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::WebSocket { .. } => TransportKind::Websocket,
            Self::EventSocket { .. } | Self::EventPipe(_) => TransportKind::Sse,
            Self::Poll(_) => TransportKind::Poll,
        }
    }
}

/// The identity that a viewer has proved.
#[derive(Debug, Clone)]
pub struct Bearer {
    pub identity: Arc<Identity>,
    /// The role that operators gave the user on the stream, viewer without one.
    pub given: Role,
    /// The time the token remains valid, leeway included. The connection is closed after it.
    pub expires_in: Duration,
    /// The key that signed the token, if the issuer may withdraw it. The connection is closed then.
    pub issuer_key: Option<IssuerKeyId>,
}

/// Identifies a key that an issuer publishes, while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerKeyId(pub NonZeroU32);

/// Everything the gateway holds for a connection: its registration and its share of the limits.
/// Both are released on drop.
pub trait Permit: Send + std::fmt::Debug {
    /// Returns the viewer's address, if the permit is that of a connection.
    fn address(&self) -> Option<IpAddr> {
        None
    }
}

/// Takes viewers; delivery implements it.
pub trait ViewerSink: Send + Sync + std::fmt::Debug + 'static {
    /// Passes a viewer to a worker, which sends `welcome`.
    fn attach(&self, viewer: NewViewer);

    /// Answers an [`AuthRequest`]. On an error the viewer is told and closed. The permit is held in
    /// addition to the viewer's first one, until the connection ends.
    fn authenticated(
        &self,
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    );

    /// Answers a [`RoomRequest`] with its [`RoomChange::ack`] or an error; a [`Vote`], too.
    fn room_changed(
        &self,
        connection: ConnectionId,
        client_ref: Option<Arc<str>>,
        outcome: Result<ServerMessage, ErrorBody>,
    );

    /// Closes every connection of a user, or those to a stream, with a code, after an error that
    /// says why. Resolves to the number of connections closed.
    fn disconnect_user(
        &self,
        who: UserScope,
        code: CloseCode,
        error: Option<ErrorBody>,
    ) -> BoxFuture<'static, u64>;

    /// Closes every connection whose token was signed with one of these keys, because the issuer
    /// has withdrawn them, as if the token had expired. Resolves to the number of connections
    /// closed.
    fn close_signed_by(&self, keys: Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64>;

    /// Pings every connection of a user, so that those that are dead are closed within the pong
    /// timeout. Resolves to the number of connections pinged.
    fn probe_user(&self, user_id: UserId) -> BoxFuture<'static, u64>;

    /// Closes the viewers of a stream with an error, or only those without a token. Resolves to the
    /// number of connections closed.
    fn close_stream(
        &self,
        stream_id: StreamId,
        error: ErrorBody,
        anonymous_only: bool,
    ) -> BoxFuture<'static, u64>;

    /// Returns the streams that have viewers on this node.
    fn watched_streams(&self) -> Vec<StreamId>;

    /// Sends a direct message to every connection of a user. Resolves to their number.
    fn direct(&self, user_id: UserId, message: DirectMessage) -> BoxFuture<'static, u64>;

    /// Sends every viewer `bye` with a reconnect time drawn from `0..=jitter`, and closes it.
    /// Resolves to their number when all are closed.
    fn dismiss_all(&self, code: CloseCode, jitter: Duration) -> BoxFuture<'static, u64>;

    /// Returns the current number of connections.
    fn connections(&self) -> u64;
}

/// A direct message on its way to the connections of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectMessage {
    /// A name to show.
    pub from: Arc<str>,
    pub message: Arc<str>,
    /// The id under which it is kept. Nodes of earlier versions send none.
    pub message_id: Option<u64>,
    /// The sender, if it is another user.
    pub from_user: Option<UserId>,
}

/// The sink of a node without viewers.
#[derive(Debug)]
pub struct NoViewers;

impl ViewerSink for NoViewers {
    /// Closes the viewer. Such a node has no gateway that could admit one.
    fn attach(&self, viewer: NewViewer) {
        drop(viewer);
    }

    fn authenticated(&self, _: ConnectionId, _: Result<(Bearer, Box<dyn Permit>), ErrorBody>) {}

    fn room_changed(
        &self,
        _: ConnectionId,
        _: Option<Arc<str>>,
        _: Result<ServerMessage, ErrorBody>,
    ) {
    }

    fn disconnect_user(
        &self,
        _: UserScope,
        _: CloseCode,
        _: Option<ErrorBody>,
    ) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn close_signed_by(&self, _: Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn probe_user(&self, _: UserId) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn close_stream(&self, _: StreamId, _: ErrorBody, _: bool) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn watched_streams(&self) -> Vec<StreamId> {
        Vec::new()
    }

    fn direct(&self, _: UserId, _: DirectMessage) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn dismiss_all(&self, _: CloseCode, _: Duration) -> BoxFuture<'static, u64> {
        Box::pin(std::future::ready(0))
    }

    fn connections(&self) -> u64 {
        0
    }
}

/// The token of an `auth` message, for the gateway to verify.
#[derive(Debug)]
pub struct AuthRequest {
    pub connection: ConnectionId,
    pub stream_id: StreamId,
    /// The address that the connection came from.
    pub address: Option<IpAddr>,
    pub token: String,
}

/// Something that a moderator does in the room that it watches, for the gateway to carry out.
#[derive(Debug)]
pub struct RoomRequest {
    pub connection: ConnectionId,
    pub stream_id: StreamId,
    /// At least a moderator.
    pub identity: Arc<Identity>,
    pub change: RoomChange,
    pub client_ref: Option<Arc<str>>,
}

/// The content of a [`RoomRequest`].
#[derive(Debug)]
pub enum RoomChange {
    Settings(Box<RoomPatch>),
    Act(Box<ModerationAct>),
}

impl RoomChange {
    /// Returns the message that says that it is done.
    pub fn ack(&self, client_ref: Option<Arc<str>>) -> ServerMessage {
        match self {
            Self::Settings(_) => ServerMessage::RoomAck { client_ref },
            Self::Act(_) => ServerMessage::ModerateAck { client_ref },
        }
    }
}

/// An operator's order to the broadcast stage: the share of a stream to broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleOrder {
    pub stream_id: StreamId,
    /// `None` returns the decision to the automatic throttle.
    pub fixed: Option<FixedRate>,
}
