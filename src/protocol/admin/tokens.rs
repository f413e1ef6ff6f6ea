//! Requests for tokens, and the users that they are for. `lc` makes tokens without a daemon by the
//! same rules.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AdminRole, GRANTED_ROLES};
use crate::protocol::{Role, Standing, StreamId, UserId, text};

/// The most tokens of one request.
pub const MAX_TOKENS: u32 = 10_000;
/// The most roles on single streams of one token, which must stay short enough for a header.
const MAX_STREAM_ROLES: usize = 50;
/// The longest lifetime of a token for the admin API, 30 days: nothing but its end or another
/// signing secret takes it back.
pub const MAX_ADMIN_TOKEN_MS: u64 = 30 * 86_400_000;

/// `POST /v1/tokens`: creates `count` tokens for users `user_id`, `user_id + 1`, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    pub user_id: UserId,
    /// If `count` is more than 1, the user id is appended to `name`.
    pub name: String,
    #[serde(default)]
    pub role: Role,
    #[serde(default = "day_ms")]
    pub ttl_ms: u64,
    /// 0 means no limit.
    #[serde(default)]
    pub comments_per_minute: Option<u32>,
    /// 1 to 10 000.
    #[serde(default = "one")]
    pub count: u32,
    /// The claims that rooms for subscribers and followers ask for.
    #[serde(default, skip_serializing_if = "Standing::is_none")]
    pub standing: Standing,
    /// When the account was created, in milliseconds since the Unix epoch. Apart from `standing`,
    /// of which viewers are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_created: Option<u64>,
    /// Roles on single streams beside `role`, at most 50: each one of
    /// [`GRANTED_ROLES`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stream_roles: BTreeMap<StreamId, Role>,
}

impl TokenRequest {
    /// Returns the users that get a token, with their names in the normal form.
    ///
    /// # Errors
    /// The number of tokens, a role on a stream, an id or a name is not allowed.
    pub fn users(&self) -> Result<Vec<TokenUser>, InvalidTokens> {
        check_stream_roles(&self.stream_roles)?;
        if !(1..=MAX_TOKENS).contains(&self.count) {
            let problem = format!("must be 1 to {MAX_TOKENS}, not {}", self.count);
            return Err(InvalidTokens { field: "count", problem });
        }
        let name = normal_name(&self.name)?;
        let user = |offset| {
            let user_id = UserId(self.user_id.0.saturating_add(u64::from(offset)));
            let name = match self.count {
                1 => Cow::Borrowed(&*name),
                _ => Cow::Owned(format!("{name}{user_id}")),
            };
            checked_user(user_id, &name)
        };
        (0..self.count).map(user).collect()
    }
}

/// Asks for one token per user, with the same rights: one entry of the audit log, however many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTokensRequest {
    /// 1 to 10 000.
    pub users: Vec<TokenUser>,
    #[serde(default)]
    pub role: Role,
    #[serde(default = "day_ms")]
    pub ttl_ms: u64,
    /// 0 means no limit.
    #[serde(default)]
    pub comments_per_minute: Option<u32>,
}

impl UserTokensRequest {
    /// Returns the users that get a token, in their order, with their names in the normal form.
    ///
    /// # Errors
    /// The number of users, an id or a name is not allowed.
    pub fn users(&self) -> Result<Vec<TokenUser>, InvalidTokens> {
        if !(1..=MAX_TOKENS as usize).contains(&self.users.len()) {
            let problem = format!("must name 1 to {MAX_TOKENS} users, not {}", self.users.len());
            return Err(InvalidTokens { field: "users", problem });
        }
        self.users.iter().map(TokenUser::checked).collect()
    }
}

/// `POST /v1/tokens/admin`: creates a token for the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminTokenRequest {
    /// The person or program, as the audit log names it.
    pub name: String,
    pub role: AdminRole,
    /// 1 s to [`MAX_ADMIN_TOKEN_MS`].
    #[serde(default = "day_ms")]
    pub ttl_ms: u64,
}

impl AdminTokenRequest {
    /// Returns the request with its name in the normal form.
    ///
    /// # Errors
    /// The name or the lifetime is not allowed.
    pub fn checked(&self) -> Result<Self, InvalidTokens> {
        if !(1_000..=MAX_ADMIN_TOKEN_MS).contains(&self.ttl_ms) {
            let problem = format!("must be 1000 to {MAX_ADMIN_TOKEN_MS}, not {}", self.ttl_ms);
            return Err(InvalidTokens { field: "ttl_ms", problem });
        }
        Ok(Self { name: normal_name(&self.name)?, ..self.clone() })
    }
}

/// A user that gets a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenUser {
    pub user_id: UserId,
    pub name: String,
}

impl TokenUser {
    /// Returns the user with its name in the normal form.
    ///
    /// # Errors
    /// The id or the name is not allowed.
    pub fn checked(&self) -> Result<Self, InvalidTokens> {
        checked_user(self.user_id, &self.name)
    }
}

/// A field of a request for tokens that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct InvalidTokens {
    pub field: &'static str,
    pub problem: String,
}

