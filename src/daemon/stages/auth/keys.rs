//! The configured keys, each bound to one algorithm.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};
use tracing::warn;

use super::secret::MIN_SECRET_BYTES;
use crate::daemon::base::config::{KeyAlgorithm, KeyConfig};
use crate::daemon::base::handoff::IssuerKeyId;

/// The DER of the object identifier of curve P-256, which ES256 means (RFC 7518 §3.4).
const P256_OID: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];

/// Why a key of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("auth.keys: cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("auth.keys: {path} is not a key for {algorithm}: {reason}")]
    Unusable { path: String, algorithm: &'static str, reason: String },
    #[error("`{0}` {1}")]
    Source(&'static str, &'static str),
    #[error("`auth.jwks_ca`: cannot use {path}: {reason}")]
    Authorities { path: String, reason: String },
    #[error(
        "the node's signing secret has {bytes} bytes; it must have at least {MIN_SECRET_BYTES}"
    )]
    ShortSecret { bytes: usize },
}

/// The owner of the signing side of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This node. Its signature is sufficient proof of the issuer.
    Node,
    Configured,
    /// The issuer whose keys are read over the network.
    Issuer(IssuerKeyId),
}

/// A key that verifies signatures of one algorithm.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) origin: Origin,
    key: DecodingKey,
}

impl VerifyingKey {
    pub(super) fn load(config: &KeyConfig) -> Result<Self, KeyError> {
        let path = config.file.display().to_string();
        let bytes = std::fs::read(&config.file)
            .map_err(|source| KeyError::Read { path: path.clone(), source })?;
        let algorithm = config.algorithm;
        let key = decoding_key(algorithm, &bytes, &config.file)
            .map_err(|reason| KeyError::Unusable { path, algorithm: name(algorithm), reason })?;
        Ok(Self { algorithm, kid: config.kid.clone(), origin: Origin::Configured, key })
    }

    /// Takes a key that the issuer publishes.
    pub(super) fn of_issuer(
        id: IssuerKeyId,
        algorithm: KeyAlgorithm,
        kid: Option<String>,
        key: DecodingKey,
    ) -> Self {
        Self { algorithm, kid, origin: Origin::Issuer(id), key }
    }

    /// Returns the key of the node's own secret, for tokens that it minted.
    pub(super) fn own(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::ShortSecret { bytes: secret.len() });
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self { algorithm: KeyAlgorithm::HS256, kid: None, origin: Origin::Node, key })
    }

    /// Returns whether `signature` (base64url) over `signed` was made with this key.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        let algorithm = match self.algorithm {
            KeyAlgorithm::HS256 => Algorithm::HS256,
            KeyAlgorithm::RS256 => Algorithm::RS256,
            KeyAlgorithm::ES256 => Algorithm::ES256,
            KeyAlgorithm::EdDSA => Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }
}

/// Returns the algorithm of a token's `alg`, or `None` for any other text, `none` included.
pub(super) fn algorithm_named(alg: &str) -> Option<KeyAlgorithm> {
    [KeyAlgorithm::HS256, KeyAlgorithm::RS256, KeyAlgorithm::ES256, KeyAlgorithm::EdDSA]
        .into_iter()
        .find(|algorithm| name(*algorithm) == alg)
}

fn name(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::HS256 => "HS256",
        KeyAlgorithm::RS256 => "RS256",
        KeyAlgorithm::ES256 => "ES256",
        KeyAlgorithm::EdDSA => "EdDSA",
    }
}

fn decoding_key(algorithm: KeyAlgorithm, bytes: &[u8], file: &Path) -> Result<DecodingKey, String> {
    if algorithm == KeyAlgorithm::HS256 {
        return shared_secret(bytes, file);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "expected a public key as PEM (text), found binary".to_owned())?;
    if text.contains("PRIVATE KEY") {
        return Err("it is a private key: give the public one, the server must not have the \
                    private one"
            .to_owned());
    }
    let parsed = match algorithm {
        KeyAlgorithm::RS256 => DecodingKey::from_rsa_pem(bytes),
        KeyAlgorithm::ES256 => DecodingKey::from_ec_pem(bytes),
        KeyAlgorithm::EdDSA | KeyAlgorithm::HS256 => DecodingKey::from_ed_pem(bytes),
    };
    let key = parsed.map_err(|error| {
        format!("expected a public key as PEM (BEGIN PUBLIC KEY) of this kind: {error}")
    })?;
    if algorithm == KeyAlgorithm::ES256 && !names_p256(text) {
        return Err("its curve is not P-256".to_owned());
    }
    Ok(key)
}

fn shared_secret(bytes: &[u8], file: &Path) -> Result<DecodingKey, String> {
    if bytes.len() < MIN_SECRET_BYTES {
        let found = bytes.len();
        return Err(format!("it has {found} bytes; a secret needs at least {MIN_SECRET_BYTES}"));
    }
    if bytes.starts_with(b"-----BEGIN") {
        return Err("it is a PEM file: a public key must not be used as a secret".to_owned());
    }
    if bytes.ends_with(b"\n") {
        warn!(file = %file.display(), "the secret ends with a line break, which is part of it");
    }
    Ok(DecodingKey::from_secret(bytes))
}

fn names_p256(pem: &str) -> bool {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(body.split_whitespace().collect::<String>()).unwrap_or_default();
    der.windows(P256_OID.len()).any(|window| window == P256_OID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::auth::fixtures;

    fn load(algorithm: KeyAlgorithm, content: &str) -> Result<VerifyingKey, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, content).unwrap();
        VerifyingKey::load(&KeyConfig { algorithm, file, kid: None })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_loads_only_under_its_own_algorithm() {
        let pems = [
            (KeyAlgorithm::RS256, fixtures::RSA_PUBLIC),
            (KeyAlgorithm::ES256, fixtures::P256_PUBLIC),
            (KeyAlgorithm::EdDSA, fixtures::ED25519_PUBLIC),
        ];
        for (own, pem) in pems {
            for (algorithm, _) in pems {
                let loaded = load(algorithm, pem);
                assert_eq!(loaded.is_ok(), own == algorithm, "{own:?} as {algorithm:?}");
            }
            assert!(load(KeyAlgorithm::HS256, pem).unwrap_err().contains("PEM"), "{own:?}");
        }
    }

    #[test]
    fn errors_of_keys_say_what_is_expected() {
        for (algorithm, content, expected) in [
            (KeyAlgorithm::HS256, "short", "at least 32"),
            (KeyAlgorithm::RS256, "no key at all", "BEGIN PUBLIC KEY"),
            (KeyAlgorithm::RS256, fixtures::RSA_PRIVATE, "give the public one"),
            (KeyAlgorithm::ES256, fixtures::P256_PRIVATE, "give the public one"),
            (KeyAlgorithm::ES256, fixtures::P384_PUBLIC, "P-256"),
            (KeyAlgorithm::EdDSA, "", "BEGIN PUBLIC KEY"),
        ] {
            let error = load(algorithm, content).unwrap_err();
            assert!(error.contains(expected), "{algorithm:?}: {error}");
        }
        let missing = KeyConfig {
            algorithm: KeyAlgorithm::RS256,
            file: "/nowhere/key.pem".into(),
            kid: None,
        };
        let error = VerifyingKey::load(&missing).unwrap_err().to_string();
        assert!(error.contains("/nowhere/key.pem"), "{error}");
    }
}
