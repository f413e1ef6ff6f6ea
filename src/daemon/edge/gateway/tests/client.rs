//! HTTP and WebSocket written by hand, so that tests can also send malformed input.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rig::PATIENCE;
use crate::net::websocket::{Opcode, parse_header};

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// In lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of an error; empty if it is none.
    pub(super) fn code(&self) -> String {
        let json: Value = serde_json::from_str(&self.body).unwrap_or_default();
        json["code"].as_str().unwrap_or("").to_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Writes a request as it is and reads until the server closes.
pub(super) async fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    tokio::time::timeout(PATIENCE, read).await.expect("an answer").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// One request on a connection of its own. `headers` are whole lines.
pub(super) async fn request(
    address: SocketAddr,
    line: &str,
    headers: &[&str],
    body: &[u8],
) -> Reply {
    let mut bytes = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for header in headers {
        bytes.push_str(header);
        bytes += "\r\n";
    }
    if !body.is_empty() {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    bytes += "\r\n";
    raw(address, &[bytes.as_bytes(), body].concat()).await
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, &format!("GET {path}"), &[], b"").await
}

/// The codes of a refusal: of `error`, of `bye`, and of the close frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusalCodes {
    pub(super) error: String,
    pub(super) bye: String,
    pub(super) close: u16,
    pub(super) reconnect_after_ms: Option<u64>,
}

/// A WebSocket after its handshake.
pub(super) struct WebSocket<S> {
    pub(super) head: String,
    pub(super) stream: S,
    bytes: Vec<u8>,
}

pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(super) fn handshake(path: &str, headers: &[&str]) -> String {
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for header in headers {
        text.push_str(header);
        text += "\r\n";
    }
    text + "\r\n"
}

pub(super) async fn open(
    address: SocketAddr,
    path: &str,
    headers: &[&str],
) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    shake(stream, handshake(path, headers).as_bytes()).await
}

/// Writes the handshake (and whatever follows it) and reads the `101`.
pub(super) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &[u8],
) -> WebSocket<S> {
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let read = stream.read_buf(&mut bytes);
        let read = tokio::time::timeout(PATIENCE, read).await.expect("a handshake").unwrap();
        assert!(read > 0, "closed instead of {}", String::from_utf8_lossy(&bytes));
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head} {}", String::from_utf8_lossy(&bytes));
    WebSocket { head, stream, bytes }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub(super) async fn frame(&mut self) -> (Opcode, Vec<u8>) {
        loop {
            if let Some(header) = parse_header(&self.bytes).unwrap()
                && self.bytes.len() >= header.header_bytes + header.payload_bytes as usize
            {
                self.bytes.drain(..header.header_bytes);
                let payload = self.bytes.drain(..header.payload_bytes as usize).collect();
                return (header.opcode, payload);
            }
            let read = self.stream.read_buf(&mut self.bytes);
            let read = tokio::time::timeout(PATIENCE, read).await.expect("a frame").unwrap();
            assert!(read > 0, "closed in the middle of a frame");
        }
    }

    /// Reads the three frames of a refusal.
    pub(super) async fn refusal(&mut self) -> RefusalCodes {
        let (_, error) = self.frame().await;
        let (_, bye) = self.frame().await;
        let (opcode, close) = self.frame().await;
        assert_eq!(opcode, Opcode::Close);
        let code = |payload: &[u8], kind: &str| {
            let json: Value = serde_json::from_slice(payload).unwrap();
            assert_eq!(json["type"], kind);
            json["code"].as_str().unwrap().to_owned()
        };
        let ends: Value = serde_json::from_slice(&bye).unwrap();
        RefusalCodes {
            reconnect_after_ms: ends["reconnect_after_ms"].as_u64(),
            error: code(&error, "error"),
            bye: code(&bye, "bye"),
            close: u16::from_be_bytes([close[0], close[1]]),
        }
    }
}
