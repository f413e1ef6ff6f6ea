//! How much of a stream is shown, by an operator's word.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{Outcome, ThrottleRequest};

impl Control {
    /// Fixes the share of a stream that is broadcast, or gives the decision back to the throttle.
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
        // Which node broadcasts the stream is its business: all are told, one acts on it.
        let reached = self.tell_all(NodeCommand::Throttle { stream_id, sample_rate }).await;
        Ok(outcome(audit_id, reached, started))
    }
}
