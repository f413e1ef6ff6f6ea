//! A user who comments: one connection, many comments in flight.
//!
//! In: comments from a bounded queue. Out: what became of each, to a [`SubmissionLog`]. Always holds: a
//! comment that has no answer when the connection breaks is sent again with the same `ref`, which the
//! server recognizes. When full: with [`MAX_IN_FLIGHT`] unanswered the queue is not read, the queue
//! fills, and whoever feeds it waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::client::viewer::{
    ConnectError, Reconnect, ViewerConnection, ViewerError, ViewerOptions, ViewerReader,
    ViewerWriter, decode,
};
use crate::protocol::message::Encoding;
use crate::protocol::{ClientMessage, CommentId, ErrorCode, Seq, ServerMessage};

/// Comments a sender may have unanswered.
pub(crate) const MAX_IN_FLIGHT: usize = 8192;
/// Comments that may wait for a sender.
pub(crate) const QUEUE_COMMENTS: usize = 4096;
/// Comments written before the buffer is flushed.
const BURST: usize = 256;
/// Senders are few and busy, so theirs are larger than a viewer's. Not larger than a burst of answers: the
/// WebSocket library clears as much before each read.
const BUFFER_BYTES: usize = 16 << 10;

/// A comment to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// Unique in the run; it makes the `ref`.
    pub number: u64,
    /// When it was to be sent.
    pub intended: Instant,
    pub text: Arc<str>,
}

/// What a user may do.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Comment(Outgoing),
    /// It has no answer, and is not repeated when a connection breaks.
    Reaction(&'static str),
}

/// The server has a comment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ack {
    pub comment_id: CommentId,
    pub seq: Seq,
    pub intended: Instant,
    pub at: Instant,
}

/// Told what becomes of comments, from the senders' tasks.
pub(crate) trait SubmissionLog: Send + Sync + 'static {
    /// Written to a socket for the first time.
    fn published(&self);
    fn acked(&self, ack: Ack);
    fn rejected(&self, code: ErrorCode);
    /// Written to a socket.
    fn reacted(&self);
    fn reaction_refused(&self);
    /// A connection ended, for this reason.
    fn interrupted(&self, kind: &'static str);
}

/// One user.
#[derive(Debug)]
pub(crate) struct Sender<L> {
    options: ViewerOptions,
    /// The first part of every `ref`.
    run: u32,
    log: Arc<L>,
    in_flight: InFlight,
}

#[derive(Debug, Default)]
struct InFlight {
    comments: Mutex<BTreeMap<u64, Unanswered>>,
    answered: Notify,
}

#[derive(Debug)]
struct Unanswered {
    outgoing: Outgoing,
    written: bool,
}

/// What a sender wants to know of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reply {
    Ack {
        number: u64,
        comment_id: CommentId,
        seq: Seq,
    },
    Refused {
        number: u64,
        code: ErrorCode,
    },
    /// Of what has no `ref`: a reaction.
    ReactionRefused,
    Bye(Option<u64>),
    Other,
}

impl<L: SubmissionLog> Sender<L> {
    pub(crate) fn new(mut options: ViewerOptions, run: u32, log: Arc<L>) -> Self {
        options.buffer_bytes = BUFFER_BYTES;
        Self { options, run, log, in_flight: InFlight::default() }
    }

    /// Joins the stream, and asks not to be shown it.
    pub(crate) async fn connect(&self) -> Result<ViewerConnection, ConnectError> {
        let (mut connection, _) = ViewerConnection::join(&self.options).await?;
        if let Err(error) = connection.send(&ClientMessage::Pause).await {
            let url = self.options.endpoint.viewer_url(self.options.stream, None);
            return Err(ConnectError::NotWelcome { url, error });
        }
        Ok(connection)
    }

