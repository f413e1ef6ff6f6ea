//! Verifies tokens against the configured keys.

use std::time::Duration;

use super::admin_token::AdminIdentity;
use super::claims::{ClaimRules, Claims, time_of_claim};
use super::compact::Compact;
use super::keys::{Origin, VerifyingKey, algorithm_named};
use super::{AuthError, KeyError};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::AuthConfig;
use crate::protocol::Identity;

/// A token whose signature and claims are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    pub identity: Identity,
    /// Milliseconds since the Unix epoch, without leeway.
    pub expires_at_ms: u64,
}

/// A token for the admin API whose signature and claims are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAdmin {
    pub identity: AdminIdentity,
    /// Milliseconds since the Unix epoch, leeway included.
    pub ends_at_ms: u64,
}

/// The keys and the rules that tokens are checked against.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
    rules: ClaimRules,
    /// Empty if no claim tells.
    account_created_claim: String,
    clock: SharedClock,
}

impl Verifier {
    /// Reads the key files. `signing_secret` is the node's own. Tokens signed with it need neither
    /// `iss` nor `aud`.
    ///
    /// # Errors
    /// The first key that cannot be read or used, with what is expected.
    pub fn new(
        config: &AuthConfig,
        signing_secret: Option<&[u8]>,
        clock: SharedClock,
    ) -> Result<Self, KeyError> {
        let configured = config.keys.iter().map(VerifyingKey::load);
        let own = signing_secret.map(VerifyingKey::own);
        let keys = own.into_iter().chain(configured).collect::<Result<_, _>>()?;
        let rules = ClaimRules {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: config.leeway,
        };
        let account_created_claim = config.account_created_claim.clone();
        Ok(Self { keys, rules, account_created_claim, clock })
    }

    /// Verifies a token. The checks are made in this order, and the first that fails is returned:
    /// form, algorithm, signature, time, issuer, audience, identity.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let compact = Compact::parse(token)?;
        let key = self.signing_key(&compact)?;
        let payload = compact.payload()?;
        let claims = Claims::parse(&payload)?;
        let expires_at_ms = claims.check_time(&self.rules, self.clock.now_ms())?;
        claims.check_origin(&self.rules, key.origin == Origin::Node)?;
        let mut identity = claims.identity()?;
        if !self.account_created_claim.is_empty() {
            let created = time_of_claim(&payload, &self.account_created_claim);
            identity.standing.account_created = created;
        }
        Ok(VerifiedToken { identity, expires_at_ms })
    }

    /// Verifies a token for the admin API, which only the node's own secret signs. The checks are
    /// made in this order, and the first that fails is returned: form, algorithm, signature, time,
    /// audience, identity.
    ///
    /// # Errors
    /// The check that failed.
    pub fn verify_admin(&self, token: &str) -> Result<VerifiedAdmin, AuthError> {
        let compact = Compact::parse(token)?;
        let key = self.signing_key(&compact)?;
        if key.origin != Origin::Node {
            return Err(AuthError::Signature);
        }
        let claims = Claims::parse(&compact.payload()?)?;
        let expires_at_ms = claims.check_time(&self.rules, self.clock.now_ms())?;
        let ends_at_ms = expires_at_ms.saturating_add(self.rules.leeway.as_millis() as u64);
        Ok(VerifiedAdmin { identity: claims.admin_identity()?, ends_at_ms })
    }

    /// Returns the time a token remains valid, leeway included.
    pub fn time_left(&self, token: &VerifiedToken) -> Duration {
        let ends = Duration::from_millis(token.expires_at_ms).saturating_add(self.rules.leeway);
        ends.saturating_sub(self.clock.now())
    }

    /// Returns the key that made the signature, among those of the token's algorithm.
    fn signing_key(&self, compact: &Compact<'_>) -> Result<&VerifyingKey, AuthError> {
        let alg = &compact.header.alg;
        let refused = || AuthError::Algorithm(format!("`{}`", shortened(alg)));
        let algorithm = algorithm_named(alg).ok_or_else(refused)?;
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(refused());
        }
        fitting
            .filter(|key| key.kid.is_none() || key.kid == compact.header.kid)
            .find(|key| key.verifies(compact.signed, compact.signature))
            .ok_or(AuthError::Signature)
    }
}

