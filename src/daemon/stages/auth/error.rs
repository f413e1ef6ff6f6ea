//! Errors of token verification.

use crate::protocol::ErrorCode;
use crate::protocol::error_code::ErrorBody;

/// Why a token was refused. Each reason has its own stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("not a token: {0}")]
    Malformed(&'static str),
    #[error("the token's algorithm {0} is not accepted here")]
    Algorithm(String),
    #[error(
        "no key of this server made the token's signature; a key of `auth.keys` with a `kid` is \
         only tried for tokens that name it"
    )]
    Signature,
    #[error("the keys of the token's issuer cannot be read now")]
    KeysUnavailable,
    #[error("the token expired {} ago", seconds(*.ago_ms))]
    Expired { ago_ms: u64 },
    #[error("the token is not valid for another {}", seconds(*.wait_ms))]
    NotYetValid { wait_ms: u64 },
    #[error("the token is from another issuer than `{expected}`")]
    Issuer { expected: String },
    #[error("the token is for another audience{}", named(.expected))]
    Audience { expected: String },
    #[error("the token's claims are not acceptable: {0}")]
    Claims(String),
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000))
}

fn named(expected: &str) -> String {
    match expected {
        "" => ": this server expects tokens without `aud`".to_owned(),
        name => format!(" than `{name}`"),
    }
}

impl AuthError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::TokenMalformed,
            Self::Algorithm(_) => ErrorCode::TokenAlgorithm,
            Self::Signature => ErrorCode::TokenSignature,
            Self::KeysUnavailable => ErrorCode::IdentityUnavailable,
            Self::Expired { .. } => ErrorCode::TokenExpired,
            Self::NotYetValid { .. } => ErrorCode::TokenNotYetValid,
            Self::Issuer { .. } => ErrorCode::TokenIssuer,
            Self::Audience { .. } => ErrorCode::TokenAudience,
            Self::Claims(_) => ErrorCode::TokenClaims,
        }
    }
}

impl From<AuthError> for ErrorBody {
    fn from(error: AuthError) -> Self {
        let body = Self::new(error.code(), error.to_string());
        match error {
            AuthError::NotYetValid { wait_ms } => body.retry_after_ms(wait_ms),
            _ => body,
        }
    }
}
