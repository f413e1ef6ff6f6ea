//! Makes tokens with the signing secret of a data directory.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::protocol::{Role, StreamId, UserId};

/// The claims of a token. Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user id, as text.
    pub sub: String,
    /// 1 to 64 characters.
    pub name: String,
    #[serde(default)]
    pub role: Role,
    pub iat: u64,
    pub exp: u64,
    /// 0 means no limit; absent means the role's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub subscriber: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follower_since: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_created: Option<u64>,
    /// Roles on single streams.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamId, Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
}

impl Claims {
    /// Returns a viewer's claims, issued at `issued_at` (Unix time) and valid for `lifetime`.
    pub fn new(user_id: UserId, name: &str, issued_at: Duration, lifetime: Duration) -> Self {
        Self {
            sub: user_id.to_string(),
            name: name.to_owned(),
            role: Role::Viewer,
            iat: issued_at.as_secs(),
            exp: (issued_at + lifetime).as_secs(),
            comments_per_minute: None,
            subscriber: false,
            follower_since: None,
            account_created: None,
            streams: BTreeMap::new(),
            iss: None,
            aud: None,
        }
    }
}

/// Returns the secret in the content of a secret file as the daemon reads it: without the newline.
pub fn secret_of(file: &[u8]) -> &[u8] {
    file.trim_ascii_end()
}

/// Signs claims, [`Claims`] or those of a token for the admin API, with HS256 and `secret`.
pub fn mint(secret: &[u8], claims: &impl Serialize) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))
        .expect("HS256 takes a secret of any length, and claims have string keys only")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    #[test]
    fn only_its_secret_verifies_a_token() {
        let issued = Duration::from_secs(1_700_000_000);
        let mut claims = Claims::new(UserId(42), "ann", issued, Duration::from_secs(600));
        claims.role = Role::Moderator;
        claims.comments_per_minute = Some(0);
        let token = mint(b"secret", &claims);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        let read = |secret: &[u8]| {
            decode::<Claims>(&token, &DecodingKey::from_secret(secret), &validation)
        };
        assert_eq!(read(b"secret").unwrap().claims, claims);
        assert_eq!(claims.exp, 1_700_000_600);
        assert!(read(b"other").is_err());
    }
}
