//! Reads a JSON Web Key Set (RFC 7517) that an issuer publishes.
//!
//! Always holds: a set is used as a whole or not at all. Keys for other uses and algorithms are
//! passed over, as RFC 7517 §5 demands; what no public set may hold makes all of it unusable.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::daemon::base::config::KeyAlgorithm;
use crate::daemon::stages::auth::keys::VerifyingKey;

/// The most keys of a set, those that are passed over included. Tokens without `kid` are tried with
/// each.
const MAX_KEYS: usize = 32;
/// The most bytes of a `kid`.
const MAX_KID_BYTES: usize = 256;
/// Shorter ones can be factored; longer ones make each check slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// The parameters of private keys (RFC 7518 §6).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a set is not used. Never quotes the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableSet {
    #[error("it is not JSON")]
    NotJson,
    #[error("it is no key set: an object with an array `keys`")]
    NotASet,
    #[error("it has {0} keys, and at most {MAX_KEYS} are allowed")]
    TooMany(usize),
    #[error("it has a private key, which everybody can read there: the issuer must replace it")]
    PrivateKey,
    #[error("it has a symmetric key, which everybody can read there: the issuer must replace it")]
    Symmetric,
    #[error("it has a key for the algorithm `none`")]
    AlgorithmNone,
    #[error("two of its keys have the same `kid`")]
    SameKid,
    #[error("it has a key that cannot be read: {0}")]
    Malformed(&'static str),
    #[error("it has no key for RS256, ES256 or EdDSA")]
    NoKey,
}

use UnusableSet::{
    AlgorithmNone, Malformed, NoKey, NotASet, NotJson, PrivateKey, SameKid, Symmetric, TooMany,
};

/// Returns the keys that verify signatures, at least one.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<VerifyingKey>, UnusableSet> {
    let set: Value = serde_json::from_slice(bytes).map_err(|_| NotJson)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(NotASet)?;
    if keys.len() > MAX_KEYS {
        return Err(TooMany(keys.len()));
    }
    let keys = keys.iter().map(|key| key.as_object().ok_or(NotASet));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    keys.iter().try_for_each(|key| check_public(key))?;
    let mut kids = BTreeSet::new();
    let mut usable = Vec::new();
    for key in keys.into_iter().filter(|key| is_for_signatures(key)) {
        let Some((algorithm, decoded)) = decode(key)? else { continue };
        let kid = kid(key)?;
        if kid.is_some_and(|kid| !kids.insert(kid)) {
            return Err(SameKid);
        }
        usable.push(VerifyingKey::of_issuer(algorithm, kid.map(str::to_owned), decoded));
    }
    if usable.is_empty() { Err(NoKey) } else { Ok(usable) }
}

fn check_public(key: &Map<String, Value>) -> Result<(), UnusableSet> {
    if text(key, "kty")? == Some("oct") || key.contains_key("k") {
        return Err(Symmetric);
    }
    if PRIVATE.iter().any(|parameter| key.contains_key(*parameter)) {
        return Err(PrivateKey);
    }
    match text(key, "alg")? {
        Some(alg) if alg.eq_ignore_ascii_case("none") => Err(AlgorithmNone),
        Some(alg) if alg.starts_with("HS") => Err(Symmetric),
        _ => Ok(()),
    }
}

fn is_for_signatures(key: &Map<String, Value>) -> bool {
    let is_used = key.get("use").is_none_or(|used| used == "sig");
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|list| list.iter().any(|one| one == "verify"))
    };
    is_used && key.get("key_ops").is_none_or(verifies)
}

fn kid(key: &Map<String, Value>) -> Result<Option<&str>, UnusableSet> {
    match text(key, "kid")? {
        Some(kid) if kid.len() > MAX_KID_BYTES => Err(Malformed("its `kid` is too long")),
        kid => Ok(kid),
    }
}

/// Returns the key and its algorithm; `None` for one of another algorithm.
fn decode(key: &Map<String, Value>) -> Result<Option<(KeyAlgorithm, DecodingKey)>, UnusableSet> {
    let alg = text(key, "alg")?;
    let is_for = |name: &str| alg.is_none_or(|alg| alg == name);
    let curve = text(key, "crv")?;
    Ok(match (text(key, "kty")?, curve) {
        (Some("RSA"), _) if is_for("RS256") => Some((KeyAlgorithm::RS256, rsa(key)?)),
        (Some("EC"), Some("P-256")) if is_for("ES256") => Some((KeyAlgorithm::ES256, p256(key)?)),
        (Some("OKP"), Some("Ed25519")) if is_for("EdDSA") || is_for("Ed25519") => {
            let x = coordinate(key, "x")?;
            Some((KeyAlgorithm::EdDSA, DecodingKey::from_ed_der(&x)))
        }
        (Some(_), _) => None,
        (None, _) => return Err(Malformed("it has no `kty`")),
    })
}

