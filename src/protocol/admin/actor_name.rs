//! The names of persons who act: `bob (uid 1001)`, `bob (token)`, `bob (user 7)`. What proves the
//! name stands in brackets. Stages of moderation act under their names without brackets, so that a
//! stored name tells whether a person acted.

use std::fmt::Display;

const PROOF_BEGINS: &str = " (";
const PROOF_ENDS: char = ')';

/// Returns the name of a person, followed by what proves it.
pub fn person_name(name: &str, proof: impl Display) -> String {
    format!("{name}{PROOF_BEGINS}{proof}{PROOF_ENDS}")
}

/// Returns whether an actor's name is that of a person: one that [`person_name`] made.
pub fn names_person(actor: &str) -> bool {
    actor.ends_with(PROOF_ENDS) && actor.contains(PROOF_BEGINS)
}

/// Returns an actor's name without what proves it: `bob` of `bob (uid 1001)` and of `bob (token)`.
pub fn short_actor(actor: &str) -> &str {
    actor.rsplit_once(PROOF_BEGINS).map_or(actor, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_from_a_stage() {
        for (name, proof) in [("bob", "uid 1001"), ("bob (x)", "user 7"), (":)", "token")] {
            let person = person_name(name, proof);
            assert_eq!((names_person(&person), short_actor(&person)), (true, name), "{person}");
        }
        for actor in ["rules", "hook", "", "bob", "smile:)", "(rules"] {
            assert_eq!((names_person(actor), short_actor(actor)), (false, actor));
        }
        assert_eq!(person_name("bob", "uid 1001"), "bob (uid 1001)", "as in stored entries");
    }
}
