//! A viewer's socket, plain or with TLS, that never blocks.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

pub(super) enum Socket {
    Plain(TcpStream, Vec<u8>),
    Tls(TcpStream, Box<ClientConnection>),
}

impl Socket {
    /// Begins to connect; `request` is sent once it is.
    pub(super) fn connect(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        request: &[u8],
    ) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(address)?;
        // Closing resets, so thousands of ports are free again at once.
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))?;
        let Some(config) = tls else { return Ok(Self::Plain(tcp, request.to_vec())) };
        let name = ServerName::from(address.ip());
        let mut session = ClientConnection::new(config.clone(), name)?;
        session.writer().write_all(request)?;
        Ok(Self::Tls(tcp, Box::new(session)))
    }

    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp, _) | Self::Tls(tcp, _) => tcp,
        }
    }

    /// Sends a few bytes, at once if the socket takes them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(_, waiting) => waiting.extend_from_slice(bytes),
            Self::Tls(_, session) => session.writer().write_all(bytes)?,
        }
        self.flush()
    }

    /// Writes what waits, as far as it goes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp, waiting) => {
                while !waiting.is_empty() {
                    match tcp.write(waiting) {
                        Ok(taken) => drop(waiting.drain(..taken)),
                        Err(error) => return unless_blocked(error),
                    }
                }
                *waiting = Vec::new();
            }
            Self::Tls(tcp, session) => {
                while session.wants_write() {
                    if let Err(error) = session.write_tls(tcp) {
                        return unless_blocked(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// `None` if there is nothing now, `Some(0)` at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(tcp, _) => none_if_blocked(tcp.read(buffer)),
            Self::Tls(tcp, session) => loop {
                if let Some(bytes) = none_if_blocked(session.reader().read(buffer))? {
                    return Ok(Some(bytes));
                }
                match none_if_blocked(session.read_tls(tcp))? {
                    None => return Ok(None),
                    Some(0) => return Ok(Some(0)),
                    Some(_) => {
                        session.process_new_packets().map_err(io::Error::other)?;
                        while session.wants_write() {
                            if let Err(error) = session.write_tls(tcp) {
                                unless_blocked(error)?;
                                break;
                            }
                        }
                    }
                }
            },
        }
    }

    /// Whether a read that did not fill the buffer has emptied the socket.
    pub(super) fn short_read_means_empty(&self) -> bool {
        matches!(self, Self::Plain(..))
    }
}

fn unless_blocked(error: io::Error) -> io::Result<()> {
    let later = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected);
    if later { Ok(()) } else { Err(error) }
}

fn none_if_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => unless_blocked(error).map(|()| None),
    }
}

/// For a server on this machine that made its own certificate.
pub(super) fn any_certificate() -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default protocol versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
