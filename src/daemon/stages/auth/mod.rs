//! Auth: verifies tokens, and mints them for operators.
//!
//! In: the text of a JSON Web Token (compact form), the configured keys, the node's own signing
//! secret. Out: what the token says of its user ([`UserClaims`]), or an [`AuthError`] with a stable
//! code; minted tokens ([`mint()`], [`mint_admin`]).
//!
//! The keys are those of the configuration and those that an issuer publishes ([`IssuerKeys`]).
//!
//! Always holds: the key determines the algorithm, never the token; `none` is not an algorithm. A
//! token without `exp` is refused. No claim is read before the signature was checked. Time comes
//! from the injected clock. Secrets are never logged: their types do not print their content.
//!
//! When full: nothing is queued here. Verifying takes from a few microseconds (HS256) to a few
//! hundred (ES256), and tokens are bounded by [`MAX_TOKEN_BYTES`].

mod admin_token;
mod claims;
mod compact;
mod error;
pub(crate) mod issuer_keys;
mod keys;
mod mint;
mod secret;
mod verifier;

#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, reason = "a test may fail here")]
pub(crate) mod fixtures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use admin_token::{AdminIdentity, mint_admin};
pub use claims::{ClaimedUser, StreamRoles, UserClaims};
pub use compact::MAX_TOKEN_BYTES;
pub use error::AuthError;
pub use issuer_keys::{CloseSignedBy, IssuerKeyTask, IssuerKeys, IssuerKeysEnds, try_issuer};
pub use keys::KeyError;
pub use mint::mint;
pub use secret::{SecretError, SigningSecret};
pub use verifier::{VerifiedAdmin, VerifiedToken, Verifier};
