//! Changes the rules of a room, and clears it.

use tokio::time::Instant;

use super::comments_of_user::LONGEST_LAST_MS;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::{ClearRoomRequest, MAX_CLEARED, Outcome, Room, audit_action};
use crate::protocol::quantity::show_duration;
use crate::protocol::room::RoomPatch;

impl Control {
    /// Returns the settings of a room and the rules in force.
    pub async fn room(&self, stream_id: StreamId) -> Result<Room, ControlError> {
        self.require_stream(stream_id).await.map(Room::from)
    }

    /// Changes the settings of a room that the patch names, and returns the stream in the outcome.
    /// Viewers are told the new rules.
    pub async fn update_room(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &RoomPatch,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        request.check().map_err(|bad| {
            let problem = bad.problem;
            ControlError::Invalid { field: bad.field, problem }
        })?;
        self.require_stream(stream_id).await?;
        let entry = self.entry(actor, audit_action::ROOM, format!("stream {stream_id}"), request);
        self.change_room(stream_id, request.clone(), entry, started).await
    }

    /// Stores a change of a room and makes every node follow it. Each node tells its viewers.
    pub(super) async fn change_room(
        &self,
        stream_id: StreamId,
        patch: RoomPatch,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let (audit_id, stream) = self.parts.metadata.update_room(stream_id, patch, entry).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadStream { stream_id }).await;
        let stream = Some(stream.with_open_poll(self.parts.clock.now_ms()));
        Ok(Outcome { stream, ..outcome(audit_id, results, started) })
    }

    /// Deletes the latest comments of a room, at most [`MAX_CLEARED`]. Each has its audit entry,
    /// and one more stands for all of them.
    ///
    /// # Errors
    /// [`ControlError::NothingToClear`] if there are none.
    pub async fn clear_room(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &ClearRoomRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::public_word(request.reason.as_deref())?;
        validate::operator_note(request.note.as_deref())?;
        let last_ms = validate::lifetime_ms("last_ms", request.last_ms, LONGEST_LAST_MS)?;
        self.require_stream(stream_id).await?;
        let found = self.search_comments(None, Some(stream_id), last_ms, MAX_CLEARED).await?;
        if found.is_empty() {
            return Err(ControlError::NothingToClear { stream_id, last: show_duration(last_ms) });
        }
        let ClearRoomRequest { reason, note, .. } = request.clone();
        let deleted = self.delete_comments(actor, &found, reason, note).await?;
        let target = format!("stream {stream_id}");
        let entry = self.entry(actor, audit_action::CLEAR_ROOM, target, request);
        self.record_deletions(deleted, entry, started).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, operator};
    use crate::protocol::admin::UndoRequest;
    use crate::protocol::room::RoomSettings;

    const STREAM: StreamId = StreamId(1);

    fn slow(slow_ms: Option<u64>) -> RoomPatch {
        RoomPatch { slow_ms: Some(slow_ms), ..RoomPatch::default() }
    }

    async fn settings(world: &World) -> RoomSettings {
        world.control.room(STREAM).await.unwrap().settings
    }

    async fn undo(world: &World, audit_id: u64) -> Result<Outcome, ControlError> {
        world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await
    }

    #[tokio::test]
    async fn every_node_reloads_a_changed_room() {
        let world = World::new().await;
        let outcome = world.control.update_room(&operator(), STREAM, &slow(Some(5_000))).await;
        let outcome = outcome.unwrap();
        assert_eq!(outcome.stream.unwrap().room.rules.slow_ms, Some(5_000));
        assert_eq!(world.control.room(STREAM).await.unwrap().in_force.slow_ms, Some(5_000));
        let lines = world.journal.lines();
        let told = |node: &str| {
            lines.iter().any(|line| line.starts_with(&format!("{node}: ReloadStream")))
        };
        assert!(told("b") && told("c"), "{lines:?}");
        let known = world.control.parts().streams.get(STREAM).unwrap();
        assert_eq!(known.room.rules.slow_ms, Some(5_000));
    }

    #[tokio::test]
    async fn a_bad_change_of_a_room_changes_nothing() {
        let world = World::new().await;
        let before = world.state();
        for (stream_id, patch, code) in [
            (STREAM, RoomPatch::default(), "bad_message"),
            (STREAM, slow(Some(1)), "bad_message"),
            (StreamId(9), slow(Some(5_000)), "unknown_stream"),
        ] {
            let error = world.control.update_room(&operator(), stream_id, &patch).await;
            assert_eq!(error.unwrap_err().body().code.as_str(), code);
        }
        assert_eq!(world.state(), before);
    }

    #[tokio::test]
    async fn an_undo_restores_what_a_change_replaced() {
        let world = World::new().await;
        let change = async |patch| {
            world.control.update_room(&operator(), STREAM, &patch).await.unwrap().audit_id
        };
        let first = change(slow(Some(5_000))).await;
        let links = change(RoomPatch { no_links: Some(true), ..RoomPatch::default() }).await;
        let second = change(slow(None)).await;
        let changed_again = undo(&world, first).await.unwrap_err();
        assert!(matches!(changed_again, ControlError::NotUndoable { .. }), "{changed_again}");
        let undone = undo(&world, second).await.unwrap();
        assert_eq!(undone.now.as_deref(), Some("in stream 1, slow mode is 5s"));
        assert_eq!(settings(&world).await.rules.slow_ms, Some(5_000));
        assert!(settings(&world).await.rules.no_links, "another rule stays");
        undo(&world, links).await.unwrap();
        undo(&world, first).await.unwrap();
        assert!(settings(&world).await.is_default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_room_can_be_restored() {
        let world = World::new().await;
        (1..=3).for_each(|number| drop(world.comment(number, "flood")));
        let request = ClearRoomRequest { last_ms: 600_000, reason: None, note: None };
        let outcome = world.control.clear_room(&operator(), STREAM, &request).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(3), 0));
        let log = world.control.audit_log(10).await.unwrap();
        let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["clear_room", "delete", "delete", "delete"]);
        assert_eq!(log[0].target, "stream 1");
        let decisions = world.control.decisions(None, 10).await.unwrap();
        let in_bulk: Vec<_> = decisions.iter().map(|decided| decided.in_bulk).collect();
        assert_eq!(in_bulk, [true; 3]);
        let again = world.control.clear_room(&operator(), STREAM, &request).await.unwrap_err();
        assert!(matches!(again, ControlError::NothingToClear { .. }), "{again}");
        let undone = undo(&world, outcome.audit_id).await.unwrap();
        assert_eq!((undone.changes, undone.left_out.len()), (Some(3), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn held_comments_are_said_to_be_left() {
        let world = World::new().await;
        world.comment(1, "flood");
        for (number, held, stream_id) in [(2, true, 1), (3, true, 2), (4, false, 1)] {
            let item = json!({
                "comment_id": comment_id(number),
                "stream_id": StreamId(stream_id),
                "user_id": "42",
                "name": "ann",
                "message": "flood",
                "reason": "link",
                "flagged_at": STARTED_MS,
                "held": held,
            });
            let item = serde_json::from_value(item).unwrap();
            world.metadata.queue_review(item, 0).await.unwrap();
        }
        let request = ClearRoomRequest { last_ms: 600_000, reason: None, note: None };
        let outcome = world.control.clear_room(&operator(), STREAM, &request).await.unwrap();
        assert_eq!(outcome.changes, Some(1));
        assert_eq!(outcome.left_out, ["1 held comment in the review queue"]);
        assert_eq!(world.metadata.reviews().len(), 3, "they are left alone");
    }
}
