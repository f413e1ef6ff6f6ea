//! Making streams and changing them through their life: scheduled, live, ended.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::Outcome;
use crate::protocol::stream::{NewStream, Stream, StreamPatch, StreamState};

impl Control {
    /// Makes a stream; the outcome carries it.
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
        // The store says of which stream, since it may choose the number itself.
        let entry = self.entry(actor, "create_stream", String::new(), request);
        let created = self.parts.metadata.create_stream(new, entry).await;
        let (audit_id, stream) = created.map_err(|error| match (error, request.stream_id) {
            (StoreError::Exists(_), Some(stream_id)) => ControlError::StreamExists(stream_id),
            (other, _) => other.into(),
        })?;
        self.settled(audit_id, stream, started).await
    }

    /// Changes what the patch names; the outcome carries the stream as it is then. Ending it sends
    /// its viewers away.
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
        let entry = self.entry(actor, "update_stream", format!("stream {stream_id}"), request);
        let (audit_id, stream) = self.parts.metadata.update_stream(stream_id, patch, entry).await?;
        let outcome = self.settled(audit_id, stream, started).await?;
        if request.state == Some(StreamState::Ended) {
            // Said again for a stream that had ended: the first word may have been lost.
            self.parts.bus.publish(stream_id, vec![BusMessage::Ended]).await?;
        }
        Ok(outcome)
    }

    /// Tells every node of a stream's new settings.
    async fn settled(
        &self,
        audit_id: u64,
        stream: Stream,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let reload = NodeCommand::ReloadStream { stream_id: stream.stream_id };
        let reached = self.tell_all(reload).await;
        Ok(Outcome { stream: Some(stream), ..outcome(audit_id, reached, started) })
    }

    /// The stream as the store has it: another node may have made it a moment ago.
    pub async fn require_stream(&self, stream_id: StreamId) -> Result<Stream, ControlError> {
        let stream = self.parts.metadata.stream(stream_id).await?;
        stream.ok_or(ControlError::UnknownStream(stream_id))
    }
}
