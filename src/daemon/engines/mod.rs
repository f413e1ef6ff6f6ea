//! The contracts that stages meet in, and the engines behind them.
//!
//! Each folder is one contract: `mod.rs` has the promises in prose and as a trait, each engine has
//! a file or folder, and one conformance suite runs on every engine. [`choose`] is the only place
//! that picks concrete engines. [`backends`] holds what several engines need of one server or
//! file. [`direct_path`] and [`directory`] are built on contracts only: the first carries bus and
//! registry over the event log while Redis is away, the second keeps the streams and sanctions of
//! the metadata store in memory.

pub mod announcements;
pub mod backends;
pub mod bus;
pub mod choose;
pub mod comments;
pub mod direct_path;
pub mod directory;
pub mod eventlog;
mod measured;
pub mod metadata;
pub mod reactions;
pub mod recent;
pub mod registry;
pub mod reservations;
pub mod server_settings;
mod store_error;
pub mod timeline;

pub use store_error::StoreError;
