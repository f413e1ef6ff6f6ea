//! The error that the engines of stored data share.

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
