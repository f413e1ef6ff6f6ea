//! Inbound: from the bytes that a viewer sends to a `Submission` in the queue of ingest.
//!
//! The spine: [`Worker::read_socket`] → [`Worker::receive_bytes`] → `handle_incoming` →
//! `handle_client_message` → `queue_submission` → `send_submissions`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::Worker;
use super::receive::{Incoming, ReceiveError, Rules, receive};
use super::viewer::Flags;
use crate::daemon::base::handoff::{
    AuthRequest, ReactionCounts, ReplyTo, RoomChange, RoomRequest, Submission, Vote, VoteReplyTo,
};
use crate::daemon::base::metrics::count;
use crate::daemon::stages::delivery::turns::unknown_reaction;
use crate::net::websocket::{Opcode, ReadRules, Side, server_frame};
use crate::protocol::admin::TransportKind;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::message::{BadMessage, ClientMessage, Encoding, ServerMessage};
use crate::protocol::{CloseCode, CommentId, ErrorCode};

/// Bytes read from one viewer before the others have their turn.
const MAX_TURN_BYTES: usize = 256 * 1024;
/// Bytes that a read counts as at least: a few bytes may have come in as many records of TLS as 16
/// KiB hold.
const MIN_COUNTED_BYTES: usize = 16 * 1024;
/// Comments sent to ingest together. Its queue takes all of them or none.
const MAX_SUBMISSION_BATCH: usize = 64;

impl Worker {
    /// Reads until the socket is empty or the viewer's turn is over. `to_the_end` says that the
    /// peer may have closed, which only reading shows. A viewer that is not welcomed yet is not
    /// read: its messages wait in the socket until [`Self::join`], so that nothing is answered
    /// before `welcome`.
    pub(super) fn read_socket(&mut self, slot: usize, to_the_end: bool) {
        let flags = self.viewers[slot].flags;
        if flags.has(Flags::JOINING) && !flags.has(Flags::MUST_AUTH | Flags::CLOSING) {
            return;
        }
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut turn_bytes = 0;
        while let Some(viewer) = self.viewers.get_mut(slot) {
            match viewer.outlet.read(&mut buffer) {
                Ok(None) => break,
                Ok(Some(0)) | Err(_) => {
                    self.remove_lost(slot);
                    break;
                }
                Ok(Some(bytes)) => {
                    let short = viewer.outlet.short_read_means_empty() && bytes < buffer.len();
                    let emptied = short && !to_the_end;
                    self.metrics.bytes_in.inc_by(bytes as u64);
                    self.receive_bytes(slot, &mut buffer[..bytes]);
                    turn_bytes += bytes.max(MIN_COUNTED_BYTES);
                    if emptied {
                        break;
                    }
                    if turn_bytes >= MAX_TURN_BYTES {
                        self.unfinished_reads.push(slot);
                        break;
                    }
                }
            }
        }
        self.read_buffer = buffer;
    }

    /// Continues reads that ended before the socket was empty.
    pub(super) fn read_unfinished(&mut self) {
        for slot in std::mem::take(&mut self.unfinished_reads) {
            if self.viewers.contains(slot) {
                self.read_socket(slot, true);
            }
        }
    }

    /// Splits bytes into messages and handles each. A viewer of an event stream has nothing to say
    /// on it: its bytes are ignored.
    pub(super) fn receive_bytes(&mut self, slot: usize, bytes: &mut [u8]) {
        let seen_s = self.now_s();
        let viewer = &mut self.viewers[slot];
        if viewer.kind != TransportKind::Websocket {
            return;
        }
        viewer.seen_s = seen_s;
        let mut rules = Rules {
            frames: ReadRules {
                sender: Side::Client,
                max_message_bytes: self.parts.gateway.max_message_bytes.as_u64() as usize,
                deflate: viewer.may_compress,
            },
            inflater: &mut self.inflater,
        };
        let mut incoming = std::mem::take(&mut self.incoming);
        let result = receive(&mut viewer.frames, bytes, &mut rules, &mut incoming);
        for message in incoming.drain(..) {
            if !self.viewers.contains(slot) {
                break;
            }
            self.handle_incoming(slot, message);
        }
        self.incoming = incoming;
        if let Err(error) = result
            && self.viewers.contains(slot)
        {
            self.handle_protocol_error(slot, error);
        }
    }

