//! The end of viewers whose connection is HTTP's: they are told when the gateway stops, before
//! their connections are closed with it. Delivery dismisses all others later.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::protocol::message::Encoding;
use crate::protocol::{CloseCode, ServerMessage};

/// Tells viewers that the gateway stops. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    stopping: CancellationToken,
    /// Viewers reconnect within this time.
    jitter: Duration,
}

impl Farewell {
    pub(super) fn new(stopping: CancellationToken, jitter: Duration) -> Self {
        Self { stopping, jitter }
    }

    /// Resolves when the gateway stops.
    pub(super) async fn due(&self) {
        self.stopping.cancelled().await;
    }

    /// Returns the `bye` of one viewer, as a server-sent event.
    pub(super) fn event(&self) -> Bytes {
        let wait_ms = rand::rng().random_range(0..=self.jitter.as_millis() as u64);
        let code = CloseCode::Shutdown.as_str().into();
        let bye = ServerMessage::Bye { code, reconnect_after_ms: Some(wait_ms) };
        [b"data: ", &Encoding::Json.encode(&bye)[..], b"\n\n"].concat().into()
    }
}
