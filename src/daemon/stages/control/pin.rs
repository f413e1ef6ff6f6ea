//! Pins a comment above the chat of a stream, for all its viewers.
//!
//! A comment that is deleted or hidden is pinned no longer. The hubs of the nodes take it from
//! their viewers when they are told of the deletion. The store is changed by the node that deletes,
//! and by [`Control::unpin_hidden_comments`] where nobody asked this stage, because moderation
//! deletes by itself: when a hub has seen the deletion, or when one node finds it in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::cluster::in_time;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{Outcome, PinRequest, UnpinRequest, audit_action};
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{CommentId, PinnedComment, StreamId};

/// The time between two looks at the pinned comments.
const INTERVAL: Duration = Duration::from_secs(10);
/// Looks of which one is also at streams that have ended: they change seldom, and are never few.
const ROUNDS_PER_ENDED: u32 = 6;

impl Control {
    /// Pins a comment of a stream, in place of another. Viewers are told.
    ///
    /// # Errors
    /// [`ControlError::UnknownComment`] also if it is deleted or hidden,
    /// [`ControlError::OfOtherStream`].
    pub async fn pin(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &PinRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let stream = self.require_stream(stream_id).await?;
        let pinned = self.pinnable(&stream, request.comment_id).await?;
        let entry = self.entry(actor, audit_action::PIN, format!("stream {stream_id}"), request);
        self.change_pin(stream_id, Some(pinned), entry, started).await
    }

    /// Pins no comment of a stream any longer. Viewers are told.
    ///
    /// # Errors
    /// [`ControlError::NothingPinned`].
    pub async fn unpin(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &UnpinRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let stream = self.require_stream(stream_id).await?;
        let pinned = stream.pinned.ok_or(ControlError::NothingPinned(stream_id))?;
        let entry = self.entry(actor, audit_action::UNPIN, format!("stream {stream_id}"), request);
        let unpinned = self.store_pin(stream_id, None, Some(pinned), entry, started);
        unpinned.await.map_err(|error| match error {
            // Somebody else was first.
            ControlError::Store(StoreError::NotFound(_)) => ControlError::NothingPinned(stream_id),
            other => other,
        })
    }

    /// Pins a comment, or none, and looks once more whether it was deleted meanwhile. If that is
    /// not known, it stays pinned, and is unpinned later.
    pub(super) async fn change_pin(
        &self,
        stream_id: StreamId,
        pinned: Option<PinnedComment>,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let pinned = pinned.map(Arc::new);
        let outcome = self.store_pin(stream_id, pinned.clone(), None, entry, started).await?;
        let Some(pinned) = pinned else { return Ok(outcome) };
        let comment_id = pinned.comment_id;
        match self.is_hidden_now(stream_id, comment_id).await {
            Ok(false) => Ok(outcome),
            Ok(true) => {
                self.unpin_hidden(stream_id, pinned).await;
                Err(ControlError::UnknownComment(comment_id))
            }
            Err(error) => {
                warn!(%stream_id, %comment_id, %error, "pinned comment not looked at again");
                Ok(outcome)
            }
        }
    }

    /// Returns whether a comment is deleted or hidden. The log is asked before the store, so that a
    /// deletion that is archived meanwhile is seen in one of them.
    async fn is_hidden_now(
        &self,
        stream_id: StreamId,
        comment_id: CommentId,
    ) -> Result<bool, ControlError> {
        if let Some(is_deleted) = self.is_deleted_lately(stream_id, comment_id).await? {
            return Ok(is_deleted);
        }
        let owner = self.owner(comment_id).await?;
        Ok(owner.is_deleted || owner.is_hidden)
    }

    /// Pins what was pinned before an entry that is taken back. It is a new pin, which no deletion
    /// before it takes down.
    pub(super) async fn restore_pin(
        &self,
        audit_id: u64,
        stream_id: StreamId,
        mut pinned: Option<PinnedComment>,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        if let Some(pinned) = &mut pinned {
            let stream = self.require_stream(stream_id).await?;
            self.pinnable(&stream, pinned.comment_id).await.map_err(|error| match error {
                ControlError::UnknownComment(_) => {
                    let why = "the comment that was pinned is deleted or hidden".to_owned();
                    ControlError::NotUndoable { audit_id, why }
                }
                other => other,
            })?;
            pinned.pinned_at = self.parts.clock.now_ms();
        }
        self.change_pin(stream_id, pinned, entry, started).await
    }

