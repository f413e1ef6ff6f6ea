//! The certificate that a server presents. Its files can be read again while the node runs;
//! existing connections keep the certificate they began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::net::{self, CertificateDigest};

/// Why TLS cannot be offered. `section` is that of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{section}.{setting}: cannot read {path}: {reason}")]
    Read { section: &'static str, setting: &'static str, path: String, reason: String },
    #[error("{section}.{setting}: {path} has no {expected}: it must be PEM")]
    Empty { section: &'static str, setting: &'static str, path: String, expected: &'static str },
    #[error("{section}: the certificate and the key cannot be used together: {cause}")]
    Mismatch { section: &'static str, cause: rustls::Error },
    #[error("{section}.{setting}: {path} cannot be used: {reason}")]
    Unusable { section: &'static str, setting: &'static str, path: String, reason: String },
    #[error("cannot generate a certificate for development: {0}")]
    Development(String),
}

/// A certificate chain and the private key of its first certificate.
#[derive(Debug)]
pub(crate) struct CertificateIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl CertificateIdentity {
    fn certified(self, section: &'static str) -> Result<CertifiedKey, TlsError> {
        CertifiedKey::from_der(self.chain, self.key, &crypto_provider())
            .map_err(|cause| TlsError::Mismatch { section, cause })
    }
}

/// The files of a certificate, as a section of the configuration names them.
#[derive(Debug, Clone)]
pub(crate) struct CertificateFiles {
    pub(crate) section: &'static str,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl CertificateFiles {
    /// Reads both. Blocks on the disk.
    ///
    /// # Errors
    /// A file cannot be read, is not PEM, or has a certificate of version 1.
    pub(crate) fn read(&self) -> Result<CertificateIdentity, TlsError> {
        Ok(CertificateIdentity { chain: self.read_chain()?, key: self.read_key()? })
    }

    /// Returns a sentence per fault.
    pub(crate) fn faults(&self) -> Vec<String> {
        match (self.read_chain(), self.read_key()) {
            (Ok(chain), Ok(key)) => {
                let usable = CertificateIdentity { chain, key }.certified(self.section);
                usable.err().iter().map(ToString::to_string).collect()
            }
            (chain, key) => {
                chain.err().iter().chain(key.err().iter()).map(ToString::to_string).collect()
            }
        }
    }

    fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain = read_certificates(self.section, "certificate", &self.certificate)?;
        if chain.first().is_some_and(net::is_version_1) {
            return Err(TlsError::Unusable {
                section: self.section,
                setting: "certificate",
                path: self.certificate.display().to_string(),
                reason: net::VERSION_1.to_owned(),
            });
        }
        Ok(chain)
    }

    fn read_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| read_failed(self.section, "key", &self.key, error))
    }
}

/// Reads the certificates in a PEM file, at least one.
///
/// # Errors
/// The file cannot be read, or has none.
pub(crate) fn read_certificates(
    section: &'static str,
    setting: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    net::read_certificates(file).map_err(|error| read_failed(section, setting, file, error))
}

fn read_failed(
    section: &'static str,
    setting: &'static str,
    path: &Path,
    error: rustls::pki_types::pem::Error,
) -> TlsError {
    let path = path.display().to_string();
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            let expected = if setting == "key" { "private key" } else { "certificate" };
            TlsError::Empty { section, setting, path, expected }
        }
        other => TlsError::Read { section, setting, path, reason: other.to_string() },
    }
}

pub(crate) fn crypto_provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

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
    files: CertificateFiles,
    presented: Arc<CurrentCertificate>,
}

impl CertificateRenewal {
    pub(crate) fn new(files: CertificateFiles, presented: &PresentedCertificate) -> Self {
        Self { files, presented: presented.0.clone() }
    }

    /// Returns the section of the configuration that names the files.
    pub fn section(&self) -> &'static str {
        self.files.section
    }

    /// Reads the files again. Later handshakes present the new certificate. Blocks on the disk.
    ///
    /// # Errors
    /// The files cannot be read or used. The previous certificate stays in use.
    pub fn renew(&self) -> Result<(), TlsError> {
        let renewed = self.files.read()?.certified(self.files.section)?;
        self.presented.0.store(Arc::new(renewed));
        Ok(())
    }
}

/// The certificate that a server presents now. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PresentedCertificate(Arc<CurrentCertificate>);

impl PresentedCertificate {
    /// Returns the certificate of `identity`, until it is renewed.
    ///
    /// # Errors
    /// The certificate and the key do not belong together.
    pub(crate) fn new(
        identity: CertificateIdentity,
        section: &'static str,
    ) -> Result<Self, TlsError> {
        let certified = identity.certified(section)?;
        Ok(Self(Arc::new(CurrentCertificate(ArcSwap::from_pointee(certified)))))
    }

    /// Returns what gives the certificate to handshakes.
    pub(crate) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        self.0.clone()
    }

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

/// Returns the end of a certificate in milliseconds since the Unix epoch; `None` if it cannot be
/// read.
pub(crate) fn expiry_ms(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    Some(u64::try_from(seconds).ok()?.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_1_certificate_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("admin.pem");
        let old = include_str!("../../../../fixtures/certificates/version-1.pem");
        std::fs::write(&certificate, old).unwrap();
        let files = CertificateFiles { section: "admin", certificate, key: "missing".into() };
        let faults = files.faults().join("; ");
        assert!(faults.contains("admin.certificate: "), "{faults}");
        assert!(faults.contains("version 1 certificate"), "{faults}");
    }
}
