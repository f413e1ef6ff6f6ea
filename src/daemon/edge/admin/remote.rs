//! The admin API over the network: the same paths as on the admin socket, over TLS.
//!
//! In: TCP connections on `admin.listen`, which prove who they are by a client certificate or a
//! token. Out: the answers of the admin socket, as far as the role of the caller allows.
//!
//! Always holds: nothing is served without TLS. A certificate that `admin.client_ca` has not
//! signed ends the handshake. Sessions are not resumed, so each connection proves itself.
//!
//! When full: [`MAX_CONNECTIONS`] connections are served at one time, more wait in the kernel's
//! queue. A peer that does not finish its handshake, sends no request, or does not take its answer
//! in time is disconnected. A compressed answer takes 310 KB while it is written.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Extensions;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use x509_parser::extensions::GeneralName;

use super::access::{AccessRules, ClientCertificate, RefusalLog, RemotePeer};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::AdminConfig;
use crate::daemon::edge::http::{
    CertificateFiles, CertificateRenewal, ConnectionSlot, HeadLimits, HttpConnection, HttpServer,
    PresentedCertificate, TlsError, crypto_provider, expiry_ms, in_turns, read_certificates,
    set_answer_timeout,
};
use crate::daemon::stages::auth::Verifier;

/// The section of the configuration, as errors name it.
const SECTION: &str = "admin";
/// Connections served at one time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 128;
/// The limit for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that sends no request head for this long is closed.
const HEAD_LIMITS: HeadLimits =
    HeadLimits { max_bytes: 64 * 1024, timeout: Duration::from_secs(10) };
/// A client that does not take its answer for this long is disconnected.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The time without a sign of life after which the kernel looks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The time that a client has to read why its handshake was refused.
const LINGER: Duration = Duration::from_secs(1);
/// The time that requests may still take when the daemon stops.
const GRACE: Duration = Duration::from_secs(2);

/// Why the admin API cannot be served over the network.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error(
        "cannot listen on {address} (admin.listen): {cause}. Choose another address, or stop the \
         program that listens there"
    )]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The admin API over the network, bound and ready to be served.
pub struct RemoteAdmin {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    presented: PresentedCertificate,
    renewal: CertificateRenewal,
    rules: Arc<AccessRules>,
}

impl std::fmt::Debug for RemoteAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteAdmin").field("address", &self.address).finish_non_exhaustive()
    }
}

impl RemoteAdmin {
    /// Reads the certificates and binds `admin.listen`; returns `None` if that is not set. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or a file cannot be used. The text says what to do.
    pub fn bind(
        config: &AdminConfig,
        verifier: Arc<Verifier>,
        clock: SharedClock,
    ) -> Result<Option<Self>, RemoteError> {
        let (Some(address), Some(files)) = (config.listen, files(config)) else { return Ok(None) };
        let presented = PresentedCertificate::new(files.read()?, SECTION)?;
        let acceptor = TlsAcceptor::from(Arc::new(server_config(config, &presented)?));
        let listen = || {
            let socket = std::net::TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket)
        };
        let failed = |cause| RemoteError::Listen { address, cause };
        let listener = listen().map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let renewal = CertificateRenewal::new(files, &presented);
        let roles = config.roles.clone();
        let refusals = RefusalLog::default();
        let rules = Arc::new(AccessRules { roles, verifier, clock, refusals });
        Ok(Some(Self { listener, address, acceptor, presented, renewal, rules }))
    }

    /// Returns the handle that renews its certificate while it runs.
    pub fn certificate(&self) -> CertificateRenewal {
        self.renewal.clone()
    }

    /// Returns when its certificate expires, in milliseconds since the Unix epoch.
    pub(super) fn expires_at_ms(&self) -> Option<u64> {
        self.presented.expires_at_ms()
    }

    /// Serves until `stop`, then gives requests [`GRACE`] to finish. May be called again.
    pub(super) async fn serve(&self, router: Router, stop: CancellationToken) {
        info!(address = %self.address, "the admin API is served over TLS");
        let server = HttpServer::new("admin over the network", MAX_CONNECTIONS);
        let service = Service {
            acceptor: self.acceptor.clone(),
            // One handshake at a time leaves the other cores to viewers.
            turns: Arc::new(Semaphore::new(1)),
            router,
            rules: self.rules.clone(),
            finish: server.finish_token().clone(),
        };
        let serve = |stream, peer, slot| service.clone().serve(stream, peer, slot);
        server.accept_until(&stop, &self.listener, serve).await;
        server.close(GRACE, std::future::ready(())).await;
    }
}

fn files(config: &AdminConfig) -> Option<CertificateFiles> {
    let certificate = config.certificate.clone()?;
    Some(CertificateFiles { section: SECTION, certificate, key: config.key.clone()? })
}

