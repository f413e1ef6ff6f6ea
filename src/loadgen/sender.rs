//! One user who comments: one connection, many comments in flight.
//!
//! In: comments from a bounded queue. Out: the fate of each, recorded in [`Submissions`]. Always
//! holds: a comment without an answer is sent again after a reconnect with the same `ref`, by which
//! the server recognizes it. When full: with [`MAX_IN_FLIGHT`] unanswered comments the queue is not
//! read, so it fills, and its producer waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::submissions::{SubmissionAck, Submissions};
use crate::client::viewer::{
    ConnectError, Reconnect, ViewerConnection, ViewerError, ViewerOptions, ViewerReader,
    ViewerWriter, decode,
};
use crate::protocol::message::Encoding;
use crate::protocol::{ClientMessage, CommentId, ErrorCode, Seq, ServerMessage};

/// Comments of one sender that may be unanswered.
pub(crate) const MAX_IN_FLIGHT: usize = 8192;
/// Comments that may wait for a sender.
pub(crate) const QUEUE_COMMENTS: usize = 4096;
/// Comments written before the buffer is flushed.
const BURST: usize = 256;
/// Larger than a viewer's buffers, because senders are few and busy. Not larger than a burst of
/// answers, because the WebSocket library clears as much before each read.
const BUFFER_BYTES: usize = 16 << 10;

/// A comment to send.
#[derive(Debug, Clone)]
pub(crate) struct OutgoingComment {
    /// Unique within the run. Part of the `ref`.
    pub number: u64,
    /// When the comment was due.
    pub intended: Instant,
    pub text: Arc<str>,
}

/// The comments and reactions of a sender.
#[derive(Debug, Clone)]
pub(crate) enum OutgoingMessage {
    Comment(OutgoingComment),
    /// A reaction. It has no answer and is not repeated after a reconnect.
    Reaction(&'static str),
}

/// One user.
#[derive(Debug)]
pub(crate) struct Sender {
    options: ViewerOptions,
    /// The first part of every `ref`.
    run_id: u32,
    submissions: Arc<Submissions>,
    in_flight: InFlight,
}

/// Comments that were taken from the queue and have no answer yet.
#[derive(Debug, Default)]
struct InFlight {
    comments: Mutex<BTreeMap<u64, PendingComment>>,
    answered: Notify,
}

#[derive(Debug)]
struct PendingComment {
    comment: OutgoingComment,
    written: bool,
}

/// The part of a server's message that a sender needs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum SenderAnswer {
    Ack {
        number: u64,
        comment_id: CommentId,
        seq: Seq,
    },
    Rejected {
        number: u64,
        code: ErrorCode,
    },
    /// An error without a `ref`.
    ReactionRefused,
    Bye(Option<u64>),
    Other,
}

impl Sender {
    pub(crate) fn new(
        mut options: ViewerOptions,
        run_id: u32,
        submissions: Arc<Submissions>,
    ) -> Self {
        options.buffer_bytes = BUFFER_BYTES;
        Self { options, run_id, submissions, in_flight: InFlight::default() }
    }

    /// Joins the stream and pauses its delivery: a sender does not watch.
    pub(crate) async fn connect(&self) -> Result<ViewerConnection, ConnectError> {
        let (mut connection, _) = ViewerConnection::join(&self.options).await?;
        if let Err(error) = connection.send(&ClientMessage::Pause).await {
            let url = self.options.endpoint.viewer_url(self.options.stream, None);
            return Err(ConnectError::NotWelcome { url, error });
        }
        Ok(connection)
    }

