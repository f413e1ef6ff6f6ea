//! The keys of one direction of a connection (RFC 8446 §5.2, §5.3, §7.2, §7.3).

use std::io;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN,
    NONCE_LEN, Nonce, UnboundKey,
};
use rustls::crypto::tls13::OkmBlock;
use rustls::{ConnectionTrafficSecrets, Tls13CipherSuite};
use zeroize::Zeroizing;

use super::alert::FatalAlert::{BadRecordMac, InternalError, RecordOverflow, UnexpectedMessage};
use super::alert::broken;
use super::{APPLICATION_DATA, HEADER_BYTES, MAX_PLAIN_BYTES};

/// The longest key of any suite.
const MAX_KEY_BYTES: usize = 32;
/// Renewals by a peer between its handshake and its first request that are followed. rustls
/// accepts no more key updates in a row.
const MAX_EARLY_RENEWALS: usize = 32;

/// The traffic secrets of a handshake, from which later keys are derived.
#[derive(Default, Clone)]
pub struct TrafficSecrets {
    client: Option<OkmBlock>,
    server: Option<OkmBlock>,
}

impl std::fmt::Debug for TrafficSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TrafficSecrets")
    }
}

impl TrafficSecrets {
    /// Keeps a secret that [`rustls::KeyLog`] is told, if it is one of these.
    pub fn keep(&mut self, label: &str, secret: &[u8]) {
        if secret.len() > OkmBlock::MAX_LEN {
            return;
        }
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => self.client = Some(OkmBlock::new(secret)),
            "SERVER_TRAFFIC_SECRET_0" => self.server = Some(OkmBlock::new(secret)),
            _ => {}
        }
    }

    /// Returns whether [`Self::keep`] keeps the secret of this label.
    pub fn wants(label: &str) -> bool {
        matches!(label, "CLIENT_TRAFFIC_SECRET_0" | "SERVER_TRAFFIC_SECRET_0")
    }

    pub(super) fn of_client(&self) -> Option<&OkmBlock> {
        self.client.as_ref()
    }

    pub(super) fn of_server(&self) -> Option<&OkmBlock> {
        self.server.as_ref()
    }
}

/// Seals or opens the records of one direction. Tests clone one to seal records as the peer.
#[cfg_attr(test, derive(Clone))]
pub(super) struct DirectionKeys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// The number of records under this key.
    sequence: u64,
    suite: &'static Tls13CipherSuite,
    /// The secret that the key was derived from; `None` if it is not known.
    secret: Option<OkmBlock>,
}

impl DirectionKeys {
    /// Returns the keys that a session has used, and the next sequence number. `secret` is that of
    /// the handshake; it counts only if these keys were derived from it or from one that followed.
    pub(super) fn new(
        suite: &'static Tls13CipherSuite,
        (sequence, extracted): (u64, ConnectionTrafficSecrets),
        secret: Option<&OkmBlock>,
    ) -> io::Result<Self> {
        let (algorithm, key, iv) = match &extracted {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(broken(InternalError, "an unknown cipher suite")),
        };
        let iv: [u8; NONCE_LEN] =
            iv.as_ref().try_into().map_err(|_| broken(InternalError, "an odd nonce"))?;
        let secret = match secret {
            Some(first) => secret_of(suite, first, key.as_ref())?,
            None => None,
        };
        Ok(Self { key: bound(algorithm, key.as_ref())?, iv, sequence, suite, secret })
    }

    #[cfg(test)]
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Reports whether the key has sealed as many records as it may.
    pub(super) fn is_used_up(&self) -> bool {
        self.sequence >= self.suite.common.confidentiality_limit
    }

    /// Returns the keys that follow these (§7.2).
    ///
    /// # Errors
    /// The secret of the present key is not known.
    pub(super) fn renewed(&self) -> io::Result<Self> {
        let Self { suite, key, secret, .. } = self;
        let unknown = || broken(InternalError, "keys that cannot be renewed");
        let secret = next_secret(suite, secret.as_ref().ok_or_else(unknown)?);
        let algorithm = key.algorithm();
        let key = derived_key(suite, &secret, algorithm.key_len())?;
        let mut iv = [0; NONCE_LEN];
        expand(suite, &secret, b"iv", &mut iv)?;
        let key = bound(algorithm, &key[..algorithm.key_len()])?;
        Ok(Self { key, iv, sequence: 0, suite, secret: Some(secret) })
    }