    /// Returns a comment of a stream as it is pinned, if all viewers may see it.
    async fn pinnable(
        &self,
        stream: &Stream,
        comment_id: CommentId,
    ) -> Result<PinnedComment, ControlError> {
        let stream_id = stream.stream_id;
        let owner = self.owner(comment_id).await?;
        owner.require_stream(comment_id, stream_id)?;
        let is_hidden = owner.is_deleted
            || owner.is_hidden
            || self.is_deleted_lately(stream_id, comment_id).await? == Some(true);
        if is_hidden {
            return Err(ControlError::UnknownComment(comment_id));
        }
        let now_ms = self.parts.clock.now_ms();
        let created_at = comment_id.unix_ms();
        if created_at.saturating_add(stream.room.delay_ms.unwrap_or(0)) > now_ms {
            let problem = "is that of a comment that the message delay still holds back".to_owned();
            return Err(ControlError::Invalid { field: "comment_id", problem });
        }
        Ok(PinnedComment {
            comment_id,
            user_id: owner.user_id,
            name: owner.text.name,
            message: owner.text.message,
            created_at,
            badges: owner.badges,
            pinned_at: now_ms,
        })
    }

    /// Stores what is pinned, and makes every node follow it. Each node tells its viewers.
    async fn store_pin(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let stored = self.parts.metadata.set_pinned(stream_id, pinned, only, entry).await;
        let (audit_id, stream) = stored?;
        let results = self.command_all_nodes(NodeCommand::ReloadStream { stream_id }).await;
        let stream = Some(stream.with_open_poll(self.parts.clock.now_ms()));
        Ok(Outcome { stream, ..outcome(audit_id, results, started) })
    }

    /// Pins a comment no longer that is deleted or hidden now.
    pub(super) async fn unpin_comment(&self, stream_id: StreamId, comment_id: CommentId) {
        let pinned = self.parts.streams.get(stream_id).and_then(|stream| stream.pinned.clone());
        if let Some(pinned) = pinned.filter(|pinned| pinned.comment_id == comment_id) {
            self.unpin_hidden(stream_id, pinned).await;
        }
    }

    /// Ends a pin whose comment was deleted or hidden, unless the comment was restored and pinned
    /// again since. What fails is tried again later.
    async fn unpin_hidden(&self, stream_id: StreamId, pinned: Arc<PinnedComment>) {
        let stream = self.parts.streams.get(stream_id);
        if stream.and_then(|stream| stream.pinned.clone()).as_ref() != Some(&pinned) {
            return;
        }
        let comment_id = pinned.comment_id;
        let note = Some("the comment was deleted or hidden".to_owned());
        let target = format!("stream {stream_id}");
        let request = UnpinRequest { note };
        let entry = self.entry(&Actor::moderation(), audit_action::UNPIN, target, &request);
        match self.store_pin(stream_id, None, Some(pinned), entry, Instant::now()).await {
            // Another node was first.
            Ok(_) | Err(ControlError::Store(StoreError::NotFound(_))) => {}
            Err(error) => {
                warn!(%stream_id, %comment_id, %error, "deleted comment still pinned; retrying");
            }
        }
    }

