//! wss with the development certificate.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{handshake, shake};
use super::rig::{PATIENCE, Rig};
use crate::daemon::base::handoff::ViewerSocket;
use crate::protocol::websocket::{Opcode, server_frame};

/// Believes any certificate, and still checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn connect(rig: &Rig) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let socket = TcpStream::connect(rig.address).await.unwrap();
    connector.connect("localhost".try_into().unwrap(), socket).await.unwrap()
}

#[tokio::test]
async fn a_viewer_over_tls_is_handed_over_with_its_session_both_ways() {
    let mut rig = Rig::start_with(|config| config.dev_tls = true).await;
    let request = [handshake("/ws/1", &[]).as_bytes(), b"early"].concat();
    let mut client = shake(connect(&rig).await, &request).await;
    let viewer = rig.viewer().await;
    assert_eq!(viewer.early_bytes, b"early");
    let ViewerSocket::Tls(mut socket, mut session) = viewer.socket else { panic!("TLS was on") };
    client.stream.write_all(b"more").await.unwrap();
    client.stream.flush().await.unwrap();
    let permit = viewer.permit;
    let delivery = tokio::task::spawn_blocking(move || {
        socket.set_nonblocking(false).unwrap();
        let mut stream = rustls::Stream::new(&mut *session, &mut socket);
        let mut read = [0; 4];
        stream.read_exact(&mut read).unwrap();
        stream.write_all(&server_frame(Opcode::Text, false, b"hello")).unwrap();
        stream.flush().unwrap();
        drop(permit);
        read
    });
    assert_eq!(client.frame().await, (Opcode::Text, b"hello".to_vec()));
    assert_eq!(&delivery.await.unwrap(), b"more");
}

#[tokio::test]
async fn https_answers_and_refusals_work_over_tls_too() {
    let rig = Rig::start_with(|config| config.dev_tls = true).await;
    let mut stream = connect(&rig).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut refused = shake(connect(&rig).await, handshake("/ws/77", &[]).as_bytes()).await;
    assert_eq!(refused.refusal().await.2, 4504);
}

#[tokio::test]
async fn who_does_not_speak_tls_in_time_is_cut_off() {
    let short = Duration::from_millis(100);
    let rig = Rig::start_with(|config| {
        config.dev_tls = true;
        config.handshake_timeout = short;
    })
    .await;
    for said in ["", "GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(said.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = socket.read_to_end(&mut rest);
        assert!(tokio::time::timeout(PATIENCE, read).await.is_ok(), "{said:?}: still open");
    }
}
