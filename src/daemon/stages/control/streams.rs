//! Creates streams and changes them: scheduled, live, ended.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, audit_action};
use crate::protocol::stream::{NewStream, Stream, StreamPatch, StreamState};

impl Control {
    /// Creates a stream and returns it in the outcome.
    pub async fn create_stream(
        &self,
        actor: &Actor,
        request: &NewStream,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let title = validate::title(&request.title)?;
        if let Some(stream_id) = request.stream_id {
            validate::id("stream_id", stream_id.0)?;
        }
        let new = NewStream { title, ..request.clone() };
        // The store fills in the target, because it may choose the id.
        let entry = self.entry(actor, audit_action::CREATE_STREAM, String::new(), request);
        let created = self.parts.metadata.create_stream(new, entry).await;
        let (audit_id, stream) = created.map_err(|error| match (error, request.stream_id) {
            (StoreError::Exists(_), Some(stream_id)) => ControlError::StreamExists(stream_id),
            (other, _) => other.into(),
        })?;
        self.reload_on_all_nodes(audit_id, stream, started).await
    }

    /// Changes the settings that the patch names and returns the stream in the outcome. Ending a
    /// stream dismisses its viewers.
    pub async fn update_stream(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &StreamPatch,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let title = request.title.as_deref().map(validate::title).transpose()?;
        self.require_stream(stream_id).await?;
        if *request == StreamPatch::default() {
            let problem = "must name at least one of title, state, anonymous, moderation";
            return Err(ControlError::Invalid { field: "patch", problem: problem.to_owned() });
        }
        let patch = StreamPatch { title, ..request.clone() };
        let entry =
            self.entry(actor, audit_action::UPDATE_STREAM, format!("stream {stream_id}"), request);
        self.change_stream(stream_id, patch, entry, started).await
    }

    /// Stores a change of a stream and makes every node follow it.
    pub(super) async fn change_stream(
        &self,
        stream_id: StreamId,
        patch: StreamPatch,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let ends = patch.state == Some(StreamState::Ended);
        let (audit_id, stream) = self.parts.metadata.update_stream(stream_id, patch, entry).await?;
        let outcome = self.reload_on_all_nodes(audit_id, stream, started).await?;
        if ends {
            // Sent also for a stream that had already ended: the first message may have been lost.
            self.parts.bus.publish(stream_id, vec![BusMessage::Ended]).await?;
        }
        Ok(outcome)
    }

    /// Makes every node reload a stream.
    async fn reload_on_all_nodes(
        &self,
        audit_id: u64,
        stream: Stream,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let reload = NodeCommand::ReloadStream { stream_id: stream.stream_id };
        let results = self.command_all_nodes(reload).await;
        // A node counts the anonymous viewers that it closes. Those of a stream that ended are told
        // over the bus, and not counted.
        let counted = !stream.anonymous && stream.state != StreamState::Ended;
        let connections = counted.then_some(results.connections);
        let base = outcome(audit_id, results, started);
        Ok(Outcome { stream: Some(stream), connections, ..base })
    }

    /// Returns a stream from the store, because another node may have created it just now.
    pub async fn require_stream(&self, stream_id: StreamId) -> Result<Stream, ControlError> {
        let stream = self.parts.metadata.stream(stream_id).await?;
        stream.ok_or(ControlError::UnknownStream(stream_id))
    }
}
