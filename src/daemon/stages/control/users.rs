//! Finds the user that an operator names.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Control, ControlError};
use crate::daemon::engines::metadata::UserRecord;
use crate::protocol::admin::{Outcome, UserRef};
use crate::protocol::{UserId, text};

/// Candidates listed when a name belongs to several users.
const MAX_CANDIDATES: usize = 10;

/// A user that an operator named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedUser {
    pub(super) user_id: UserId,
    /// The name when last seen. `None` for an id that was never seen.
    pub(super) name: Option<Arc<str>>,
}

impl ResolvedUser {
    /// Writes `ann (user 42)`, or `user 42` if the name is not known.
    pub(super) fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} (user {})", self.user_id),
            None => format!("user {}", self.user_id),
        }
    }

    /// Names the user in a way that cannot become another one's.
    pub(super) fn reference(&self) -> UserRef {
        UserRef(format!("id:{}", self.user_id))
    }

    /// Writes the user into the outcome of a change.
    pub(super) fn named_in(&self, outcome: Outcome) -> Outcome {
        let user_name = self.name.as_deref().map(str::to_owned);
        Outcome { user_id: Some(self.user_id), user_name, ..outcome }
    }
}

/// The meanings of a reference.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// `id:42`.
    Id(&'a str),
    /// `name:ann`, or anything that is not digits only.
    Name(&'a str),
    /// Digits without a prefix: an id, unless somebody has them as a name.
    Digits(&'a str),
}

impl<'a> Reference<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.trim();
        if let Some(id) = text.strip_prefix("id:") {
            return Self::Id(id.trim());
        }
        if let Some(name) = text.strip_prefix("name:") {
            return Self::Name(name.trim());
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { Self::Digits(text) } else { Self::Name(text) }
    }
}

impl Control {
    /// Resolves a reference to exactly one user. Digits are a user id, known or not, unless they
    /// are also the name of another user.
    pub(super) async fn resolve(&self, user: &UserRef) -> Result<ResolvedUser, ControlError> {
        // Invisible characters are ignored.
        let written = text::normalize_label(&user.0).unwrap_or(Cow::Borrowed(&user.0));
        match Reference::of(&written) {
            Reference::Id(id) => self.user_of_id(parse_id(id)?).await,
            Reference::Name(name) => self.user_of_name(name).await,
            Reference::Digits(digits) => self.user_of_digits(digits).await,
        }
    }

    async fn user_of_id(&self, user_id: UserId) -> Result<ResolvedUser, ControlError> {
        let record = self.parts.metadata.user(user_id).await?;
        Ok(ResolvedUser { user_id, name: record.map(|record| record.name) })
    }

    async fn user_of_name(&self, name: &str) -> Result<ResolvedUser, ControlError> {
        match self.users_of_name(name).await?.as_slice() {
            [] => Err(ControlError::UnknownUser(name.to_owned())),
            [one] => Ok(ResolvedUser { user_id: one.user_id, name: Some(one.name.clone()) }),
            several => {
                let ids: Vec<_> = several.iter().map(|record| record.user_id).collect();
                Err(ControlError::BadUser(shared_name(name, &ids)))
            }
        }
    }

    async fn user_of_digits(&self, digits: &str) -> Result<ResolvedUser, ControlError> {
        let mut named = self.users_of_name(digits).await?;
        let user_id = match parse_id(digits) {
            Ok(user_id) => user_id,
            // A number that no id can be may still be a name.
            Err(_) if !named.is_empty() => return self.user_of_name(digits).await,
            Err(error) => return Err(error),
        };
        let by_id = self.user_of_id(user_id).await?;
        named.retain(|record| record.user_id != user_id);
        let Some(other) = named.first() else { return Ok(by_id) };
        let known = match &by_id.name {
            Some(name) => format!("user {user_id} is named `{name}`"),
            None => format!("user {user_id} was never seen here"),
        };
        Err(ControlError::BadUser(format!(
            "`{digits}` is an id and a name: {known}, and user {} is named `{digits}`; write \
             id:{digits} or name:{digits}",
            other.user_id
        )))
    }

    /// Looks a name up in the form in which names are stored.
    async fn users_of_name(&self, name: &str) -> Result<Vec<UserRecord>, ControlError> {
        let name = text::name(name).map_err(|error| {
            ControlError::BadUser(format!(
                "must be a number such as 42, or a name of 1 to {} characters; it {error}",
                text::MAX_NAME_CHARS
            ))
        })?;
        Ok(self.parts.metadata.users_named(&name).await?)
    }
}

fn parse_id(text: &str) -> Result<UserId, ControlError> {
    text.parse().map_err(|error| ControlError::BadUser(format!("{error}")))
}

fn shared_name(name: &str, ids: &[UserId]) -> String {
    let listed: Vec<_> = ids.iter().take(MAX_CANDIDATES).map(|id| format!("id:{id}")).collect();
    let more = match ids.len().saturating_sub(MAX_CANDIDATES) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!(
        "`{name}` names {} users: {}{more} (last seen first); name one by its id",
        ids.len(),
        listed.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_which_is_meant() {
        for (text, reference) in [
            ("12345", Reference::Digits("12345")),
            (" 007 ", Reference::Digits("007")),
            ("id:12345", Reference::Id("12345")),
            ("id:ann", Reference::Id("ann")),
            ("name:12345", Reference::Name("12345")),
            ("name:id:5", Reference::Name("id:5")),
            ("name: ann ", Reference::Name("ann")),
            ("ann", Reference::Name("ann")),
            ("١٢٣", Reference::Name("١٢٣")),
            ("-5", Reference::Name("-5")),
            ("", Reference::Name("")),
        ] {
            assert_eq!(Reference::of(text), reference, "{text}");
        }
    }
}
