//! The claims of a token, and the checks on them.

mod avatar;
mod names;
mod stream_roles;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use self::names::find;
pub use self::stream_roles::StreamRoles;
use super::AuthError;
use super::admin_token::AdminIdentity;
use crate::daemon::base::config::ClaimNames;
use crate::daemon::engines::metadata::{FIRST_SUBJECT_ID, Subject};
use crate::protocol::admin::{ADMIN_AUDIENCE, AdminRole};
use crate::protocol::{Identity, Role, Standing, UserId, text};

/// The claim with the roles on single streams.
const STREAM_ROLES: &str = "streams";

/// The issuer, audience and clock tolerance that claims are checked against.
#[derive(Debug, Clone)]
pub(super) struct ClaimRules {
    /// Empty accepts any.
    pub(super) issuer: String,
    /// Empty accepts only tokens without `aud`.
    pub(super) audience: String,
    pub(super) leeway: Duration,
}

/// The claims that are read. JSON that does not fit is an error of the claims.
#[derive(Debug)]
pub(super) struct Claims {
    fixed: FixedClaims,
    /// All claims, also those above.
    all: Value,
}

/// The claims whose names no configuration changes.
#[derive(Debug, Deserialize)]
struct FixedClaims {
    comments_per_minute: Option<u32>,
    subscriber: Option<bool>,
    follower_since: Option<f64>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

/// The user that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedUser {
    /// By a number, which is the id.
    Id(UserId),
    /// By another text, for which the metadata store keeps an id.
    Subject(Subject),
}

/// The claims of a token about its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserClaims {
    pub user: ClaimedUser,
    pub name: Arc<str>,
    /// An `https` address.
    pub avatar: Option<Arc<str>>,
    /// The role on every stream.
    pub role: Role,
    /// Roles on single streams.
    pub stream_roles: StreamRoles,
    pub comments_per_minute: Option<u32>,
    pub standing: Standing,
}

impl UserClaims {
    /// Returns the identity of the user, whose id is `user_id`, where it has this role.
    pub fn identity(&self, user_id: UserId, role: Role) -> Identity {
        Identity {
            user_id,
            name: self.name.clone(),
            role,
            everywhere: self.role,
            avatar: self.avatar.clone(),
            comments_per_minute: self.comments_per_minute,
            standing: self.standing,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(name) => name == wanted,
            Self::Many(names) => names.iter().any(|name| name == wanted),
        }
    }
}

