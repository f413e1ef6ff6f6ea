//! Who a connection to the admin API acts for, and what each role may do.
//!
//! The daemon enforces [`needed_role`]. The console asks it too, so that it refuses in words what
//! the daemon would refuse.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use AdminRole::{Moderator, Operator, Viewer};

use super::audit_action;
use super::cluster::ClusterColour;

/// The `aud` of tokens for the admin API. No viewer's token has it.
pub const ADMIN_AUDIENCE: &str = "lcd-admin";

/// The role of a person at the admin API. Each includes the rights of those before it. It is
/// another one than the [`Role`](crate::protocol::Role) of a user of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AdminRole {
    /// Reads.
    Viewer,
    /// Also bans, times out, shadows, lifts all three, kicks, forgives users, deletes and restores
    /// comments, sets the rules of rooms, claims flagged comments and decides about them, sends
    /// messages to users, saves views, and takes back what it may do, where possible.
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

/// `GET /v1/session`: who the requests of this connection act for, and on which cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Session {
    /// The node that answers.
    pub node: String,
    pub role: AdminRole,
    /// The name in the audit log.
    pub actor: String,
    /// The name of the cluster; absent if its configuration has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The colour of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<ClusterColour>,
}

/// The claims of a token for the admin API, wherever it is made. Times are seconds since the Unix
/// epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminClaims {
    /// The name for the audit log, 1 to 64 characters.
    pub sub: String,
    pub role: AdminRole,
    pub aud: String,
    pub iat: u64,
    pub exp: u64,
}

impl AdminClaims {
    /// Returns claims that are issued at `issued_at` (Unix time) and valid for at least `lifetime`.
    pub fn new(name: &str, role: AdminRole, issued_at: Duration, lifetime: Duration) -> Self {
        let end = issued_at.saturating_add(lifetime);
        Self {
            sub: name.to_owned(),
            role,
            aud: ADMIN_AUDIENCE.to_owned(),
            iat: issued_at.as_secs(),
            exp: end.as_secs().saturating_add(u64::from(end.subsec_nanos() > 0)),
        }
    }
}

/// Paths that are posted to, with the least role that may. An undo also needs the role of what it
/// takes back: see [`role_to_undo`].
const POSTS: &[(&str, AdminRole)] = &[
    // The preview of a user's deletions needs the role of the deletion.
    ("/v1/preview", Viewer),
    ("/v1/ban", Moderator),
    ("/v1/timeout", Moderator),
    ("/v1/unban", Moderator),
    ("/v1/shadow", Moderator),
    ("/v1/unshadow", Moderator),
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
    ("/v1/mod/forgive", Moderator),
    // It changes nothing, but shows which disguises the rules see through.
    ("/v1/mod/test", Moderator),
    ("/v1/undo", Moderator),
    ("/v1/views", Moderator),
    ("/v1/views/forget", Moderator),
    // A role on a stream comes with powers over its users.
    ("/v1/grant", Operator),
    ("/v1/revoke", Operator),
    ("/v1/alerts/ack", Operator),
    ("/v1/announce", Operator),
    ("/v1/throttle", Operator),
    ("/v1/drain", Operator),
    ("/v1/acknowledge", Operator),
    ("/v1/dead-letters/requeue", Operator),
    ("/v1/dead-letters/ack", Operator),
    ("/v1/streams", Operator),
    ("/v1/streams/{id}", Operator),
    ("/v1/streams/{id}/delete", Operator),
    ("/v1/streams/{id}/room", Moderator),
    ("/v1/streams/{id}/room/terms", Moderator),
    ("/v1/streams/{id}/room/clear", Moderator),
    ("/v1/streams/{id}/pin", Moderator),
    ("/v1/streams/{id}/unpin", Moderator),
    ("/v1/streams/{id}/polls", Moderator),
    ("/v1/streams/{id}/polls/close", Moderator),
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
        audit_action::APPROVE
        | audit_action::REJECT
        | audit_action::RESTORE
        | audit_action::FORGIVE => needed_role(&format!("/v1/mod/{action}")),
        // They are acts of moderators of a stream, without a path of their own.
        audit_action::SHADOW_COMMENT | audit_action::UNSHADOW_COMMENT => needed_role("/v1/delete"),
        audit_action::ROOM => needed_role("/v1/streams/{id}/room"),
        audit_action::ROOM_TERMS => needed_role("/v1/streams/{id}/room/terms"),
        audit_action::CLEAR_ROOM => needed_role("/v1/streams/{id}/room/clear"),
        audit_action::PIN | audit_action::UNPIN => {
            needed_role(&format!("/v1/streams/{{id}}/{action}"))
        }
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
    fn a_token_lasts_at_least_its_lifetime() {
        let issued = Duration::from_millis(1_700_000_000_400);
        let claims = |ms| AdminClaims::new("ann", Moderator, issued, Duration::from_millis(ms));
        assert_eq!((claims(600).iat, claims(600).exp), (1_700_000_000, 1_700_000_001));
        assert_eq!(claims(601).exp, 1_700_000_002);
        assert_eq!(claims(600).aud, ADMIN_AUDIENCE);
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
            "shadow",
            "unshadow",
            "shadow_comment",
            "unshadow_comment",
            "kick",
            "delete",
            "delete_of_user",
            "batch",
            "approve",
            "reject",
            "restore",
            "forgive",
            "room",
            "room_terms",
            "clear_room",
            "pin",
            "unpin",
            "dm",
            "undo",
        ] {
            assert_eq!(role_to_undo(action), Moderator, "{action}");
        }
        for action in
            ["throttle", "drain", "update_stream", "announce", "grant", "revoke", "anything"]
        {
            assert_eq!(role_to_undo(action), Operator, "{action}");
        }
    }
}
