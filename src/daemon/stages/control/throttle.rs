//! Overrides the throttle of a stream.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{Outcome, ThrottleRequest};

impl Control {
    /// Fixes the share of a stream that is broadcast, or returns the decision to the throttle.
    pub async fn throttle(
        &self,
        actor: &Actor,
        request: &ThrottleRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let ThrottleRequest { stream_id, sample_rate } = *request;
        self.require_stream(stream_id).await?;
        let entry = self.entry(actor, "throttle", format!("stream {stream_id}"), request);
        let stored = self.parts.metadata.set_throttle_override(stream_id, sample_rate, entry);
        let audit_id = stored.await?;
        // Any node may broadcast the stream, so all receive the command. Only that one applies it.
        let results =
            self.command_all_nodes(NodeCommand::Throttle { stream_id, sample_rate }).await;
        Ok(outcome(audit_id, results, started))
    }
}
