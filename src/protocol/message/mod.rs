//! The messages of the viewer protocol and their two encodings.
//!
//! [`json`] is easy to read; [`msgpack`] carries the same content in arrays and differences, to
//! save bandwidth. Every message can be encoded, and decoding fails with a stable
//! [`super::ErrorCode`].

mod client;
pub mod json;
pub mod msgpack;
mod server;

use serde::{Deserialize, Serialize};

#[cfg(feature = "daemon")]
pub(crate) use client::read_parent_id;
pub use client::{BadMessage, ClientMessage, MAX_REF_CHARS, check_ref};
pub use server::{CommentsBatch, ServerMessage};

/// The `Sec-WebSocket-Protocol` of the JSON encoding.
pub const SUBPROTOCOL_JSON: &str = "lc.v1.json";
/// The `Sec-WebSocket-Protocol` of the MessagePack encoding.
pub const SUBPROTOCOL_MSGPACK: &str = "lc.v1.msgpack";

/// The encoding of the messages of a connection.
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
