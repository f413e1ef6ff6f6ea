//! Reads the key set of an issuer over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::time::timeout;
use url::{Host, Url};

use super::set::{self, PublicKey, UnusableSet};
use crate::daemon::base::config::{KeySource, key_address};
use crate::daemon::base::http_client::{
    ExchangeError, HttpEndpoint, PROGRAM, UnusableAddress, read_answer,
};

/// The most bytes of a key set, and of a discovery document.
pub(super) const MAX_BYTES: usize = 256 * 1024;
const TYPES: [&str; 2] = ["application/json", "application/jwk-set+json"];

/// Why no set was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("{what}: {error}")]
    Exchange { what: &'static str, error: ExchangeError },
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    NoDocument,
    #[error("the discovery document is of another issuer than `auth.oidc_issuer`")]
    OtherIssuer,
    #[error("{what} {reason}")]
    Address { what: &'static str, reason: &'static str },
    #[error("the key set is refused: {0}")]
    Refused(#[from] UnusableSet),
}

/// A set that was read.
#[derive(Debug)]
pub(super) struct FetchedSet {
    pub(super) bytes: Bytes,
    pub(super) keys: Vec<PublicKey>,
}

/// The fields of the discovery document (OpenID Connect Discovery 1.0 §3) that are used.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Reads from one issuer.
#[derive(Debug)]
pub(super) struct Fetcher {
    source: KeySource,
    tls: Arc<ClientConfig>,
    time_limit: Duration,
}

impl Fetcher {
    /// `time_limit` is the longest time that reading a set may take, its discovery included.
    pub(super) fn new(source: KeySource, tls: Arc<ClientConfig>, time_limit: Duration) -> Self {
        Self { source, tls, time_limit }
    }

    /// Reads the set, at most [`MAX_BYTES`] within the time limit. Redirections are not followed.
    pub(super) async fn read(&self) -> Result<FetchedSet, FetchError> {
        let read = timeout(self.time_limit, self.read_all()).await;
        read.unwrap_or(Err(FetchError::Late(self.time_limit)))
    }

    async fn read_all(&self) -> Result<FetchedSet, FetchError> {
        let address = match &self.source {
            KeySource::Set(address) => address.clone(),
            KeySource::Discovery { issuer, document } => self.discover(issuer, document).await?,
        };
        let bytes = self.get("the key set", &address).await?;
        let keys = set::read(&bytes)?;
        Ok(FetchedSet { bytes, keys })
    }

    async fn discover(&self, issuer: &str, document: &Url) -> Result<Url, FetchError> {
        let bytes = self.get("the discovery document", document).await?;
        let found: Discovery =
            serde_json::from_slice(&bytes).map_err(|_| FetchError::NoDocument)?;
        if found.issuer != issuer {
            return Err(FetchError::OtherIssuer);
        }
        named_address(document, &found.jwks_uri).map_err(|reason| FetchError::Address {
            what: "`jwks_uri` of the discovery document",
            reason,
        })
    }

    async fn get(&self, what: &'static str, address: &Url) -> Result<Bytes, FetchError> {
        let exchange = |error| FetchError::Exchange { what, error };
        let endpoint = HttpEndpoint::new(address, || Ok(self.tls.clone()))
            .map_err(|UnusableAddress(reason)| FetchError::Address { what, reason })?;
        let mut connection = endpoint.connect().await.map_err(exchange)?;
        let answer = connection.send(request(&endpoint)).await.map_err(exchange)?;
        read_answer(answer, &TYPES, MAX_BYTES).await.map_err(exchange)
    }
}

/// Returns the address of the keys that a document names. An issuer elsewhere must not aim this
/// node at services of its own machine, which the configuration may.
fn named_address(document: &Url, jwks_uri: &str) -> Result<Url, &'static str> {
    let address = key_address(jwks_uri)?;
    if document.scheme() == "https" && address.scheme() != "https" {
        return Err("must begin with https://, as the address of the document does");
    }
    if is_this_machine(&address) && !is_this_machine(document) {
        return Err("must not be on this machine if the document is not");
    }
    Ok(address)
}

/// Returns whether the host is, by its name or number, the machine that connects to it.
fn is_this_machine(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        // Connecting to 0.0.0.0 reaches this machine, too.
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped();
            address.is_loopback()
                || address.is_unspecified()
                || mapped.is_some_and(|address| address.is_loopback() || address.is_unspecified())
        }
        None => false,
    }
}

fn request(endpoint: &HttpEndpoint) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = endpoint.path().clone();
    let headers = request.headers_mut();
    headers.insert(HOST, endpoint.host_header().clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(document: &str, jwks_uri: &str) -> Result<Url, &'static str> {
        named_address(&document.parse().unwrap(), jwks_uri)
    }

    #[test]
    fn a_document_aims_at_no_service_of_this_machine() {
        let public = "https://id.example/.well-known/openid-configuration";
        assert!(named(public, "https://id.example/keys").is_ok());
        assert!(named(public, "https://keys.example:8443/keys").is_ok());
        for jwks_uri in [
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys",
            "https://127.0.0.1/keys",
            "https://127.9.9.9/keys",
            "https://2130706433/keys",
            "https://0.0.0.0/keys",
            "https://[::1]/keys",
            "https://[::]/keys",
            "https://[::ffff:127.0.0.1]/keys",
            "https://localhost/keys",
            "https://LOCALHOST./keys",
            "https://keys.localhost/keys",
            "http://keys.example/keys",
        ] {
            assert!(named(public, jwks_uri).is_err(), "{jwks_uri}");
        }
    }

    #[test]
    fn a_document_of_this_machine_may_name_it() {
        for document in ["http://127.0.0.1:8080/d", "http://localhost/d", "http://[::1]/d"] {
            assert!(named(document, "http://127.0.0.1:8081/keys").is_ok(), "{document}");
            assert!(named(document, "https://id.example/keys").is_ok(), "{document}");
            assert!(named(document, "http://id.example/keys").is_err(), "{document}");
        }
        assert!(named("https://localhost/d", "https://127.0.0.1/keys").is_ok());
        assert!(named("https://localhost/d", "http://127.0.0.1/keys").is_err());
    }
}
