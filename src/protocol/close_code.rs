//! Why a connection was closed, as a number a client can act on.
//!
//! The ranges say what to do: 4000–4499 come back (after `reconnect_after_ms` of the `bye` before
//! it), 4500–4999 do not come back as you are. The 10xx codes are RFC 6455's own.

use serde::{Deserialize, Serialize};

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A WebSocket close code of this system.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl CloseCode {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable name, sent as the close frame's reason and as `bye.code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_codes! {
    /// The peer closed first; answered in kind.
    Normal = 1000, "normal";
    /// The peer broke the WebSocket framing rules.
    ProtocolError = 1002, "protocol_error";
    /// A binary message on a JSON connection, or text on a MessagePack one.
    UnsupportedData = 1003, "unsupported_data";
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007, "invalid_utf8";
    /// A message above the size limit.
    MessageTooBig = 1009, "message_too_big";
    /// The node shuts down or drains; another one takes over.
    Shutdown = 4000, "shutdown";
    /// The viewer read so slowly that even deletions no longer fitted its bounded backlog.
    SlowConsumer = 4001, "slow_consumer";
    /// Nothing came from the viewer, not even a pong, for the idle timeout.
    IdleTimeout = 4002, "idle_timeout";
    /// An operator closed this connection; the user may come back.
    Kicked = 4003, "kicked";
    /// The node is at its connection limit.
    NodeFull = 4004, "node_full";
    /// No valid token came within the auth timeout, and the stream is not open to anonymous viewers.
    AuthTimeout = 4500, "auth_timeout";
    /// The token is not valid here.
    Unauthorized = 4501, "unauthorized";
    /// The token was valid and is no more; a fresh one will do.
    TokenExpired = 4502, "token_expired";
    /// The user is banned.
    Banned = 4503, "banned";
    /// No such stream.
    UnknownStream = 4504, "unknown_stream";
    /// The stream's event is over.
    StreamEnded = 4505, "stream_ended";
    /// The user or address holds as many connections as it may.
    TooManyConnections = 4506, "too_many_connections";
    /// Too many bad messages one after another.
    TooManyErrors = 4507, "too_many_errors";
}

impl CloseCode {
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Whether a client should open a new connection with the same token and position.
    pub fn reconnect(self) -> bool {
        (4000..4500).contains(&self.number())
    }

    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}
