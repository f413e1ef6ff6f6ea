//! Where a user is, and what is held against them.

use super::cluster::in_time;
use super::{Control, ControlError};
use crate::protocol::admin::{UserRef, Who};

impl Control {
    pub async fn who(&self, user: &UserRef) -> Result<Who, ControlError> {
        let named = self.resolve(user).await?;
        let user_id = named.user_id;
        let now = self.parts.clock.now_ms();
        let mut sanctions = self.parts.metadata.sanctions(now).await?;
        sanctions.retain(|sanction| sanction.user_id == user_id);
        let connections = in_time(self.parts.registry.locate(user_id)).await?;
        Ok(Who {
            user_id,
            name: named.name.as_deref().map(str::to_owned),
            connections,
            sanctions,
            unreachable: Vec::new(),
        })
    }
}
