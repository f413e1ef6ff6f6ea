//! Finds the user that an operator names.

use std::sync::Arc;

use super::{Control, ControlError};
use crate::protocol::admin::UserRef;
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

impl Control {
    /// Resolves a reference. Digits are a user id, known or not. Anything else must be the name of
    /// exactly one user.
    pub(super) async fn resolve(&self, user: &UserRef) -> Result<ResolvedUser, ControlError> {
        let reference = user.0.trim();
        if !reference.is_empty() && reference.bytes().all(|byte| byte.is_ascii_digit()) {
            let user_id: UserId =
                reference.parse().map_err(|error| ControlError::BadUser(format!("{error}")))?;
            let record = self.parts.metadata.user(user_id).await?;
            return Ok(ResolvedUser { user_id, name: record.map(|record| record.name) });
        }
        // Names are stored in this form, too.
        let name = text::name(reference).map_err(|error| {
            ControlError::BadUser(format!(
                "must be a number such as 42, or a name of 1 to {} characters; it {error}",
                text::MAX_NAME_CHARS
            ))
        })?;
        let found = self.parts.metadata.users_named(&name).await?;
        match found.as_slice() {
            [] => Err(ControlError::UnknownUser(name.into_owned())),
            [one] => Ok(ResolvedUser { user_id: one.user_id, name: Some(one.name.clone()) }),
            several => {
                let ids: Vec<_> = several.iter().map(|record| record.user_id).collect();
                Err(ControlError::BadUser(ambiguous(&name, &ids)))
            }
        }
    }
}

fn ambiguous(name: &str, ids: &[UserId]) -> String {
    let listed: Vec<_> = ids.iter().take(MAX_CANDIDATES).map(UserId::to_string).collect();
    let more = match ids.len().saturating_sub(MAX_CANDIDATES) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!(
        "`{name}` names {} users: {}{more} (last seen first); name one by number",
        ids.len(),
        listed.join(", ")
    )
}
