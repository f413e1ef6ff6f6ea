//! The error of the engines that store data.

/// A reason why a store did not carry out a call.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// The store answers, but lost data that is being restored.
    #[error("the store is incomplete: {0}")]
    Incomplete(String),
    #[error("no such {0}")]
    NotFound(&'static str),
    #[error("`{0}` is not a term of the room")]
    NotATerm(String),
    #[error("{0} exists already")]
    Exists(&'static str),
    /// As many are stored as the contract allows.
    #[error("there is no room for another {0}")]
    Full(&'static str),
    #[error("the store's data is corrupt: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Returns whether the store did not carry out what a store that works would have.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Corrupt(_) => true,
            // A cache that is being restored works; that a thing is not there, is there already or
            // has no room is an answer.
            Self::Incomplete(_)
            | Self::NotFound(_)
            | Self::NotATerm(_)
            | Self::Exists(_)
            | Self::Full(_) => false,
        }
    }
}
