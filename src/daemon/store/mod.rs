//! Where comments and facts about streams and users rest.
//!
//! In: the event log, through [`archive`]; changes by operators and the API. Out: history pages,
//! streams, bans, the audit log; the last comments of hot streams from [`recent`].
//!
//! Always holds: writes of comments are idempotent by comment id, so the archiver may repeat what it
//! did before a crash. Metadata changes are transactions. The recent cache has everything the bus
//! has carried for the streams it keeps, before the bus carries it.
//!
//! When full: a store that refuses makes the archiver wait, and the log keeps; the recent cache
//! forgets the oldest.

pub mod archive;
pub mod comments;
pub mod metadata;
pub mod postgres;
pub mod recent;
pub(in crate::daemon) mod sqlite_file;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// It answers, and knows that it lost something that is being restored.
    #[error("the store has lost something: {0}")]
    Incomplete(String),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("{0} exists already")]
    Exists(&'static str),
    #[error("the store's data is not as expected: {0}")]
    Corrupt(String),
}
