//! A viewer that reconnects by itself and continues where it was.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    ConnectError, Position, Reconnect, SeqRange, ViewerConnection, ViewerError, ViewerOptions,
    Welcome,
};
use crate::protocol::message::CommentsBatch;
use crate::protocol::{ClientMessage, CommentId, ErrorCode, Seq, SequencedComment, ServerMessage};

/// Comments without an answer that are kept, to be sent again after a lost connection.
const MAX_PENDING: usize = 50;

/// Time for which a server certainly knows a `ref`. A comment that was sent before is not sent
/// again: it could be stored twice.
const REF_LIFETIME: Duration = Duration::from_secs(55);

/// A connection that is silent for this long is asked for a sign of life, and has the same time to
/// answer.
const SILENCE: Duration = Duration::from_secs(30);

/// Comments whose ids are remembered: those that a new log may repeat are the last ones of the
/// earlier log.
const MAX_SHOWN: usize = 10_000;

/// The ids of the latest comments that the caller was told of.
#[derive(Debug, Default)]
struct ShownComments {
    ids: HashSet<CommentId>,
    /// Oldest first.
    order: VecDeque<CommentId>,
}

impl ShownComments {
    /// Remembers a comment, and the oldest no more if there are too many. Returns false if it is
    /// known.
    fn insert(&mut self, comment_id: CommentId) -> bool {
        if !self.ids.insert(comment_id) {
            return false;
        }
        self.order.push_back(comment_id);
        if self.order.len() > MAX_SHOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

/// An event of a followed stream.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowerEvent {
    /// The viewer is connected, for the first time or again.
    Connected(Welcome),
    /// The next comment of the stream, each exactly once and in order. Only an own comment may come
    /// early, before those in front of it: one that sampling left out, or that a message delay
    /// holds back from others.
    /// One that the server had to store again in another epoch comes once, too.
    Comment(SequencedComment),
    /// Comments that the server left out, both ends included. The history has them.
    Skipped(SeqRange),
    /// A comment of this viewer is stored.
    Stored { client_ref: Arc<str>, comment_id: CommentId, seq: Seq },
    /// The server refused a comment of this viewer, or something else that it sent.
    Refused {
        client_ref: Option<Arc<str>>,
        code: ErrorCode,
        message: String,
        retry_after_ms: Option<u64>,
    },
    /// Nobody knows whether this comment is stored: the connection was away for too long.
    Unanswered { client_ref: Arc<str> },
    /// Any other message.
    Message(ServerMessage),
    /// The connection ended or was given up. The next attempt comes after `retry_in`.
    Lost { why: String, retry_in: Duration },
}

/// The reason why a stream cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum FollowerError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Ended(#[from] ViewerError),
}

/// Too many comments wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_PENDING} comments wait for an answer")]
pub struct TooManyPending;

#[derive(Debug)]
struct Pending {
    client_ref: Arc<str>,
    message: String,
    first_sent: Option<Instant>,
    /// Sent on the present connection.
    is_sent: bool,
}

/// An attempt to connect, which continues when a [`StreamFollower::next`] is cancelled.
struct Joining(BoxFuture<'static, Result<(ViewerConnection, Welcome), ConnectError>>);

impl Joining {
    fn start(options: ViewerOptions) -> Self {
        Self(async move { ViewerConnection::join(&options).await }.boxed())
    }
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").finish_non_exhaustive()
    }
}

/// A viewer that reconnects by itself: everything is in order and nothing comes twice, whatever
/// happens to the connection.
///
/// [`Self::next`] does all the work, so call it all the time, as in a `select!`. When full: a
/// caller that does not read is skipped ahead by the server, which is told as
/// [`FollowerEvent::Skipped`]; beyond 50 unanswered comments [`Self::comment`] refuses.
#[derive(Debug)]
pub struct StreamFollower {
    options: ViewerOptions,
    reconnect: Reconnect,
    retry_at: Option<Instant>,
    joining: Option<Joining>,
    connection: Option<ViewerConnection>,
    position: Option<Position>,
    heard_at: Instant,
    has_pinged: bool,
    /// Oldest first.
    pending: VecDeque<Pending>,
    /// Events that were received together with others.
    ready: VecDeque<FollowerEvent>,
    shown: ShownComments,
}

impl StreamFollower {
    /// Returns a viewer that is not connected yet; the first [`Self::next`] connects.
    pub fn new(options: ViewerOptions) -> Self {
        Self {
            options,
            reconnect: Reconnect::default(),
            retry_at: None,
            joining: None,
            connection: None,
            position: None,
            heard_at: Instant::now(),
            has_pinged: false,
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            shown: ShownComments::default(),
        }
    }

