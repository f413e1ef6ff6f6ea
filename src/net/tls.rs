//! The certificates that a client accepts.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, WantsVerifier,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The certificates that a client accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Those signed by the authorities of the public web.
    #[default]
    PublicAuthorities,
    /// Any, unchecked. Only for a daemon that made its own certificate (`--dev-tls`) and only at
    /// the user's request: anyone between client and daemon can read and change everything.
    AnyCertificate,
    /// Exactly one, whatever its names and its authority. For the daemon of this machine, which
    /// says on its admin socket what it presents.
    Certificate(CertificateDigest),
}

/// Reads the certificates in a PEM file, at least one. Blocks on the disk.
///
/// # Errors
/// The file cannot be read, or has none: `NoItemsFound`.
pub fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let found = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(found) }
}

/// Says what to do about a certificate of version 1.
pub const VERSION_1: &str = "it is a version 1 certificate, and TLS needs version 3: sign it with \
     extensions (openssl x509 -req … -extfile FILE, or openssl req -x509 … -addext NAME=VALUE)";

/// Returns whether a certificate is of version 1, which rustls does not accept. It is what openssl
/// makes of a request if it is given no extensions.
pub fn is_version_1(certificate: &CertificateDer<'_>) -> bool {
    const INTEGER: u8 = 0x02;
    // SEQUENCE { SEQUENCE { [0] version, serial number, … }, … }: version 1 is left out.
    let to_sign = der_sequence(certificate).and_then(der_sequence);
    to_sign.is_some_and(|to_sign| to_sign.first() == Some(&INTEGER))
}

/// Returns what follows the tag and the length of a DER sequence; `None` for anything else.
fn der_sequence(bytes: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const LONG_FORM: u8 = 0x80;
    let rest = bytes.strip_prefix(&[SEQUENCE])?;
    let (length, rest) = rest.split_first()?;
    if *length < LONG_FORM {
        return Some(rest);
    }
    rest.get(usize::from(length - LONG_FORM)..)
}

/// The SHA-256 of a certificate in DER form. As text, 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDigest([u8; 32]);

impl CertificateDigest {
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for CertificateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for CertificateDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || "a certificate's SHA-256 has 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut digest = [0; 32];
        for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(digest))
    }
}

impl Trust {
    /// Returns the TLS configuration, for any number of connections.
    pub fn config(self) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions");
        Arc::new(match self {
            Self::PublicAuthorities => {
                let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
                builder
                    .with_root_certificates(roots.collect::<RootCertStore>())
                    .with_no_client_auth()
            }
            Self::AnyCertificate => unnamed(builder, provider, None),
            Self::Certificate(digest) => unnamed(builder, provider, Some(digest)),
        })
    }
}

/// Configures a client that ignores names and authorities.
fn unnamed(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    provider: Arc<CryptoProvider>,
    only: Option<CertificateDigest>,
) -> ClientConfig {
    builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(UnnamedCertificate { provider, only }))
        .with_no_client_auth()
}

/// Accepts every certificate, or only one. Signatures of the handshake are still checked, so the
/// server does hold the key of the certificate it shows.
#[derive(Debug)]
struct UnnamedCertificate {
    provider: Arc<CryptoProvider>,
    only: Option<CertificateDigest>,
}

impl ServerCertVerifier for UnnamedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.only {
            Some(only) if CertificateDigest::of(end_entity) != only => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_1_certificate_is_told() {
        let old = include_bytes!("../../fixtures/certificates/version-1.pem");
        let old = CertificateDer::from_pem_slice(old).unwrap();
        assert!(is_version_1(&old));
        let version_3 = [0x30_u8, 0x09, 0x30, 0x07, 0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x00];
        assert!(!is_version_1(&CertificateDer::from(&version_3[..])));
        for length in 0..8 {
            assert!(!is_version_1(&CertificateDer::from(&old[..length])), "{length} bytes");
        }
        assert!(!is_version_1(&CertificateDer::from(&[0x30_u8, 0xff][..])));
    }
}
