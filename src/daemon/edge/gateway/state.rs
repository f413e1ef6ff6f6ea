//! What every request handler shares.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::admission::{Admission, ConnectionRate, Places};
use super::api::CommentPages;
use super::body::BodyLimits;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{DeflateMode, GatewayConfig};
use crate::daemon::base::handoff::{Submission, ViewerSink};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::engines::directory::Streams;
use crate::daemon::engines::eventlog::SharedLog;
use crate::daemon::stages::control::Control;

#[derive(Debug)]
pub(super) struct GatewayState {
    pub(super) config: GatewayConfig,
    pub(super) clock: SharedClock,
    /// What is agreed with viewers that offer permessage-deflate.
    pub(super) deflate: DeflateMode,
    pub(super) streams: Streams,
    pub(super) history: CommentPages,
    /// Makes streams and changes them.
    pub(super) control: Control,
    pub(super) board: StatusBoard,
    pub(super) sink: Arc<dyn ViewerSink>,
    /// Ingest's queue; when it is full the submission is refused with `overloaded`.
    pub(super) submissions: mpsc::Sender<Submission>,
    pub(super) admission: Arc<Admission>,
    pub(super) places: Arc<Places>,
    pub(super) rate: ConnectionRate,
    /// Handshakes between their HTTP answer and their hand-over to delivery.
    pub(super) handshakes: TaskTracker,
}

/// What is shown on a node of any role.
#[derive(Debug, Clone)]
pub(super) struct Operations {
    pub(super) board: StatusBoard,
    pub(super) log: SharedLog,
}

impl GatewayState {
    pub(super) fn body_limits(&self) -> BodyLimits {
        BodyLimits::new(self.config.max_message_bytes.as_u64(), self.config.handshake_timeout)
    }
}