    /// Pins comments no longer that were deleted or hidden, until `stop`.
    pub async fn unpin_hidden_comments(self, stop: CancellationToken) {
        let mut ticks = ticker_from_now(INTERVAL);
        let mut round = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                hidden = self.parts.streams.hidden_pins() => {
                    for (stream_id, pinned) in hidden {
                        self.unpin_hidden(stream_id, pinned).await;
                    }
                }
                _ = ticks.tick() => {
                    round = round.wrapping_add(1);
                    let with_ended = round.is_multiple_of(ROUNDS_PER_ENDED);
                    stop.run_until_cancelled(self.look_at_pins(with_ended)).await;
                }
            }
        }
    }

    /// Looks at the pinned comments of streams, perhaps also of those that have ended, if this is
    /// the node that does.
    async fn look_at_pins(&self, with_ended: bool) {
        let streams = self.parts.streams.all();
        let is_due = |stream: &&Arc<Stream>| with_ended || stream.state != StreamState::Ended;
        let pins = streams.iter().filter(is_due);
        let pins = pins.filter_map(|stream| Some((stream.stream_id, stream.pinned.clone()?)));
        let pins: Vec<_> = pins.collect();
        if pins.is_empty() || !self.is_first_node().await {
            return;
        }
        for (stream_id, pinned) in pins {
            if self.is_stored_as_hidden(pinned.comment_id).await {
                self.unpin_hidden(stream_id, pinned).await;
            }
        }
    }

    /// Returns whether this node is the first of those that are alive, by name. Without an answer,
    /// it may be.
    async fn is_first_node(&self) -> bool {
        let Ok(nodes) = in_time(self.parts.registry.nodes()).await else { return true };
        let own = &self.parts.node;
        nodes.iter().all(|other| !other.alive || other.node >= *own)
    }

    /// Returns whether the store has a comment that not all viewers may see. One that it does not
    /// have yet, or no longer, is not hidden; while it is down nothing is known.
    async fn is_stored_as_hidden(&self, comment_id: CommentId) -> bool {
        let Ok(Some(found)) = self.parts.comments.get(comment_id).await else { return false };
        if !found.deleted {
            return found.shadow;
        }
        // It may have been restored since.
        self.owner(comment_id).await.is_ok_and(|owner| owner.is_deleted || owner.is_hidden)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::engines::comments::conformance::WriteRows as _;
    use crate::daemon::engines::comments::{ArchivedComment, Tombstone};
    use crate::daemon::engines::eventlog::EventLog as _;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{
        STARTED_MS, World, comment_id, operator, submitted,
    };
    use crate::protocol::Role;
    use crate::protocol::admin::{DeleteRequest, UndoRequest};
    use crate::protocol::events::HiddenFrom;
    use crate::protocol::stream::ModerationMode;

    const STREAM: StreamId = StreamId(1);

    async fn world() -> World {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        (1..=3).for_each(|number| drop(world.comment(number, "hello")));
        world
    }

    async fn pin(world: &World, number: u64) -> Result<Outcome, ControlError> {
        let request = PinRequest { comment_id: comment_id(number), note: None };
        world.control.pin(&operator(), STREAM, &request).await
    }

    async fn pinned(world: &World) -> Option<CommentId> {
        let stored = world.metadata.stream(STREAM).await.unwrap().unwrap().pinned;
        let known = world.control.parts().streams.get(STREAM).unwrap().pinned.clone();
        assert_eq!(known, stored);
        stored.map(|pinned| pinned.comment_id)
    }

    /// Returns the pin as a hub knows it.
    fn known_pin(world: &World) -> Arc<PinnedComment> {
        world.control.parts().streams.get(STREAM).unwrap().pinned.clone().unwrap()
    }

    /// Reports a pin as a hub does that has seen a deletion, and lets the report be acted on.
    async fn report(world: &World, pinned: Arc<PinnedComment>) {
        world.control.parts().streams.report_hidden_pin(STREAM, pinned);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Stores a comment and its deletion, as the archiver does.
    async fn archive_deleted(world: &World, number: u64) {
        let comment = submitted(STREAM, number, "hello").comment;
        let tombstone = Tombstone {
            stream_id: STREAM,
            comment_id: comment.comment_id,
            reason: "spam".into(),
            deleted_at: STARTED_MS,
            hidden_from: HiddenFrom::Everybody,
        };
        let archived = ArchivedComment { comment, seq: 0, shadow: false };
        world.comments.write_rows(&[archived], &[tombstone]).await.unwrap();
    }

    async fn undo(world: &World, audit_id: u64) -> Result<Outcome, ControlError> {
        world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_replaces_another_and_can_be_undone() {
        let world = world().await;
        let first = pin(&world, 1).await.unwrap();
        let second = pin(&world, 2).await.unwrap();
        assert_eq!(pinned(&world).await, Some(comment_id(2)));
        let lines = world.journal.lines();
        assert!(lines.iter().any(|line| line.starts_with("b: ReloadStream")), "{lines:?}");
        let again = undo(&world, first.audit_id).await.unwrap_err();
        assert!(matches!(again, ControlError::NotUndoable { .. }), "{again}");
        undo(&world, second.audit_id).await.unwrap();
        assert_eq!(pinned(&world).await, Some(comment_id(1)));
        let unpinned = world.control.unpin(&operator(), STREAM, &UnpinRequest::default()).await;
        assert_eq!(pinned(&world).await, None);
        let nothing = world.control.unpin(&operator(), STREAM, &UnpinRequest::default()).await;
        assert_eq!(nothing.unwrap_err().body().code.as_str(), "not_found");
        undo(&world, unpinned.unwrap().audit_id).await.unwrap();
        assert_eq!(pinned(&world).await, Some(comment_id(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_comment_is_pinned_no_longer() {
        let world = world().await;
        let first = pin(&world, 1).await.unwrap();
        let delete =
            |number| DeleteRequest { comment_id: comment_id(number), reason: None, note: None };
        world.control.delete(&operator(), &delete(2)).await.unwrap();
        assert_eq!(pinned(&world).await, Some(comment_id(1)), "another one");
        let deleted = pin(&world, 2).await.unwrap_err();
        assert!(matches!(deleted, ControlError::UnknownComment(_)), "{deleted}");
        world.control.delete(&operator(), &delete(1)).await.unwrap();
        assert_eq!(pinned(&world).await, None);
        let log = world.control.audit_log(9).await.unwrap();
        let unpinned = log.iter().find(|entry| entry.action == audit_action::UNPIN).unwrap();
        assert_eq!(unpinned.actor, "moderation");
        let gone = undo(&world, unpinned.audit_id).await.unwrap_err();
        assert!(matches!(gone, ControlError::NotUndoable { .. }), "{gone}");
        assert!(undo(&world, first.audit_id).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_stays_if_the_log_fails_afterwards() {
        let world = world().await;
        let stream = world.control.require_stream(STREAM).await.unwrap();
        let pinnable = world.control.pinnable(&stream, comment_id(1)).await.unwrap();
        let entry = world.control.entry(&operator(), audit_action::PIN, "x".to_owned(), &());
        world.log.close().await.unwrap();
        let told = world.control.change_pin(STREAM, Some(pinnable), entry, Instant::now()).await;
        assert!(told.is_ok(), "it is stored: {told:?}");
        assert_eq!(pinned(&world).await, Some(comment_id(1)));
    }

    /// The deletion is in the store, and no longer among the newest records of the log.
    #[tokio::test(start_paused = true)]
    async fn a_deletion_that_was_archived_is_seen() {
        let world = world().await;
        let stream = world.control.require_stream(STREAM).await.unwrap();
        let pinnable = world.control.pinnable(&stream, comment_id(1)).await.unwrap();
        archive_deleted(&world, 1).await;
        let entry = world.control.entry(&operator(), audit_action::PIN, "x".to_owned(), &());
        let told = world.control.change_pin(STREAM, Some(pinnable), entry, Instant::now()).await;
        assert!(matches!(told, Err(ControlError::UnknownComment(_))), "{told:?}");
        assert_eq!(pinned(&world).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_by_moderation_unpins() {
        let world = world().await;
        pin(&world, 1).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(world.control.clone().unpin_hidden_comments(stop.clone()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let other = PinnedComment { comment_id: comment_id(2), ..(*known_pin(&world)).clone() };
        report(&world, other.into()).await;
        assert_eq!(pinned(&world).await, Some(comment_id(1)), "another one");
        report(&world, known_pin(&world)).await;
        assert_eq!(pinned(&world).await, None);
        pin(&world, 2).await.unwrap();
        archive_deleted(&world, 2).await;
        tokio::time::sleep(INTERVAL).await;
        assert_eq!(pinned(&world).await, None, "found in the store");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_report_leaves_a_new_pin() {
        let world = world().await;
        pin(&world, 1).await.unwrap();
        let first = known_pin(&world);
        let request = DeleteRequest { comment_id: comment_id(1), reason: None, note: None };
        let deleted = world.control.delete(&operator(), &request).await.unwrap();
        assert_eq!(pinned(&world).await, None);
        undo(&world, deleted.audit_id).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        pin(&world, 1).await.unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(world.control.clone().unpin_hidden_comments(stop.clone()));
        report(&world, first).await;
        assert_eq!(pinned(&world).await, Some(comment_id(1)), "restored and pinned again");
        let second = known_pin(&world);
        let unpinned = world.control.unpin(&operator(), STREAM, &UnpinRequest::default()).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        undo(&world, unpinned.unwrap().audit_id).await.unwrap();
        report(&world, second).await;
        assert_eq!(pinned(&world).await, Some(comment_id(1)), "its unpinning was taken back");
        report(&world, known_pin(&world)).await;
        assert_eq!(pinned(&world).await, None);
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn moderators_pin_in_their_stream_only() {
        let world = world().await;
        let before = world.state();
        let fields = json!({ "comment_id": comment_id(1) });
        for (stream_id, name, fields, code) in [
            (StreamId(2), "pin", fields.clone(), "not_found"),
            (StreamId(9), "pin", fields.clone(), "unknown_stream"),
            (STREAM, "pin", json!({ "comment_id": comment_id(99) }), "not_found"),
            (STREAM, "unpin", json!({}), "not_found"),
        ] {
            let refused = world.moderate((100, Role::Moderator), stream_id, name, fields).await;
            assert_eq!(refused.unwrap_err().body().code.as_str(), code, "{name}");
        }
        assert_eq!(world.state(), before);
        let done = world.moderate((100, Role::Moderator), STREAM, "pin", fields).await.unwrap();
        assert_eq!(pinned(&world).await, Some(comment_id(1)));
        let undone = json!({ "audit_id": done.audit_id });
        let other = StreamId(2);
        let refused = world.moderate((100, Role::Moderator), other, "undo", undone.clone()).await;
        assert_eq!(refused.unwrap_err().body().code.as_str(), "not_found");
        world.moderate((100, Role::Moderator), STREAM, "undo", undone).await.unwrap();
        assert_eq!(pinned(&world).await, None);
    }
}
