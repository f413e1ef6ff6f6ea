//! A daemon's admin API over the network: its address, the files that prove the caller, and the TLS
//! connection.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::AdminError;
use crate::net::{VERSION_1, is_version_1, read_certificates};

/// The port of an address without one.
const DEFAULT_PORT: u16 = 7443;
/// Bytes of a token file; tokens are far shorter.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The limit for a connection with its TLS handshake. A firewall may drop packets in silence.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The silence after which the kernel asks whether the daemon's machine is still there, and the
/// time between its further questions.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Questions without an answer that end the connection.
const KEEPALIVE_RETRIES: u32 = 3;

/// The address of a daemon's admin API: `lcd://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeAddress {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

/// A text that is not the address of an admin API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the address of a daemon: {problem}; write lcd://host:{DEFAULT_PORT}")]
pub struct InvalidNodeAddress {
    text: String,
    problem: &'static str,
}

impl FromStr for NodeAddress {
    type Err = InvalidNodeAddress;

    fn from_str(text: &str) -> Result<Self, InvalidNodeAddress> {
        let wrong =
            |problem| InvalidNodeAddress { text: text.chars().take(200).collect(), problem };
        let uri: Uri = text.parse().map_err(|_| wrong("it does not parse"))?;
        match uri.scheme_str() {
            Some("lcd") => {}
            Some(_) => return Err(wrong("the scheme is not lcd")),
            None => return Err(wrong("it has no scheme")),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("it has a path"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(wrong("it must have a host and a port only"));
        }
        Ok(Self { host, port: uri.port_u16().unwrap_or(DEFAULT_PORT) })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "lcd://[{host}]:{port}")
        } else {
            write!(f, "lcd://{host}:{port}")
        }
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = InvalidNodeAddress;

    fn try_from(text: String) -> Result<Self, InvalidNodeAddress> {
        text.parse()
    }
}

/// A daemon on another machine, and what proves the caller to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDaemon {
    pub node: NodeAddress,
    /// PEM of the authorities that sign the daemon's certificate. Absent: those of the public web.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM of the client's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM of the private key of `cert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// A token of `lc token --admin`. It is read for each request, so that it can be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

/// The reason why no connection can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum RemoteSetupError {
    #[error("{option}: cannot read {}: {reason}", path.display())]
    File { option: &'static str, path: PathBuf, reason: String },
    #[error("{option}: {} cannot be used: {VERSION_1}", path.display())]
    Version { option: &'static str, path: PathBuf },
    #[error("the client certificate and its key cannot be used together: {0}")]
    Mismatch(rustls::Error),
    #[error("--cert and --key come together")]
    Half,
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
}

/// A way to a daemon on another machine.
pub(super) struct Remote {
    address: NodeAddress,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    has_certificate: bool,
    token_file: Option<PathBuf>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Remote {
    /// Reads the certificates.
    pub(super) fn new(daemon: &RemoteDaemon) -> Result<Self, RemoteSetupError> {
        let address = daemon.node.clone();
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| RemoteSetupError::Host(address.host.clone()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots(daemon.ca.as_deref())?);
        let mut config = match (&daemon.cert, &daemon.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let chain = certificates("--cert", cert)?;
                if chain.first().is_some_and(is_version_1) {
                    return Err(RemoteSetupError::Version { option: "--cert", path: cert.clone() });
                }
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| unreadable("--key", key, &error))?;
                builder.with_client_auth_cert(chain, key).map_err(RemoteSetupError::Mismatch)?
            }
            _ => return Err(RemoteSetupError::Half),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address,
            name,
            config: Arc::new(config),
            has_certificate: daemon.cert.is_some(),
            token_file: daemon.token_file.clone(),
        })
    }

    pub(super) fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// Opens a connection. The daemon's certificate is checked.
    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>, AdminError> {
        timeout(CONNECT_TIMEOUT, self.open()).await.unwrap_or_else(|_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            Err(self.unreachable(&format!("no connection within {seconds} s")))
        })
    }

    async fn open(&self) -> Result<TlsStream<TcpStream>, AdminError> {
        let NodeAddress { host, port } = &self.address;
        let socket = TcpStream::connect((host.as_str(), *port)).await;
        let socket = socket.map_err(|error| self.unreachable(&error))?;
        set_options(&socket).map_err(|error| self.unreachable(&error))?;
        let connector = TlsConnector::from(self.config.clone());
        let connected = connector.connect(self.name.clone(), socket).await;
        connected.map_err(|error| self.failed(&error).unwrap_or_else(|| self.unreachable(&error)))
    }

    /// Returns the header that proves the caller by its token; `None` without one.
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, AdminError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let failed = |reason: String| {
            let path = path.display();
            AdminError::CredentialsRefused {
                node: self.address.to_string(),
                why: format!("the token file {path} cannot be used: {reason}"),
            }
        };
        let text = tokio::fs::read(path).await.map_err(|error| failed(error.to_string()))?;
        let token = text.trim_ascii();
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(failed("it must have one token".to_owned()));
        }
        let header = [b"Bearer ".as_slice(), token].concat();
        let mut header = HeaderValue::from_bytes(&header)
            .map_err(|_| failed("it must have one token, on one line".to_owned()))?;
        header.set_sensitive(true);
        Ok(Some(header))
    }

    fn unreachable(&self, error: &dyn fmt::Display) -> AdminError {
        AdminError::Unreachable { node: self.address.to_string(), cause: error.to_string() }
    }

    /// Returns what an error of TLS means; `None` if the connection broke for another reason. A
    /// daemon that refuses a certificate says so in an alert, after the handshake.
    pub(super) fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Option<AdminError> {
        let node = self.address.to_string();
        Some(match tls_error(error)? {
            error @ rustls::Error::InvalidCertificate(_) => {
                AdminError::Untrusted { node, why: error.to_string() }
            }
            rustls::Error::AlertReceived(alert) if is_about_certificate(*alert) => {
                let shown = if self.has_certificate {
                    "the client certificate"
                } else {
                    "a client without a certificate"
                };
                let why = format!("it does not accept {shown} ({alert:?}); see admin.client_ca");
                AdminError::CredentialsRefused { node, why }
            }
            other => AdminError::Unreachable { node, cause: other.to_string() },
        })
    }
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    // A request is one small write.
    socket.set_nodelay(true)?;
    // Live lines may be silent for hours, and nothing else would notice that the way is cut.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// Finds the error of TLS in the causes of an error.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The cause of an I/O error is that of the error inside it.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, RemoteSetupError> {
    let Some(path) = ca else {
        return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates("--ca", path)? {
        roots.add(authority).map_err(|error| unreadable("--ca", path, &error))?;
    }
    Ok(roots)
}

