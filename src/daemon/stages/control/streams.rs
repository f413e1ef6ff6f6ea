//! Creates streams, changes them, starts them when it is time, and deletes them.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::base::ticker::ticker;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, audit_action};
use crate::protocol::stream::{NewStream, Stream, StreamPatch, StreamState};

/// A scheduled stream starts at most this long after its time.
const START_INTERVAL: Duration = Duration::from_secs(1);

impl Control {
    /// Creates a stream and returns it in the outcome.
    pub async fn create_stream(
        &self,
        actor: &Actor,
        request: &NewStream,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let title = validate::title(&request.title)?;
        let description = validate::description(&request.description)?;
        validate::start(request.starts_at, request.first_state(), self.parts.clock.now_ms())?;
        if let Some(stream_id) = request.stream_id {
            validate::id("stream_id", stream_id.0)?;
        }
        let new = NewStream { title, description, ..request.clone() };
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
        let description = request.description.as_deref().map(validate::description).transpose()?;
        let stream = self.require_stream(stream_id).await?;
        if let Some(starts_at) = request.starts_at {
            let state = request.state.unwrap_or(stream.state);
            validate::start(starts_at, state, self.parts.clock.now_ms())?;
        }
        if *request == StreamPatch::default() {
            let problem = "must name at least one of title, description, state, starts_at, \
                           anonymous, moderation";
            return Err(ControlError::Invalid { field: "patch", problem: problem.to_owned() });
        }
        let patch = StreamPatch { title, description, ..request.clone() };
        let entry =
            self.entry(actor, audit_action::UPDATE_STREAM, format!("stream {stream_id}"), request);
        self.change_stream(stream_id, patch, entry, started).await
    }

    /// Deletes a stream: every node closes its viewers, and nothing of it is served any more. Its
    /// comments stay in the comment store as long as others do.
    pub async fn delete_stream(
        &self,
        actor: &Actor,
        stream_id: StreamId,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        self.require_stream(stream_id).await?;
        let target = format!("stream {stream_id}");
        let entry = self.entry(actor, audit_action::DELETE_STREAM, target, &json!({}));
        let deleted = self.parts.metadata.delete_stream(stream_id, entry).await;
        let (audit_id, stream) = deleted.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::UnknownStream(stream_id),
            other => other.into(),
        })?;
        let reload = NodeCommand::ReloadStream { stream_id };
        let results = self.command_all_nodes(reload).await;
        let connections = Some(results.connections);
        let stream = Some(stream.with_open_poll(self.parts.clock.now_ms()));
        Ok(Outcome { stream, connections, ..outcome(audit_id, results, started) })
    }

    /// Starts scheduled streams when it is time, until cancelled. Every node that this runs on
    /// tries; the store lets one of them start a stream, which records it.
    pub async fn start_due_streams(self, stop: CancellationToken) {
        let mut ticks = ticker(START_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.start_due().await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn start_due(&self) {
        let now_ms = self.parts.clock.now_ms();
        let streams = self.parts.streams.all();
        for stream in streams.iter().filter(|stream| stream.is_due(now_ms)) {
            let stream_id = stream.stream_id;
            match self.start_due_stream(stream_id).await {
                Ok(true) => info!(%stream_id, "scheduled stream started"),
                // Another node has started it, or an operator has changed it.
                Ok(false) => {}
                // The breaker of the store tells of an outage.
                Err(error) => debug!(%stream_id, %error, "stream cannot be started; retrying"),
            }
        }
    }

    /// Returns whether this call has started the stream.
    async fn start_due_stream(&self, stream_id: StreamId) -> Result<bool, ControlError> {
        let started = Instant::now();
        let target = format!("stream {stream_id}");
        let patch = StreamPatch::start();
        let entry = self.entry(&Actor::schedule(), audit_action::UPDATE_STREAM, target, &patch);
        match self.parts.metadata.start_due_stream(stream_id, entry).await? {
            Some((audit_id, stream)) => {
                self.reload_on_all_nodes(audit_id, stream, started).await?;
                Ok(true)
            }
            None => {
                // This node did not know yet.
                self.parts.streams.reload_stream(stream_id).await?;
                Ok(false)
            }
        }
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
        let stream = Some(stream.with_open_poll(self.parts.clock.now_ms()));
        Ok(Outcome { stream, connections, ..outcome(audit_id, results, started) })
    }

    /// Returns a stream from the store, because another node may have created it just now.
    pub async fn require_stream(&self, stream_id: StreamId) -> Result<Stream, ControlError> {
        let stream = self.parts.metadata.stream(stream_id).await?;
        stream.ok_or(ControlError::UnknownStream(stream_id))
    }
}
