//! Looks up a user: name, connections, sanctions.

use super::cluster::in_time;
use super::{Control, ControlError};
use crate::protocol::admin::{UserRef, Who};

impl Control {
    /// Returns a user's name, connections and sanctions.
    pub async fn who(&self, reference: &UserRef) -> Result<Who, ControlError> {
        let user = self.resolve(reference).await?;
        let user_id = user.user_id;
        let now = self.parts.clock.now_ms();
        let mut sanctions = self.parts.metadata.sanctions(now).await?;
        sanctions.retain(|sanction| sanction.user_id == user_id);
        let connections = in_time(self.parts.registry.locate(user_id)).await?;
        Ok(Who {
            user_id,
            name: user.name.as_deref().map(str::to_owned),
            connections,
            sanctions,
            unreachable: Vec::new(),
        })
    }
}
