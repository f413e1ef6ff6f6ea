//! WebSocket close codes.
//!
//! A `bye` with `reconnect_after_ms` precedes every close after which waiting helps: always with a
//! code from 4000 to 4499, and with 4503 if the ban is for a time. After any other code from 4500
//! to 4999 a client should not reconnect unchanged. The 10xx codes are those of RFC 6455. [`table`]
//! renders the list for the documents.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A WebSocket close code of this system.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl CloseCode {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the stable name, which is sent as the reason of the close frame and as
            /// `bye.code`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the sentence that explains the code.
            pub fn meaning(self) -> String {
                let lines: &[&str] = match self { $(Self::$name => &[$($doc),*],)* };
                lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
            }
        }
    };
}

close_codes! {
    /// The viewer closed the connection; this is the answer.
    Normal = 1000, "normal";
    /// The viewer broke a WebSocket framing rule.
    ProtocolError = 1002, "protocol_error";
    /// A binary message on a JSON connection, or a text message on a MessagePack connection.
    UnsupportedData = 1003, "unsupported_data";
    /// A text message that is not UTF-8.
    InvalidUtf8 = 1007, "invalid_utf8";
    /// A message is larger than the limit.
    MessageTooBig = 1009, "message_too_big";
    /// The node shuts down or drains. Reconnect to reach another node.
    Shutdown = 4000, "shutdown";
    /// The viewer read so slowly that its backlog was full even for deletions.
    SlowConsumer = 4001, "slow_consumer";
    /// The viewer did not answer a ping within the pong timeout, or sent nothing for the idle
    /// timeout.
    IdleTimeout = 4002, "idle_timeout";
    /// An operator closed the connection. The user may reconnect.
    Kicked = 4003, "kicked";
    /// The user or address is at its connection limit.
    TooManyConnections = 4005, "too_many_connections";
    /// The token is not valid yet.
    TokenNotYetValid = 4006, "token_not_yet_valid";
    /// The token cannot be checked now.
    IdentityUnavailable = 4007, "identity_unavailable";
    /// The stream requires a token, and no valid one was sent within the auth timeout, or the
    /// viewer was watching without one when the stream began to require it.
    AuthTimeout = 4500, "auth_timeout";
    /// The token is not valid.
    Unauthorized = 4501, "unauthorized";
    /// The token has expired, or its issuer has withdrawn the key that signed it. Reconnect with a
    /// new one.
    TokenExpired = 4502, "token_expired";
    /// The user is banned. If the ban is for a time, the `bye` says when to reconnect.
    Banned = 4503, "banned";
    /// The stream does not exist, or exists no longer.
    UnknownStream = 4504, "unknown_stream";
    /// The stream has ended.
    StreamEnded = 4505, "stream_ended";
    /// Too many invalid messages in a row.
    TooManyErrors = 4507, "too_many_errors";
}

impl CloseCode {
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Returns whether a client should open a new connection with the same token and position.
    pub fn reconnect(self) -> bool {
        (4000..4500).contains(&self.number())
    }

    /// Returns the code with that number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

/// Returns the table of all codes, in Markdown.
pub fn table() -> String {
    let mut out = "| close code | name | reconnect | meaning |\n|---|---|---|---|\n".to_owned();
    for code in CloseCode::ALL {
        let reconnect = match code {
            CloseCode::Banned => "if timed",
            code if code.reconnect() => "yes",
            _ => "",
        };
        let number = code.number();
        let name = code.as_str();
        let _ = writeln!(out, "| {number} | `{name}` | {reconnect} | {} |", code.meaning());
    }
    out
}