impl Claims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, AuthError> {
        let misfit = |error: serde_json::Error| AuthError::Claims(error.to_string());
        let all: Value = serde_json::from_slice(payload).map_err(misfit)?;
        if !all.is_object() {
            return Err(claims("they are not a JSON object"));
        }
        let fixed = FixedClaims::deserialize(&all).map_err(misfit)?;
        Ok(Self { fixed, all })
    }

    /// Checks `exp` and `nbf`. Returns the time of expiry without leeway, in milliseconds since the
    /// Unix epoch.
    pub(super) fn check_time(&self, expected: &ClaimRules, now_ms: u64) -> Result<u64, AuthError> {
        let leeway_ms = expected.leeway.as_millis() as u64;
        let exp = self.fixed.exp.ok_or_else(|| claims("`exp` is missing"))?;
        let expires_at_ms = unix_ms(exp).ok_or_else(|| claims("`exp` is not a time"))?;
        // RFC 7519 §4.1.4: not "on or after" the time.
        if now_ms >= expires_at_ms.saturating_add(leeway_ms) {
            return Err(AuthError::Expired { ago_ms: now_ms - expires_at_ms });
        }
        if let Some(nbf) = self.fixed.nbf {
            let begins_ms = unix_ms(nbf).ok_or_else(|| claims("`nbf` is not a time"))?;
            if begins_ms > now_ms.saturating_add(leeway_ms) {
                let wait_ms = begins_ms - leeway_ms - now_ms;
                return Err(AuthError::NotYetValid { wait_ms });
            }
        }
        Ok(expires_at_ms)
    }

    /// Checks `iss` and `aud`. Both may be absent if the signature is this node's `own`.
    pub(super) fn check_origin(&self, expected: &ClaimRules, own: bool) -> Result<(), AuthError> {
        let issuer_fits = match &self.fixed.iss {
            Some(issuer) => expected.issuer.is_empty() || *issuer == expected.issuer,
            None => expected.issuer.is_empty() || own,
        };
        if !issuer_fits {
            return Err(AuthError::Issuer { expected: expected.issuer.clone() });
        }
        let audience_fits = match &self.fixed.aud {
            Some(audience) => !expected.audience.is_empty() && audience.names(&expected.audience),
            None => expected.audience.is_empty() || own,
        };
        if !audience_fits {
            return Err(AuthError::Audience { expected: expected.audience.clone() });
        }
        Ok(())
    }

    /// Reads the claims about the user under these names. `own` says that the signature is this
    /// node's own, so that every number is an id, and every role one of ours.
    pub(super) fn user(&self, names: &ClaimNames, own: bool) -> Result<UserClaims, AuthError> {
        let stream_roles = match find(&self.all, STREAM_ROLES) {
            Some(claim) => StreamRoles::read(claim)
                .map_err(|error| AuthError::Claims(format!("`{STREAM_ROLES}` {error}")))?,
            None => StreamRoles::default(),
        };
        let avatar = find(&self.all, &names.avatar).and_then(Value::as_str);
        Ok(UserClaims {
            user: self.claimed_user(&names.user, own)?,
            name: self.checked_name(&names.name)?,
            avatar: avatar.and_then(avatar::address),
            role: self.role(&names.role, own)?,
            stream_roles,
            comments_per_minute: self.fixed.comments_per_minute,
            standing: self.standing()?,
        })
    }

    /// Returns the time of a claim, in milliseconds since the Unix epoch. `None` if there is no
    /// such claim, or it is no number: the site may use the name for something else.
    pub(super) fn time(&self, name: &str) -> Option<u64> {
        self.all.get(name)?.as_f64().and_then(unix_ms)
    }

    fn standing(&self) -> Result<Standing, AuthError> {
        let since = self.fixed.follower_since.map(|seconds| {
            unix_ms(seconds).ok_or_else(|| claims("`follower_since` is not a time"))
        });
        Ok(Standing {
            subscriber: self.fixed.subscriber.unwrap_or(false),
            follower_since: since.transpose()?,
            account_created: None,
        })
    }

    /// Returns the person that a token for the admin API names. Its `sub` is a name, and its `role`
    /// one of operators, so that neither kind of token is of use in the place of the other.
    pub(super) fn admin_identity(&self) -> Result<AdminIdentity, AuthError> {
        if !self.fixed.aud.as_ref().is_some_and(|audience| audience.names(ADMIN_AUDIENCE)) {
            return Err(AuthError::Audience { expected: ADMIN_AUDIENCE.to_owned() });
        }
        let Some(subject) = self.all.get("sub").and_then(Value::as_str) else {
            return Err(claims("`sub` must be the name of a person"));
        };
        let name =
            text::name(subject).map_err(|error| AuthError::Claims(format!("`sub` {error}")))?;
        let role = self.all.get("role").and_then(Value::as_str);
        let role = role.ok_or_else(|| claims("`role` is missing"))?;
        let role = role.parse::<AdminRole>().map_err(AuthError::Claims)?;
        Ok(AdminIdentity { name: name.into(), role })
    }

    /// A number names an id, whether it is written as a number or as digits. Digits with leading
    /// zeros are a text like any other: users of an issuer that differ in them are different. From
    /// 2^62 on, an issuer's number is a text, too, because ids of texts lie there.
    fn claimed_user(&self, claim: &str, own: bool) -> Result<ClaimedUser, AuthError> {
        let misfit = |what: &dyn std::fmt::Display| AuthError::Claims(format!("`{claim}` {what}"));
        let text = match find(&self.all, claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => match number.as_u64().map(UserId) {
                Some(user_id) if user_id.is_valid() => user_id.to_string(),
                _ => return Err(misfit(&"must be a text, or a whole number from 1 to 2^63 - 1")),
            },
            Some(_) => return Err(misfit(&"must be a text or a number")),
            None => return Err(misfit(&"(the user) is missing")),
        };
        let number = text.parse::<UserId>().ok().filter(|user_id| user_id.to_string() == text);
        match number {
            Some(user_id) if own || user_id.0 < FIRST_SUBJECT_ID => Ok(ClaimedUser::Id(user_id)),
            _ => {
                let issuer = self.fixed.iss.as_deref().unwrap_or_default();
                let subject = Subject::new(issuer, &text).map_err(|error| misfit(&error))?;
                Ok(ClaimedUser::Subject(subject))
            }
        }
    }

    /// Of a list, the highest role counts. Whatever else an issuer writes there is for other
    /// services, such as the `authenticated` of a database.
    fn role(&self, claim: &str, own: bool) -> Result<Role, AuthError> {
        let misfit = |what: &dyn std::fmt::Display| AuthError::Claims(format!("`{claim}`: {what}"));
        match find(&self.all, claim) {
            None => Ok(Role::default()),
            Some(Value::String(text)) => match text.parse::<Role>() {
                Ok(role) => Ok(role),
                Err(error) if own => Err(misfit(&error)),
                Err(_) => Ok(Role::default()),
            },
            Some(Value::Array(items)) => {
                let roles = items.iter().filter_map(|item| item.as_str()?.parse::<Role>().ok());
                Ok(roles.max().unwrap_or_default())
            }
            Some(_) => Err(misfit(&"must be a text, or a list of texts")),
        }
    }

    fn checked_name(&self, claim: &str) -> Result<Arc<str>, AuthError> {
        let misfit = |what: &dyn std::fmt::Display| AuthError::Claims(format!("`{claim}` {what}"));
        let name = find(&self.all, claim).ok_or_else(|| misfit(&"(the name) is missing"))?;
        let name = name.as_str().ok_or_else(|| misfit(&"must be a text"))?;
        Ok(text::name(name).map_err(|error| misfit(&error))?.into())
    }
}

fn claims(text: &str) -> AuthError {
    AuthError::Claims(text.to_owned())
}

/// Converts a NumericDate (RFC 7519 §2: seconds, fractions allowed) to milliseconds. Returns
/// `None` for times before 1970 and for NaN.
fn unix_ms(seconds: f64) -> Option<u64> {
    // The cast saturates: a date beyond the range is never reached.
    (seconds >= 0.0).then_some((seconds * 1000.0) as u64)
}
