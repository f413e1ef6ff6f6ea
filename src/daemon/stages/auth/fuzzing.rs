//! The fuzz target of tokens.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::fixtures::{NOW_MS, SECRET, StoppedClock, sign_hs256, sign_hs256_payload};
use super::{AuthError, VerifiedToken, Verifier};
use crate::daemon::base::config::AuthConfig;
use crate::fuzzing::choices;
use crate::protocol::UserId;

/// A token, and the claims of a token that is signed with the right key. Two choices: which byte of
/// the signed token is changed, and to what.
pub fn token(data: &[u8]) {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let clock = Arc::new(StoppedClock);
        Verifier::new(&AuthConfig::default(), Some(SECRET), clock).expect("the secret is a key")
    });
    let ([place, change], data) = choices(data);
    if let Ok(text) = std::str::from_utf8(data) {
        check(&VERIFIER, &VERIFIER.verify(text));
    }
    let signed = sign_hs256_payload(SECRET, data);
    let verified = VERIFIER.verify(&signed);
    use AuthError::{Algorithm, Malformed, Signature};
    let is_our_signature = !matches!(verified, Err(Algorithm(_) | Malformed(_) | Signature));
    assert!(is_our_signature || signed.len() > super::MAX_TOKEN_BYTES, "{verified:?}");
    check(&VERIFIER, &verified);
    refuses_a_change(&VERIFIER, &signed, place, change);
}

fn check(verifier: &Verifier, verified: &Result<VerifiedToken, AuthError>) {
    match verified {
        Ok(token) => {
            let identity = &token.identity;
            assert_eq!(identity.user_id.to_string().parse::<UserId>(), Ok(identity.user_id));
            assert!((1..=64).contains(&identity.name.chars().count()));
            assert!(!identity.name.chars().any(char::is_control), "{:?}", identity.name);
            assert!(token.expires_at_ms.saturating_add(60_000) > NOW_MS);
            let claims = json!({
                "sub": identity.user_id.to_string(),
                "name": identity.name,
                "role": identity.role,
                "comments_per_minute": identity.comments_per_minute,
                "exp": NOW_MS / 1000 + 60,
            });
            let again = verifier.verify(&sign_hs256(SECRET, &claims)).map(|token| token.identity);
            assert_eq!(again.as_ref().ok(), Some(identity), "an accepted identity stays as it is");
        }
        Err(error) => {
            assert_eq!(error.code().http_status(), 401);
            assert!(!error.to_string().is_empty());
        }
    }
}

/// A token with one byte changed is not accepted, whichever it is.
fn refuses_a_change(verifier: &Verifier, signed: &str, place: u8, change: u8) {
    let place = signed.len() * usize::from(place) / 256;
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    let mut bytes = signed.as_bytes().to_vec();
    bytes[place] = alphabet[usize::from(change) % alphabet.len()];
    let changed = String::from_utf8(bytes).expect("it is ASCII");
    if changed != signed {
        assert!(verifier.verify(&changed).is_err(), "{changed} is accepted");
    }
    if let Some(shorter) = signed.get(..place) {
        assert!(verifier.verify(shorter).is_err());
    }
    // The unsigned form of the same claims.
    let payload = signed.split('.').nth(1).unwrap_or_default();
    for alg in ["none", "NONE", "HS384"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        assert!(verifier.verify(&format!("{header}.{payload}.")).is_err(), "{alg}");
    }
}
