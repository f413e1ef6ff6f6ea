//! Certificates: from files, or generated at start for development. Files can be read again while
//! the node runs; existing connections keep the certificate they began with.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::daemon::base::config::{GatewayConfig, TlsConfig};
use crate::net::CertificateDigest;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("gateway.tls.{setting}: cannot read {path}: {reason}")]
    Read { setting: &'static str, path: String, reason: String },
    #[error("gateway.tls.{setting}: {path} has no {expected}: it must be PEM")]
    Empty { setting: &'static str, path: String, expected: &'static str },
    #[error("gateway.tls: the certificate and the key cannot be used together: {0}")]
    Mismatch(rustls::Error),
    #[error("cannot generate a certificate for development: {0}")]
    Development(String),
}

/// A certificate chain and the private key of its first certificate.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate that new handshakes present.
#[derive(Debug)]
struct CurrentCertificate(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Replaces the certificate that is presented. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CertificateRenewal {
    files: TlsConfig,
    presented: Arc<CurrentCertificate>,
}

impl CertificateRenewal {
    /// Reads the files of `gateway.tls` again. Later handshakes present the new certificate. Blocks
    /// on the disk.
    ///
    /// # Errors
    /// The files cannot be read or used. The previous certificate stays in use.
    pub fn renew(&self) -> Result<(), TlsError> {
        let renewed = certified(read(&self.files)?, &provider())?;
        self.presented.0.store(Arc::new(renewed));
        Ok(())
    }
}

/// The certificate that the gateway presents now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PresentedCertificate(Arc<CurrentCertificate>);

impl PresentedCertificate {
    /// Returns the digest of the certificate; `None` for an empty chain.
    pub fn digest(&self) -> Option<CertificateDigest> {
        self.0.0.load().cert.first().map(CertificateDigest::of)
    }

    /// Returns the time at which the first certificate of the chain that expires does so, in
    /// milliseconds since the Unix epoch. Certificates that cannot be read are left out.
    pub fn expires_at_ms(&self) -> Option<u64> {
        let presented = self.0.0.load();
        presented.cert.iter().filter_map(expiry_ms).min()
    }
}

fn expiry_ms(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    Some(u64::try_from(seconds).ok()?.saturating_mul(1_000))
}

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
        let identity = match &config.tls {
            Some(files) => read(files)?,
            None if config.dev_tls => self_signed()?,
            None => return Ok(Self { acceptor: None, renewal: None, presented: None }),
        };
        let provider = Arc::new(provider());
        let presented = certified(identity, &provider)?;
        let presented = Arc::new(CurrentCertificate(ArcSwap::from_pointee(presented)));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Mismatch)?
            .with_no_client_auth()
            .with_cert_resolver(presented.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let shown = PresentedCertificate(presented.clone());
        let renewal = config.tls.clone().map(|files| CertificateRenewal { files, presented });
        let acceptor = Some(TlsAcceptor::from(Arc::new(server)));
        Ok(Self { acceptor, renewal, presented: Some(shown) })
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn certified((chain, key): Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Mismatch)
}

fn read(files: &TlsConfig) -> Result<Identity, TlsError> {
    Ok((read_chain(files)?, read_key(files)?))
}

fn read_chain(files: &TlsConfig) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| read_failed("certificate", &files.certificate, error))?;
    if chain.is_empty() {
        let path = files.certificate.display().to_string();
        return Err(TlsError::Empty { setting: "certificate", path, expected: "certificate" });
    }
    Ok(chain)
}

fn read_key(files: &TlsConfig) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(&files.key).map_err(|error| read_failed("key", &files.key, error))
}

fn read_failed(
    setting: &'static str,
    path: &Path,
    error: rustls::pki_types::pem::Error,
) -> TlsError {
    let path = path.display().to_string();
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            let expected = if setting == "key" { "private key" } else { "certificate" };
            TlsError::Empty { setting, path, expected }
        }
        other => TlsError::Read { setting, path, reason: other.to_string() },
    }
}

/// Returns a sentence per fault of `gateway.tls`. Binds nothing.
pub fn tls_faults(config: &GatewayConfig) -> Vec<String> {
    let Some(files) = &config.tls else { return Vec::new() };
    match (read_chain(files), read_key(files)) {
        (Ok(chain), Ok(key)) => {
            let usable = certified((chain, key), &provider());
            usable.err().iter().map(ToString::to_string).collect()
        }
        (chain, key) => {
            chain.err().iter().chain(key.err().iter()).map(ToString::to_string).collect()
        }
    }
}

/// Generates a certificate for the local names of this machine, which no client trusts by default.
fn self_signed() -> Result<Identity, TlsError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| TlsError::Development(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
