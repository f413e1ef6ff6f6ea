//! The types that the daemon, its clients and its tools share: ids, comments, events, wire
//! messages, error and close codes, and the types of the admin socket.
//!
//! Always holds: nothing here does I/O, reads a clock or uses randomness, so the same bytes have
//! the same meaning in the daemon, in `lc` and in tests.

pub mod admin;
pub mod badges;
pub mod close_code;
pub mod comment;
pub mod error_code;
pub mod events;
pub mod filter;
pub mod ids;
pub mod json;
pub mod latency;
pub mod message;
pub mod moderation;
pub mod paths;
pub mod printable;
pub mod quantity;
pub mod room;
#[cfg(feature = "lc")]
mod schema;
pub mod stream;
pub mod text;
pub mod throttle;
pub mod user;

pub use badges::{Badge, Badges};
pub use close_code::CloseCode;
pub use comment::{Comment, SequencedComment};
pub use error_code::ErrorCode;
pub use ids::{CommentId, Epoch, NodeId, Seq, StreamId, StreamPosition, UserId};
pub use message::{ClientMessage, ServerMessage};
pub use moderation::ModerationAct;
pub use user::{Identity, Role, Standing};