fn rsa(key: &Map<String, Value>) -> Result<DecodingKey, UnusableSet> {
    let modulus = without_zeros(bytes(key, "n")?);
    let exponent = without_zeros(bytes(key, "e")?);
    let first = modulus.first().ok_or(Malformed("its modulus is 0"))?;
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    if !RSA_BITS.contains(&bits) {
        return Err(Malformed("an RSA key must have 2048 to 4096 bits"));
    }
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    if !is_odd || exponent == [1] || exponent.len() > 4 {
        return Err(Malformed("its exponent is unusable"));
    }
    Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

fn p256(key: &Map<String, Value>) -> Result<DecodingKey, UnusableSet> {
    /// Marks a point that is written as both coordinates (SEC 1 §2.3.3).
    const UNCOMPRESSED: u8 = 4;
    let point = [&[UNCOMPRESSED][..], &coordinate(key, "x")?, &coordinate(key, "y")?].concat();
    Ok(DecodingKey::from_ec_der(&point))
}

fn coordinate(key: &Map<String, Value>, parameter: &'static str) -> Result<Vec<u8>, UnusableSet> {
    let bytes = bytes(key, parameter)?;
    if bytes.len() == 32 { Ok(bytes) } else { Err(Malformed("a coordinate has not 32 bytes")) }
}

fn bytes(key: &Map<String, Value>, parameter: &'static str) -> Result<Vec<u8>, UnusableSet> {
    let text = text(key, parameter)?.ok_or(Malformed("a parameter is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Malformed("a parameter is not base64url"))
}

fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

fn text<'a>(
    key: &'a Map<String, Value>,
    parameter: &'static str,
) -> Result<Option<&'a str>, UnusableSet> {
    match key.get(parameter) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Malformed("a parameter is not a text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::stages::auth::fixtures::jwk;

    fn refused(keys: &Value) -> UnusableSet {
        read(json!({ "keys": keys }).to_string().as_bytes()).unwrap_err()
    }

    fn with(mut key: Value, changes: &Value) -> Value {
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn keys_of_each_algorithm_are_read() {
        let keys = json!([jwk::rsa("a"), jwk::p256("b"), jwk::ed25519("c")]);
        let found = read(json!({"keys": keys, "more": 1}).to_string().as_bytes()).unwrap();
        let found: Vec<_> = found.iter().map(|key| (key.algorithm, key.kid.as_deref())).collect();
        assert_eq!(
            found,
            [
                (KeyAlgorithm::RS256, Some("a")),
                (KeyAlgorithm::ES256, Some("b")),
                (KeyAlgorithm::EdDSA, Some("c")),
            ]
        );
    }

    #[test]
    fn keys_for_other_uses_are_passed_over() {
        let others = json!([
            jwk::rsa("a"),
            with(jwk::rsa("a"), &json!({"use": "enc"})),
            with(jwk::rsa("c"), &json!({"alg": "PS512"})),
            with(jwk::rsa("d"), &json!({"key_ops": ["encrypt"]})),
            with(jwk::p256("e"), &json!({"crv": "P-384"})),
            with(jwk::ed25519("f"), &json!({"crv": "X25519"})),
            {"kty": "AKP", "alg": "ML-DSA-44", "kid": "g", "pub": "AAAA"},
        ]);
        let found = read(json!({ "keys": others }).to_string().as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(refused(&json!([with(jwk::rsa("a"), &json!({"use": "enc"}))])), NoKey);
    }

    #[test]
    fn what_no_public_set_may_hold_is_refused() {
        let good = jwk::rsa("good");
        for (bad, error) in [
            (with(jwk::rsa("x"), &json!({"d": "AQAB"})), PrivateKey),
            (with(jwk::p256("x"), &json!({"d": "AQAB"})), PrivateKey),
            (with(jwk::rsa("x"), &json!({"use": "enc", "p": "AQAB"})), PrivateKey),
            (json!({"kty": "oct", "k": "c2VjcmV0", "kid": "x"}), Symmetric),
            (json!({"kty": "oct", "kid": "x"}), Symmetric),
            (with(jwk::rsa("x"), &json!({"alg": "HS256"})), Symmetric),
            (with(jwk::rsa("x"), &json!({"alg": "none"})), AlgorithmNone),
            (with(jwk::rsa("x"), &json!({"alg": "None"})), AlgorithmNone),
            (jwk::rsa("good"), SameKid),
            (jwk::p256("good"), SameKid),
        ] {
            assert_eq!(refused(&json!([good, bad])), error, "{bad}");
        }
    }

    #[test]
    fn keys_that_cannot_be_read_are_refused() {
        let short = URL_SAFE_NO_PAD.encode([0xFF; 128]);
        let long = URL_SAFE_NO_PAD.encode([0xFF; 1024]);
        for bad in [
            json!({"kid": "x"}),
            with(jwk::rsa("x"), &json!({"n": short})),
            with(jwk::rsa("x"), &json!({"n": long})),
            with(jwk::rsa("x"), &json!({"n": ""})),
            with(jwk::rsa("x"), &json!({"n": "*"})),
            with(jwk::rsa("x"), &json!({"n": 7})),
            with(jwk::rsa("x"), &json!({"e": "AQ"})),
            with(jwk::rsa("x"), &json!({"e": "Ag"})),
            with(jwk::rsa("x"), &json!({"e": "AQABAQAB"})),
            with(jwk::p256("x"), &json!({"x": "AQAB"})),
            with(jwk::ed25519("x"), &json!({"x": "AQAB"})),
            with(jwk::rsa("x"), &json!({"kid": 7})),
            jwk::rsa(&"k".repeat(257)),
        ] {
            assert!(matches!(refused(&json!([bad])), Malformed(_)), "{bad}");
        }
    }

    #[test]
    fn other_documents_are_no_set() {
        for (bytes, error) in [
            (&b""[..], NotJson),
            (b"<html>", NotJson),
            (b"\xff\xfe", NotJson),
            (b"[]", NotASet),
            (b"{}", NotASet),
            (br#"{"keys":{}}"#, NotASet),
            (br#"{"keys":[7]}"#, NotASet),
            (br#"{"keys":[]}"#, NoKey),
        ] {
            assert_eq!(read(bytes).unwrap_err(), error, "{bytes:?}");
        }
        let many: Vec<_> = (0..33).map(|n| jwk::ed25519(&n.to_string())).collect();
        assert_eq!(refused(&json!(many)), TooMany(33));
        let most: Vec<_> = (0..32).map(|n| jwk::ed25519(&n.to_string())).collect();
        assert!(read(json!({ "keys": most }).to_string().as_bytes()).is_ok());
    }
}