fn certificates(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, RemoteSetupError> {
    read_certificates(path).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            unreadable(option, path, &"it has no certificate: it must be PEM")
        }
        other => unreadable(option, path, &other),
    })
}

fn unreadable(option: &'static str, path: &Path, reason: &dyn fmt::Display) -> RemoteSetupError {
    RemoteSetupError::File { option, path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("lcd://edge-1:7443", "lcd://edge-1:7443"),
            ("lcd://edge-1", "lcd://edge-1:7443"),
            ("lcd://10.0.0.7:99/", "lcd://10.0.0.7:99"),
            ("lcd://[::1]:7443", "lcd://[::1]:7443"),
        ] {
            let address: NodeAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
        for text in
            ["", "edge-1:7443", "https://edge-1", "lcd://", "lcd://a/b", "lcd://a?b", "lcd://x@a"]
        {
            let error = text.parse::<NodeAddress>().unwrap_err().to_string();
            assert!(error.contains("write lcd://host:7443"), "{error}");
        }
    }

    fn daemon() -> RemoteDaemon {
        let node = "lcd://edge-1".parse().unwrap();
        RemoteDaemon { node, ca: None, cert: None, key: None, token_file: None }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            Some(path)
        };
        let error = |daemon: RemoteDaemon| Remote::new(&daemon).unwrap_err().to_string();
        let missing = Some(directory.path().join("missing"));
        assert!(error(RemoteDaemon { ca: missing, ..daemon() }).starts_with("--ca"));
        let empty = file("empty", "");
        assert!(error(RemoteDaemon { ca: empty.clone(), ..daemon() }).contains("no certificate"));
        let half = RemoteDaemon { cert: empty, ..daemon() };
        assert_eq!(error(half), "--cert and --key come together");
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let cert = file("cert", &made.cert.pem());
        let key = file("key", &made.signing_key.serialize_pem());
        let other = file("other", &other.signing_key.serialize_pem());
        let old = include_str!("../../../fixtures/certificates/version-1.pem");
        let old = RemoteDaemon { cert: file("old", old), key: key.clone(), ..daemon() };
        let old = error(old);
        assert!(old.starts_with("--cert") && old.contains("version 1 certificate"), "{old}");
        let mixed = RemoteDaemon { cert: cert.clone(), key: other, ..daemon() };
        assert!(error(mixed).contains("cannot be used together"));
        assert!(Remote::new(&RemoteDaemon { ca: cert.clone(), cert, key, ..daemon() }).is_ok());
    }

    #[test]
    fn what_tls_says_is_told_apart() {
        let remote = Remote::new(&daemon()).unwrap();
        let failed = |error: rustls::Error| {
            remote.failed(&io::Error::new(io::ErrorKind::InvalidData, error)).unwrap()
        };
        let refused = failed(rustls::Error::AlertReceived(AlertDescription::UnknownCA));
        assert!(matches!(refused, AdminError::CredentialsRefused { .. }), "{refused:?}");
        assert!(!refused.retry());
        let unknown = CertificateError::UnknownIssuer;
        let untrusted = failed(rustls::Error::InvalidCertificate(unknown));
        assert!(matches!(untrusted, AdminError::Untrusted { .. }), "{untrusted:?}");
        let broken = failed(rustls::Error::AlertReceived(AlertDescription::InternalError));
        assert!(broken.retry(), "{broken:?}");
        assert!(remote.failed(&io::Error::other("reset")).is_none());
    }

    /// The handshake is never answered; the clock is advanced when nothing else is to do.
    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_is_not_heard_is_unreachable() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let node = format!("lcd://127.0.0.1:{port}").parse().unwrap();
        let remote = Remote::new(&RemoteDaemon { node, ..daemon() }).unwrap();
        let error = remote.connect().await.unwrap_err();
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("no connection within 10 s"), "{error}");
    }

    #[tokio::test]
    async fn a_token_is_read_for_each_request() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let token_file = Some(file.clone());
        let remote = Remote::new(&RemoteDaemon { token_file, ..daemon() }).unwrap();
        let error = remote.authorization().await.unwrap_err().to_string();
        assert!(error.contains("token file"), "{error}");
        for token in ["first", "second"] {
            std::fs::write(&file, format!("{token}\n")).unwrap();
            let header = remote.authorization().await.unwrap().unwrap();
            assert_eq!(header, format!("Bearer {token}"));
            assert!(header.is_sensitive());
        }
        for wrong in ["", "two\nlines"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(remote.authorization().await.is_err(), "{wrong:?}");
        }
    }
}
