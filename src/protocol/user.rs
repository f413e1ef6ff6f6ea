//! Who is speaking: the identity a token proves, and what its role allows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::UserId;

/// What a user may do. Each role may do all that the ones before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and comments.
    #[default]
    Viewer,
    /// Deletes and times out; exempt from sampling and from the viewers' rate limit.
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

    /// Staff: never sampled out, never slowed as viewers are.
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

/// What a valid token says about its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user_id: UserId,
    /// 1 to 64 characters.
    pub name: Arc<str>,
    pub role: Role,
    /// Comments a minute the token's issuer grants; `None` is the role's default, 0 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments_per_minute: Option<u32>,
}
