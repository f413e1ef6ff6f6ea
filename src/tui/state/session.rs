//! The operator that the console acts for, as the daemon names it.

use super::Console;
use crate::protocol::admin::{AdminRole, Session, short_actor};

impl Console {
    /// Takes who the daemon says that the console acts for. While it does not say so, what was
    /// known stays.
    pub(crate) fn set_session(&mut self, session: Option<Session>) {
        if session.is_some() {
            self.session = session;
        }
    }

    /// Returns the name and the role for the first row: `ann, operator`.
    pub(crate) fn who(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        Some(format!("{}, {}", short_actor(&session.actor), session.role))
    }

    /// Returns whether the role allows no act at all.
    pub(crate) fn only_reads(&self) -> bool {
        self.refused_role(AdminRole::Moderator).is_some()
    }

    /// Returns why the daemon would refuse what needs a role; `None` if it would not, or has not
    /// said yet who the caller is.
    pub(crate) fn refused_role(&self, needed: AdminRole) -> Option<String> {
        let session = self.session.as_ref().filter(|session| session.role < needed)?;
        Some(format!(
            "this needs the role {needed}, and {} has the role {} here",
            short_actor(&session.actor),
            session.role
        ))
    }
}
