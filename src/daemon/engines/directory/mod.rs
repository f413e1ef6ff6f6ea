//! In-memory views of the metadata that every comment and every connection needs.
//!
//! In: the metadata store, read at start, on every change and every few seconds. Out: answers
//! without waiting. Always holds: what a reload has seen is what is answered, until one that began
//! later has seen more; a reload that fails keeps the last answers. Nothing queues here; the size
//! is that of the tables. The ids of subjects, which never change, are read one by one when they
//! are asked for; see [`Subjects`].

mod delays;
mod grants;
mod hidden_pins;
mod room_polls;
mod sanctions;
mod snapshot;
mod streams;
mod subjects;

pub use delays::Delays;
pub use grants::Grants;
pub use room_polls::RoomPolls;
pub use sanctions::{ActiveSanction, Sanctions};
pub use streams::Streams;
pub use subjects::{IdUnavailable, Subjects};
