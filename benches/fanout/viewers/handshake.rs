//! The opening handshake, from the viewer's side.

use std::net::SocketAddr;

use anyhow::bail;

/// The request; every viewer may use the same key, since nothing here is cached.
pub(crate) fn request(path: &str, address: SocketAddr) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// The answer as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Answer {
    head: Vec<u8>,
}

impl Answer {
    /// Takes in bytes; once the head is whole, how many of them belonged to it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(at) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        if !self.head.starts_with(b"HTTP/1.1 101") {
            bail!("refused: {}", String::from_utf8_lossy(&self.head));
        }
        Ok(Some(at + 4 - before))
    }
}