    /// Sends until the queue is closed and all is answered. An error says that the server will not
    /// have this user back.
    pub(crate) async fn run(
        &self,
        mut connection: ViewerConnection,
        mut queue: mpsc::Receiver<Say>,
    ) -> Result<(), ViewerError> {
        let mut reconnect = Reconnect::default();
        loop {
            let (mut writer, mut reader) = connection.split();
            let ended = tokio::select! {
                written = self.write(&mut writer, &mut queue) => written,
                ended = self.read(&mut reader, &mut reconnect) => Err(ended),
            };
            let Err(error) = ended else { return Ok(()) };
            self.log.interrupted(error.kind());
            let mut wait = reconnect.after_end(&error).ok_or(error)?;
            connection = loop {
                tokio::time::sleep(wait).await;
                match self.connect().await {
                    Ok(connection) => break connection,
                    Err(error) => {
                        wait = reconnect
                            .after_failure(&error)
                            .ok_or_else(|| ViewerError::Broken(error.to_string()))?;
                    }
                }
            };
            reconnect.succeeded();
        }
    }

    /// Ends well when the queue is closed and everything is answered.
    async fn write(
        &self,
        writer: &mut ViewerWriter,
        queue: &mut mpsc::Receiver<Say>,
    ) -> Result<(), ViewerError> {
        self.write_all(writer, self.in_flight.all().into_iter().map(Say::Comment)).await?;
        let mut burst = Vec::with_capacity(BURST);
        loop {
            self.in_flight.wait_until(|unanswered| unanswered < MAX_IN_FLIGHT).await;
            if queue.recv_many(&mut burst, BURST).await == 0 {
                break;
            }
            // Entered before the first wait, so that a broken connection finds them all here.
            self.in_flight.enter(&burst);
            self.write_all(writer, burst.drain(..)).await?;
        }
        self.in_flight.wait_until(|unanswered| unanswered == 0).await;
        Ok(())
    }

    async fn write_all(
        &self,
        writer: &mut ViewerWriter,
        burst: impl IntoIterator<Item = Say>,
    ) -> Result<(), ViewerError> {
        for say in burst {
            let message = match say {
                Say::Comment(outgoing) => self.comment(&outgoing),
                Say::Reaction(reaction) => {
                    self.log.reacted();
                    ClientMessage::Reaction { reaction: reaction.to_owned() }
                }
            };
            writer.feed(&message).await?;
        }
        writer.flush().await
    }

    fn comment(&self, outgoing: &Outgoing) -> ClientMessage {
        if self.in_flight.mark_written(outgoing.number) {
            self.log.published();
        }
        ClientMessage::Comment {
            message: outgoing.text.as_ref().to_owned(),
            client_ref: Some(format!("{:x}-{}", self.run, outgoing.number)),
        }
    }

    async fn read(&self, reader: &mut ViewerReader, reconnect: &mut Reconnect) -> ViewerError {
        loop {
            let payload = match reader.next_payload().await {
                Ok(payload) => payload,
                Err(error) => return error,
            };
            match parse(self.options.encoding, &payload) {
                Ok(Reply::Ack { number, comment_id, seq }) => {
                    if let Some(Unanswered { outgoing, .. }) = self.in_flight.answer(number) {
                        let at = Instant::now();
                        self.log.acked(Ack { comment_id, seq, intended: outgoing.intended, at });
                    }
                }
                Ok(Reply::Refused { number, code }) => {
                    if self.in_flight.answer(number).is_some() {
                        self.log.rejected(code);
                    }
                }
                Ok(Reply::ReactionRefused) => self.log.reaction_refused(),
                Ok(Reply::Bye(wait_ms)) => reconnect.bye(wait_ms),
                Ok(Reply::Other) => {}
                Err(error) => return error,
            }
        }
    }
}

impl InFlight {
    fn lock(&self) -> parking_lot::MutexGuard<'_, BTreeMap<u64, Unanswered>> {
        self.comments.lock()
    }

    fn enter(&self, burst: &[Say]) {
        let entry = |say: &Say| match say {
            Say::Comment(outgoing) => {
                Some((outgoing.number, Unanswered { outgoing: outgoing.clone(), written: false }))
            }
            Say::Reaction(_) => None,
        };
        self.lock().extend(burst.iter().filter_map(entry));
    }

    /// Whether this was the first time.
    fn mark_written(&self, number: u64) -> bool {
        self.lock()
            .get_mut(&number)
            .is_some_and(|unanswered| !std::mem::replace(&mut unanswered.written, true))
    }

    fn answer(&self, number: u64) -> Option<Unanswered> {
        let unanswered = self.lock().remove(&number);
        self.answered.notify_one();
        unanswered
    }

    fn all(&self) -> Vec<Outgoing> {
        self.lock().values().map(|unanswered| unanswered.outgoing.clone()).collect()
    }

    async fn wait_until(&self, holds: impl Fn(usize) -> bool) {
        while !holds(self.lock().len()) {
            self.answered.notified().await;
        }
    }
}

