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
use crate::protocol::{Role, StreamId};

/// A token whose signature and claims are valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    pub claims: UserClaims,
    /// Milliseconds since the Unix epoch, without leeway.
    pub expires_at_ms: u64,
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
    /// The check that failed; [`AuthError::KeysUnavailable`] if the key is not known and the issuer
    /// does not answer.
    pub async fn verify_with_current_keys(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let refused = match self.verify(token) {
            Err(refused @ (AuthError::Signature | AuthError::Algorithm(_))) => refused,
            verified => return verified,
        };
        let Some(issuer_keys) = self.issuer_keys.as_deref() else { return Err(refused) };
        if !may_be_missing(&Compact::parse(token)?, issuer_keys) {
            return Err(refused);
        }
        issuer_keys.refresh().await;
        match self.verify(token) {
            Err(AuthError::Signature | AuthError::Algorithm(_)) if issuer_keys.is_failing() => {
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
        let rules = if origin == Origin::Issuer { &self.issuer_rules } else { &self.rules };
        claims.check_origin(rules, own)?;
        // Tokens of `lc token` do not depend on the configuration.
        let default_names = ClaimNames::default();
        let names = if own { &default_names } else { &self.names };
        let mut user = claims.user(names, own)?;
        if !self.account_created_claim.is_empty() {
            user.standing.account_created = claims.time(&self.account_created_claim);
        }
        Ok(VerifiedToken { claims: user, expires_at_ms })
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
        let of_issuer = self.issuer_keys.as_deref().map(IssuerKeys::current);
        let of_issuer = of_issuer.iter().flat_map(|keys| keys.iter());
        let all = self.keys.iter().chain(of_issuer);
        let mut fitting = all.filter(|key| key.algorithm == algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(refused());
        }
        fitting
            .filter(|key| key.kid.is_none() || key.kid == compact.header.kid)
            .find(|key| key.verifies(compact.signed, compact.signature))
            .map(|key| key.origin)
            .ok_or(AuthError::Signature)
    }
}

/// Returns whether a token may be signed with a key of the issuer that is not known yet: one of an
/// algorithm of which none is known, or with another `kid` than those that are.
fn may_be_missing(compact: &Compact<'_>, issuer_keys: &IssuerKeys) -> bool {
    let algorithm = algorithm_named(&compact.header.alg);
    let Some(algorithm) = algorithm.filter(|known| *known != KeyAlgorithm::HS256) else {
        return false;
    };
    let keys = issuer_keys.current();
    let mut of_algorithm = keys.iter().filter(|key| key.algorithm == algorithm).peekable();
    if of_algorithm.peek().is_none() {
        return true;
    }
    let kid = &compact.header.kid;
    kid.is_some() && of_algorithm.all(|key| key.kid != *kid)
}

/// Returns a short form of untrusted text for an error message.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(16).collect()
}

#[cfg(test)]
mod tests;
