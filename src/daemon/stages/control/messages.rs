//! Messages from the operator: to one user, or to all viewers of a stream.

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{AnnounceRequest, DirectRequest, Outcome, audit_action};

impl Control {
    /// Sends a message to every connection of a user. The outcome has their number.
    pub async fn direct(
        &self,
        actor: &Actor,
        request: &DirectRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let message = validate::note("message", &request.message)?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, audit_action::DM, format!("user {user_id}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let from = actor.shown_as().clone();
        let command = NodeCommand::Direct { user_id, from, message: message.into() };
        let results = self.command_nodes_of_user(user_id, command).await;
        let connections = Some(results.connections);
        Ok(user.named_in(Outcome { connections, ..outcome(audit_id, results, started) }))
    }

    /// Shows a message to every viewer of a stream, on all nodes.
    pub async fn announce(
        &self,
        actor: &Actor,
        request: &AnnounceRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stream_id = request.stream_id;
        let message = validate::note("message", &request.message)?;
        self.require_stream(stream_id).await?;
        let entry =
            self.entry(actor, audit_action::ANNOUNCE, format!("stream {stream_id}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let announcement = BusMessage::Announcement { message: message.into() };
        self.parts.bus.publish(stream_id, vec![announcement]).await?;
        Ok(outcome(audit_id, CommandResults::default(), started))
    }
}
