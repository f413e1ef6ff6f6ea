//! A viewer's connection.
//!
//! In: an [`Endpoint`](super::Endpoint), a stream, perhaps a token and a position. Out: the
//! server's messages, typed ([`ViewerConnection::next`]) or undecoded
//! ([`ViewerConnection::next_payload`]), and a typed reason when they end. Always holds: pings are
//! answered while the caller reads; a message is never split over two reads. When full: nothing is
//! read ahead of the caller, so a caller that stops reading fills the kernel's buffers, and then
//! the server closes the connection.
//!
//! [`StreamFollower`] reconnects, resumes and sends comments again by itself.
//!
//! [`Upgrade`] is the same handshake without I/O, for callers that hold thousands of connections;
//! with the types of [`net::websocket`](crate::net::websocket) they read frames and
//! permessage-deflate, which [`ViewerConnection`] does not offer. [`Fallback`] and
//! [`FallbackReader`] are server-sent events and long polls for the same callers.

mod connection;
mod error;
mod fallback;
mod follower;
mod http_answer;
mod options;
mod position;
mod reconnect;
mod socket;
#[cfg(test)]
mod tests;
mod upgrade;

pub use connection::{ViewerConnection, ViewerReader, ViewerWriter, Welcome};
pub use error::{ConnectError, ViewerError};
pub use fallback::{Fallback, FallbackAnswer, FallbackReader};
pub use follower::{FollowerError, FollowerEvent, StreamFollower, TooManyPending};
pub use http_answer::AnswerError;
pub use options::ViewerOptions;
pub use position::{Advance, Position, SeqRange};
pub use reconnect::Reconnect;
pub use upgrade::Upgrade;

use crate::net::websocket::{ReadRules, Side};
use crate::protocol::ServerMessage;
use crate::protocol::message::{Encoding, json, msgpack};

/// Limit of a server's message. A frame of a full batch has some 100 KiB.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Returns the rules for a server's frames; `deflate` if permessage-deflate was agreed.
pub const fn read_rules(deflate: bool) -> ReadRules {
    ReadRules { sender: Side::Server, max_message_bytes: MAX_MESSAGE_BYTES, deflate }
}

/// Decodes a server's message. Returns `None` for one of a kind that only later versions know. It
/// is to be ignored.
///
/// # Errors
/// [`ViewerError::BadMessage`].
pub fn decode(encoding: Encoding, payload: &[u8]) -> Result<Option<ServerMessage>, ViewerError> {
    match encoding {
        Encoding::Json => match json::decode_server(payload) {
            Ok(message) => Ok(Some(message)),
            Err(error) if json::is_unknown_type(&error) => Ok(None),
            Err(error) => Err(ViewerError::BadMessage(error.to_string())),
        },
        Encoding::Msgpack if !msgpack::is_known(payload) => Ok(None),
        Encoding::Msgpack => msgpack::decode_server(payload)
            .map(Some)
            .map_err(|error| ViewerError::BadMessage(error.to_string())),
    }
}
