//! Tokens for the admin API. They have an audience and roles of their own, and only the node's own
//! secret signs them: an issuer that is trusted to name viewers cannot name operators.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};

use super::SigningSecret;
use crate::protocol::admin::{AdminClaims, AdminRole};

/// The person that a token for the admin API names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminIdentity {
    /// 1 to 64 characters, in the normal form of names.
    pub name: Arc<str>,
    pub role: AdminRole,
}

/// Returns a token (HS256) for the admin API that is valid from `now_ms` (milliseconds since the
/// Unix epoch) for at least `ttl`. The caller must have checked the name.
pub fn mint_admin(
    secret: &SigningSecret,
    identity: &AdminIdentity,
    ttl: Duration,
    now_ms: u64,
) -> String {
    let issued_at = Duration::from_millis(now_ms);
    let claims = AdminClaims::new(&identity.name, identity.role, issued_at, ttl);
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key)
        .expect("HMAC takes keys of any length, and claims have string keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::{AuthConfig, KeyAlgorithm, KeyConfig};
    use crate::daemon::stages::auth::fixtures::{self, NOW_MS, NOW_S, StoppedClock};
    use crate::daemon::stages::auth::{AuthError, Verifier, mint};
    use crate::protocol::admin::ADMIN_AUDIENCE;
    use crate::protocol::{ErrorCode, Identity, Role, UserId};
    use serde_json::json;

    fn verifier(secret: &[u8], config: &AuthConfig) -> Verifier {
        Verifier::new(config, Some(secret), Arc::new(StoppedClock)).unwrap()
    }

    #[test]
    fn a_minted_admin_token_is_valid_until_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let secret = SigningSecret::load_or_create(directory.path()).unwrap();
        let config = AuthConfig { leeway: Duration::ZERO, ..AuthConfig::default() };
        let verifier = verifier(secret.as_bytes(), &config);
        let ann = AdminIdentity { name: "ann".into(), role: AdminRole::Moderator };
        let token = mint_admin(&secret, &ann, Duration::from_secs(60), NOW_MS);
        let verified = verifier.verify_admin(&token).unwrap();
        assert_eq!(verified.identity, ann);
        assert_eq!(verified.ends_at_ms, NOW_MS + 60_000);
        let old = mint_admin(&secret, &ann, Duration::from_secs(60), NOW_MS - 60_000);
        assert_eq!(verifier.verify_admin(&old), Err(AuthError::Expired { ago_ms: 0 }));
    }

    #[test]
    fn neither_kind_of_token_is_taken_for_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let secret = SigningSecret::load_or_create(directory.path()).unwrap();
        let verifier = verifier(secret.as_bytes(), &AuthConfig::default());
        let ann = AdminIdentity { name: "42".into(), role: AdminRole::Viewer };
        let admin = mint_admin(&secret, &ann, Duration::from_secs(60), NOW_MS);
        assert_eq!(verifier.verify(&admin).unwrap_err().code(), ErrorCode::TokenAudience);
        let user = Identity {
            user_id: UserId(42),
            name: "ann".into(),
            role: Role::Admin,
            everywhere: Role::Admin,
            avatar: None,
            comments_per_minute: None,
            standing: Default::default(),
        };
        let token = mint(&secret, &user, &Default::default(), Duration::from_secs(60), NOW_MS);
        let error = verifier.verify_admin(&token).unwrap_err();
        assert_eq!(error.code(), ErrorCode::TokenAudience, "an admin of streams is no operator");
    }

    #[test]
    fn only_the_nodes_own_secret_makes_operators() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("issuer.pem");
        std::fs::write(&file, fixtures::RSA_PUBLIC).unwrap();
        let key = KeyConfig { algorithm: KeyAlgorithm::RS256, file, kid: None };
        let config = AuthConfig { keys: vec![key], ..AuthConfig::default() };
        let verifier = verifier(fixtures::SECRET, &config);
        let claims = |change: (&str, serde_json::Value)| {
            let mut claims = json!({
                "sub": "ann", "role": "operator", "aud": ADMIN_AUDIENCE, "exp": NOW_S + 60,
            });
            claims[change.0] = change.1;
            claims
        };
        let good = claims(("iat", NOW_S.into()));
        assert!(verifier.verify_admin(&fixtures::sign("HS256", None, &good)).is_ok());
        let foreign = verifier.verify_admin(&fixtures::sign("RS256", None, &good));
        assert_eq!(foreign.unwrap_err().code(), ErrorCode::TokenSignature);
        for (change, code) in [
            (("aud", json!("chat")), ErrorCode::TokenAudience),
            (("aud", json!(null)), ErrorCode::TokenAudience),
            (("role", json!("admin")), ErrorCode::TokenClaims),
            (("role", json!(null)), ErrorCode::TokenClaims),
            (("sub", json!(42)), ErrorCode::TokenClaims),
            (("sub", json!("\n")), ErrorCode::TokenClaims),
            (("exp", json!(null)), ErrorCode::TokenClaims),
        ] {
            let token = fixtures::sign("HS256", None, &claims(change.clone()));
            let error = verifier.verify_admin(&token).unwrap_err();
            assert_eq!(error.code(), code, "{change:?}");
        }
    }
}
