//! Auth: from a token to an identity.
//!
//! In: the text of a JSON Web Token (compact form), the keys of the configuration, the node's own
//! signing secret. Out: an [`Identity`](crate::protocol::Identity), or an [`AuthError`] whose code is
//! stable. Also the other way: tokens minted for the operator ([`mint()`]).
//!
//! Always holds: the algorithm is the key's, never the token's to choose; `none` is no algorithm
//! here. A token without `exp` is refused. Nothing is learned from a token before its signature was
//! checked. Time is the injected clock's. Secrets never reach a log: their types print no content.
//!
//! Nothing queues here; verifying is pure computation of some microseconds (HS256) to a few hundred
//! (ES256), bounded by [`MAX_TOKEN_BYTES`].

mod claims;
mod compact;
mod error;
mod keys;
mod mint;
mod secret;
mod verifier;

#[cfg(test)]
pub(crate) mod fixtures;

pub use compact::MAX_TOKEN_BYTES;
pub use error::AuthError;
pub use keys::KeyError;
pub use mint::mint;
pub use secret::{SecretError, SigningSecret};
pub use verifier::{VerifiedToken, Verifier};
