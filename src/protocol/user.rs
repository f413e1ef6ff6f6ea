//! Users: the identity that a token proves, and roles.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{StreamId, UserId};

/// The role of a user. Each role includes the permissions of the roles before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May read and comment.
    #[default]
    Viewer,
    /// May delete comments and time users out. Exempt from sampling and from the rate limit of
    /// viewers.
    Moderator,
    /// Owns the stream.
    Broadcaster,
    /// May do everything on every stream.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Moderator, Self::Broadcaster, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Moderator => "moderator",
            Self::Broadcaster => "broadcaster",
            Self::Admin => "admin",
        }
    }

    /// Returns whether the user is staff: exempt from sampling and from the rate limit of viewers.
    pub fn is_staff(self) -> bool {
        self >= Self::Moderator
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            format!("`{text}` is not a role: expected viewer, moderator, broadcaster or admin")
        })
    }
}

/// The claims of a token that rooms for subscribers and followers, and moderation, ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub subscriber: bool,
    /// When the user began to follow, in milliseconds since the Unix epoch; `None` for a user that
    /// does not follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follower_since: Option<u64>,
    /// When the account was created, in milliseconds since the Unix epoch; `None` if the token does
    /// not say. Viewers are not told.
    #[serde(skip)]
    pub account_created: Option<u64>,
}

impl Standing {
    /// Returns whether there is nothing of it that viewers are told.
    pub fn is_none(&self) -> bool {
        !self.subscriber && self.follower_since.is_none()
    }
}

/// A user on one stream, or on all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserScope {
    pub user_id: UserId,
    /// `None` stands for all streams.
    pub stream_id: Option<StreamId>,
}

impl UserScope {
    pub fn everywhere(user_id: UserId) -> Self {
        Self { user_id, stream_id: None }
    }

    pub fn on(user_id: UserId, stream_id: StreamId) -> Self {
        Self { user_id, stream_id: Some(stream_id) }
    }

    /// Returns whether a stream is meant.
    pub fn covers(self, stream_id: StreamId) -> bool {
        self.stream_id.is_none_or(|only| only == stream_id)
    }
}

/// The most bytes of the address of a picture.
pub const MAX_AVATAR_BYTES: usize = 512;

/// The identity that a valid token proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user_id: UserId,
    /// 1 to 64 characters.
    pub name: Arc<str>,
    /// The higher one of the role on all streams and that on the stream where the user is.
    pub role: Role,
    /// The role on all streams. Viewers are not told.
    #[serde(skip)]
    pub everywhere: Role,
    /// The `https` address of a picture, of at most [`MAX_AVATAR_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Arc<str>>,
    /// Comments per minute granted by the token. `None` means the default of the role, 0 no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Standing::is_none")]
    pub standing: Standing,
}
