//! The fuzz target of the key sets of issuers.

use std::collections::BTreeSet;

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
    let kids: Vec<_> = keys.iter().filter_map(|key| key.kid.as_deref()).collect();
    assert!(kids.iter().all(|kid| kid.len() <= 256));
    let distinct: BTreeSet<_> = kids.iter().collect();
    assert_eq!(distinct.len(), kids.len(), "each `kid` names one key");
    for key in &keys {
        // Whatever the key is, a signature of nothing is none.
        assert!(!key.verifies("e30.e30", ""));
    }
}
