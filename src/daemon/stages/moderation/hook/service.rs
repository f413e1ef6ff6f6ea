//! The service that is asked: its address, and what proves that `lcd` asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use url::Url;

use super::HookError;
use super::connections::Connections;
use super::failure::Failure;
use crate::daemon::base::config::HookConfig;
use crate::daemon::base::http_client::{self, HttpEndpoint, PROGRAM};
use crate::daemon::base::secret_file;

/// The header with the signature of a request's body: `v1=` and its HMAC-SHA256 in base64url.
const SIGNATURE: &str = "lcd-signature";
const JSON: &str = "application/json";
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 1..=4096;
/// RFC 2104 advises against keys that are shorter than the hash.
const SIGNING_KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=4096;

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    /// Scheme, host and port: all of the address that messages name, because the rest may be
    /// secret.
    pub(super) origin: String,
    files: SecretFiles,
    /// Replaced by a reload.
    secrets: ArcSwap<Secrets>,
    connections: Connections,
}

#[derive(Debug)]
struct SecretFiles {
    token: Option<PathBuf>,
    signing_key: Option<PathBuf>,
}

struct Secrets {
    authorization: Option<HeaderValue>,
    signing_key: Option<EncodingKey>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Service {
    /// Reads the files that the settings name. Blocks on the disk; connects to nothing.
    pub(super) fn new(config: &HookConfig) -> Result<Self, HookError> {
        let url = config.address().map_err(HookError::Address)?;
        let files = SecretFiles {
            token: config.token_file.clone(),
            signing_key: config.signing_key_file.clone(),
        };
        Ok(Self {
            origin: url.origin().ascii_serialization(),
            secrets: ArcSwap::from_pointee(files.read().map_err(HookError::Secret)?),
            files,
            connections: Connections::new(endpoint(config, &url)?),
        })
    }

    /// Reads the token and the signing key again. Blocks. Returns whether there are any.
    ///
    /// # Errors
    /// A file cannot be used. The secrets from before stay in use.
    pub(super) fn reload(&self) -> Result<bool, String> {
        if self.files.token.is_none() && self.files.signing_key.is_none() {
            return Ok(false);
        }
        self.secrets.store(Arc::new(self.files.read()?));
        Ok(true)
    }

    /// Posts a question and returns the body of the answer.
    pub(super) async fn exchange(&self, question: Bytes) -> Result<Bytes, Failure> {
        self.connections.exchange(self.request(question)).await
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let secrets = self.secrets.load();
        let endpoint = self.connections.endpoint();
        let signature = secrets.signing_key.as_ref().and_then(|key| sign(&body, key));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.path().clone();
        let headers = request.headers_mut();
        headers.insert(HOST, endpoint.host_header().clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(PROGRAM));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Some(authorization) = &secrets.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(signature) = signature {
            headers.insert(SIGNATURE, signature);
        }
        request
    }
}

fn sign(body: &[u8], key: &EncodingKey) -> Option<HeaderValue> {
    let signature = crypto::sign(body, key, Algorithm::HS256).ok()?;
    HeaderValue::try_from(format!("v1={signature}")).ok()
}

impl SecretFiles {
    fn read(&self) -> Result<Secrets, String> {
        let mut secrets = Secrets { authorization: None, signing_key: None };
        if let Some(path) = &self.token {
            let setting = "moderation.hook.token_file";
            let token = secret_file::read_setting(setting, path, &TOKEN_BYTES)?;
            let mut header = HeaderValue::from_bytes(&[b"Bearer ", &*token].concat())
                .map_err(|_| format!("`{setting}`: {} has control characters", path.display()))?;
            header.set_sensitive(true);
            secrets.authorization = Some(header);
        }
        if let Some(path) = &self.signing_key {
            let setting = "moderation.hook.signing_key_file";
            let key = secret_file::read_setting(setting, path, &SIGNING_KEY_BYTES)?;
            secrets.signing_key = Some(EncodingKey::from_secret(&key));
        }
        Ok(secrets)
    }
}

fn endpoint(config: &HookConfig, url: &Url) -> Result<HttpEndpoint, HookError> {
    HttpEndpoint::new(url, || {
        let path = config.tls_ca.as_deref();
        http_client::trusting(path).map_err(|reason| HookError::Authorities {
            path: path.unwrap_or(Path::new("")).display().to_string(),
            reason,
        })
    })
}
