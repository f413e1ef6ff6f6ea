//! A viewer's connection.
//!
//! In: an [`Endpoint`](super::Endpoint), a stream, perhaps a token and a position. Out: the server's
//! messages, typed ([`ViewerConnection::next`]) or as they came ([`ViewerConnection::next_payload`]),
//! and a typed reason when they end. Always holds: pings are answered while somebody reads; a message
//! is never split over two reads. When full: nothing is read ahead of the caller, so a caller that
//! stops reading fills the kernel's buffers and then the server's patience.
//!
//! [`Upgrade`] and [`FrameReader`] are the same connection without I/O, for who holds thousands of them;
//! with [`Inflater`] they read permessage-deflate, which [`ViewerConnection`] does not offer.

mod connection;
mod error;
mod framing;
mod inflate;
mod options;
mod position;
mod reconnect;
#[cfg(test)]
mod tests;
mod upgrade;

pub use connection::{ViewerConnection, ViewerReader, ViewerWriter, Welcome};
pub use error::{Closure, ConnectError, ViewerError};
pub use framing::{FrameReader, Incoming, client_control_frame};
pub use inflate::{Inflater, WINDOW_BYTES, window_after};
pub use options::ViewerOptions;
pub use position::{Advance, Position, SeqRange};
pub use reconnect::Reconnect;
pub use upgrade::Upgrade;

use crate::protocol::ServerMessage;
use crate::protocol::message::{Encoding, json, msgpack};

/// Reads a server's message in the form the connection speaks.
pub fn decode(encoding: Encoding, payload: &[u8]) -> Result<ServerMessage, ViewerError> {
    match encoding {
        Encoding::Json => {
            json::decode_server(payload).map_err(|error| ViewerError::BadMessage(error.to_string()))
        }
        Encoding::Msgpack => msgpack::decode_server(payload)
            .map_err(|error| ViewerError::BadMessage(error.to_string())),
    }
}
