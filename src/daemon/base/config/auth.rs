//! The settings of tokens: their keys, issuer and claims.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// The most characters of the name of a claim, or of a path to it.
const MAX_CLAIM_CHARS: usize = 128;
/// The most dots of a path to a claim.
const MAX_CLAIM_DOTS: usize = 16;
const REFRESH: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(24 * 3_600);
const MAX_AGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3_600);
/// The path of the discovery document, after the issuer (OpenID Connect Discovery 1.0 §4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Only tokens with this `iss` are accepted. Empty: any.
    pub issuer: String,
    /// Only tokens whose `aud` has this name are accepted. Empty: only tokens without `aud`.
    pub audience: String,
    /// The clock difference that is tolerated when `exp` and `nbf` are checked.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// The claim with the time at which the account was created, in seconds since the Unix epoch.
    /// Empty: none has it.
    pub account_created_claim: String,
    /// The names of the claims about the user.
    pub claims: ClaimNames,
    /// The address of the issuer's public keys, a JSON Web Key Set (RFC 7517): `https://`, or
    /// `http://` on this machine. Empty: none.
    pub jwks_url: String,
    /// The issuer that names the address of its keys itself (OpenID Connect Discovery), exactly as
    /// its tokens name it in `iss`. Its tokens must have this `iss`. Empty: none.
    pub oidc_issuer: String,
    /// The time between two readings of the issuer's keys, 10 s to 1 d. A key that was withdrawn
    /// is refused after it, and the connections that it admitted are closed.
    #[serde(with = "humantime_serde")]
    pub jwks_refresh: Duration,
    /// The longest time for which a set of the issuer's keys is used if no other can be read, 1 min
    /// to 30 d and not shorter than `jwks_refresh`. Then its keys count as withdrawn.
    #[serde(with = "humantime_serde")]
    pub jwks_max_age: Duration,
    /// Certificates of the authorities that sign the issuer's certificate, in PEM. Without it,
    /// those of the public web.
    pub jwks_ca: Option<PathBuf>,
    /// The file with the secret that signs and verifies this node's own tokens. It must be the same
    /// on every node of a cluster. Empty: `signing.key` in the data directory, created at the first
    /// start.
    pub signing_key: PathBuf,
    /// Keys in addition to the node's own signing secret.
    pub keys: Vec<KeyConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: String::new(),
            leeway: Duration::from_secs(30),
            account_created_claim: "account_created".to_owned(),
            claims: ClaimNames::default(),
            jwks_url: String::new(),
            oidc_issuer: String::new(),
            jwks_refresh: Duration::from_secs(600),
            jwks_max_age: Duration::from_secs(24 * 3_600),
            jwks_ca: None,
            signing_key: PathBuf::new(),
            keys: Vec::new(),
        }
    }
}

/// The names of the claims about the user. A path with dots leads into nested objects, such as
/// `realm_access.role`; a claim that has the whole path as its name comes first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimNames {
    /// The user: a number, which is the id, or a text, for which an id is kept.
    pub user: String,
    pub name: String,
    /// Empty: no claim, so that all are viewers.
    pub role: String,
    /// The `https` address of a picture. Empty: no claim.
    pub avatar: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            user: "sub".to_owned(),
            name: "name".to_owned(),
            role: "role".to_owned(),
            avatar: "picture".to_owned(),
        }
    }
}

/// Where the public keys of the issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The address of the set.
    Set(Url),
    /// The document that has the address of the set.
    Discovery { issuer: String, document: Url },
}

impl AuthConfig {
    /// Returns where the public keys of the issuer are; `None` if none are configured.
    ///
    /// # Errors
    /// The key of a setting that cannot be used, and why.
    pub fn key_source(&self) -> Result<Option<KeySource>, (&'static str, &'static str)> {
        if !self.oidc_issuer.is_empty() {
            let issuer = self.oidc_issuer.clone();
            let address = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
            let document = key_address(&address).map_err(|text| ("auth.oidc_issuer", text))?;
            if issuer.contains(['?', '#']) {
                return Err(("auth.oidc_issuer", "must have no `?` and no `#`"));
            }
            return Ok(Some(KeySource::Discovery { issuer, document }));
        }
        if self.jwks_url.is_empty() {
            return Ok(None);
        }
        let address = key_address(&self.jwks_url).map_err(|text| ("auth.jwks_url", text))?;
        Ok(Some(KeySource::Set(address)))
    }

