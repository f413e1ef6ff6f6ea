//! Streams. A stream is one event and its chat room.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::room::RoomSettings;
use super::{PinnedComment, RoomPoll, StreamId};
#[cfg(feature = "schema")]
use super::{schema::TEXT, text::MAX_DESCRIPTION_CHARS, text::MAX_TITLE_CHARS};

/// The state of an event. Comments are accepted only while it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

    pub fn is_live(&self) -> bool {
        *self == Self::Live
    }
}

/// When comments are moderated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stream {
    pub stream_id: StreamId,
    /// At most 200 characters.
    pub title: String,
    /// At most 2,000 characters; absent if it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub state: StreamState,
    /// True if viewers without a token may watch.
    pub anonymous: bool,
    pub moderation: ModerationMode,
    /// Milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When a scheduled stream is to start by itself, in milliseconds since the Unix epoch. Stays
    /// when it has started; absent if nobody has set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<u64>,
    /// When the stream first entered the state `live`, in milliseconds since the Unix epoch;
    /// absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// When the stream entered the state `ended`; absent in any other state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// Absent if nothing is set.
    #[serde(default, skip_serializing_if = "RoomSettings::is_default")]
    pub room: RoomSettings,
    /// The comment that is pinned above the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Arc<PinnedComment>>,
    /// The latest poll. Answers have it only while it is open, except the outcome of closing it;
    /// `GET …/polls` has closed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Arc<RoomPoll>>,
}

/// The body of `POST /api/streams`. Absent fields get their defaults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct NewStream {
    /// Chosen by the store if absent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(schema_with = "super::schema::optional_sent_id"))]
    pub stream_id: Option<StreamId>,
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TITLE_CHARS), regex(pattern = TEXT)))]
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_DESCRIPTION_CHARS)))]
    pub description: String,
    /// Absent: `scheduled` with a start time, else `live`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StreamState>,
    /// When the stream is to start by itself; only for a scheduled one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<u64>,
    #[serde(default = "yes")]
    pub anonymous: bool,
    #[serde(default)]
    pub moderation: ModerationMode,
}

fn yes() -> bool {
    true
}

impl NewStream {
    /// Returns the state that the stream begins in.
    pub fn first_state(&self) -> StreamState {
        let by_time = self.starts_at.map(|_| StreamState::Scheduled);
        self.state.or(by_time).unwrap_or_default()
    }

    /// Returns the stream with the given id, created at `now_ms`.
    pub fn begin(self, stream_id: StreamId, now_ms: u64) -> Stream {
        let state = self.first_state();
        Stream {
            stream_id,
            title: self.title,
            description: self.description,
            state,
            anonymous: self.anonymous,
            moderation: self.moderation,
            created_at: now_ms,
            starts_at: self.starts_at,
            started_at: state.is_live().then_some(now_ms),
            ended_at: (state == StreamState::Ended).then_some(now_ms),
            room: RoomSettings::default(),
            pinned: None,
            poll: None,
        }
    }
}

/// The body of `PATCH /api/streams/{id}`. Absent fields stay unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
#[serde(deny_unknown_fields)]
pub struct StreamPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_TITLE_CHARS), regex(pattern = TEXT)))]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_DESCRIPTION_CHARS)))]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StreamState>,
    /// When the stream is to start by itself; null takes the time away.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Option<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<ModerationMode>,
}

/// Returns the path of a stream's history, relative to the address of the site, which ends with a
/// slash: a site may be below a path of its host.
pub fn history_path(stream_id: StreamId) -> String {
    format!("api/streams/{stream_id}/comments")
}

/// Tells a null from an absent field.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// The part of a stream's life that viewers are told when they join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamSchedule {
    pub state: StreamState,
    /// Only before the start.
    pub starts_at: Option<u64>,
}

impl StreamSchedule {
    /// True for a live stream.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The message `stream`: what viewers are told when the event changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamNotice {
    pub state: StreamState,
    pub title: Arc<str>,
    /// Absent if it is empty.
    #[serde(default = "nothing", skip_serializing_if = "is_nothing")]
    pub description: Arc<str>,
    /// Absent after the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<u64>,
    /// Absent before the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
}

fn nothing() -> Arc<str> {
    "".into()
}

fn is_nothing(text: &Arc<str>) -> bool {
    text.is_empty()
}

impl StreamNotice {
    pub fn schedule(&self) -> StreamSchedule {
        StreamSchedule { state: self.state, starts_at: self.starts_at }
    }

    /// Returns whether viewers would be told something else of this stream.
    pub fn differs_from(&self, stream: &Stream) -> bool {
        self.state != stream.state
            || *self.title != *stream.title
            || *self.description != *stream.description
            || self.starts_at != stream.start_to_come()
            || self.started_at != stream.started_at
    }
}

