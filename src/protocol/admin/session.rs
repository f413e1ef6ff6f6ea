//! Who a connection to the admin API acts for, and what each role may do.
//!
//! The daemon enforces [`needed_role`]. The console asks it too, so that it refuses in words what
//! the daemon would refuse.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use AdminRole::{Moderator, Operator, Viewer};

/// The `aud` of tokens for the admin API. No viewer's token has it.
pub const ADMIN_AUDIENCE: &str = "lcd-admin";

/// The role of a person at the admin API. Each includes the rights of those before it. It is
/// another one than the [`Role`](crate::protocol::Role) of a user of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AdminRole {
    /// Reads.
    Viewer,
    /// Also bans, times out, lifts both, kicks, deletes and restores comments, claims flagged ones
    /// and decides about them, sends messages to users, saves views, and takes back what it may do,
    /// where possible.
    Moderator,
    /// Does everything.
    Operator,
}

impl AdminRole {
    pub const ALL: [Self; 3] = [Viewer, Moderator, Operator];

    pub fn as_str(self) -> &'static str {
        match self {
            Viewer => "viewer",
            Moderator => "moderator",
            Operator => "operator",
        }
    }
}

impl fmt::Display for AdminRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AdminRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        let wrong = || {
            format!("`{text}` is not a role of operators: expected viewer, moderator or operator")
        };
        found.ok_or_else(wrong)
    }
}

/// `GET /v1/session`: who the requests of this connection act for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "lc", derive(schemars::JsonSchema))]
pub struct Session {
    /// The node that answers.
    pub node: String,
    pub role: AdminRole,
    /// The name in the audit log.
    pub actor: String,
}

/// Paths that are posted to, with the least role that may. An undo also needs the role of what it
/// takes back: see [`role_to_undo`].
const POSTS: &[(&str, AdminRole)] = &[
    ("/v1/preview", Viewer),
    ("/v1/ban", Moderator),
    ("/v1/timeout", Moderator),
    ("/v1/unban", Moderator),
    ("/v1/kick", Moderator),
    ("/v1/dm", Moderator),
    ("/v1/delete", Moderator),
    ("/v1/delete_of_user", Moderator),
    // A batch has only changes that moderators may make.
    ("/v1/batch", Moderator),
    ("/v1/mod/claim", Moderator),
    ("/v1/mod/approve", Moderator),
    ("/v1/mod/reject", Moderator),
    ("/v1/mod/restore", Moderator),
    ("/v1/undo", Moderator),
    ("/v1/views", Moderator),
    ("/v1/views/forget", Moderator),
    ("/v1/alerts/ack", Operator),
    ("/v1/announce", Operator),
    ("/v1/throttle", Operator),
    ("/v1/drain", Operator),
    ("/v1/acknowledge", Operator),
    ("/v1/dead-letters/requeue", Operator),
    ("/v1/dead-letters/ack", Operator),
    ("/v1/streams", Operator),
    ("/v1/streams/{id}", Operator),
    ("/v1/tokens", Operator),
    ("/v1/tokens/users", Operator),
    ("/v1/tokens/admin", Operator),
];

/// Returns the role that posting to a path is listed with; `None` if it is not.
pub fn listed_role(path: &str) -> Option<AdminRole> {
    POSTS.iter().find(|(listed, _)| *listed == path).map(|(_, role)| *role)
}

/// Returns the least role that may post to a path, as the router writes it. A path that is not
/// listed needs the highest role.
pub fn needed_role(path: &str) -> AdminRole {
    listed_role(path).unwrap_or(Operator)
}

/// Returns the least role that may take back an audit entry with this action: the one that may
/// make such a change. An action has the name of its path.
pub fn role_to_undo(action: &str) -> AdminRole {
    match action {
        "approve" | "reject" | "restore" => needed_role(&format!("/v1/mod/{action}")),
        _ => needed_role(&format!("/v1/{action}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_include_those_before_them() {
        assert!(Viewer < Moderator && Moderator < Operator);
        for role in AdminRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        let error = "admin".parse::<AdminRole>().unwrap_err();
        assert!(error.contains("viewer, moderator or operator"), "{error}");
    }

    #[test]
    fn a_path_that_is_not_listed_needs_an_operator() {
        assert_eq!(needed_role("/v1/ban"), Moderator);
        assert_eq!(needed_role("/v1/preview"), Viewer);
        assert_eq!(needed_role("/v1/throttle"), Operator);
        assert_eq!(needed_role("/v1/new"), Operator);
        assert_eq!(listed_role("/v1/new"), None);
    }

    #[test]
    fn an_undo_needs_the_role_of_the_change() {
        for action in [
            "ban",
            "timeout",
            "unban",
            "kick",
            "delete",
            "delete_of_user",
            "batch",
            "approve",
            "reject",
            "restore",
            "dm",
            "undo",
        ] {
            assert_eq!(role_to_undo(action), Moderator, "{action}");
        }
        for action in ["throttle", "drain", "update_stream", "announce", "anything"] {
            assert_eq!(role_to_undo(action), Operator, "{action}");
        }
    }
}
