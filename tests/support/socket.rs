//! A WebSocket whose frames the test writes itself, for what no library sends.

use live_comments::net::websocket::{Opcode, apply_mask, parse_header, put_header};
use live_comments::protocol::ServerMessage;
use live_comments::protocol::message::{json, msgpack};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Daemon, PATIENCE};

/// A WebSocket whose frames the test writes itself.
pub struct RawSocket {
    pub socket: TcpStream,
    bytes: Vec<u8>,
}

impl RawSocket {
    pub async fn open(daemon: &Daemon, query: &str, protocol: &str) -> Self {
        let mut socket = TcpStream::connect(daemon.address).await.unwrap();
        let request = format!(
            "GET /ws/1{query} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {protocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut raw = Self { socket, bytes: Vec::new() };
        while !raw.bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            assert!(raw.read().await, "no handshake");
        }
        let end = raw.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&raw.bytes[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        raw.bytes.drain(..end);
        raw
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.socket.read(&mut buffer)).await.expect("in time");
        let bytes = read.unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..bytes]);
        bytes > 0
    }

    /// Returns the opcode and payload of the next frame, or `None` at the end.
    pub async fn frame(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            if let Some(header) = parse_header(&self.bytes).unwrap() {
                let end = header.header_bytes + header.payload_bytes as usize;
                if self.bytes.len() >= end {
                    let payload = self.bytes[header.header_bytes..end].to_vec();
                    self.bytes.drain(..end);
                    return Some((header.opcode, payload));
                }
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Returns the next message in JSON, or `None` at the end. Skips pings.
    pub async fn message(&mut self) -> Option<serde_json::Value> {
        loop {
            match self.frame().await? {
                (Opcode::Text, payload) => return Some(serde_json::from_slice(&payload).unwrap()),
                (Opcode::Close, _) => return None,
                _ => {}
            }
        }
    }

    /// Reads to the next message of a type.
    pub async fn until(&mut self, kind: &str) -> serde_json::Value {
        loop {
            let message = self.message().await.unwrap_or_else(|| panic!("closed before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// Sends bytes and returns the code of the first error and the close code, if there are any.
    pub async fn answer_to(mut self, bytes: &[u8], closes: bool) -> (String, Option<u16>) {
        self.socket.write_all(bytes).await.unwrap();
        let mut code = String::new();
        while let Some((opcode, payload)) = self.frame().await {
            match opcode {
                Opcode::Close => {
                    let number = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, Some(number));
                }
                Opcode::Text | Opcode::Binary => {
                    let message = if opcode == Opcode::Text {
                        json::decode_server(&payload).unwrap()
                    } else {
                        msgpack::decode_server(&payload).unwrap()
                    };
                    if let ServerMessage::Error { code: found, .. } = message {
                        code = found.as_str().to_owned();
                        if !closes {
                            return (code, None);
                        }
                    }
                }
                _ => {}
            }
        }
        (code, None)
    }
}

pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 9, 3];
    let mut bytes = Vec::new();
    put_header(&mut bytes, Opcode::Text, false, Some(mask), payload.len());
    bytes[0] = first_byte;
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[at..], mask, 0);
    bytes
}
