//! Parses the compact form of a JWT (RFC 7515 §7.1), before its signature is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::AuthError;

/// The most bytes of a token. Longer tokens are refused without parsing.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// The header fields that are used. Others are ignored, as RFC 7515 §4 requires.
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
    /// The text that the signature covers: the first two parts and the dot between them.
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
            .map_err(|_| AuthError::Malformed("the header is not a JSON object with `alg`"))?;
        if header.crit.is_some() {
            return Err(AuthError::Malformed("`crit` requires extensions, and none is supported"));
        }
        // Checked here, so that verification can only fail because of the key.
        decode(signature)?;
        Ok(Self { header, signed, signature, payload })
    }

    /// Returns the JSON of the claims. Call it only after the signature was checked.
    pub(super) fn payload(&self) -> Result<Vec<u8>, AuthError> {
        decode(self.payload)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Malformed("a part is not base64url"))
}
