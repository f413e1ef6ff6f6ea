//! Reads a JSON Web Key Set (RFC 7517) that an issuer publishes.
//!
//! Always holds: a set is used as a whole or not at all. Keys for other uses and algorithms, and
//! those that are malformed or out of range, are passed over, as RFC 7517 §5 demands; what no
//! public set may hold makes all of it unusable.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::daemon::base::config::KeyAlgorithm;

/// The most keys of a set, those that are passed over included. A token may be tried with each that
/// has no `kid`.
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
    #[error("two of its keys for one algorithm have the same `kid`")]
    SameKid,
    #[error("it has no key for RS256 (of 2048 to 4096 bits), ES256 or EdDSA that can be read")]
    NoKey,
}

use UnusableSet::{
    AlgorithmNone, NoKey, NotASet, NotJson, PrivateKey, SameKid, Symmetric, TooMany,
};

/// A key of a set that verifies signatures.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) kid: Option<String>,
    pub(super) decoded: DecodingKey,
    /// The numbers of the key; the second is empty if there is only one.
    numbers: [Vec<u8>; 2],
}

impl PublicKey {
    /// Returns whether both are the same key, for the same tokens.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.kid == other.kid && self.numbers == other.numbers
    }
}

/// Returns the keys that verify signatures, at least one.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<PublicKey>, UnusableSet> {
    let set: Value = serde_json::from_slice(bytes).map_err(|_| NotJson)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(NotASet)?;
    if keys.len() > MAX_KEYS {
        return Err(TooMany(keys.len()));
    }
    let keys = keys.iter().map(|key| key.as_object().ok_or(NotASet));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    keys.iter().try_for_each(|key| check_public(key))?;
    let mut usable = Vec::<PublicKey>::new();
    for key in keys.into_iter().filter(|key| is_for_signatures(key)).filter_map(decode) {
        let is_same = |other: &PublicKey| other.algorithm == key.algorithm && other.kid == key.kid;
        if key.kid.is_some() && usable.iter().any(is_same) {
            return Err(SameKid);
        }
        usable.push(key);
    }
    if usable.is_empty() { Err(NoKey) } else { Ok(usable) }
}

fn check_public(key: &Map<String, Value>) -> Result<(), UnusableSet> {
    if text(key, "kty") == Some("oct") || key.contains_key("k") {
        return Err(Symmetric);
    }
    if PRIVATE.iter().any(|parameter| key.contains_key(*parameter)) {
        return Err(PrivateKey);
    }
    match text(key, "alg") {
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

/// Returns the key; `None` for one that is malformed, out of range or of another algorithm.
fn decode(key: &Map<String, Value>) -> Option<PublicKey> {
    let is_text = |parameter: &str| key.get(parameter).is_none_or(Value::is_string);
    let kid = text(key, "kid");
    if !is_text("kid") || !is_text("alg") || kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return None;
    }
    let alg = text(key, "alg");
    let is_for = |name: &str| alg.is_none_or(|alg| alg == name);
    let decoded = match (text(key, "kty")?, text(key, "crv")) {
        ("RSA", _) if is_for("RS256") => rsa(key),
        ("EC", Some("P-256")) if is_for("ES256") => p256(key),
        ("OKP", Some("Ed25519")) if is_for("EdDSA") || is_for("Ed25519") => ed25519(key),
        _ => None,
    };
    Some(PublicKey { kid: kid.map(str::to_owned), ..decoded? })
}

fn rsa(key: &Map<String, Value>) -> Option<PublicKey> {
    let modulus = without_zeros(bytes(key, "n")?);
    let exponent = without_zeros(bytes(key, "e")?);
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
    if !RSA_BITS.contains(&bits) || !is_odd || exponent == [1] || exponent.len() > 4 {
        return None;
    }
    let decoded = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
    let algorithm = KeyAlgorithm::RS256;
    Some(PublicKey { algorithm, kid: None, decoded, numbers: [modulus, exponent] })
}

fn p256(key: &Map<String, Value>) -> Option<PublicKey> {
    /// Marks a point that is written as both coordinates (SEC 1 §2.3.3).
    const UNCOMPRESSED: u8 = 4;
    let point = [&[UNCOMPRESSED][..], &coordinate(key, "x")?, &coordinate(key, "y")?].concat();
    let decoded = DecodingKey::from_ec_der(&point);
    let algorithm = KeyAlgorithm::ES256;
    Some(PublicKey { algorithm, kid: None, decoded, numbers: [point, Vec::new()] })
}

fn ed25519(key: &Map<String, Value>) -> Option<PublicKey> {
    let x = coordinate(key, "x")?;
    let decoded = DecodingKey::from_ed_der(&x);
    let algorithm = KeyAlgorithm::EdDSA;
    Some(PublicKey { algorithm, kid: None, decoded, numbers: [x, Vec::new()] })
}

fn coordinate(key: &Map<String, Value>, parameter: &str) -> Option<Vec<u8>> {
    bytes(key, parameter).filter(|bytes| bytes.len() == 32)
}

fn bytes(key: &Map<String, Value>, parameter: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(key, parameter)?).ok()
}

fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

fn text<'a>(key: &'a Map<String, Value>, parameter: &str) -> Option<&'a str> {
    key.get(parameter).and_then(Value::as_str)
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
            (jwk::other_rsa("good"), SameKid),
        ] {
            assert_eq!(refused(&json!([good, bad])), error, "{bad}");
        }
    }

    #[test]
    fn keys_that_cannot_be_read_are_passed_over() {
        let short = URL_SAFE_NO_PAD.encode([0xFF; 128]);
        let long = URL_SAFE_NO_PAD.encode([0xFF; 1024]);
        for bad in [
            json!({"kid": "x"}),
            json!({"kty": 7, "kid": "x"}),
            with(jwk::rsa("x"), &json!({"alg": 7})),
            with(jwk::rsa("x"), &json!({"n": short})),
            with(jwk::rsa("x"), &json!({"n": long})),
            with(jwk::rsa("x"), &json!({"n": ""})),
            with(jwk::rsa("x"), &json!({"n": "*"})),
            with(jwk::rsa("x"), &json!({"n": 7})),
            with(jwk::rsa("x"), &json!({"e": "AQ"})),
            with(jwk::rsa("x"), &json!({"e": "Ag"})),
            with(jwk::rsa("x"), &json!({"e": "AQABAQAB"})),
            with(jwk::p256("x"), &json!({"x": "AQAB"})),
            with(jwk::p256("x"), &json!({"crv": 7})),
            with(jwk::ed25519("x"), &json!({"x": "AQAB"})),
            with(jwk::rsa("x"), &json!({"kid": 7})),
            jwk::rsa(&"k".repeat(257)),
        ] {
            assert_eq!(refused(&json!([bad])), NoKey, "{bad}");
            let beside = json!({"keys": [bad, jwk::other_rsa("good")]}).to_string();
            let found = read(beside.as_bytes()).unwrap();
            assert_eq!(found.len(), 1, "{bad}");
            assert_eq!(found[0].kid.as_deref(), Some("good"), "{bad}");
        }
    }

    #[test]
    fn keys_of_two_algorithms_may_share_a_kid() {
        let keys = json!({"keys": [jwk::rsa("a"), jwk::p256("a"), jwk::ed25519("a")]}).to_string();
        assert_eq!(read(keys.as_bytes()).unwrap().len(), 3);
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