fn check_stream_roles(roles: &BTreeMap<StreamId, Role>) -> Result<(), InvalidTokens> {
    let invalid = |problem| Err(InvalidTokens { field: "stream_roles", problem });
    if roles.len() > MAX_STREAM_ROLES {
        return invalid(format!("must be at most {MAX_STREAM_ROLES}, not {}", roles.len()));
    }
    for (stream_id, role) in roles {
        if !stream_id.is_valid() {
            return invalid(format!("must name streams from 1 to {}, not {stream_id}", i64::MAX));
        }
        if !GRANTED_ROLES.contains(role) {
            return invalid(format!("must be moderator or broadcaster, not {role}"));
        }
    }
    Ok(())
}

/// Checks an id as well, because decoding it from JSON does not.
fn checked_user(user_id: UserId, name: &str) -> Result<TokenUser, InvalidTokens> {
    if !user_id.is_valid() {
        let problem = format!("must be 1 to {}, not {user_id}", i64::MAX);
        return Err(InvalidTokens { field: "user_id", problem });
    }
    Ok(TokenUser { user_id, name: normal_name(name)? })
}

fn normal_name(name: &str) -> Result<String, InvalidTokens> {
    let invalid =
        |error: text::TextError| InvalidTokens { field: "name", problem: error.to_string() };
    text::name(name).map(Cow::into_owned).map_err(invalid)
}

fn day_ms() -> u64 {
    86_400_000
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(user_id: u64, name: &str, count: u32) -> TokenRequest {
        let comments_per_minute = None;
        let name = name.to_owned();
        let user_id = UserId(user_id);
        TokenRequest {
            user_id,
            name,
            role: Role::Viewer,
            ttl_ms: 1_000,
            comments_per_minute,
            count,
            standing: Standing::default(),
            account_created: None,
            stream_roles: BTreeMap::new(),
        }
    }

    #[test]
    fn several_users_have_their_ids_in_their_names() {
        let users = |count| -> Vec<(u64, String)> {
            let users = request(9, " ann\u{200B} b ", count).users().unwrap();
            users.into_iter().map(|user| (user.user_id.0, user.name)).collect()
        };
        assert_eq!(users(1), [(9, "ann b".to_owned())]);
        assert_eq!(users(2), [(9, "ann b9".to_owned()), (10, "ann b10".to_owned())]);
    }

    #[test]
    fn an_admin_token_has_a_name_and_an_end() {
        let request = |name: &str, ttl_ms| {
            AdminTokenRequest { name: name.to_owned(), role: AdminRole::Viewer, ttl_ms }.checked()
        };
        assert_eq!(request(" ann ", 1_000).unwrap().name, "ann");
        assert!(request("ann", MAX_ADMIN_TOKEN_MS).is_ok());
        assert_eq!(request("", 1_000).unwrap_err().field, "name");
        for ttl_ms in [0, 999, MAX_ADMIN_TOKEN_MS + 1] {
            assert_eq!(request("ann", ttl_ms).unwrap_err().field, "ttl_ms");
        }
    }

    #[test]
    fn ids_names_and_counts_have_their_bounds() {
        let last = i64::MAX as u64;
        assert_eq!(request(last, "ann", 1).users().unwrap()[0].user_id.0, last);
        assert!(request(1, "ann", MAX_TOKENS).users().is_ok());
        let long = "x".repeat(63);
        assert!(request(8, &long, 2).users().is_ok(), "64 characters with the id");
        for (request, field) in [
            (request(0, "ann", 1), "user_id"),
            (request(last, "ann", 2), "user_id"),
            (request(u64::MAX, "ann", 2), "user_id"),
            (request(9, &long, 2), "name"),
            (request(9, "\u{3164}", 1), "name"),
            (request(9, "\u{200B}", 2), "name"),
            (request(9, "a\u{7}b", 2), "name"),
            (request(1, "ann", 0), "count"),
            (request(1, "ann", MAX_TOKENS + 1), "count"),
        ] {
            assert_eq!(request.users().unwrap_err().field, field, "{request:?}");
        }
    }

    #[test]
    fn roles_on_streams_are_those_that_can_be_given() {
        let with = |roles: &[(u64, Role)]| TokenRequest {
            stream_roles: roles.iter().map(|(id, role)| (StreamId(*id), *role)).collect(),
            ..request(1, "ann", 1)
        };
        let last = i64::MAX as u64;
        let good = with(&[(7, Role::Moderator), (last, Role::Broadcaster)]);
        assert!(good.users().is_ok());
        let text = serde_json::to_string(&good).unwrap();
        assert!(text.contains(r#""stream_roles":{"7":"moderator""#), "{text}");
        assert_eq!(serde_json::from_str::<TokenRequest>(&text).unwrap(), good);
        let many: Vec<_> = (1..=51).map(|id| (id, Role::Moderator)).collect();
        assert!(with(&many[1..]).users().is_ok());
        for bad in [
            with(&many),
            with(&[(7, Role::Viewer)]),
            with(&[(7, Role::Admin)]),
            with(&[(0, Role::Moderator)]),
            with(&[(last + 1, Role::Moderator)]),
        ] {
            assert_eq!(bad.users().unwrap_err().field, "stream_roles", "{bad:?}");
        }
    }
}