/// An ack's fields, in the JSON form.
#[derive(Deserialize)]
struct AckFields<'a> {
    #[serde(rename = "ref")]
    client_ref: &'a str,
    comment_id: CommentId,
    seq: Seq,
}

fn parse(encoding: Encoding, payload: &[u8]) -> Result<Reply, ViewerError> {
    // Nearly all that a sender reads are acks: read those without the detour that a tagged enum is.
    if encoding == Encoding::Json
        && payload.starts_with(br#"{"type":"ack","#)
        && let Ok(ack) = serde_json::from_slice::<AckFields<'_>>(payload)
    {
        let AckFields { client_ref, comment_id, seq } = ack;
        return Ok(match number_of(client_ref) {
            Some(number) => Reply::Ack { number, comment_id, seq },
            None => Reply::Other,
        });
    }
    if is_comments(encoding, payload) {
        return Ok(Reply::Other);
    }
    let number = |text: Option<Arc<str>>| text.as_deref().and_then(number_of);
    Ok(match decode(encoding, payload)? {
        ServerMessage::Ack { client_ref, comment_id, seq } => match number(client_ref) {
            Some(number) => Reply::Ack { number, comment_id, seq },
            None => Reply::Other,
        },
        ServerMessage::Error { code, client_ref, .. } => match number(client_ref) {
            Some(number) => Reply::Refused { number, code },
            None => Reply::ReactionRefused,
        },
        ServerMessage::Bye { reconnect_after_ms, .. } => Reply::Bye(reconnect_after_ms),
        _ => Reply::Other,
    })
}

/// Whether this is a batch of comments, which a sender has no use for and need not decode.
fn is_comments(encoding: Encoding, payload: &[u8]) -> bool {
    match encoding {
        Encoding::Json => payload.starts_with(br#"{"type":"comments","#),
        // An array of six whose first element is 1.
        Encoding::Msgpack => payload.starts_with(&[0x96, 1]),
    }
}

fn number_of(client_ref: &str) -> Option<u64> {
    client_ref.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Epoch;
    use crate::protocol::message::CommentsBatch;
    use crate::protocol::throttle::SampleRate;

    #[test]
    fn replies_are_read_in_both_forms() {
        let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000, 7, [1; 6]);
        let client_ref = Some(Arc::from("c0ffee-42"));
        let code = ErrorCode::RateLimited;
        for (message, reply) in [
            (
                ServerMessage::Ack { client_ref: client_ref.clone(), comment_id, seq: 9 },
                Reply::Ack { number: 42, comment_id, seq: 9 },
            ),
            (ServerMessage::Ack { client_ref: None, comment_id, seq: 9 }, Reply::Other),
            (
                ServerMessage::Error {
                    code,
                    message: "slow down".into(),
                    retry_after_ms: Some(5),
                    client_ref,
                },
                Reply::Refused { number: 42, code },
            ),
            (
                ServerMessage::Error {
                    code,
                    message: "too many reactions".into(),
                    retry_after_ms: None,
                    client_ref: None,
                },
                Reply::ReactionRefused,
            ),
            (
                ServerMessage::Comments(CommentsBatch {
                    epoch: Epoch(1),
                    from_seq: 1,
                    to_seq: 2,
                    sample_rate: SampleRate::ALL,
                    comments: Vec::new(),
                    echo: false,
                }),
                Reply::Other,
            ),
        ] {
            for encoding in [Encoding::Json, Encoding::Msgpack] {
                let payload = encoding.encode(&message);
                assert_eq!(parse(encoding, &payload), Ok(reply), "{message:?}");
                let comments = matches!(message, ServerMessage::Comments(_));
                assert_eq!(is_comments(encoding, &payload), comments, "{message:?}");
            }
        }
    }
}
