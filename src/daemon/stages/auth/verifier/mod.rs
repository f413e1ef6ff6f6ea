//! Verifies tokens against the configured keys.

use std::sync::Arc;
use std::time::Duration;

use super::admin_token::AdminIdentity;
use super::claims::{ClaimRules, Claims, UserClaims};
use super::compact::Compact;
use super::keys::{Origin, VerifyingKey, algorithm_named};
use super::{AuthError, IssuerKeys, KeyError};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{AuthConfig, ClaimNames, KeyAlgorithm};
use crate::daemon::base::handoff::IssuerKeyId;
use crate::protocol::{Role, StreamId};

/// A token whose signature and claims are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    pub claims: UserClaims,
    /// Milliseconds since the Unix epoch, without leeway.
    pub expires_at_ms: u64,
    /// The key that signed it, if that is one which the issuer may withdraw.
    pub issuer_key: Option<IssuerKeyId>,
}

impl VerifiedToken {
    /// Returns the role that the token gives on a stream: the higher one of the role on all streams
    /// and that on this one. `None` stands for no stream.
    pub fn role_on(&self, stream_id: Option<StreamId>) -> Role {
        let of_stream = stream_id.map(|stream_id| self.claims.stream_roles.on(stream_id));
        self.claims.role.max(of_stream.unwrap_or_default())
    }
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
    issuer_keys: Option<Arc<IssuerKeys>>,
    rules: ClaimRules,
    /// For tokens that are signed with a key of `issuer_keys`.
    issuer_rules: ClaimRules,
    names: ClaimNames,
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
        Ok(Self {
            keys,
            issuer_keys: None,
            issuer_rules: rules.clone(),
            rules,
            names: config.claims.clone(),
            account_created_claim,
            clock,
        })
    }

    /// Returns the same verifier, which also accepts tokens of an issuer that publishes its keys.
    /// They must name the issuer in `iss` if the keys come from its discovery document.
    #[must_use]
    pub fn with_issuer_keys(mut self, keys: Arc<IssuerKeys>) -> Self {
        if let Some(issuer) = keys.issuer() {
            issuer.clone_into(&mut self.issuer_rules.issuer);
        }
        self.issuer_keys = Some(keys);
        self
    }

    /// Verifies a token as [`Self::verify`]. If its key is not known, the keys of the issuer are
    /// read again before, unless that was done a moment ago.
    ///
    /// # Errors
    /// The check that failed; [`AuthError::KeysUnavailable`] if the key is not known, the issuer
    /// has not withdrawn it, and the keys were not read for this token or cannot be read.
    pub async fn verify_with_current_keys(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let refused = match self.verify(token) {
            Err(refused @ (AuthError::Signature | AuthError::Algorithm(_))) => refused,
            verified => return verified,
        };
        let Some(issuer_keys) = self.issuer_keys.as_deref() else { return Err(refused) };
        let compact = Compact::parse(token)?;
        if !may_be_missing(&compact, issuer_keys) {
            return Err(refused);
        }
        let is_current = issuer_keys.refresh().await || is_withdrawn(&compact, issuer_keys);
        match self.verify(token) {
            Err(AuthError::Signature | AuthError::Algorithm(_))
                if may_be_missing(&compact, issuer_keys)
                    && (!is_current || issuer_keys.is_failing()) =>
            {
                Err(AuthError::KeysUnavailable)
            }
            verified => verified,
        }
    }

    /// Verifies a token. The checks are made in this order, and the first that fails is returned:
    /// form, algorithm, signature, time, issuer, audience, identity.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let compact = Compact::parse(token)?;
        let origin = self.signer(&compact)?;
        let claims = Claims::parse(&compact.payload()?)?;
        let expires_at_ms = claims.check_time(&self.rules, self.clock.now_ms())?;
        let own = origin == Origin::Node;
        let issuer_key = match origin {
            Origin::Issuer(id) => Some(id),
            Origin::Node | Origin::Configured => None,
        };
        let rules = if issuer_key.is_some() { &self.issuer_rules } else { &self.rules };
        claims.check_origin(rules, own)?;
        // Tokens of `lc token` do not depend on the configuration.
        let default_names = ClaimNames::default();
        let names = if own { &default_names } else { &self.names };
        let mut user = claims.user(names, own)?;
        if !self.account_created_claim.is_empty() {
            user.standing.account_created = claims.time(&self.account_created_claim);
        }
        Ok(VerifiedToken { claims: user, expires_at_ms, issuer_key })
    }

    /// Verifies a token for the admin API, which only the node's own secret signs. The checks are
    /// made in this order, and the first that fails is returned: form, algorithm, signature, time,
    /// audience, identity.
    ///
    /// # Errors
    /// The check that failed.
    pub fn verify_admin(&self, token: &str) -> Result<VerifiedAdmin, AuthError> {
        let compact = Compact::parse(token)?;
        if self.signer(&compact)? != Origin::Node {
            return Err(AuthError::Signature);
        }
        let claims = Claims::parse(&compact.payload()?)?;
        let expires_at_ms = claims.check_time(&self.rules, self.clock.now_ms())?;
        let ends_at_ms = expires_at_ms.saturating_add(self.rules.leeway.as_millis() as u64);
        Ok(VerifiedAdmin { identity: claims.admin_identity()?, ends_at_ms })
    }

    /// Returns whether the issuer has withdrawn a key that signed an accepted token.
    pub fn is_withdrawn(&self, key: IssuerKeyId) -> bool {
        self.issuer_keys.as_deref().is_none_or(|keys| !keys.has(key))
    }

    /// Returns the time a token remains valid, leeway included.
    pub fn time_left(&self, token: &VerifiedToken) -> Duration {
        let ends = Duration::from_millis(token.expires_at_ms).saturating_add(self.rules.leeway);
        ends.saturating_sub(self.clock.now())
    }

    /// Returns the owner of the key that made the signature, among those of the token's algorithm.
    fn signer(&self, compact: &Compact<'_>) -> Result<Origin, AuthError> {
        let alg = &compact.header.alg;
        let refused = || AuthError::Algorithm(format!("`{}`", shortened(alg)));
        let algorithm = algorithm_named(alg).ok_or_else(refused)?;
        let is_fitting = |key: &&VerifyingKey| key.algorithm == algorithm;
        let of_issuer = self.issuer_keys.as_deref().map(IssuerKeys::current);
        let of_issuer = of_issuer.iter().flat_map(|keys| keys.iter()).filter(is_fitting);
        // A token need not name the only key of a set (OpenID Connect Core 1.0 §10.1). Of several,
        // it must: trying each would make forged tokens costly.
        let names_none = compact.header.kid.is_none() && of_issuer.clone().count() == 1;
        let is_only = |key: &VerifyingKey| names_none && matches!(key.origin, Origin::Issuer(_));
        let mut fitting = self.keys.iter().filter(is_fitting).chain(of_issuer).peekable();
        if fitting.peek().is_none() {
            return Err(refused());
        }
        fitting
            .filter(|key| key.kid.is_none() || key.kid == compact.header.kid || is_only(key))
            .find(|key| key.verifies(compact.signed, compact.signature))
            .map(|key| key.origin)
            .ok_or(AuthError::Signature)
    }
}

/// Returns whether a token that no key verifies may be signed with a key of the issuer that is not
/// known yet: it names none, or none that is known for its algorithm.
fn may_be_missing(compact: &Compact<'_>, issuer_keys: &IssuerKeys) -> bool {
    let algorithm = algorithm_named(&compact.header.alg);
    let Some(algorithm) = algorithm.filter(|known| *known != KeyAlgorithm::HS256) else {
        return false;
    };
    let kid = &compact.header.kid;
    let is_named = |key: &VerifyingKey| key.algorithm == algorithm && key.kid == *kid;
    kid.is_none() || !issuer_keys.current().iter().any(is_named)
}

/// Returns whether a token names a key that the issuer has withdrawn.
fn is_withdrawn(compact: &Compact<'_>, issuer_keys: &IssuerKeys) -> bool {
    let algorithm = algorithm_named(&compact.header.alg);
    let kid = compact.header.kid.as_deref();
    algorithm.zip(kid).is_some_and(|(algorithm, kid)| issuer_keys.has_withdrawn(algorithm, kid))
}

/// Returns a short form of untrusted text for an error message.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(16).collect()
}

#[cfg(test)]
mod tests;