/// Returns a short form of untrusted text for an error message.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(16).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::base::config::{KeyAlgorithm, KeyConfig};
    use crate::daemon::stages::auth::fixtures::{
        self, NOW_MS, NOW_S, SECRET, sign, sign_with_header,
    };
    use crate::protocol::{ErrorCode, Role, Standing, UserId};

    fn claims() -> Value {
        json!({"sub": "42", "name": "ann", "exp": NOW_S + 60})
    }

    /// The usual claims with some changed; `null` removes one.
    fn with(changes: &Value) -> Value {
        let mut claims = claims();
        for (key, value) in changes.as_object().unwrap() {
            claims[key] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(key);
            }
        }
        claims
    }

    fn config(directory: &Path) -> AuthConfig {
        let keys = [
            (KeyAlgorithm::RS256, fixtures::RSA_PUBLIC, None),
            (KeyAlgorithm::ES256, fixtures::P256_PUBLIC, Some("phone")),
            (KeyAlgorithm::EdDSA, fixtures::ED25519_PUBLIC, None),
        ];
        let keys = keys.map(|(algorithm, pem, kid)| {
            let file = directory.join(format!("{algorithm:?}.pem"));
            std::fs::write(&file, pem).unwrap();
            KeyConfig { algorithm, file, kid: kid.map(str::to_owned) }
        });
        AuthConfig { keys: keys.to_vec(), ..AuthConfig::default() }
    }

    fn verifier_with(adjust: impl FnOnce(&mut AuthConfig)) -> Verifier {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        adjust(&mut config);
        Verifier::new(&config, Some(SECRET), Arc::new(fixtures::StoppedClock)).unwrap()
    }

    fn verifier() -> Verifier {
        verifier_with(|_| {})
    }

    fn code(verifier: &Verifier, token: &str) -> ErrorCode {
        verifier.verify(token).unwrap_err().code()
    }

    #[test]
    fn a_valid_token_of_each_algorithm_is_accepted() {
        let verifier = verifier();
        for (alg, kid) in [("HS256", None), ("RS256", None), ("EdDSA", None)] {
            let token = sign(alg, kid, &claims());
            let verified = verifier.verify(&token).unwrap();
            assert_eq!(verified.identity.user_id, UserId(42), "{alg}");
            assert_eq!(verified.identity.role, Role::Viewer);
            assert_eq!(verified.expires_at_ms, NOW_MS + 60_000);
        }
        let token = sign("ES256", Some("phone"), &claims());
        assert!(verifier.verify(&token).is_ok());
    }

    #[test]
    fn the_age_of_an_account_is_a_claim_of_choice() {
        let created = |name: &str, claims| {
            let verifier = verifier_with(|config| config.account_created_claim = name.to_owned());
            let token = sign("HS256", None, &with(&claims));
            verifier.verify(&token).unwrap().identity.standing.account_created
        };
        let both = json!({ "account_created": 1_700_000_000.5, "created_at": 1_600_000_000 });
        assert_eq!(created("account_created", both.clone()), Some(1_700_000_000_500));
        assert_eq!(created("created_at", both.clone()), Some(1_600_000_000_000));
        assert_eq!(created("", both), None);
        for other in [json!({ "created_at": "2026-01-01" }), json!({ "created_at": -5 }), json!({})]
        {
            assert_eq!(created("created_at", other), None);
        }
    }

    #[test]
    fn all_claims_reach_the_identity() {
        let all = with(&json!({
            "sub": 7,
            "role": "broadcaster",
            "comments_per_minute": 0,
            "subscriber": true,
            "follower_since": 1_700_000_000.5,
        }));
        let identity = verifier().verify(&sign("HS256", None, &all)).unwrap().identity;
        let expected = Identity {
            user_id: UserId(7),
            name: "ann".into(),
            role: Role::Broadcaster,
            comments_per_minute: Some(0),
            standing: Standing {
                subscriber: true,
                follower_since: Some(1_700_000_000_500),
                account_created: None,
            },
        };
        assert_eq!(identity, expected);
    }

    #[test]
    fn a_key_with_a_kid_is_used_for_that_kid_only() {
        let verifier = verifier();
        for kid in [None, Some("laptop")] {
            let token = sign("ES256", kid, &claims());
            assert_eq!(code(&verifier, &token), ErrorCode::TokenSignature, "{kid:?}");
        }
    }

    #[test]
    fn forged_tokens_are_refused_with_their_code() {
        let verifier = verifier();
        let good = sign("HS256", None, &claims());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let admin = URL_SAFE_NO_PAD.encode(with(&json!({"role": "admin"})).to_string());
        let hmac_with = |key: &[u8]| fixtures::sign_hs256(key, &claims());
        let unsigned =
            |alg: &str| format!("{}.", sign_with_header(&json!({"alg": alg}), &claims()));
        let reheaded = |alg: &str| {
            let signed = sign_with_header(&json!({"alg": alg}), &claims());
            format!("{signed}.{signature}")
        };
        for (what, token, expected) in [
            ("alg none", unsigned("none"), ErrorCode::TokenAlgorithm),
            ("alg None", unsigned("None"), ErrorCode::TokenAlgorithm),
            ("alg nOnE with a signature", reheaded("nOnE"), ErrorCode::TokenAlgorithm),
            ("HS384", reheaded("HS384"), ErrorCode::TokenAlgorithm),
            ("PS256", reheaded("PS256"), ErrorCode::TokenAlgorithm),
            ("empty alg", reheaded(""), ErrorCode::TokenAlgorithm),
            ("no signature", format!("{signed}."), ErrorCode::TokenSignature),
            ("claims swapped", format!("{header}.{admin}.{signature}"), ErrorCode::TokenSignature),
            ("another secret", hmac_with(b"another secret of 32 bytes......"), {
                ErrorCode::TokenSignature
            }),
            ("the empty secret", hmac_with(b""), ErrorCode::TokenSignature),
            ("RSA public key as HMAC secret", hmac_with(fixtures::RSA_PUBLIC.as_bytes()), {
                ErrorCode::TokenSignature
            }),
            ("RS256 header on an HS256 signature", reheaded("RS256"), ErrorCode::TokenSignature),
            ("another RSA key", fixtures::sign_other_rsa(&claims()), ErrorCode::TokenSignature),
        ] {
            assert_eq!(code(&verifier, &token), expected, "{what}");
        }
    }

    #[test]
    fn an_algorithm_without_a_key_is_refused() {
        let verifier = verifier_with(|config| config.keys.clear());
        let token = sign("RS256", None, &claims());
        assert_eq!(code(&verifier, &token), ErrorCode::TokenAlgorithm);
        let keyless =
            Verifier::new(&AuthConfig::default(), None, Arc::new(fixtures::StoppedClock)).unwrap();
        assert_eq!(code(&keyless, &sign("HS256", None, &claims())), ErrorCode::TokenAlgorithm);
    }

    #[test]
    fn text_that_is_not_a_token_is_malformed() {
        let verifier = verifier();
        let good = sign("HS256", None, &claims());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let crit = sign_with_header(&json!({"alg": "HS256", "crit": ["b64"]}), &claims());
        for token in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "a.b".to_owned(),
            "hello".to_owned(),
            format!("{good}.x"),
            format!("{signed}.{signature}="),
            format!("{signed}.*"),
            format!("!{good}"),
            format!("{}.e30.", URL_SAFE_NO_PAD.encode("{}")),
            format!("{}.e30.", URL_SAFE_NO_PAD.encode("[]")),
            format!("{}.e30.", URL_SAFE_NO_PAD.encode(r#"{"alg":7}"#)),
            format!("{crit}.{signature}"),
            "a".repeat(MAX + 1),
        ] {
            assert_eq!(code(&verifier, &token), ErrorCode::TokenMalformed, "{token}");
        }
    }
    const MAX: usize = crate::daemon::stages::auth::MAX_TOKEN_BYTES;

    #[test]
    fn claims_out_of_range_are_refused() {
        let verifier = verifier();
        for changes in [
            json!({"exp": null}),
            json!({"exp": "soon"}),
            json!({"exp": -1}),
            json!({"nbf": -1}),
            json!({"nbf": "now"}),
            json!({"sub": null}),
            json!({"sub": "ann"}),
            json!({"sub": 0}),
            json!({"sub": -4}),
            json!({"sub": 1.5}),
            json!({"sub": "9223372036854775808"}),
            json!({"name": null}),
            json!({"name": 7}),
            json!({"name": ""}),
            json!({"name": "  "}),
            json!({"name": "a\nb"}),
            json!({"name": "\u{3164}"}),
            json!({"name": "\u{200B}"}),
            json!({"name": "\u{2800}"}),
            json!({"name": "\u{301}"}),
            json!({"name": "x".repeat(65)}),
            json!({"role": "king"}),
            json!({"role": 1}),
            json!({"comments_per_minute": -1}),
            json!({"comments_per_minute": "many"}),
            json!({"subscriber": "yes"}),
            json!({"follower_since": -1}),
            json!({"follower_since": "2020"}),
            json!({"aud": 7}),
        ] {
            let token = sign("HS256", None, &with(&changes));
            assert_eq!(code(&verifier, &token), ErrorCode::TokenClaims, "{changes}");
        }
        let token = sign("HS256", None, &json!(["not", "an", "object"]));
        assert_eq!(code(&verifier, &token), ErrorCode::TokenClaims);
    }

    #[test]
    fn a_name_of_64_characters_may_have_more_bytes() {
        let name = "é".repeat(64);
        let token = sign("HS256", None, &with(&json!({"name": name})));
        assert_eq!(&*verifier().verify(&token).unwrap().identity.name, name);
    }

    #[test]
    fn a_name_is_read_in_its_normal_form() {
        for name in ["ann ", "ann\u{200B}", "\u{202E}ann", "ann\u{2800}"] {
            let token = sign("HS256", None, &with(&json!({"name": name})));
            assert_eq!(&*verifier().verify(&token).unwrap().identity.name, "ann", "{name:?}");
        }
    }

    #[test]
    fn time_is_checked_with_leeway_to_the_millisecond() {
        let verifier = verifier_with(|config| config.leeway = Duration::from_secs(30));
        let result = |changes: &Value| {
            let verified = verifier.verify(&sign("HS256", None, &with(changes)));
            verified.map(|_| ()).map_err(|error| error.code())
        };
        let expired = Err(ErrorCode::TokenExpired);
        assert_eq!(result(&json!({"exp": NOW_S - 29})), Ok(()));
        assert_eq!(result(&json!({"exp": NOW_S - 30})), expired);
        assert_eq!(result(&json!({"exp": NOW_S as f64 - 29.999})), Ok(()));
        assert_eq!(result(&json!({"exp": 0})), expired);
        assert_eq!(result(&json!({"exp": 1e300})), Ok(()));
        assert_eq!(result(&json!({"nbf": NOW_S + 30})), Ok(()));
        assert_eq!(result(&json!({"nbf": NOW_S + 31})), Err(ErrorCode::TokenNotYetValid));
    }

    #[test]
    fn a_token_is_valid_until_its_expiry_plus_leeway() {
        let verifier = verifier_with(|config| config.leeway = Duration::from_secs(30));
        for (exp, left) in [(NOW_S + 60, 90), (NOW_S, 30), (NOW_S - 29, 1)] {
            let token = sign("HS256", None, &with(&json!({"exp": exp})));
            let verified = verifier.verify(&token).unwrap();
            assert_eq!(verifier.time_left(&verified), Duration::from_secs(left));
        }
    }

    #[test]
    fn issuer_and_audience_must_match() {
        let strict = verifier_with(|config| {
            config.issuer = "accounts".to_owned();
            config.audience = "chat".to_owned();
        });
        let result = |alg, changes: &Value| {
            let verified = strict.verify(&sign(alg, None, &with(changes)));
            verified.map(|_| ()).map_err(|error| error.code())
        };
        let issuer = Err(ErrorCode::TokenIssuer);
        let audience = Err(ErrorCode::TokenAudience);
        assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": "chat"})), Ok(()));
        assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": ["tv", "chat"]})), Ok(()));
        assert_eq!(result("RS256", &json!({"aud": "chat"})), issuer);
        assert_eq!(result("RS256", &json!({"iss": "evil", "aud": "chat"})), issuer);
        assert_eq!(result("RS256", &json!({"iss": "accounts"})), audience);
        assert_eq!(result("RS256", &json!({"iss": "accounts", "aud": ["tv"]})), audience);
        assert_eq!(result("HS256", &json!({})), Ok(()), "the node's own tokens carry neither");
        assert_eq!(result("HS256", &json!({"iss": "evil"})), issuer);
        assert_eq!(result("HS256", &json!({"aud": "tv"})), audience);
    }

    #[test]
    fn an_audience_without_configuration_is_refused() {
        let token = sign("HS256", None, &with(&json!({"aud": "chat", "iss": "any"})));
        assert_eq!(code(&verifier(), &token), ErrorCode::TokenAudience);
    }
}
