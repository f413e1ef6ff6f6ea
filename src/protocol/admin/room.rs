//! The rules of a room, as `GET /v1/streams/{id}/room` answers them.

use serde::{Deserialize, Serialize};

use crate::protocol::StreamId;
use crate::protocol::room::{RoomRules, RoomSettings};
use crate::protocol::stream::Stream;

/// The settings of a room, and the rules that follow from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Room {
    pub stream_id: StreamId,
    pub title: String,
    pub settings: RoomSettings,
    /// The rules that comments are held to now: those of the settings, in shield mode at least its
    /// own.
    pub in_force: RoomRules,
}

impl From<Stream> for Room {
    fn from(stream: Stream) -> Self {
        let Stream { stream_id, title, room: settings, .. } = stream;
        let in_force = settings.in_force();
        Self { stream_id, title, settings, in_force }
    }
}
