//! The ways into a running daemon: as a viewer over WebSocket, as an operator over the admin socket.
//!
//! In: where to go and as whom. Out: typed messages of [`crate::protocol`], typed reasons why a
//! connection ended. Always holds: no client library's type leaves this room, and nothing is retried
//! behind the caller's back; [`viewer::Reconnect`] says when to come back, the caller does it. When
//! full: a viewer's connection owns buffers of a few KiB and reads no further than its caller.

pub mod admin;
pub mod endpoint;
pub mod tls;
pub mod token;
pub mod token_source;
pub mod viewer;

pub use endpoint::Endpoint;
pub use tls::Trust;
pub use token_source::TokenSource;
