//! The fuzz target of tokens.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::fixtures::{NOW_MS, SECRET, StoppedClock, sign_hs256, sign_hs256_payload};
use super::{AuthError, ClaimedUser, VerifiedToken, Verifier};
use crate::daemon::base::config::AuthConfig;
use crate::fuzzing::choices;
use crate::protocol::UserId;
use crate::protocol::user::MAX_AVATAR_BYTES;

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
            let claims = &token.claims;
            let mut again = json!({
                "name": claims.name,
                "role": claims.role,
                "picture": claims.avatar,
                "comments_per_minute": claims.comments_per_minute,
                "exp": NOW_MS / 1000 + 60,
            });
            match &claims.user {
                ClaimedUser::Id(user_id) => {
                    assert_eq!(user_id.to_string().parse::<UserId>(), Ok(*user_id));
                    again["sub"] = user_id.to_string().into();
                }
                ClaimedUser::Subject(subject) => {
                    assert!((1..=255).contains(&subject.name().len()));
                    assert!(!subject.name().chars().any(char::is_control));
                    again["sub"] = subject.name().into();
                    if !subject.issuer().is_empty() {
                        again["iss"] = subject.issuer().into();
                    }
                }
            }
            assert!((1..=64).contains(&claims.name.chars().count()));
            assert!(!claims.name.chars().any(char::is_control), "{:?}", claims.name);
            if let Some(avatar) = &claims.avatar {
                assert!(avatar.starts_with("https://") && avatar.len() <= MAX_AVATAR_BYTES);
                assert!(!avatar.contains(['"', '\'', '<', '>', ' ', '\n']), "{avatar}");
            }
            assert!(token.expires_at_ms.saturating_add(60_000) > NOW_MS);
            let again = verifier.verify(&sign_hs256(SECRET, &again)).expect("the claims are good");
            assert_eq!(again.claims.user, claims.user, "an accepted user stays as it is");
            assert_eq!(again.claims.name, claims.name);
            assert_eq!(again.claims.role, claims.role);
            assert_eq!(again.claims.avatar, claims.avatar);
            assert_eq!(again.claims.comments_per_minute, claims.comments_per_minute);
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
