//! Connections to a running daemon from the outside: as a viewer over WebSocket, as an operator
//! over the admin socket. Shared by `loadgen`, `cli`, `tui` and tests.
//!
//! In: a socket path or an address, typed requests. Out: typed answers, typed messages, live lines,
//! sentences for people. Always holds: every wait ends (an answer, an error, a dropped future), an
//! error says what to do next, and no client library's type is public here. Nothing is retried
//! unless the caller uses [`follow`]. When full: buffers are bounded; an answer or a line beyond
//! its limit is an error, and a viewer's connection reads no further than its caller.

pub mod admin;
pub mod endpoint;
pub mod follow;
pub mod outcome_text;
pub mod token;
pub mod token_source;
pub mod viewer;

pub use crate::net::Trust;
pub use endpoint::Endpoint;
pub use token_source::{TokenSource, TokenSourceError};