    fn handle_protocol_error(&mut self, slot: usize, error: ReceiveError) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            // These are the remaining bytes of what broke the connection. Closing a socket with
            // unread bytes would reset the connection, and the viewer might not see the close
            // frame.
            return;
        }
        let body = ErrorBody::new(error.code(), error.to_string());
        self.send_error_and_close(slot, body, CloseCode::ProtocolError);
    }

    fn handle_incoming(&mut self, slot: usize, message: Incoming) {
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            if matches!(message, Incoming::Close(_)) {
                self.remove_viewer(slot);
            }
            return;
        }
        let encoding = self.viewers[slot].form.encoding();
        match (message, encoding) {
            (Incoming::Text(payload), Encoding::Json)
            | (Incoming::Binary(payload), Encoding::Msgpack) => {
                match encoding.decode_client(&payload) {
                    Ok(message) => self.handle_client_message(slot, message),
                    Err(bad) => self.handle_bad_message(slot, bad),
                }
            }
            (Incoming::Text(_) | Incoming::Binary(_), _) => {
                let name = encoding.subprotocol();
                let text = format!(
                    "{name} uses the other kind of message: text for JSON, binary for MessagePack"
                );
                let error = ErrorBody::new(ErrorCode::WrongFrameType, text);
                self.send_error_and_close(slot, error, CloseCode::UnsupportedData);
            }
            (Incoming::Ping(payload), _) => {
                let pong: Bytes = server_frame(Opcode::Pong, false, &payload).into();
                self.send_private_bytes(slot, pong);
            }
            (Incoming::Pong, _) => {}
            (Incoming::Close(code), _) => self.reply_to_close(slot, code),
        }
    }

    fn handle_bad_message(&mut self, slot: usize, bad: BadMessage) {
        let viewer = &mut self.viewers[slot];
        viewer.errors += 1;
        if viewer.errors >= self.parts.delivery.max_errors {
            let text = "too many bad messages one after another";
            let error = ErrorBody::new(ErrorCode::TooManyErrors, text);
            self.send_error_and_close(slot, error, CloseCode::TooManyErrors);
        } else {
            let client_ref = bad.client_ref.map(Arc::from);
            self.send_error(slot, ErrorBody::new(bad.code, bad.message), client_ref);
        }
    }

    fn handle_client_message(&mut self, slot: usize, message: ClientMessage) {
        self.viewers[slot].errors = 0;
        match message {
            ClientMessage::Ping => self.send_private(slot, &ServerMessage::Pong),
            ClientMessage::Auth { token } => self.request_auth(slot, token),
            ClientMessage::Comment { message, client_ref, parent_id } => {
                self.queue_submission(slot, message, parent_id, client_ref.map(Arc::from));
            }
            ClientMessage::Reaction { reaction } => self.count_reaction(slot, &reaction),
            ClientMessage::Vote { poll_id, option, client_ref } => {
                self.request_vote(slot, poll_id, option, client_ref.map(Arc::from));
            }
            ClientMessage::Pause => self.pause(slot),
            ClientMessage::Room { patch, client_ref } => {
                let change = RoomChange::Settings(patch);
                self.request_room_change(slot, change, client_ref.map(Arc::from));
            }
            ClientMessage::Moderate { act, client_ref } => {
                let change = RoomChange::Act(act);
                self.request_room_change(slot, change, client_ref.map(Arc::from));
            }
            ClientMessage::Resume { skip } => self.unpause(slot, skip),
        }
    }

    fn pause(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.set(Flags::PAUSED);
        let before = stream.ordered.comments_before(viewer.cursor);
        viewer.extras().behind_since.get_or_insert(before);
    }

    /// Continues comments after a pause. What the viewer missed is read from the history, as after
    /// a lost connection, because the ring has only what was broadcast; or it is skipped with a
    /// `gap`.
    fn unpause(&mut self, slot: usize, skip: bool) {
        let viewer = &mut self.viewers[slot];
        if !viewer.flags.has(Flags::PAUSED) {
            return;
        }
        viewer.flags.clear(Flags::PAUSED);
        let stream = &self.streams[viewer.stream as usize];
        if viewer.flags.has(Flags::JOINING) || viewer.seq >= stream.covered_to {
            self.write_pending(slot);
            return;
        }
        if skip {
            viewer.flags.clear(Flags::CATCHING_UP);
            viewer.cursor = stream.ordered.end();
            viewer.enqueue_gap(stream.stream_id, stream.epoch, stream.covered_to);
        } else {
            viewer.flags.set(Flags::CATCHING_UP);
        }
        self.write_pending(slot);
    }

    fn request_auth(&mut self, slot: usize, token: String) {
        let connection = self.connection_id(slot);
        let stream_id = self.streams[self.viewers[slot].stream as usize].stream_id;
        let address = self.viewers[slot].permit.as_ref().and_then(|permit| permit.address());
        let request = AuthRequest { connection, stream_id, address, token };
        if self.parts.requests.auth.try_send(request).is_err() {
            let text = "more tokens are waiting to be checked than allowed; send `auth` again";
            self.send_error(slot, ErrorBody::new(ErrorCode::Overloaded, text), None);
        }
    }

    /// Passes what a moderator does in its room on to the gateway.
    fn request_room_change(
        &mut self,
        slot: usize,
        change: RoomChange,
        client_ref: Option<Arc<str>>,
    ) {
        let viewer = &self.viewers[slot];
        let Some(identity) = viewer.identity.clone() else {
            return self.send_error(slot, not_authenticated(), client_ref);
        };
        if !identity.role.is_staff() {
            let text = format!("this needs the role moderator; yours here is {}", identity.role);
            return self.send_error(slot, ErrorBody::new(ErrorCode::Forbidden, text), client_ref);
        }
        let stream_id = self.streams[viewer.stream as usize].stream_id;
        let connection = self.connection_id(slot);
        let reference = client_ref.clone();
        let request = RoomRequest { connection, stream_id, identity, change, client_ref };
        let refused = match self.parts.requests.rooms.try_send(request) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                let text = "more changes of rooms are waiting than allowed; send it again";
                ErrorBody::new(ErrorCode::Overloaded, text)
            }
            Err(TrySendError::Closed(_)) => {
                ErrorBody::new(ErrorCode::ShuttingDown, "the node takes no more changes of rooms")
            }
        };
        self.send_error(slot, refused.retry_after_ms(RETRY_AFTER_MS), reference);
    }

    fn queue_submission(
        &mut self,
        slot: usize,
        message: String,
        parent_id: Option<CommentId>,
        client_ref: Option<Arc<str>>,
    ) {
        let viewer = &mut self.viewers[slot];
        let Some(identity) = viewer.identity.clone() else {
            return self.send_error(slot, not_authenticated(), client_ref);
        };
        self.senders += u64::from(!viewer.flags.has(Flags::SENDER));
        viewer.flags.set(Flags::SENDER);
        self.submissions.push(Submission {
            stream_id: self.streams[viewer.stream as usize].stream_id,
            identity,
            message,
            client_ref,
            parent_id,
            reply_to: ReplyTo::Connection(self.connection_id(slot)),
        });
        let queue_comments = self.parts.requests.submissions.max_capacity();
        if self.submissions.len() >= MAX_SUBMISSION_BATCH.min(queue_comments) {
            self.send_submissions();
        }
    }

    fn count_reaction(&mut self, slot: usize, reaction: &str) {
        if self.viewers[slot].identity.is_none() {
            return self.send_error(slot, not_authenticated(), None);
        }
        let Some(&kind) = self.parts.reaction_kinds.get(reaction) else {
            let error = unknown_reaction(self.parts.reaction_kinds.keys().map(String::as_str));
            return self.send_error(slot, error, None);
        };
        let second = u64::from(self.now_s());
        let per_second = self.parts.reactions_per_second;
        let turns = &mut self.viewers[slot].extras().turns;
        if let Err(error) = turns.take_reaction(second, per_second) {
            return self.send_error(slot, error, None);
        }
        let stream_id = self.streams[self.viewers[slot].stream as usize].stream_id;
        *self.reactions.entry((stream_id, kind)).or_default() += 1;
    }

    /// Passes a vote on to be counted.
    fn request_vote(
        &mut self,
        slot: usize,
        poll_id: u64,
        option: u64,
        client_ref: Option<Arc<str>>,
    ) {
        let Some(user_id) = self.viewers[slot].user_id() else {
            return self.send_error(slot, not_authenticated(), client_ref);
        };
        let second = u64::from(self.now_s());
        if let Err(error) = self.viewers[slot].extras().turns.take_vote(second) {
            return self.send_error(slot, error, client_ref);
        }
        let arrived_ms = self.parts.clock.now_ms();
        let stream_id = self.streams[self.viewers[slot].stream as usize].stream_id;
        let connection = self.connection_id(slot);
        let reference = client_ref.clone();
        let reply_to = VoteReplyTo::Connection { connection, client_ref };
        let vote = Vote { stream_id, user_id, poll_id, option, arrived_ms, reply_to };
        let refused = match self.parts.requests.votes.try_send(vote) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => {
                let text = "more votes are waiting than allowed; send it again";
                ErrorBody::new(ErrorCode::Overloaded, text)
            }
            Err(TrySendError::Closed(_)) => {
                ErrorBody::new(ErrorCode::ShuttingDown, "the node takes no more votes")
            }
        };
        self.send_error(slot, refused.retry_after_ms(RETRY_AFTER_MS), reference);
    }

    /// Sends the submissions and reactions of this turn to the next stages.
    pub(super) fn send_requests(&mut self) {
        self.send_submissions();
        if self.reactions.is_empty() {
            return;
        }
        let mut by_stream: Vec<ReactionCounts> = Vec::new();
        for (&(stream_id, kind), &n) in &self.reactions {
            match by_stream.iter_mut().find(|counts| counts.stream_id == stream_id) {
                Some(counts) => counts.counts.push((kind, n)),
                None => by_stream.push(ReactionCounts { stream_id, counts: vec![(kind, n)] }),
            }
        }
        // A full queue loses nothing: the counts are kept and added to.
        if self.parts.requests.reactions.try_send(by_stream).is_ok() {
            self.reactions.clear();
        }
    }

    fn send_submissions(&mut self) {
        if self.submissions.is_empty() {
            return;
        }
        let mut submissions = std::mem::take(&mut self.submissions);
        let error = match self.parts.requests.submissions.try_reserve_many(submissions.len()) {
            Ok(permits) => {
                permits.zip(submissions.drain(..)).for_each(|(permit, one)| permit.send(one));
                self.submissions = submissions;
                return;
            }
            Err(TrySendError::Full(())) => overloaded(),
            Err(TrySendError::Closed(())) => shutting_down(),
        };
        for submission in submissions {
            self.metrics.comments_received.inc();
            count(&self.metrics.comments_refused, error.code.as_str());
            if let ReplyTo::Connection(connection) = submission.reply_to
                && let Some(slot) = self.slot_of(connection)
            {
                self.refuse(slot, error.clone(), submission.client_ref);
            }
        }
    }
}

fn overloaded() -> ErrorBody {
    let text = "more comments are waiting than allowed; nothing was stored";
    ErrorBody::new(ErrorCode::Overloaded, text).retry_after_ms(RETRY_AFTER_MS)
}

fn shutting_down() -> ErrorBody {
    let text = "the node shuts down; nothing was stored";
    ErrorBody::new(ErrorCode::ShuttingDown, text).retry_after_ms(RETRY_AFTER_MS)
}

fn not_authenticated() -> ErrorBody {
    let text = "this needs a token: send `auth`, or connect with one";
    ErrorBody::new(ErrorCode::NotAuthenticated, text)
}