    /// Sends a comment with the next call of [`Self::next`], and again after a lost connection; it
    /// is stored once. Returns the `ref` that [`FollowerEvent::Stored`] and
    /// [`FollowerEvent::Refused`] will name.
    ///
    /// # Errors
    /// 50 comments have no answer yet.
    pub fn comment(&mut self, message: impl Into<String>) -> Result<Arc<str>, TooManyPending> {
        if self.pending.len() >= MAX_PENDING {
            return Err(TooManyPending);
        }
        let client_ref: Arc<str> = uuid::Uuid::from_u128(rand::random()).to_string().into();
        self.pending.push_back(Pending {
            client_ref: client_ref.clone(),
            message: message.into(),
            first_sent: None,
            is_sent: false,
        });
        Ok(client_ref)
    }

    /// Returns the next event. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Trying again is of no use, as after a ban. A further call tries nevertheless.
    pub async fn next(&mut self) -> Result<FollowerEvent, FollowerError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.connection.is_none() {
                return self.connect().await;
            }
            match self.exchange().await {
                Ok(Some(message)) => {
                    if let Err(end) = self.receive(message) {
                        return self.lose(end);
                    }
                }
                Ok(None) => {}
                Err(end) => return self.lose(end),
            }
        }
    }

    async fn connect(&mut self) -> Result<FollowerEvent, FollowerError> {
        if let Some(retry_at) = self.retry_at {
            sleep_until(retry_at).await;
        }
        let joining = self.joining.get_or_insert_with(|| {
            self.options.resume = self.position.map(|position| position.resume());
            Joining::start(self.options.clone())
        });
        let joined = joining.0.as_mut().await;
        self.joining = None;
        match joined {
            Ok((connection, welcome)) => {
                self.retry_at = None;
                self.reconnect.succeeded();
                self.connection = Some(connection);
                self.position = Some(Position::new(welcome.epoch, welcome.seq));
                self.heard_at = Instant::now();
                self.has_pinged = false;
                self.forget_old();
                Ok(FollowerEvent::Connected(welcome))
            }
            Err(error) => match self.reconnect.after_failure(&error) {
                Some(retry_in) => Ok(self.wait(error.to_string(), retry_in)),
                None => Err(error.into()),
            },
        }
    }

    /// Prepares comments to be sent on a new connection.
    fn forget_old(&mut self) {
        let now = Instant::now();
        let is_old = |first_sent: Instant| now - first_sent > REF_LIFETIME;
        for pending in std::mem::take(&mut self.pending) {
            if pending.first_sent.is_some_and(is_old) {
                let client_ref = pending.client_ref;
                self.ready.push_back(FollowerEvent::Unanswered { client_ref });
            } else {
                self.pending.push_back(Pending { is_sent: false, ..pending });
            }
        }
    }

    fn wait(&mut self, why: String, retry_in: Duration) -> FollowerEvent {
        self.retry_at = Some(Instant::now() + retry_in);
        FollowerEvent::Lost { why, retry_in }
    }

    fn lose(&mut self, end: ViewerError) -> Result<FollowerEvent, FollowerError> {
        self.connection = None;
        match self.reconnect.after_end(&end) {
            Some(retry_in) => Ok(self.wait(end.to_string(), retry_in)),
            None => Err(end.into()),
        }
    }

    /// Sends what waits, and returns the next message; `None` after a silence.
    async fn exchange(&mut self) -> Result<Option<ServerMessage>, ViewerError> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        for pending in self.pending.iter_mut().filter(|pending| !pending.is_sent) {
            let client_ref = Some(pending.client_ref.to_string());
            let message = pending.message.clone();
            pending.first_sent.get_or_insert_with(Instant::now);
            // If this is cancelled it is sent again with the same ref, which does no harm.
            let comment = ClientMessage::Comment { message, client_ref, parent_id: None };
            connection.send(&comment).await?;
            pending.is_sent = true;
        }
        if let Ok(message) = timeout_at(self.heard_at + SILENCE, connection.next()).await {
            self.heard_at = Instant::now();
            self.has_pinged = false;
            return message.map(Some);
        }
        if self.has_pinged {
            return Err(ViewerError::Broken("a ping was not answered".to_owned()));
        }
        self.heard_at = Instant::now();
        self.has_pinged = true;
        connection.send(&ClientMessage::Ping).await?;
        Ok(None)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// Something before it is missing, so the connection is given up.
    fn receive(&mut self, message: ServerMessage) -> Result<(), ViewerError> {
        match message {
            ServerMessage::Comments(batch) => self.receive_comments(batch)?,
            ServerMessage::Gap { from_seq, to_seq, .. } => {
                if let Some(range) = SeqRange::new(from_seq, to_seq) {
                    self.advance(range)?;
                    self.ready.push_back(FollowerEvent::Skipped(range));
                }
            }
            ServerMessage::Ack { client_ref: Some(client_ref), comment_id, seq } => {
                // A comment that was sent twice is acknowledged twice.
                let waiting = self.pending.len();
                self.pending.retain(|pending| pending.client_ref != client_ref);
                if self.pending.len() < waiting {
                    self.ready.push_back(FollowerEvent::Stored { client_ref, comment_id, seq });
                }
            }
            ServerMessage::Error { code, message, retry_after_ms, client_ref } => {
                self.pending.retain(|pending| Some(&pending.client_ref) != client_ref.as_ref());
                let refused = FollowerEvent::Refused { client_ref, code, message, retry_after_ms };
                self.ready.push_back(refused);
            }
            ServerMessage::Bye { reconnect_after_ms, .. } => {
                self.reconnect.bye(reconnect_after_ms);
            }
            // As after a position that the stream has not reached.
            ServerMessage::Welcome { epoch, seq, .. } => {
                self.position = Some(Position::new(epoch, seq));
            }
            ServerMessage::Pong => {}
            other => self.ready.push_back(FollowerEvent::Message(other)),
        }
        Ok(())
    }

    fn receive_comments(&mut self, batch: CommentsBatch) -> Result<(), ViewerError> {
        let before = self.position.map(|position| position.seq());
        if !batch.echo
            && let Some(range) = SeqRange::new(batch.from_seq, batch.to_seq)
        {
            self.advance(range)?;
        }
        // An echo is outside the ranges: it may come again at its place, or after a reconnection.
        let is_new =
            |comment: &SequencedComment| batch.echo || before.is_none_or(|seq| comment.seq > seq);
        let shown = &mut self.shown;
        let comments = batch.comments.into_iter().filter(is_new);
        let comments = comments.filter(|comment| shown.insert(comment.comment_id));
        self.ready.extend(comments.map(FollowerEvent::Comment));
        Ok(())
    }

    /// Advances the position by a range.
    ///
    /// # Errors
    /// Something before the range is missing. The next connection continues at the position.
    fn advance(&mut self, range: SeqRange) -> Result<(), ViewerError> {
        let Some(position) = &mut self.position else { return Ok(()) };
        let mut advanced = *position;
        if let Some(hole) = advanced.advance(range).hole {
            let why = format!("the comments {} to {} are missing", hole.from, hole.to);
            return Err(ViewerError::Broken(why));
        }
        *position = advanced;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{Comment, Epoch, StreamId, UserId};

    fn batch(epoch: u32, first_seq: Seq, ids: &[u64]) -> ServerMessage {
        let comment = |(seq, id): (Seq, &u64)| {
            Comment {
                stream_id: StreamId(7),
                comment_id: CommentId::from_unix_ticks(17_500_000_000_000_000 + id, 1, [3; 6]),
                user_id: UserId(1),
                name: "ann".into(),
                message: "hi".into(),
                created_at: 1,
                badges: Default::default(),
                parent_id: None,
            }
            .sequenced(seq)
        };
        let comments: Vec<_> = (first_seq..).zip(ids).map(comment).collect();
        ServerMessage::Comments(CommentsBatch {
            epoch: Epoch(epoch),
            from_seq: first_seq,
            to_seq: first_seq + ids.len() as u64 - 1,
            sample_rate: SampleRate::ALL,
            comments,
            echo: false,
        })
    }

    #[test]
    fn a_comment_repeated_in_a_new_epoch_comes_once() {
        let endpoint = "http://127.0.0.1:1".parse().unwrap();
        let mut follower = StreamFollower::new(ViewerOptions::new(endpoint, StreamId(7)));
        let mut receive = |epoch, first_seq, ids: &[u64]| {
            follower.position = Some(Position::new(Epoch(epoch), first_seq - 1));
            follower.receive(batch(epoch, first_seq, ids)).unwrap();
            let seq = |event| match event {
                FollowerEvent::Comment(comment) => comment.seq,
                other => panic!("{other:?}"),
            };
            follower.ready.drain(..).map(seq).collect::<Vec<_>>()
        };
        assert_eq!(receive(3, 11, &[1, 2, 3]), [11, 12, 13]);
        assert_eq!(receive(4, 1, &[2, 4]), [2], "shown in the earlier epoch");
        assert_eq!(receive(4, 3, &[3, 5]), [4], "also on a later connection");
    }

    #[test]
    fn the_remembered_comments_are_bounded() {
        let mut shown = ShownComments::default();
        let id = |number| CommentId::from_unix_ticks(17_500_000_000_000_000 + number, 1, [3; 6]);
        let count = MAX_SHOWN as u64 + 1;
        assert!((0..count).all(|number| shown.insert(id(number))));
        assert_eq!((shown.ids.len(), shown.order.len()), (MAX_SHOWN, MAX_SHOWN));
        assert!(!shown.insert(id(1)));
        assert!(shown.insert(id(0)), "the oldest is forgotten");
    }
}
