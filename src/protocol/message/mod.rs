//! The messages of the viewer protocol and their two forms on the wire.
//!
//! [`json`] is the documented form, for people; [`msgpack`] carries the same content in arrays and
//! deltas, for bandwidth. Both are total: every message encodes, and what does not decode says why
//! with a stable [`super::ErrorCode`].

mod client;
pub mod json;
pub mod msgpack;
mod server;

use serde::{Deserialize, Serialize};

pub use client::{BadMessage, ClientMessage, MAX_REF_CHARS};
pub use server::{CommentsBatch, ServerMessage};

/// `Sec-WebSocket-Protocol` of the JSON form.
pub const SUBPROTOCOL_JSON: &str = "lc.v1.json";
/// `Sec-WebSocket-Protocol` of the MessagePack form.
pub const SUBPROTOCOL_MSGPACK: &str = "lc.v1.msgpack";

/// How messages are written on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    #[default]
    Json,
    Msgpack,
}

impl Encoding {
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Msgpack => SUBPROTOCOL_MSGPACK,
        }
    }

    pub fn encode(self, message: &ServerMessage) -> Vec<u8> {
        match self {
            Self::Json => json::encode(message),
            Self::Msgpack => msgpack::encode(message),
        }
    }

    pub fn decode_client(self, payload: &[u8]) -> Result<ClientMessage, BadMessage> {
        match self {
            Self::Json => json::decode_client(payload),
            Self::Msgpack => msgpack::decode_client(payload),
        }
    }
}
