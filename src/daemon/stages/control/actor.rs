//! The person who makes a change.

use std::sync::Arc;

use crate::protocol::admin::{names_person, person_name};
use crate::protocol::{Identity, text};

/// The name of every operator for viewers, who need not know the accounts of the daemon's machine.
const OPERATOR_SHOWN_AS: &str = "moderator";

/// The name of decisions that no person makes.
const MODERATION: &str = "moderation";

/// The name of starts at a time that somebody has set before.
const SCHEDULE: &str = "schedule";

/// The person who makes a change, as named in the audit log and to viewers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    shown_as: Arc<str>,
}

impl Actor {
    /// Returns the actor of a request on the admin socket: the claimed name, in the normal form of
    /// names and cut to their length, followed by the uid that the operating system reports for the
    /// other end.
    pub fn operator(claimed: Option<&str>, uid: u32) -> Self {
        let name = person_name(&shown(claimed.unwrap_or_default()), format_args!("uid {uid}"));
        Self { name, shown_as: OPERATOR_SHOWN_AS.into() }
    }

    /// Returns the actor of a request to the admin API over the network: the name in what proves
    /// it, followed by the kind of proof, such as `certificate` or `token`.
    pub fn proved(name: &str, proof: &str) -> Self {
        Self { name: person_name(&shown(name), proof), shown_as: OPERATOR_SHOWN_AS.into() }
    }

    /// Returns the actor of a request with a token over the HTTP API.
    pub fn bearer(identity: &Identity) -> Self {
        let name = person_name(&identity.name, format_args!("user {}", identity.user_id));
        Self { name, shown_as: identity.name.clone() }
    }

    /// Returns the actor of decisions about held comments that no person makes.
    pub(super) fn moderation() -> Self {
        Self { name: MODERATION.to_owned(), shown_as: OPERATOR_SHOWN_AS.into() }
    }

    /// Returns the actor of starts that were scheduled.
    pub(super) fn schedule() -> Self {
        Self { name: SCHEDULE.to_owned(), shown_as: OPERATOR_SHOWN_AS.into() }
    }

    /// Returns false for [`Self::moderation`] and [`Self::schedule`].
    pub(super) fn is_person(&self) -> bool {
        names_person(&self.name)
    }

    /// Returns the name for the audit log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name for viewers: `moderator`, or the name in the token.
    pub fn shown_as(&self) -> &Arc<str> {
        &self.shown_as
    }
}

/// Returns a name in the normal form of names, cut to their length.
fn shown(name: &str) -> String {
    let printable: String = name.chars().filter(|c| !c.is_control()).collect();
    let normal = text::normalize_label(&printable).unwrap_or_default();
    let shown: String = normal.chars().take(text::MAX_NAME_CHARS).collect();
    if shown.is_empty() { "operator".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Role, UserId};

    #[test]
    fn a_claimed_name_is_cleaned_and_followed_by_the_uid() {
        for (claimed, name) in [
            (Some("ann"), "ann (uid 7)".to_owned()),
            (Some(" ann\n\u{1b}[2J "), "ann[2J (uid 7)".to_owned()),
            (Some("\t"), "operator (uid 7)".to_owned()),
            (Some("\u{3164}"), "operator (uid 7)".to_owned()),
            (Some("ann\u{200B}"), "ann (uid 7)".to_owned()),
            (None, "operator (uid 7)".to_owned()),
            (Some(&"x".repeat(99)), format!("{} (uid 7)", "x".repeat(64))),
        ] {
            assert_eq!(Actor::operator(claimed, 7).name(), name);
        }
        assert_eq!(Actor::proved("ann\n", "certificate").name(), "ann (certificate)");
        assert_eq!(&**Actor::operator(Some("root"), 0).shown_as(), OPERATOR_SHOWN_AS);
    }

    #[test]
    fn only_persons_are_named_with_a_proof() {
        let identity = Identity {
            user_id: UserId(7),
            name: "ann".into(),
            role: Role::Moderator,
            everywhere: Role::Moderator,
            avatar: None,
            comments_per_minute: None,
            standing: Default::default(),
        };
        let bearer = Actor::bearer(&identity);
        for person in [Actor::operator(None, 7), Actor::proved("ann", "token"), bearer] {
            assert!(person.is_person(), "{person:?}");
        }
        assert!(!Actor::moderation().is_person());
        for stage in ["rules", "models", "hook", "pipeline"] {
            assert!(!names_person(stage), "{stage}");
        }
    }
}
