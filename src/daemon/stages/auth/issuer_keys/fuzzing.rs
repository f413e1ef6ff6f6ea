//! The fuzz target of the key sets of issuers.

use super::numbered::NumberedKeys;
use super::set;
use crate::daemon::base::config::KeyAlgorithm;

/// A key set. What is used of it is within bounds, and a refusal is a sentence.
pub fn key_set(data: &[u8]) {
    let keys = match set::read(data) {
        Ok(keys) => keys,
        Err(refusal) => return assert!(!refusal.to_string().is_empty()),
    };
    assert!((1..=32).contains(&keys.len()));
    assert!(keys.iter().all(|key| key.algorithm != KeyAlgorithm::HS256));
    for (place, key) in keys.iter().enumerate() {
        let Some(kid) = &key.kid else { continue };
        assert!(kid.len() <= 256);
        let is_same = |other: &set::PublicKey| {
            other.algorithm == key.algorithm && other.kid.as_ref() == Some(kid)
        };
        assert!(!keys[..place].iter().any(is_same), "each `kid` names one key per algorithm");
    }
    let mut numbered = NumberedKeys::default();
    let kept = keys.clone();
    assert!(numbered.replace(keys).withdrawn.is_empty());
    let again = numbered.replace(kept);
    assert!(again.withdrawn.is_empty(), "a set that did not change withdraws no key");
    for key in &again.keys {
        // Whatever the key is, a signature of nothing is none.
        assert!(!key.verifies("e30.e30", ""));
    }
}