    /// Sends until the queue is closed and every comment is answered.
    ///
    /// # Errors
    /// The server does not let this user reconnect.
    pub(crate) async fn run(
        &self,
        mut connection: ViewerConnection,
        mut queue: mpsc::Receiver<OutgoingMessage>,
    ) -> Result<(), ViewerError> {
        let mut reconnect = Reconnect::default();
        loop {
            let (mut writer, mut reader) = connection.split();
            let ended = tokio::select! {
                written = self.write(&mut writer, &mut queue) => written,
                ended = self.read(&mut reader, &mut reconnect) => Err(ended),
            };
            let Err(error) = ended else { return Ok(()) };
            self.submissions.count_disconnect(error.kind());
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

    /// Writes until the queue is closed and every comment is answered.
    async fn write(
        &self,
        writer: &mut ViewerWriter,
        queue: &mut mpsc::Receiver<OutgoingMessage>,
    ) -> Result<(), ViewerError> {
        let again = self.in_flight.all().into_iter().map(OutgoingMessage::Comment);
        self.write_all(writer, again).await?;
        let mut burst = Vec::with_capacity(BURST);
        loop {
            self.in_flight.wait_until(|pending| pending < MAX_IN_FLIGHT).await;
            if queue.recv_many(&mut burst, BURST).await == 0 {
                break;
            }
            // Added before the first await, so that none is lost when the connection breaks.
            self.in_flight.add(&burst);
            self.write_all(writer, burst.drain(..)).await?;
        }
        self.in_flight.wait_until(|pending| pending == 0).await;
        Ok(())
    }

    async fn write_all(
        &self,
        writer: &mut ViewerWriter,
        burst: impl IntoIterator<Item = OutgoingMessage>,
    ) -> Result<(), ViewerError> {
        for outgoing in burst {
            let message = match outgoing {
                OutgoingMessage::Comment(comment) => self.comment_message(&comment),
                OutgoingMessage::Reaction(reaction) => {
                    self.submissions.count_reaction();
                    ClientMessage::Reaction { reaction: reaction.to_owned() }
                }
            };
            writer.feed(&message).await?;
        }
        writer.flush().await
    }

    fn comment_message(&self, comment: &OutgoingComment) -> ClientMessage {
        if self.in_flight.mark_written(comment.number) {
            self.submissions.count_published();
        }
        ClientMessage::Comment {
            message: comment.text.as_ref().to_owned(),
            client_ref: Some(format!("{:x}-{}", self.run_id, comment.number)),
            parent_id: None,
        }
    }

    /// Reads answers until the connection ends, and returns why it ended.
    async fn read(&self, reader: &mut ViewerReader, reconnect: &mut Reconnect) -> ViewerError {
        loop {
            let payload = match reader.next_payload().await {
                Ok(payload) => payload,
                Err(error) => return error,
            };
            match parse(self.options.encoding, &payload) {
                Ok(SenderAnswer::Ack { number, comment_id, seq }) => {
                    if let Some(comment) = self.in_flight.remove(number) {
                        let intended = comment.intended;
                        let at = Instant::now();
                        self.submissions.record_ack(SubmissionAck {
                            number,
                            comment_id,
                            seq,
                            intended,
                            at,
                        });
                    }
                }
                Ok(SenderAnswer::Rejected { number, code }) => {
                    if self.in_flight.remove(number).is_some() {
                        self.submissions.record_rejection(number, code);
                    }
                }
                Ok(SenderAnswer::ReactionRefused) => self.submissions.count_refused_reaction(),
                Ok(SenderAnswer::Bye(wait_ms)) => reconnect.bye(wait_ms),
                Ok(SenderAnswer::Other) => {}
                Err(error) => return error,
            }
        }
    }
}

impl InFlight {
    fn add(&self, burst: &[OutgoingMessage]) {
        let entry = |outgoing: &OutgoingMessage| match outgoing {
            OutgoingMessage::Comment(comment) => {
                let pending = PendingComment { comment: comment.clone(), written: false };
                Some((comment.number, pending))
            }
            OutgoingMessage::Reaction(_) => None,
        };
        self.comments.lock().extend(burst.iter().filter_map(entry));
    }

    /// Returns whether this was the comment's first write.
    fn mark_written(&self, number: u64) -> bool {
        self.comments
            .lock()
            .get_mut(&number)
            .is_some_and(|pending| !std::mem::replace(&mut pending.written, true))
    }

    /// Removes an answered comment. Returns `None` if it was answered before.
    fn remove(&self, number: u64) -> Option<OutgoingComment> {
        let pending = self.comments.lock().remove(&number);
        self.answered.notify_one();
        pending.map(|pending| pending.comment)
    }

    fn all(&self) -> Vec<OutgoingComment> {
        self.comments.lock().values().map(|pending| pending.comment.clone()).collect()
    }

    async fn wait_until(&self, holds: impl Fn(usize) -> bool) {
        while !holds(self.comments.lock().len()) {
            self.answered.notified().await;
        }
    }
}

/// The fields of an ack in JSON.
#[derive(Deserialize)]
struct AckFields<'a> {
    #[serde(rename = "ref")]
    client_ref: &'a str,
    comment_id: CommentId,
    seq: Seq,
}

fn parse(encoding: Encoding, payload: &[u8]) -> Result<SenderAnswer, ViewerError> {
    // Nearly all messages to a sender are acks. Parsing their fields directly is cheaper than
    // decoding the tagged enum.
    if encoding == Encoding::Json
        && payload.starts_with(br#"{"type":"ack","#)
        && let Ok(ack) = serde_json::from_slice::<AckFields<'_>>(payload)
    {
        return Ok(ack_answer(number_of(ack.client_ref), ack.comment_id, ack.seq));
    }
    if is_comments(encoding, payload) {
        return Ok(SenderAnswer::Other);
    }
    let number = |text: Option<Arc<str>>| text.as_deref().and_then(number_of);
    let Some(message) = decode(encoding, payload)? else { return Ok(SenderAnswer::Other) };
    Ok(match message {
        ServerMessage::Ack { client_ref, comment_id, seq } => {
            ack_answer(number(client_ref), comment_id, seq)
        }
        ServerMessage::Error { code, client_ref, .. } => match number(client_ref) {
            Some(number) => SenderAnswer::Rejected { number, code },
            None => SenderAnswer::ReactionRefused,
        },
        ServerMessage::Bye { reconnect_after_ms, .. } => SenderAnswer::Bye(reconnect_after_ms),
        _ => SenderAnswer::Other,
    })
}

/// An ack without a number is of no comment of this run.
fn ack_answer(number: Option<u64>, comment_id: CommentId, seq: Seq) -> SenderAnswer {
    number.map_or(SenderAnswer::Other, |number| SenderAnswer::Ack { number, comment_id, seq })
}

/// Returns whether this is a batch of comments, which a sender does not decode.
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
    fn answers_are_read_in_both_encodings() {
        let comment_id = CommentId::from_unix_ticks(17_000_000_000_000_000, 7, [1; 6]);
        let client_ref = Some(Arc::from("c0ffee-42"));
        let code = ErrorCode::RateLimited;
        for (message, answer) in [
            (
                ServerMessage::Ack { client_ref: client_ref.clone(), comment_id, seq: 9 },
                SenderAnswer::Ack { number: 42, comment_id, seq: 9 },
            ),
            (ServerMessage::Ack { client_ref: None, comment_id, seq: 9 }, SenderAnswer::Other),
            (
                ServerMessage::Error {
                    code,
                    message: "slow down".into(),
                    retry_after_ms: Some(5),
                    client_ref,
                },
                SenderAnswer::Rejected { number: 42, code },
            ),
            (
                ServerMessage::Error {
                    code,
                    message: "too many reactions".into(),
                    retry_after_ms: None,
                    client_ref: None,
                },
                SenderAnswer::ReactionRefused,
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
                SenderAnswer::Other,
            ),
        ] {
            for encoding in [Encoding::Json, Encoding::Msgpack] {
                let payload = encoding.encode(&message);
                assert_eq!(parse(encoding, &payload), Ok(answer), "{message:?}");
                let comments = matches!(message, ServerMessage::Comments(_));
                assert_eq!(is_comments(encoding, &payload), comments, "{message:?}");
            }
        }
    }
}
