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
use url::Url;

use super::set::{self, UnusableSet};
use crate::daemon::base::config::{KeySource, key_address};
use crate::daemon::base::http_client::{
    ExchangeError, HttpEndpoint, PROGRAM, UnusableAddress, read_answer,
};
use crate::daemon::stages::auth::keys::VerifyingKey;

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
    pub(super) keys: Vec<VerifyingKey>,
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
        key_address(&found.jwks_uri).map_err(|reason| FetchError::Address {
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

fn request(endpoint: &HttpEndpoint) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.uri_mut() = endpoint.path().clone();
    let headers = request.headers_mut();
    headers.insert(HOST, endpoint.host_header().clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    request
}
