//! Code that both ends of a connection share: the daemon's delivery workers, the load generator's
//! viewers and the client; and what both programs ask of the system: signals, files in one step.
//!
//! In: bytes and sockets. Out: WebSocket messages, typed errors, pauses. Always holds: nothing here
//! starts a task or a thread, waits for a peer, or retries by itself, and nothing knows what a
//! message means.
//! When full: a socket that takes no more says so, and its caller decides what waits; a message
//! beyond its limit is an error before its payload is read.

pub mod backoff;
mod blocking;
pub mod record_layer;
pub mod replace_file;
pub mod signals;
pub mod tls;
pub mod transport;
pub mod websocket;

pub use tls::{CertificateDigest, Trust, VERSION_1, is_version_1, read_certificates};
pub use transport::Transport;