    /// Seals the plaintext that stands in `bytes` behind the room for a header at `at`.
    pub(super) fn seal(&mut self, kind: u8, bytes: &mut Vec<u8>, at: usize) -> io::Result<()> {
        bytes.push(kind);
        let inner_bytes = bytes.len() - at - HEADER_BYTES;
        let [high, low] = ((inner_bytes + MAX_TAG_LEN) as u16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        bytes[at..at + HEADER_BYTES].copy_from_slice(&header);
        let nonce = self.next_nonce()?;
        let inner = &mut bytes[at + HEADER_BYTES..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
        let tag = tag.map_err(|_| broken(InternalError, "a record that is too long"))?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens a whole record in place. Returns its true type and its plaintext.
    ///
    /// # Errors
    /// It was not sealed by the peer as its next record, or breaks a rule of its content.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> io::Result<(u8, &'a [u8])> {
        let (header, sealed) = record.split_at_mut(HEADER_BYTES);
        let nonce = self.next_nonce()?;
        let opened = self.key.open_in_place(nonce, Aad::from(&*header), sealed);
        let forged = |_| broken(BadRecordMac, "a record that was not sealed by the peer");
        let inner = &*opened.map_err(forged)?;
        // The type and its padding count too (§5.4).
        if inner.len() > MAX_PLAIN_BYTES + 1 {
            return Err(broken(RecordOverflow, "a record with too much plaintext"));
        }
        // The type is the last byte that is not padding.
        let end = inner.iter().rposition(|byte| *byte != 0);
        let end = end.ok_or_else(|| broken(UnexpectedMessage, "a record without a type"))?;
        Ok((inner[end], &inner[..end]))
    }

    /// Uses up the next sequence number.
    fn next_nonce(&mut self) -> io::Result<Nonce> {
        let mut nonce = self.iv;
        let number = self.sequence.to_be_bytes();
        for (byte, of_number) in nonce[NONCE_LEN - number.len()..].iter_mut().zip(number) {
            *byte ^= of_number;
        }
        let next = self.sequence.checked_add(1);
        self.sequence = next.ok_or_else(|| broken(InternalError, "too many records"))?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

fn bound(algorithm: &'static Algorithm, key: &[u8]) -> io::Result<LessSafeKey> {
    let key = UnboundKey::new(algorithm, key);
    Ok(LessSafeKey::new(key.map_err(|_| broken(InternalError, "a key of an odd length"))?))
}

/// Returns the secret that a key was derived from: the first one, or one that followed.
fn secret_of(
    suite: &'static Tls13CipherSuite,
    first: &OkmBlock,
    key: &[u8],
) -> io::Result<Option<OkmBlock>> {
    let mut secret = first.clone();
    for _ in 0..=MAX_EARLY_RENEWALS {
        if derived_key(suite, &secret, key.len())?[..key.len()] == *key {
            return Ok(Some(secret));
        }
        secret = next_secret(suite, &secret);
    }
    Ok(None)
}

/// Returns the key of a secret at the front of an array that is wiped.
fn derived_key(
    suite: &'static Tls13CipherSuite,
    secret: &OkmBlock,
    key_bytes: usize,
) -> io::Result<Zeroizing<[u8; MAX_KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; MAX_KEY_BYTES]);
    expand(suite, secret, b"key", &mut key[..key_bytes])?;
    Ok(key)
}

fn next_secret(suite: &'static Tls13CipherSuite, secret: &OkmBlock) -> OkmBlock {
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    with_label(b"traffic upd", expander.hash_len(), |info| expander.expand_block(info))
}

/// HKDF-Expand-Label with an empty context (§7.1).
fn expand(
    suite: &'static Tls13CipherSuite,
    secret: &OkmBlock,
    label: &[u8],
    output: &mut [u8],
) -> io::Result<()> {
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    let expanded = with_label(label, output.len(), |info| expander.expand_slice(info, output));
    expanded.map_err(|_| broken(InternalError, "an odd length"))
}

/// Makes the `HkdfLabel` of an output of so many bytes.
fn with_label<T>(label: &[u8], output_bytes: usize, expand: impl FnOnce(&[&[u8]]) -> T) -> T {
    const PREFIX: &[u8] = b"tls13 ";
    let output_bytes = (output_bytes as u16).to_be_bytes();
    let label_bytes = [(PREFIX.len() + label.len()) as u8];
    expand(&[&output_bytes[..], &label_bytes, PREFIX, label, &[0]])
}
