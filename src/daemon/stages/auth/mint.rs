//! Mints tokens with the node's own secret, for `lc token`.

use std::collections::BTreeMap;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::SigningSecret;
use crate::protocol::{Identity, Role, StreamId};

#[derive(Serialize)]
struct MintedClaims<'a> {
    /// A string of digits, because JavaScript rounds large numbers.
    sub: String,
    name: &'a str,
    role: &'static str,
    /// Seconds since the Unix epoch, as is `exp`.
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    subscriber: bool,
    /// Seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    follower_since: Option<u64>,
    /// Seconds since the Unix epoch. A daemon that reads another claim takes no notice of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_created: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    streams: &'a BTreeMap<StreamId, Role>,
}

/// Returns a token (HS256) for `identity`, with these roles on single streams, that is valid from
/// `now_ms` (milliseconds since the Unix epoch) for at least `ttl`. The caller must have checked
/// identity and roles: they are signed even if no verifier would accept them.
pub fn mint(
    secret: &SigningSecret,
    identity: &Identity,
    streams: &BTreeMap<StreamId, Role>,
    ttl: Duration,
    now_ms: u64,
) -> String {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let claims = MintedClaims {
        sub: identity.user_id.to_string(),
        name: &identity.name,
        role: identity.role.as_str(),
        iat: now_ms / 1000,
        exp: now_ms.saturating_add(ttl_ms).div_ceil(1000),
        comments_per_minute: identity.comments_per_minute,
        subscriber: identity.standing.subscriber,
        follower_since: identity.standing.follower_since.map(|since_ms| since_ms / 1000),
        account_created: identity.standing.account_created.map(|created_ms| created_ms / 1000),
        streams,
    };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key)
        .expect("HMAC takes keys of any length, and claims have string keys")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::daemon::base::config::AuthConfig;
    use crate::daemon::stages::auth::fixtures::{NOW_MS, StoppedClock};
    use crate::daemon::stages::auth::{AuthError, ClaimedUser, Verifier};
    use crate::protocol::{Standing, UserId};

    #[test]
    fn a_minted_token_is_valid_until_it_expires() {
        let directory = tempfile::tempdir().unwrap();
        let secret = SigningSecret::load_or_create(directory.path()).unwrap();
        let config = AuthConfig { leeway: Duration::ZERO, ..AuthConfig::default() };
        let clock = Arc::new(StoppedClock);
        let verifier = Verifier::new(&config, Some(secret.as_bytes()), clock).unwrap();
        let identity = Identity {
            user_id: UserId(i64::MAX as u64),
            name: "Ann \"the voice\" Ω".into(),
            role: Role::Moderator,
            everywhere: Role::Moderator,
            avatar: None,
            comments_per_minute: Some(600),
            standing: Standing {
                subscriber: true,
                follower_since: Some(1_700_000_000_000),
                account_created: Some(1_600_000_000_000),
            },
        };
        let streams = BTreeMap::from([(StreamId(7), Role::Broadcaster)]);
        let token = mint(&secret, &identity, &streams, Duration::from_millis(1500), NOW_MS);
        let verified = verifier.verify(&token).unwrap();
        assert_eq!(verified.claims.user, ClaimedUser::Id(identity.user_id));
        let role = verified.role_on(None);
        assert_eq!(verified.claims.identity(identity.user_id, role), identity);
        assert_eq!(verified.expires_at_ms, NOW_MS + 2000);
        assert_eq!(verified.role_on(Some(StreamId(7))), Role::Broadcaster);
        assert_eq!(verified.role_on(Some(StreamId(8))), Role::Moderator);
        let old = mint(&secret, &identity, &streams, Duration::from_secs(1), NOW_MS - 1000);
        assert_eq!(verifier.verify(&old), Err(AuthError::Expired { ago_ms: 0 }));
        let eternal = mint(&secret, &identity, &streams, Duration::MAX, NOW_MS);
        assert!(verifier.verify(&eternal).is_ok());
    }
}
