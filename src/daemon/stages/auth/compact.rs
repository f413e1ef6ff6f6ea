//! The compact form of a JWT (RFC 7515 §7.1), taken apart and not yet believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::AuthError;

/// A longer token is refused unread.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// The header fields that matter here; others are ignored, as RFC 7515 §4 wants it.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default)]
    pub(super) kid: Option<String>,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

/// The parts of a token.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    pub(super) header: Header,
    /// What the signature covers: the first two parts and the dot between them.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    payload: &'a str,
}

impl<'a> Compact<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed("longer than a token may be"));
        }
        let parts = AuthError::Malformed("expected three parts with dots between them");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| parts.clone())?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| parts.clone())?;
        if payload.contains('.') {
            return Err(parts);
        }
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| AuthError::Malformed("the header is no JSON object with `alg`"))?;
        if header.crit.is_some() {
            return Err(AuthError::Malformed("`crit` names extensions, and none is known here"));
        }
        // Checked here so that the cryptography below only ever fails on the key.
        decode(signature)?;
        Ok(Self { header, signed, signature, payload })
    }

    /// The claims' JSON. Only to be called once the signature was checked.
    pub(super) fn payload(&self) -> Result<Vec<u8>, AuthError> {
        decode(self.payload)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed("a part is not base64url"))
}
