//! The groups of operations.

/// A group of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Comments,
    Watching,
    Messages,
    Polls,
    Streams,
    Rooms,
    Moderation,
    Operation,
}

impl Tag {
    /// In the order of the document.
    pub(super) const ALL: [Self; 8] = [
        Self::Comments,
        Self::Watching,
        Self::Messages,
        Self::Polls,
        Self::Streams,
        Self::Rooms,
        Self::Moderation,
        Self::Operation,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Comments => "comments",
            Self::Watching => "watching",
            Self::Messages => "messages",
            Self::Polls => "polls",
            Self::Streams => "streams",
            Self::Rooms => "rooms",
            Self::Moderation => "moderation",
            Self::Operation => "operation",
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Comments => "Comments and reactions: sending them, and reading the history.",
            Self::Watching => "Watching a stream without a WebSocket.",
            Self::Messages => "Direct messages that are stored until their reader has read them.",
            Self::Polls => "Polls and votes.",
            Self::Streams => "Streams and their settings.",
            Self::Rooms => "The rules of the room of a stream.",
            Self::Moderation => "The acts of moderators, and the review queue.",
            Self::Operation => "Health, metrics, and this document.",
        }
    }
}
