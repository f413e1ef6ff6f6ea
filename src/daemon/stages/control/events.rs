//! Changes that take effect in the event log: deletions, restorations and review decisions.
//!
//! The metadata store holds the event from the transaction of its audit entry until the log has it,
//! so there is never one without the other. Normally the node that made the change appends it at
//! once. If it dies before that, or the log does not answer, any node appends it later. An event
//! that is appended twice changes nothing: no deletion is taken back while it is pending, and a
//! restoration that is appended late gives way to a deletion that was recorded since.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Control, ControlError};
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::eventlog::{LogError, NewRecord, Topic};
use crate::daemon::engines::metadata::PendingEvent;
use crate::protocol::UserId;
use crate::protocol::events::Event;

/// The time between two looks at pending events, and the head start of the node that claimed one.
const INTERVAL: Duration = Duration::from_secs(5);
const HEAD_START_MS: u64 = 10_000;
const EVENTS_AT_ONCE: usize = 100;

/// Returns an event as the metadata store keeps it.
pub(super) fn pending(event: &Event) -> PendingEvent {
    PendingEvent { stream_id: event.stream_id(), payload: event.encode() }
}

impl Control {
    /// Appends the event of a recorded change to the comment topic, where it gets its place in the
    /// order viewers see.
    ///
    /// # Errors
    /// [`ControlError::Deferred`]: the log did not accept it, and some node appends it later.
    pub(super) async fn publish(&self, audit_id: u64, event: Event) -> Result<(), ControlError> {
        self.append(&event).await.map_err(|cause| ControlError::Deferred { audit_id, cause })?;
        self.mark_published(audit_id).await;
        Ok(())
    }

    /// Appends the events that their own nodes did not, until `stop`.
    pub async fn publish_pending(self, stop: CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.publish_claimed().await {
                warn!(%error, "recorded changes still wait for the event log");
            }
        }
    }

    async fn publish_claimed(&self) -> Result<(), ControlError> {
        let now_ms = self.parts.clock.now_ms();
        let claimed =
            self.parts.metadata.claim_events(now_ms, HEAD_START_MS, EVENTS_AT_ONCE).await?;
        for (number, PendingEvent { payload, .. }) in claimed {
            match Event::decode(&payload) {
                // An event that cannot be appended yet delays no other one.
                Ok(event) => match self.append_late(number, &event).await {
                    Ok(true) => {
                        info!(audit_id = number, "carried out a change that was recorded earlier");
                    }
                    Ok(false) => {
                        info!(audit_id = number, "the comment was deleted since; not restored");
                    }
                    Err(error) => {
                        warn!(audit_id = number, %error, "a recorded change waits for the log");
                        continue;
                    }
                },
                Err(error) => error!(audit_id = number, %error, "dropped an event of a change"),
            }
            self.mark_published(number).await;
        }
        Ok(())
    }

    /// Returns false if the event is a restoration that a later deletion has overtaken.
    async fn append_late(&self, number: u64, event: &Event) -> Result<bool, ControlError> {
        if let Event::CommentRestored(restored) = event
            && self.is_deleted_since(number, restored.comment_id).await?
        {
            return Ok(false);
        }
        self.append(event).await?;
        Ok(true)
    }

    async fn mark_published(&self, number: u64) {
        if let Err(error) = self.parts.metadata.event_published(number).await {
            warn!(audit_id = number, %error, "an event is appended again later");
        }
    }

    /// Appends to the comment topic and, for a decision or what takes one back, to the moderation
    /// topic under its user, for reputation.
    async fn append(&self, event: &Event) -> Result<(), LogError> {
        let stream = event.stream_id().0;
        let user_id = match event {
            Event::CommentSubmitted(_) => {
                return self.append_to(Topic::CommentEvents, stream, &[event]).await;
            }
            Event::CommentModerated(decided) => {
                let shown = Event::CommentModerated(decided.without_text());
                self.append_to(Topic::CommentEvents, stream, &[&shown]).await?;
                decided.user_id
            }
            Event::CommentRestored(restored) => {
                // In one batch, so that nothing comes between.
                let hiding = restored.hiding().map(Event::CommentModerated);
                let events: Vec<_> = std::iter::once(event).chain(&hiding).collect();
                self.append_to(Topic::CommentEvents, stream, &events).await?;
                restored.user_id
            }
        };
        // The decision is durable now.
        self.record_decision(event, user_id).await;
        if let Event::CommentModerated(decided) = event
            && decided.decision.deletes()
        {
            self.unpin_comment(decided.stream_id, decided.comment_id).await;
        }
        Ok(())
    }

    /// Appends an event that changes nothing for viewers to the moderation topic, under its user.
    /// The metadata store has the decision already; a missing entry is tolerated.
    pub(super) async fn record_decision(&self, event: &Event, user_id: UserId) {
        if let Err(error) = self.append_to(Topic::ModerationEvents, user_id.0, &[event]).await {
            warn!(%user_id, %error, "decision not recorded for the user's reputation");
        }
    }

    async fn append_to(&self, topic: Topic, key: u64, events: &[&Event]) -> Result<(), LogError> {
        let timestamp_ms = self.parts.clock.now_ms();
        let record =
            |event: &&Event| NewRecord { key, timestamp_ms, payload: event.encode().into() };
        self.parts.log.append(topic, events.iter().map(record).collect()).await.map(drop)
    }
}
