//! Overrides the throttle of a stream.

use tokio::time::Instant;

use super::validate::{self, LONGEST_THROTTLE_MS};
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, ThrottleRequest, audit_action};
use crate::protocol::throttle::FixedRate;

impl Control {
    /// Fixes the share of a stream that is broadcast, for a time or until it is changed, or returns
    /// the decision to the throttle.
    pub async fn throttle(
        &self,
        actor: &Actor,
        request: &ThrottleRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stream_id = request.stream_id;
        if let Some(for_ms) = request.for_ms {
            validate::lifetime_ms("for_ms", for_ms, LONGEST_THROTTLE_MS)?;
            if request.sample_rate.is_none() {
                let problem = "needs a `sample_rate`: without one, nothing ends".to_owned();
                return Err(ControlError::Invalid { field: "for_ms", problem });
            }
        }
        self.require_stream(stream_id).await?;
        let entry =
            self.entry(actor, audit_action::THROTTLE, format!("stream {stream_id}"), request);
        let until_ms = request.for_ms.map(|for_ms| entry.at + for_ms);
        let fixed = request.sample_rate.map(|rate| FixedRate { rate, until_ms });
        self.fix_rate(stream_id, fixed, entry, started).await
    }

    /// Stores the share of a stream and tells it to the nodes. Any node may broadcast the stream,
    /// so all receive the command. Only that one applies it.
    pub(super) async fn fix_rate(
        &self,
        stream_id: StreamId,
        fixed: Option<FixedRate>,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let stored = self.parts.metadata.set_throttle_override(stream_id, fixed, entry);
        let audit_id = stored.await?;
        let results = self.command_all_nodes(NodeCommand::Throttle { stream_id, fixed }).await;
        Ok(outcome(audit_id, results, started))
    }
}
