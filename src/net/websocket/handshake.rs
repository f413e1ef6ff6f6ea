//! The parts of the opening handshake that client and server compute alike (RFC 6455 §4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// Bytes of the nonce in `Sec-WebSocket-Key`.
pub const NONCE_BYTES: usize = 16;

/// Returns the `Sec-WebSocket-Key` of a nonce.
pub fn key(nonce: [u8; NONCE_BYTES]) -> String {
    STANDARD.encode(nonce)
}

/// Reports whether a `Sec-WebSocket-Key` is well-formed.
pub fn is_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|nonce| nonce.len() == NONCE_BYTES)
}

/// Returns the `Sec-WebSocket-Accept` of a `Sec-WebSocket-Key` (§4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_of_the_rfc() {
        let key = key(*b"the sample nonce");
        assert!(is_key(&key));
        assert_eq!(accept_key(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn keys_hold_sixteen_bytes() {
        for text in ["", "dG9vIHNob3J0", "not base64 at all!!!!!!!"] {
            assert!(!is_key(text), "{text}");
        }
    }
}
