//! Users whose tokens name them by a text that is no number, such as a UUID or `auth0|5f7c…`.
//!
//! Each gets a numeric id, which the store keeps for ever. The id comes from a hash of the issuer
//! and the text, so that a store that was lost gives the same ids again. All such ids are
//! [`FIRST_SUBJECT_ID`] or above, where no token of an issuer names an id itself.

use sha2::{Digest as _, Sha256};

use crate::daemon::engines::StoreError;
use crate::protocol::UserId;

/// The most bytes of the text, and of the issuer.
const MAX_SUBJECT_BYTES: usize = 255;

/// The lowest id that a subject can get: 2^62. The highest is 2^63 − 1.
pub const FIRST_SUBJECT_ID: u64 = 1 << 62;

/// The ids that are tried. That any two of a billion subjects begin with the same one has a
/// probability of a tenth.
const CANDIDATES: u32 = 8;

/// The error of a subject whose candidates all belong to others.
pub(super) const NO_FREE_ID: StoreError = StoreError::Full("id for this subject");

/// A user as its issuer names it. Both texts are compared byte by byte, as RFC 7519 §2 demands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    issuer: Box<str>,
    name: Box<str>,
}

/// Why a text names no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    #[error("must have 1 to {MAX_SUBJECT_BYTES} bytes")]
    Length,
    #[error("must not contain control characters")]
    Control,
}

impl Subject {
    /// Takes the issuer (empty if the token names none) and its text for the user.
    ///
    /// # Errors
    /// The text or the issuer is too long or not printable, or the text is empty.
    pub fn new(issuer: &str, name: &str) -> Result<Self, InvalidSubject> {
        if name.is_empty() || name.len() > MAX_SUBJECT_BYTES || issuer.len() > MAX_SUBJECT_BYTES {
            return Err(InvalidSubject::Length);
        }
        let is_unprintable =
            |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
        if name.contains(is_unprintable) || issuer.contains(is_unprintable) {
            return Err(InvalidSubject::Control);
        }
        Ok(Self { issuer: issuer.into(), name: name.into() })
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns the text that names the user.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key of the subject in a cache. Two subjects have the same one as rarely as
    /// SHA-256, cut to 128 bits, has collisions.
    pub(crate) fn key(&self) -> u128 {
        u128::from_be_bytes(self.hashed(0))
    }

    /// Returns the ids that the subject may get, in the order in which a store tries them.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = UserId> {
        (1..=CANDIDATES).map(|attempt| {
            let bits = u128::from_be_bytes(self.hashed(attempt)) as u64;
            UserId(FIRST_SUBJECT_ID | (bits >> 2))
        })
    }

    fn hashed(&self, purpose: u32) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(b"lcd subject");
        hash.update(purpose.to_be_bytes());
        // The length keeps the border between both texts.
        hash.update((self.issuer.len() as u64).to_be_bytes());
        hash.update(self.issuer.as_bytes());
        hash.update(self.name.as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_lie_above_the_ids_of_numbers() {
        let subject = Subject::new("https://id.example", "auth0|5f7c8ec7c33c6c004bbafe82").unwrap();
        let ids: Vec<_> = subject.candidates().collect();
        assert!(ids.iter().all(|id| id.is_valid() && id.0 >= FIRST_SUBJECT_ID), "{ids:?}");
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), distinct.len()), (8, 8));
        // The same in every version: a store that was lost gives the same ids again.
        assert_eq!(ids[0], UserId(8_789_200_553_376_562_589));
    }

    #[test]
    fn the_border_between_issuer_and_name_counts() {
        let first = |issuer, name| Subject::new(issuer, name).unwrap().candidates().next();
        assert_ne!(first("ab", "c"), first("a", "bc"));
        assert_ne!(first("", "Ann"), first("", "ann"));
    }

    #[test]
    fn texts_that_cannot_be_shown_name_nobody() {
        for (issuer, name, error) in [
            ("", "", InvalidSubject::Length),
            ("", &*"é".repeat(128), InvalidSubject::Length),
            (&*"i".repeat(256), "ann", InvalidSubject::Length),
            ("", "a\nb", InvalidSubject::Control),
            ("", "a\0b", InvalidSubject::Control),
            ("", "a\u{2028}b", InvalidSubject::Control),
            ("a\tb", "ann", InvalidSubject::Control),
        ] {
            assert_eq!(Subject::new(issuer, name), Err(error), "{issuer:?} {name:?}");
        }
        assert!(Subject::new("", &"x".repeat(255)).is_ok());
        assert!(Subject::new("", "Ann Ω 漢字").is_ok());
    }
}
