//! The claims of a token, and the checks on them.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::AuthError;
use super::admin_token::AdminIdentity;
use crate::protocol::admin::{ADMIN_AUDIENCE, AdminRole};
use crate::protocol::{Identity, Role, Standing, UserId, text};

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
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<Subject>,
    name: Option<String>,
    role: Option<String>,
    comments_per_minute: Option<u32>,
    subscriber: Option<bool>,
    follower_since: Option<f64>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Subject {
    Number(u64),
    Text(String),
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
        serde_json::from_slice(payload).map_err(|error| AuthError::Claims(error.to_string()))
    }

    /// Checks `exp` and `nbf`. Returns the time of expiry without leeway, in milliseconds since the
    /// Unix epoch.
    pub(super) fn check_time(&self, expected: &ClaimRules, now_ms: u64) -> Result<u64, AuthError> {
        let leeway_ms = expected.leeway.as_millis() as u64;
        let exp = self.exp.ok_or_else(|| claims("`exp` is missing"))?;
        let expires_at_ms = unix_ms(exp).ok_or_else(|| claims("`exp` is not a time"))?;
        // RFC 7519 §4.1.4: not "on or after" the time.
        if now_ms >= expires_at_ms.saturating_add(leeway_ms) {
            return Err(AuthError::Expired { ago_ms: now_ms - expires_at_ms });
        }
        if let Some(nbf) = self.nbf {
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
        let issuer_fits = match &self.iss {
            Some(issuer) => expected.issuer.is_empty() || *issuer == expected.issuer,
            None => expected.issuer.is_empty() || own,
        };
        if !issuer_fits {
            return Err(AuthError::Issuer { expected: expected.issuer.clone() });
        }
        let audience_fits = match &self.aud {
            Some(audience) => !expected.audience.is_empty() && audience.names(&expected.audience),
            None => expected.audience.is_empty() || own,
        };
        if !audience_fits {
            return Err(AuthError::Audience { expected: expected.audience.clone() });
        }
        Ok(())
    }

    pub(super) fn identity(&self) -> Result<Identity, AuthError> {
        let role = match &self.role {
            Some(text) => text.parse::<Role>().map_err(AuthError::Claims)?,
            None => Role::default(),
        };
        Ok(Identity {
            user_id: self.user_id()?,
            name: self.checked_name()?,
            role,
            comments_per_minute: self.comments_per_minute,
            standing: self.standing()?,
        })
    }

    fn standing(&self) -> Result<Standing, AuthError> {
        let since = self.follower_since.map(|seconds| {
            unix_ms(seconds).ok_or_else(|| claims("`follower_since` is not a time"))
        });
        Ok(Standing {
            subscriber: self.subscriber.unwrap_or(false),
            follower_since: since.transpose()?,
            account_created: None,
        })
    }

    /// Returns the person that a token for the admin API names. Its `sub` is a name, and its `role`
    /// one of operators, so that neither kind of token is of use in the place of the other.
    pub(super) fn admin_identity(&self) -> Result<AdminIdentity, AuthError> {
        if !self.aud.as_ref().is_some_and(|audience| audience.names(ADMIN_AUDIENCE)) {
            return Err(AuthError::Audience { expected: ADMIN_AUDIENCE.to_owned() });
        }
        let Some(Subject::Text(subject)) = &self.sub else {
            return Err(claims("`sub` must be the name of a person"));
        };
        let name =
            text::name(subject).map_err(|error| AuthError::Claims(format!("`sub` {error}")))?;
        let role = self.role.as_deref().ok_or_else(|| claims("`role` is missing"))?;
        let role = role.parse::<AdminRole>().map_err(AuthError::Claims)?;
        Ok(AdminIdentity { name: name.into(), role })
    }

    fn user_id(&self) -> Result<UserId, AuthError> {
        let text = match &self.sub {
            Some(Subject::Number(number)) => number.to_string(),
            Some(Subject::Text(text)) => text.clone(),
            None => return Err(claims("`sub` (the user id) is missing")),
        };
        text.parse().map_err(|error| AuthError::Claims(format!("`sub`: {error}")))
    }

    fn checked_name(&self) -> Result<Arc<str>, AuthError> {
        let name = self.name.as_deref().ok_or_else(|| claims("`name` is missing"))?;
        let name =
            text::name(name).map_err(|error| AuthError::Claims(format!("`name` {error}")))?;
        Ok(name.into())
    }
}

/// Returns the time that a claim of a payload names, in milliseconds since the Unix epoch. `None`
/// if the payload has no such claim, or it is no number: the site may use the name for something
/// else.
pub(super) fn time_of_claim(payload: &[u8], name: &str) -> Option<u64> {
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(payload).ok()?;
    all.get(name)?.as_f64().and_then(unix_ms)
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