fn server_config(
    config: &AdminConfig,
    presented: &PresentedCertificate,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(crypto_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|cause| TlsError::Mismatch { section: SECTION, cause })?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let unusable = |reason: String| TlsError::Unusable {
                section: SECTION,
                setting: "client_ca",
                path: file.display().to_string(),
                reason,
            };
            let mut roots = RootCertStore::empty();
            for authority in read_certificates(SECTION, "client_ca", file)? {
                roots.add(authority).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                // A client without a certificate may have a token.
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder.with_cert_resolver(presented.resolver());
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

/// Returns a sentence per fault of the files in `[admin]`. Binds nothing.
pub fn remote_faults(config: &AdminConfig) -> Vec<String> {
    let mut faults = files(config).map_or_else(Vec::new, |files| files.faults());
    let authorities =
        config.client_ca.as_ref().map(|file| read_certificates(SECTION, "client_ca", file));
    if let Some(Err(error)) = authorities {
        faults.push(error.to_string());
    }
    faults
}

/// Serves accepted sockets: TLS, then HTTP.
#[derive(Clone)]
struct Service {
    acceptor: TlsAcceptor,
    turns: Arc<Semaphore>,
    router: Router,
    rules: Arc<AccessRules>,
    finish: CancellationToken,
}

impl Service {
    async fn serve(self, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        if let Err(error) = set_options(&stream) {
            debug!(%peer, %error, "cannot set socket options");
            return;
        }
        let accepting = self.acceptor.accept(stream).into_fallible();
        match timeout(HANDSHAKE_TIMEOUT, in_turns(&self.turns, accepting)).await {
            Ok(Ok(stream)) => self.serve_http(stream, peer, slot).await,
            Ok(Err((error, stream))) => {
                debug!(%peer, %error, "TLS handshake of the admin API failed");
                linger(stream).await;
            }
            Err(_) => debug!(%peer, "TLS handshake of the admin API timed out"),
        }
    }

    async fn serve_http(self, io: TlsStream<TcpStream>, peer: SocketAddr, slot: ConnectionSlot) {
        let shown = io.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.and_then(client_certificate);
        let mut extensions = Extensions::new();
        extensions.insert(RemotePeer { address: peer, certificate, rules: self.rules });
        extensions.insert(slot);
        let connection = HttpConnection {
            io,
            router: self.router,
            extensions,
            head_limits: HEAD_LIMITS,
            first_head_due: Instant::now() + HEAD_LIMITS.timeout,
            takeover: None,
        };
        if let Err(error) = connection.serve(&self.finish).await {
            debug!(%peer, %error, "connection of the admin API ended");
        }
    }
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    set_answer_timeout(stream, Some(ANSWER_TIMEOUT))?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
}

/// Closes a connection so that its client reads the TLS alert: if bytes of the client were left
/// unread, the kernel would throw the alert away.
async fn linger(mut stream: TcpStream) {
    let read_out = async {
        let mut unread = [0; 1024];
        stream.shutdown().await?;
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The client is refused either way.
    let _ = timeout(LINGER, read_out).await;
}

/// Returns the name and the end of a certificate; `None` without a name, which no role can have.
fn client_certificate(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let common = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let common = common.filter(|name| !name.trim().is_empty()).map(str::to_owned);
    let name = common.or_else(|| {
        let alternatives = parsed.subject_alternative_name().ok()??;
        alternatives.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        })
    });
    Some(ClientCertificate { name: name?, ends_at_ms: expiry_ms(certificate)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn named(common: Option<&str>, alternatives: Vec<SanType>) -> Option<ClientCertificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        params.subject_alt_names = alternatives;
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        client_certificate(made.der())
    }

    #[test]
    fn a_certificate_is_named_by_its_common_name() {
        let dns = || SanType::DnsName("ann.example".try_into().unwrap());
        let uri = || SanType::URI("spiffe://example/ann".try_into().unwrap());
        let address = || SanType::IpAddress([127, 0, 0, 1].into());
        for (common, alternatives, name) in [
            (Some("ann"), vec![dns()], Some("ann")),
            (None, vec![address(), dns(), uri()], Some("ann.example")),
            (None, vec![uri(), dns()], Some("spiffe://example/ann")),
            (Some(" "), vec![uri()], Some("spiffe://example/ann")),
            (None, vec![address()], None),
            (None, vec![], None),
        ] {
            let found = named(common, alternatives);
            assert_eq!(found.as_ref().map(|it| it.name.as_str()), name, "{common:?}");
            // 2031-02-03T00:00:00Z
            assert!(found.is_none_or(|it| it.ends_at_ms == 1_927_843_200_000));
        }
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = |name: &str| Some(directory.path().join(name));
        let config = AdminConfig {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            certificate: missing("cert"),
            key: missing("key"),
            client_ca: missing("ca"),
            ..AdminConfig::default()
        };
        let faults = remote_faults(&config).join("; ");
        for expected in ["admin.certificate", "admin.key", "admin.client_ca"] {
            assert!(faults.contains(expected), "{expected} is not in {faults}");
        }
        assert!(remote_faults(&AdminConfig::default()).is_empty());
    }
}
