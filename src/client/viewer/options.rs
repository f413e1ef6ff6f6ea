//! The parameters of a viewer's connection.

use std::sync::Arc;
use std::time::Duration;

use crate::client::{Endpoint, Trust};
use crate::protocol::message::Encoding;
use crate::protocol::{StreamId, StreamPosition};

/// The parameters of a viewer's connection.
#[derive(Debug, Clone)]
pub struct ViewerOptions {
    pub endpoint: Endpoint,
    pub stream: StreamId,
    /// Sent as `Authorization: Bearer`. Without it the viewer is anonymous.
    pub token: Option<Arc<str>>,
    pub encoding: Encoding,
    /// The position to continue after.
    pub resume: Option<StreamPosition>,
    pub trust: Trust,
    /// Size of the read buffer and of the write buffer, each.
    pub buffer_bytes: usize,
    /// Size of the kernel's receive buffer, where the default would hide that nobody reads.
    pub receive_window_bytes: Option<usize>,
    /// Limits the time from the first packet to the end of the handshake.
    pub connect_timeout: Duration,
}

impl ViewerOptions {
    /// Returns the parameters of an anonymous viewer that reads JSON.
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

    /// Returns the URL that the viewer connects to.
    pub fn url(&self) -> String {
        self.endpoint.viewer_url(self.stream, self.resume)
    }
}
