//! Tells a viewer over its new WebSocket why it cannot stay.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::daemon::base::metrics::count;
use crate::daemon::base::status::StatusBoard;
use crate::net::websocket::{Opcode, close_frame, server_frame};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::Encoding;
use crate::protocol::{CloseCode, ServerMessage};

/// The time for the upgrade, the write and the peer's close frame together.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes a refused viewer may still send before it is disconnected.
const MAX_IGNORED_BYTES: usize = 64 * 1024;

/// The reason for a refusal, and the code the connection closes with.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ErrorBody,
    pub(super) close: CloseCode,
}

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        // Every code a viewer is refused with has a close code. The fallback is one that clients do
        // not retry.
        let close = error.code.close_code().unwrap_or(CloseCode::Unauthorized);
        Self { error, close }
    }
}

impl Refusal {
    /// Sends `error`, `bye` and the close frame, then waits shortly for the peer's close frame.
    pub(super) async fn deliver(self, board: &StatusBoard, upgrade: OnUpgrade, encoding: Encoding) {
        count(&board.metrics().connections_closed, self.close.as_str());
        count(&board.metrics().connections_refused, self.error.code.as_str());
        let frames = self.frames(encoding);
        let closing = async {
            let mut io = TokioIo::new(upgrade.await.map_err(std::io::Error::other)?);
            io.write_all(&frames).await?;
            io.flush().await?;
            // Closing with unread bytes would reset the connection and could lose these frames.
            let mut ignored = [0_u8; 512];
            let mut left = MAX_IGNORED_BYTES;
            while left > 0 {
                match io.read(&mut ignored).await? {
                    0 => break,
                    // The client's close frame.
                    _ if ignored[0] == 0x80 | Opcode::Close as u8 => break,
                    bytes => left = left.saturating_sub(bytes),
                }
            }
            io.shutdown().await
        };
        if let Ok(Err(error)) = tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
            tracing::debug!(%error, "refused viewer disconnected early");
        }
    }

    fn frames(&self, encoding: Encoding) -> Vec<u8> {
        let error = ServerMessage::Error {
            code: self.error.code,
            message: self.error.message.clone(),
            retry_after_ms: self.error.retry_after_ms,
            client_ref: None,
        };
        // Every refusal after which waiting helps says how long.
        let reconnect_after_ms = self.error.retry_after_ms;
        let bye = ServerMessage::Bye { code: self.close.as_str().into(), reconnect_after_ms };
        let opcode = match encoding {
            Encoding::Json => Opcode::Text,
            Encoding::Msgpack => Opcode::Binary,
        };
        let mut frames = server_frame(opcode, false, &encoding.encode(&error));
        frames.extend(server_frame(opcode, false, &encoding.encode(&bye)));
        frames.extend(close_frame(self.close.number(), self.close.as_str()));
        frames
    }
}
