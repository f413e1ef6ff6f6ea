//! Verifies tokens against the configured keys.

use std::time::Duration;

use super::admin_token::AdminIdentity;
use super::claims::{ClaimRules, Claims, UserClaims};
use super::compact::Compact;
use super::keys::{Origin, VerifyingKey, algorithm_named};
use super::{AuthError, KeyError};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{AuthConfig, ClaimNames};
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
    rules: ClaimRules,
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
        Ok(Self { keys, rules, names: config.claims.clone(), account_created_claim, clock })
    }

    /// Verifies a token. The checks are made in this order, and the first that fails is returned:
    /// form, algorithm, signature, time, issuer, audience, identity.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, AuthError> {
        let compact = Compact::parse(token)?;
        let key = self.signing_key(&compact)?;
        let claims = Claims::parse(&compact.payload()?)?;
        let expires_at_ms = claims.check_time(&self.rules, self.clock.now_ms())?;
        let own = key.origin == Origin::Node;
        claims.check_origin(&self.rules, own)?;
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
mod tests;
