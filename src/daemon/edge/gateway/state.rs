//! The state that request handlers share.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, ConnectionRate, ViewerSlots};
use super::comment_pages::CommentPages;
use super::farewell::Farewell;
use super::message_door::MessageDoor;
use super::poll_sessions::PollSessions;
use super::reaction_door::ReactionDoor;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{DeflateMode, GatewayConfig};
use crate::daemon::base::handoff::{Submission, ViewerSink, Vote};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::telemetry::StageMeter;
use crate::daemon::edge::http::BodyLimits;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::stages::control::Control;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{ErrorCode, StreamId};

/// The JSON around a message may take this much besides the message itself.
const ENVELOPE_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct GatewayState {
    pub(super) config: GatewayConfig,
    pub(super) clock: SharedClock,
    /// The mode offered to viewers that ask for permessage-deflate.
    pub(super) deflate: DeflateMode,
    pub(super) streams: Streams,
    pub(super) history: CommentPages,
    /// Creates and changes streams.
    pub(super) control: Control,
    pub(super) board: StatusBoard,
    /// Measures handshakes.
    pub(super) meter: Arc<StageMeter>,
    pub(super) sink: Arc<dyn ViewerSink>,
    /// Ingest's queue. While it is full, submissions are refused with `overloaded`.
    pub(super) submissions: mpsc::Sender<Submission>,
    pub(super) admission: Arc<Admission>,
    pub(super) polls: Arc<PollSessions>,
    pub(super) reactions: ReactionDoor,
    pub(super) messages: MessageDoor,
    pub(super) votes: mpsc::Sender<Vote>,
    pub(super) farewell: Farewell,
    pub(super) slots: Arc<ViewerSlots>,
    pub(super) rate: ConnectionRate,
    /// Handshakes between their HTTP answer and their hand-over to delivery.
    pub(super) handshakes: TaskTracker,
    /// Changes of streams and rooms that are being made.
    pub(super) changes: TaskTracker,
}

/// The state of the paths that a node of any role serves.
#[derive(Debug, Clone)]
pub(super) struct Operations {
    pub(super) board: StatusBoard,
    pub(super) log: SharedLog,
}

impl GatewayState {
    /// Returns a stream that can be watched.
    ///
    /// # Errors
    /// `unknown_stream` or `stream_ended`.
    pub(super) fn watchable_stream(&self, stream_id: StreamId) -> Result<Arc<Stream>, ErrorBody> {
        let Some(stream) = self.streams.get(stream_id) else {
            let text = format!("there is no stream {stream_id}");
            return Err(ErrorBody::new(ErrorCode::UnknownStream, text));
        };
        if stream.state == StreamState::Ended {
            let text = format!("stream {stream_id} has ended; its history remains");
            return Err(ErrorBody::new(ErrorCode::StreamEnded, text));
        }
        Ok(stream)
    }

    pub(super) fn body_limits(&self) -> BodyLimits {
        BodyLimits {
            max_bytes: self.config.max_message_bytes.as_u64() as usize + ENVELOPE_BYTES,
            timeout: self.config.handshake_timeout,
            requires_json_type: true,
        }
    }
}
