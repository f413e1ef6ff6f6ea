//! TLS of the gateway: a certificate from files, or one generated at start for development.

use std::sync::Arc;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::secure_stream::HandshakeSecrets;
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::edge::http::{
    CertificateFiles, CertificateIdentity, CertificateRenewal, PresentedCertificate, TlsError,
    crypto_provider,
};

/// The name of HTTP/2 in the choice of a protocol (ALPN). Browsers open only six connections to a
/// host over HTTP/1.1, and event streams would use them up.
pub(super) const HTTP2: &[u8] = b"h2";

/// The TLS side of the gateway, as configured.
pub(super) struct Tls {
    /// `None` without TLS.
    pub(super) acceptor: Option<TlsAcceptor>,
    /// `None` unless the certificate comes from files.
    pub(super) renewal: Option<CertificateRenewal>,
    /// `None` without TLS.
    pub(super) presented: Option<PresentedCertificate>,
}

impl Tls {
    pub(super) fn new(config: &GatewayConfig) -> Result<Self, TlsError> {
        let files = files(config);
        let identity = match &files {
            Some(files) => files.read()?,
            None if config.dev_tls => self_signed()?,
            None => return Ok(Self { acceptor: None, renewal: None, presented: None }),
        };
        let presented = PresentedCertificate::new(identity, "gateway.tls")?;
        let mut server = ServerConfig::builder_with_provider(Arc::new(crypto_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsError::Mismatch { section: "gateway.tls", cause })?
            .with_no_client_auth()
            .with_cert_resolver(presented.resolver());
        // Viewers leave rustls after their handshake: see [`super::secure_stream`].
        server.enable_secret_extraction = true;
        server.key_log = Arc::new(HandshakeSecrets);
        server.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        let renewal = files.map(|files| CertificateRenewal::new(files, &presented));
        let acceptor = Some(TlsAcceptor::from(Arc::new(server)));
        Ok(Self { acceptor, renewal, presented: Some(presented) })
    }
}

fn files(config: &GatewayConfig) -> Option<CertificateFiles> {
    let tls = config.tls.clone()?;
    Some(CertificateFiles { section: "gateway.tls", certificate: tls.certificate, key: tls.key })
}

/// Returns a sentence per fault of `gateway.tls`. Binds nothing.
pub fn tls_faults(config: &GatewayConfig) -> Vec<String> {
    files(config).map_or_else(Vec::new, |files| files.faults())
}

/// Generates a certificate for the local names of this machine, which no client trusts by default.
fn self_signed() -> Result<CertificateIdentity, TlsError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| TlsError::Development(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(CertificateIdentity { chain: vec![made.cert.der().clone()], key: key.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::TlsConfig;

    fn config(certificate: &str, key: &str) -> (tempfile::TempDir, GatewayConfig) {
        let directory = tempfile::tempdir().unwrap();
        let paths = [("cert.pem", certificate), ("key.pem", key)].map(|(name, content)| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        });
        let [certificate, key] = paths;
        let tls = Some(TlsConfig { certificate, key });
        (directory, GatewayConfig { tls, ..GatewayConfig::default() })
    }

    fn error(certificate: &str, key: &str) -> String {
        let (_directory, config) = config(certificate, key);
        Tls::new(&config).err().unwrap().to_string()
    }

    #[test]
    fn a_matching_pair_loads_and_others_say_what_is_wrong() {
        let names = || vec!["localhost".to_owned()];
        let ours = rcgen::generate_simple_self_signed(names()).unwrap();
        let other = rcgen::generate_simple_self_signed(names()).unwrap();
        let certificate = ours.cert.pem();
        let key = ours.signing_key.serialize_pem();
        let (_directory, good) = config(&certificate, &key);
        assert!(Tls::new(&good).unwrap().acceptor.is_some());
        let mixed = error(&certificate, &other.signing_key.serialize_pem());
        assert!(mixed.contains("used together"), "{mixed}");
        assert!(error(&key, &key).contains("gateway.tls.certificate"), "a key is no certificate");
        assert!(error(&certificate, &certificate).contains("no private key"));
        assert!(error("", &key).contains("no certificate"));
        let missing = TlsConfig { certificate: "/nowhere/c.pem".into(), key: "/nowhere/k".into() };
        let config = GatewayConfig { tls: Some(missing), ..GatewayConfig::default() };
        let text = Tls::new(&config).err().unwrap().to_string();
        assert!(text.contains("gateway.tls.certificate") && text.contains("/nowhere/c.pem"));
    }

    #[test]
    fn the_expiry_is_that_of_the_certificate() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let (_directory, config) = config(&made.pem(), &key.serialize_pem());
        let presented = Tls::new(&config).unwrap().presented.unwrap();
        // 2031-02-03T00:00:00Z
        assert_eq!(presented.expires_at_ms(), Some(1_927_843_200_000));
    }

    #[test]
    fn without_tls_there_is_no_acceptor() {
        assert!(Tls::new(&GatewayConfig::default()).unwrap().acceptor.is_none());
    }
}
