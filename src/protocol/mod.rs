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
pub mod kept_message;
pub mod latency;
pub mod message;
pub mod moderation;
pub mod paths;
pub mod pinned;
pub mod printable;
pub mod quantity;
pub mod room;
pub mod room_poll;
#[cfg(feature = "schema")]
pub(crate) mod schema;
pub mod stream;
pub mod text;
pub mod throttle;
pub mod tolerant;
pub mod user;

pub use badges::{Badge, Badges};
pub use close_code::CloseCode;
pub use comment::{Comment, SequencedComment};
pub use error_code::ErrorCode;
pub use ids::{CommentId, Epoch, NodeId, Seq, StreamId, StreamPosition, UserId, on_stream};
pub use kept_message::KeptMessage;
pub use message::{ClientMessage, ServerMessage};
pub use moderation::ModerationAct;
pub use pinned::PinnedComment;
pub use room_poll::{PollState, RoomPoll};
pub use user::{Identity, Role, Standing, UserScope};
