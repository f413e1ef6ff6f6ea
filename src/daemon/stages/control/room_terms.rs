//! Changes the blocked terms of a room.

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::StreamId;
use crate::protocol::admin::{Outcome, audit_action};
use crate::protocol::quantity::counted;
use crate::protocol::room::{RoomTerm, TermsPatch};

impl Control {
    /// Returns the blocked terms of a room, ordered.
    pub async fn room_terms(&self, stream_id: StreamId) -> Result<Vec<RoomTerm>, ControlError> {
        self.require_stream(stream_id).await?;
        let of_room = self.parts.metadata.room_terms(&[stream_id]).await?.into_iter();
        Ok(of_room.map(|(_, term)| term).collect())
    }

    /// Adds and removes blocked terms of a room. Every node compiles the new list once, when the
    /// next comment of the stream is checked. The caller has checked that moderation can match each
    /// term.
    ///
    /// # Errors
    /// [`StoreError::NotATerm`](crate::daemon::engines::StoreError::NotATerm): a term to remove
    /// that the room does not have.
    pub async fn update_terms(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &TermsPatch,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let patch = request.checked().map_err(|bad| {
            let problem = bad.problem;
            ControlError::Invalid { field: bad.field, problem }
        })?;
        self.require_stream(stream_id).await?;
        let target = format!("stream {stream_id}");
        let entry = self.entry(actor, audit_action::ROOM_TERMS, target, &patch);
        self.change_terms(stream_id, &patch, entry, started).await
    }

    /// Stores a change of terms and makes every node follow it.
    pub(super) async fn change_terms(
        &self,
        stream_id: StreamId,
        patch: &TermsPatch,
        entry: NewAudit,
        started: Instant,
    ) -> Result<Outcome, ControlError> {
        let changed = self.parts.metadata.change_terms(stream_id, patch, entry).await?;
        let results = self.command_all_nodes(NodeCommand::ReloadStream { stream_id }).await;
        let terms = counted(changed.terms.len() as u64, "blocked term");
        let now = Some(format!("stream {stream_id} has {terms}"));
        Ok(Outcome { now, ..outcome(changed.audit_id, results, started) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::control::fakes::{World, operator};
    use crate::protocol::admin::UndoRequest;
    use crate::protocol::room::TermAction;

    const STREAM: StreamId = StreamId(1);

    fn term(term: &str) -> RoomTerm {
        RoomTerm { term: term.to_owned(), action: TermAction::Reject }
    }

    fn add(terms: &[&str]) -> TermsPatch {
        let add = terms.iter().map(|written| term(written)).collect();
        TermsPatch { add, remove: Vec::new() }
    }

    async fn undo(world: &World, audit_id: u64) -> Result<Outcome, ControlError> {
        world.control.undo(&operator(), &UndoRequest { audit_id, note: None }).await
    }

    #[tokio::test]
    async fn every_node_follows_new_terms() {
        let world = World::new().await;
        let change = world.control.update_terms(&operator(), STREAM, &add(&["Bad  Word"])).await;
        assert_eq!(change.unwrap().now.as_deref(), Some("stream 1 has 1 blocked term"));
        assert_eq!(world.control.room_terms(STREAM).await.unwrap(), [term("bad word")]);
        let lines = world.journal.lines();
        let is_told = |node: &str| {
            lines.iter().any(|line| line.starts_with(&format!("{node}: ReloadStream")))
        };
        assert!(is_told("b") && is_told("c"), "{lines:?}");
        let known = world.control.parts().streams.room_terms(STREAM).unwrap();
        assert_eq!(&*known, [term("bad word")]);
    }

    #[tokio::test]
    async fn a_bad_change_of_terms_changes_nothing() {
        let world = World::new().await;
        world.control.update_terms(&operator(), STREAM, &add(&["had"])).await.unwrap();
        let before = world.state();
        let remove = vec!["had".to_owned(), "nosuch".to_owned()];
        for (stream_id, patch, code) in [
            (STREAM, TermsPatch::default(), "bad_message"),
            (STREAM, TermsPatch { remove, ..add(&["new"]) }, "not_found"),
            (STREAM, add(&["a", "A"]), "bad_message"),
            (StreamId(9), add(&["a"]), "unknown_stream"),
        ] {
            let error = world.control.update_terms(&operator(), stream_id, &patch).await;
            assert_eq!(error.unwrap_err().body().code.as_str(), code);
        }
        assert_eq!(world.state(), before);
    }

    #[tokio::test]
    async fn an_undo_restores_the_terms_it_names() {
        let world = World::new().await;
        let change = async |patch: &TermsPatch| {
            world.control.update_terms(&operator(), STREAM, patch).await.unwrap().audit_id
        };
        let first = change(&add(&["a", "b"])).await;
        let other = change(&add(&["c"])).await;
        let second = change(&TermsPatch { add: Vec::new(), remove: vec!["b".to_owned()] }).await;
        let changed_again = undo(&world, first).await.unwrap_err();
        assert!(matches!(changed_again, ControlError::NotUndoable { .. }), "{changed_again}");
        undo(&world, other).await.expect("it named another term");
        undo(&world, second).await.unwrap();
        assert_eq!(world.control.room_terms(STREAM).await.unwrap(), [term("a"), term("b")]);
        let undone = undo(&world, first).await.unwrap();
        assert_eq!(undone.now.as_deref(), Some("stream 1 has 0 blocked terms"));
        assert_eq!(world.control.room_terms(STREAM).await.unwrap(), []);
    }
}
