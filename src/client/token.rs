//! Mints tokens from the daemon's own signing secret, for tools that run beside its data directory.

use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};

use crate::protocol::Role;

/// The claims of a viewer's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user id, in digits.
    pub sub: String,
    /// 1 to 64 characters.
    pub name: String,
    pub role: Role,
    /// Seconds since the Unix epoch.
    pub exp: u64,
    /// Seconds since the Unix epoch.
    pub iat: u64,
    /// 0 is no limit; absent is the role's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comments_per_minute: Option<u32>,
}

/// Signs `claims` with HS256.
pub fn mint(secret: &[u8], claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(secret))
}
