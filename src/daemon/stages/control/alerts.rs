//! Records what operators do about alerts. The alerts themselves are of the admin socket.

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::protocol::admin::{AckRequest, Outcome, audit_action};

impl Control {
    /// Records that an operator has acknowledged an alert.
    pub async fn record_ack(
        &self,
        actor: &Actor,
        request: &AckRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let entry =
            self.entry(actor, audit_action::ACK_ALERT, format!("alert {}", request.id), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        Ok(outcome(audit_id, CommandResults::default(), started))
    }
}
