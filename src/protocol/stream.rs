//! Streams. A stream is one event and its chat room.

use serde::{Deserialize, Serialize};

use super::StreamId;
use super::room::RoomSettings;

/// The state of an event. Comments are accepted only while it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    Scheduled,
    #[default]
    Live,
    Ended,
}

impl StreamState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Live => "live",
            Self::Ended => "ended",
        }
    }
}

/// When comments are moderated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ModerationMode {
    /// Comments are published first, and deleted if moderation rejects them.
    #[default]
    Async,
    /// Comments are published only after moderation has accepted them.
    Sync,
    /// No automatic moderation.
    Off,
}

/// The settings of a stream, as returned by `GET /api/streams/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct Stream {
    pub stream_id: StreamId,
    /// At most 200 characters.
    pub title: String,
    pub state: StreamState,
    /// True if viewers without a token may watch.
    pub anonymous: bool,
    pub moderation: ModerationMode,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When the stream entered the state `ended`; absent in any other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Absent if nothing is set.
    #[serde(default, skip_serializing_if = "RoomSettings::is_default")]
    pub room: RoomSettings,
}

/// The body of `POST /api/streams`. Absent fields get their defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewStream {
    /// Chosen by the store if absent.
    #[serde(default)]
    pub stream_id: Option<StreamId>,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub state: StreamState,
    #[serde(default = "yes")]
    pub anonymous: bool,
    #[serde(default)]
    pub moderation: ModerationMode,
}

fn yes() -> bool {
    true
}

impl NewStream {
    /// Returns the stream with the given id, created at `now_ms`.
    pub fn begin(self, stream_id: StreamId, now_ms: u64) -> Stream {
        Stream {
            stream_id,
            title: self.title,
            state: self.state,
            anonymous: self.anonymous,
            moderation: self.moderation,
            created_at: now_ms,
            ended_at: (self.state == StreamState::Ended).then_some(now_ms),
            room: RoomSettings::default(),
        }
    }
}

/// The body of `PATCH /api/streams/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StreamState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<ModerationMode>,
}

impl Stream {
    /// Returns the stream as everybody may know it: see [`RoomSettings::public`].
    pub fn public(&self) -> Self {
        Self { room: self.room.public(), ..self.clone() }
    }

    /// Applies a patch. `ended_at` is set when the stream enters the state `ended`, and cleared
    /// when it leaves it.
    pub fn apply(&mut self, patch: StreamPatch, now_ms: u64) {
        self.title = patch.title.unwrap_or_else(|| std::mem::take(&mut self.title));
        self.anonymous = patch.anonymous.unwrap_or(self.anonymous);
        self.moderation = patch.moderation.unwrap_or(self.moderation);
        self.state = patch.state.unwrap_or(self.state);
        self.ended_at = match self.state {
            StreamState::Ended => self.ended_at.or(Some(now_ms)),
            StreamState::Scheduled | StreamState::Live => None,
        };
    }
}