impl Default for StreamNotice {
    fn default() -> Self {
        Self {
            state: StreamState::Live,
            title: nothing(),
            description: nothing(),
            starts_at: None,
            started_at: None,
        }
    }
}

impl StreamPatch {
    /// Returns the patch that makes a stream live.
    pub fn start() -> Self {
        Self { state: Some(StreamState::Live), ..Self::default() }
    }
}

impl Stream {
    /// Returns the stream as everybody may know it: see [`RoomSettings::public`].
    pub fn public(&self) -> Self {
        Self { room: self.room.public(), ..self.clone() }
    }

    /// Returns the stream without what only its viewers are shown: the pinned comment and the poll.
    pub fn unwatched(self) -> Self {
        Self { pinned: None, poll: None, ..self }
    }

    /// Returns the stream without a poll that is closed at a time, in milliseconds since the Unix
    /// epoch.
    pub fn with_open_poll(self, now_ms: u64) -> Self {
        let poll = self.poll.filter(|poll| poll.is_open(now_ms));
        Self { poll, ..self }
    }

    /// Returns the stream as its viewers are told of changes.
    pub fn notice(&self) -> StreamNotice {
        StreamNotice {
            state: self.state,
            title: self.title.as_str().into(),
            description: self.description.as_str().into(),
            starts_at: self.start_to_come(),
            started_at: self.started_at,
        }
    }

    /// Returns the start time of a scheduled stream.
    fn start_to_come(&self) -> Option<u64> {
        self.starts_at.filter(|_| self.state == StreamState::Scheduled)
    }

    /// Returns whether a scheduled stream is to start now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.state == StreamState::Scheduled && self.starts_at.is_some_and(|at| at <= now_ms)
    }

    /// Applies a patch. `started_at` is set when the stream first enters the state `live`, and
    /// cleared when it is scheduled again; `ended_at` is set when it enters the state `ended`, and
    /// cleared when it leaves it. A stream that is scheduled again keeps a start time only if it
    /// is still to come: else it would start at once.
    pub fn apply(&mut self, patch: StreamPatch, now_ms: u64) {
        let was_scheduled = self.state == StreamState::Scheduled;
        self.title = patch.title.unwrap_or_else(|| std::mem::take(&mut self.title));
        self.description =
            patch.description.unwrap_or_else(|| std::mem::take(&mut self.description));
        self.anonymous = patch.anonymous.unwrap_or(self.anonymous);
        self.moderation = patch.moderation.unwrap_or(self.moderation);
        self.state = patch.state.unwrap_or(self.state);
        self.starts_at = match (self.state, patch.starts_at) {
            (_, Some(given)) => given,
            (StreamState::Scheduled, None) if !was_scheduled => {
                self.starts_at.filter(|at| *at > now_ms)
            }
            (_, None) => self.starts_at,
        };
        self.started_at = match self.state {
            StreamState::Live => self.started_at.or(Some(now_ms)),
            StreamState::Scheduled => None,
            StreamState::Ended => self.started_at,
        };
        self.ended_at = match self.state {
            StreamState::Ended => self.ended_at.or(Some(now_ms)),
            StreamState::Scheduled | StreamState::Live => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_time_makes_a_scheduled_stream() {
        let new = NewStream { starts_at: Some(9_000), ..NewStream::default() };
        let stream = new.begin(StreamId(1), 1_000);
        assert_eq!((stream.state, stream.started_at), (StreamState::Scheduled, None));
        assert!(!stream.is_due(8_999) && stream.is_due(9_000));
        let live = NewStream::default().begin(StreamId(1), 1_000);
        assert_eq!((live.state, live.started_at), (StreamState::Live, Some(1_000)));
        assert!(live.notice().schedule().is_plain());
    }

    #[test]
    fn the_first_start_is_dated_until_scheduled_again() {
        let to = |state| StreamPatch { state: Some(state), ..StreamPatch::default() };
        let new = NewStream { starts_at: Some(9_000), ..NewStream::default() };
        let mut stream = new.begin(StreamId(1), 1_000);
        stream.apply(to(StreamState::Live), 9_100);
        assert_eq!((stream.started_at, stream.starts_at), (Some(9_100), Some(9_000)));
        stream.apply(to(StreamState::Ended), 9_500);
        stream.apply(to(StreamState::Live), 9_600);
        assert_eq!((stream.started_at, stream.ended_at), (Some(9_100), None));
        stream.apply(to(StreamState::Scheduled), 9_700);
        assert_eq!((stream.started_at, stream.starts_at), (None, None), "it has passed");
        let later = StreamPatch { starts_at: Some(Some(9_800)), ..StreamPatch::default() };
        stream.apply(later, 9_700);
        assert!(stream.is_due(9_800));
        let no_time: StreamPatch = serde_json::from_str(r#"{"starts_at":null}"#).unwrap();
        stream.apply(no_time, 9_750);
        assert_eq!(stream.starts_at, None);
    }
}