    /// Returns the faults, each with its key.
    pub(super) fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let mut check = |right: bool, key, text| {
            if !right {
                faults.push((key, text));
            }
        };
        let ClaimNames { user, name, role, avatar } = &self.claims;
        for (key, claim, may_be_empty) in [
            ("auth.claims.user", user, false),
            ("auth.claims.name", name, false),
            ("auth.claims.role", role, true),
            ("auth.claims.avatar", avatar, true),
        ] {
            check(may_be_empty || !claim.is_empty(), key, "must name a claim");
            let is_bounded = claim.chars().count() <= MAX_CLAIM_CHARS
                && claim.matches('.').count() <= MAX_CLAIM_DOTS;
            check(is_bounded, key, "must have at most 128 characters and 16 dots");
        }
        check(REFRESH.contains(&self.jwks_refresh), "auth.jwks_refresh", "must be 10s to 1d");
        check(MAX_AGE.contains(&self.jwks_max_age), "auth.jwks_max_age", "must be 1m to 30d");
        let outlives_refresh = self.jwks_max_age >= self.jwks_refresh;
        check(outlives_refresh, "auth.jwks_max_age", "must not be shorter than auth.jwks_refresh");
        let is_single = self.jwks_url.is_empty() || self.oidc_issuer.is_empty();
        check(is_single, "auth.jwks_url", "must be empty if auth.oidc_issuer names the issuer");
        let is_same = self.issuer.is_empty()
            || self.oidc_issuer.is_empty()
            || self.issuer == self.oidc_issuer;
        check(is_same, "auth.oidc_issuer", "must be equal to auth.issuer, or one of them empty");
        faults.extend(self.key_source().err());
        faults
    }
}

/// Reads an address from which keys may come: nobody on the way may change them.
///
/// # Errors
/// The condition that it does not meet.
pub fn key_address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL, such as https://host/path")?;
    let is_this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err("must name a host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine => {}
        _ => return Err("must begin with https://, or with http:// if it is on this machine"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user and no password");
    }
    Ok(url)
}

/// The accepted signature algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    pub algorithm: KeyAlgorithm,
    /// HS256: the secret itself. Others: the public key as PEM.
    pub file: PathBuf,
    /// The key is only used for tokens with this `kid`.
    #[serde(default)]
    pub kid: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut AuthConfig)) -> Vec<&'static str> {
        let mut config = AuthConfig::default();
        change(&mut config);
        config.faults().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn addresses_of_keys_are_safe_from_change() {
        for good in [
            "https://id.example/keys",
            "https://id.example:8443/realms/a/certs?x=1",
            "http://127.0.0.1:8080/jwks",
            "http://[::1]:8080/jwks",
            "http://localhost/jwks",
        ] {
            assert!(key_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "id.example/keys",
            "http://id.example/keys",
            "http://10.0.0.1/keys",
            "http://localhost.id.example/keys",
            "ftp://id.example/keys",
            "file:///etc/keys",
            "https://ann:secret@id.example/keys",
        ] {
            assert!(key_address(bad).is_err(), "{bad}");
            let found = faults(|config| config.jwks_url = bad.to_owned());
            assert_eq!(found.is_empty(), bad.is_empty(), "{bad}");
        }
    }

    #[test]
    fn faults_of_issuers_and_claims_are_named() {
        assert_eq!(faults(|_| {}), [""; 0]);
        let issuer = |config: &mut AuthConfig| config.oidc_issuer = "https://id.example/a/".into();
        assert_eq!(faults(issuer), [""; 0]);
        let both = faults(|config| {
            issuer(config);
            config.jwks_url = "https://id.example/keys".to_owned();
            config.issuer = "https://other.example".to_owned();
        });
        assert_eq!(both, ["auth.jwks_url", "auth.oidc_issuer"]);
        let query = faults(|config| config.oidc_issuer = "https://id.example/?a=1".to_owned());
        assert_eq!(query, ["auth.oidc_issuer"]);
        let quick = faults(|config| config.jwks_refresh = Duration::from_secs(9));
        assert_eq!(quick, ["auth.jwks_refresh"]);
        for max_age in [Duration::from_secs(59), Duration::from_secs(30 * 24 * 3_600 + 1)] {
            let found = faults(|config| {
                config.jwks_refresh = Duration::from_secs(10);
                config.jwks_max_age = max_age;
            });
            assert_eq!(found, ["auth.jwks_max_age"], "{max_age:?}");
        }
        let short = faults(|config| config.jwks_max_age = Duration::from_secs(599));
        assert_eq!(short, ["auth.jwks_max_age"], "shorter than the refresh");
        let names = faults(|config| {
            config.claims.user = String::new();
            config.claims.name = "x".repeat(129);
            config.claims.role = ".".repeat(17);
            config.claims.avatar = String::new();
        });
        assert_eq!(names, ["auth.claims.user", "auth.claims.name", "auth.claims.role"]);
    }

    #[test]
    fn the_discovery_document_is_below_the_issuer() {
        for issuer in ["https://id.example/realms/a", "https://id.example/realms/a/"] {
            let config = AuthConfig { oidc_issuer: issuer.to_owned(), ..AuthConfig::default() };
            let Some(KeySource::Discovery { issuer: named, document }) =
                config.key_source().unwrap()
            else {
                panic!("{issuer}");
            };
            assert_eq!(named, issuer, "compared as it is written");
            let expected = "https://id.example/realms/a/.well-known/openid-configuration";
            assert_eq!(document.as_str(), expected);
        }
    }
}
