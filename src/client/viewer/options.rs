//! How a viewer connects.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Endpoint, Trust};
use crate::protocol::message::Encoding;
use crate::protocol::{StreamId, StreamPosition};

/// All that a connection depends on.
#[derive(Debug, Clone)]
pub struct ViewerOptions {
    pub endpoint: Endpoint,
    pub stream: StreamId,
    /// Sent as `Authorization: Bearer`; without it the viewer is anonymous.
    pub token: Option<Arc<str>>,
    pub encoding: Encoding,
    /// Continue after this position.
    pub resume: Option<StreamPosition>,
    pub trust: Trust,
    /// Size of the read buffer and of the write buffer, each.
    pub buffer_bytes: usize,
    /// The kernel's receive buffer, where the default would hide that nobody reads.
    pub receive_window_bytes: Option<usize>,
    /// From the first packet to the end of the handshake.
    pub connect_timeout: Duration,
}

impl ViewerOptions {
    /// An anonymous viewer that reads JSON.
    pub fn new(endpoint: Endpoint, stream: StreamId) -> Self {
        Self {
            endpoint,
            stream,
            token: None,
            encoding: Encoding::Json,
            resume: None,
            trust: Trust::PublicAuthorities,
            buffer_bytes: 4096,
            receive_window_bytes: None,
            connect_timeout: Duration::from_secs(10),
        }
    }
}
