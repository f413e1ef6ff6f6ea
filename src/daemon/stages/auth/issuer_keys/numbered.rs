//! The keys of the sets that were read, each under an id.
//!
//! Always holds: a key keeps its id from set to set, and no two keys ever had the same one. A key
//! that comes back after it was withdrawn is a new one.

use std::num::NonZeroU32;

use super::set::PublicKey;
use crate::daemon::base::handoff::IssuerKeyId;
use crate::daemon::stages::auth::keys::VerifyingKey;

/// The keys of the last set. Bounded as a set is.
#[derive(Debug, Default)]
pub(super) struct NumberedKeys {
    keys: Vec<(IssuerKeyId, PublicKey)>,
    /// The number of ids that were given.
    given: u32,
}

/// A set of which each key has its id.
#[derive(Debug)]
pub(super) struct NumberedSet {
    pub(super) keys: Vec<VerifyingKey>,
    /// Those of the set before that this one no longer has.
    pub(super) withdrawn: Vec<IssuerKeyId>,
}

impl NumberedKeys {
    /// Replaces the set.
    pub(super) fn replace(&mut self, set: Vec<PublicKey>) -> NumberedSet {
        let before = std::mem::take(&mut self.keys);
        for key in set {
            let known = before.iter().find(|(_, known)| known.is_same(&key));
            let id = known.map_or_else(|| self.next_id(), |(id, _)| *id);
            self.keys.push((id, key));
        }
        let is_withdrawn = |id: &IssuerKeyId| self.keys.iter().all(|(kept, _)| kept != id);
        let withdrawn = before.iter().map(|(id, _)| *id).filter(is_withdrawn).collect();
        let verifying = |(id, key): &(IssuerKeyId, PublicKey)| {
            let PublicKey { algorithm, kid, decoded, .. } = key.clone();
            VerifyingKey::of_issuer(*id, algorithm, kid, decoded)
        };
        NumberedSet { keys: self.keys.iter().map(verifying).collect(), withdrawn }
    }

    fn next_id(&mut self) -> IssuerKeyId {
        let id = IssuerKeyId(NonZeroU32::MIN.saturating_add(self.given));
        self.given = self.given.saturating_add(1);
        id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::stages::auth::fixtures::jwk;
    use crate::daemon::stages::auth::issuer_keys::set;
    use crate::daemon::stages::auth::keys::Origin;

    fn ids(keys: &mut NumberedKeys, set: &Value) -> (Vec<u32>, Vec<u32>) {
        let set = set::read(json!({ "keys": set }).to_string().as_bytes()).unwrap();
        let NumberedSet { keys, withdrawn } = keys.replace(set);
        let id = |key: &VerifyingKey| match key.origin {
            Origin::Issuer(id) => id.0.get(),
            other => panic!("{other:?}"),
        };
        (keys.iter().map(id).collect(), withdrawn.iter().map(|id| id.0.get()).collect())
    }

    #[test]
    fn a_key_keeps_its_id_until_it_is_withdrawn() {
        let mut keys = NumberedKeys::default();
        let [old, curve, new] = [jwk::rsa("a"), jwk::p256("b"), jwk::other_rsa("c")];
        assert_eq!(ids(&mut keys, &json!([old, curve])), (vec![1, 2], vec![]));
        assert_eq!(ids(&mut keys, &json!([new, curve, old])), (vec![3, 2, 1], vec![]));
        assert_eq!(ids(&mut keys, &json!([new])), (vec![3], vec![2, 1]));
        assert_eq!(ids(&mut keys, &json!([old, new])), (vec![4, 3], vec![]), "a new one");
    }

    #[test]
    fn another_key_of_the_same_name_is_another() {
        let mut keys = NumberedKeys::default();
        assert_eq!(ids(&mut keys, &json!([jwk::rsa("a")])), (vec![1], vec![]));
        assert_eq!(ids(&mut keys, &json!([jwk::other_rsa("a")])), (vec![2], vec![1]));
        // Tokens that name the key are refused under another name.
        assert_eq!(ids(&mut keys, &json!([jwk::other_rsa("b")])), (vec![3], vec![2]));
    }
}
