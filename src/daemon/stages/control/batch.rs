//! Several changes as one act: each has its audit entry, and one more stands for all of them, so
//! that one undo takes them back.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::sanctions::StoredSanction;
use super::{Actor, Control, ControlError, outcome};
use crate::daemon::engines::metadata::NewAudit;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{
    BatchChange, BatchRequest, MAX_CHANGES, MAX_DISCONNECT_AFTER_MS, Outcome, Sanction,
    audit_action,
};
use crate::protocol::{CloseCode, UserId, UserScope};

/// The field of such an entry with their numbers.
pub(super) const ENTRIES: &str = "entries";

/// The changes of a batch that are stored. The nodes do not follow them yet.
#[derive(Default)]
struct StoredBatch {
    entries: Vec<u64>,
    changes_sanctions: bool,
    banned: BTreeSet<UserScope>,
    kicked: BTreeSet<UserId>,
    left_out: Vec<String>,
    first_error: Option<ControlError>,
    /// The latest change of one user.
    latest: Option<StoredSanction>,
}

/// Returns the numbers of the entries that an audit entry stands for.
pub(super) fn entries_of(detail: &Value) -> Result<Vec<u64>, String> {
    let entries = detail.get(ENTRIES).and_then(Value::as_array);
    let entries: Option<Vec<u64>> =
        entries.and_then(|entries| entries.iter().map(Value::as_u64).collect());
    entries.ok_or_else(|| "the audit entry does not name its parts".to_owned())
}

impl Control {
    /// Makes up to [`MAX_CHANGES`] changes. Those that cannot be made are left out and named in the
    /// outcome, as are moderators unless they are included; if none can, the first error is
    /// returned. Nodes reload the sanctions once. A timeout is left out for a ban that was in
    /// force before the batch.
    pub async fn batch(
        &self,
        actor: &Actor,
        request: &BatchRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let count = request.changes.len();
        if !(1..=MAX_CHANGES).contains(&count) {
            let problem = format!("must hold 1 to {MAX_CHANGES} changes, not {count}");
            return Err(ControlError::Invalid { field: "changes", problem });
        }
        let after_ms = request.disconnect_after_ms.unwrap_or(0);
        if after_ms > MAX_DISCONNECT_AFTER_MS {
            let problem = format!("must be at most {MAX_DISCONNECT_AFTER_MS} ms, not {after_ms}");
            return Err(ControlError::Invalid { field: "disconnect_after_ms", problem });
        }
        let in_force = self.bans().await?;
        let mut stored = StoredBatch::default();
        for change in self.permitted_changes(request).await {
            let made = match change {
                Ok(change) => self.store_change(actor, &change, &in_force, &mut stored).await,
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                stored.leave_out(error);
            }
        }
        if stored.entries.is_empty()
            && let Some(error) = stored.first_error.take()
        {
            return Err(error);
        }
        let recorded = match stored.entries[..] {
            [only] if count == 1 => Ok(only),
            _ => self.parts.metadata.audit(self.entry_of_batch(actor, after_ms, &stored)).await,
        };
        // The changes are stored, so nodes must follow them even if the last entry is missing.
        let results = self.follow(&stored, after_ms).await;
        let connections = Some(results.connections);
        let base = outcome(recorded?, results, started);
        let changes = Some(stored.entries.len() as u64);
        let done = Outcome { changes, left_out: stored.left_out, connections, ..base };
        Ok(match stored.latest.filter(|_| count == 1) {
            Some(one) => one.written_in(done),
            None => done,
        })
    }

    async fn store_change(
        &self,
        actor: &Actor,
        change: &BatchChange,
        in_force: &[Sanction],
        stored: &mut StoredBatch,
    ) -> Result<(), ControlError> {
        let of_user = match change {
            BatchChange::Ban(request) => {
                let ban = self.store_ban(actor, request, in_force).await?;
                stored.banned.insert(ban.scope());
                stored.changes_sanctions = true;
                ban
            }
            BatchChange::Timeout(request) => {
                let timeout = self.store_timeout(actor, request, in_force).await?;
                stored.changes_sanctions = true;
                timeout
            }
            BatchChange::Unban(request) => {
                let lifted = self.store_unban(actor, request, &[request.stream_id]).await?;
                stored.banned.remove(&lifted.scope());
                stored.changes_sanctions = true;
                lifted
            }
            BatchChange::Kick(request) => {
                let kick = self.store_kick(actor, request).await?;
                stored.kicked.insert(kick.user.user_id);
                kick
            }
            BatchChange::Delete(request) => {
                return stored.add_decision(self.delete(actor, request).await);
            }
            BatchChange::Approve(request) => {
                return stored.add_decision(self.approve(actor, request).await);
            }
            BatchChange::Reject(request) => {
                return stored.add_decision(self.reject(actor, request).await);
            }
        };
        stored.entries.push(of_user.audit_id);
        stored.latest = Some(of_user);
        Ok(())
    }

    fn entry_of_batch(&self, actor: &Actor, after_ms: u64, stored: &StoredBatch) -> NewAudit {
        let first = stored.entries.first().copied().unwrap_or(0);
        let last = stored.entries.last().copied().unwrap_or(0);
        let detail = json!({
            ENTRIES: stored.entries,
            "disconnect_after_ms": after_ms,
            "left_out": stored.left_out,
        });
        self.entry(actor, audit_action::BATCH, format!("entries {first} to {last}"), &detail)
    }

    /// Makes the nodes follow what is stored.
    async fn follow(&self, stored: &StoredBatch, after_ms: u64) -> CommandResults {
        let mut results = CommandResults::default();
        if stored.changes_sanctions {
            let banned: Vec<_> = stored.banned.iter().copied().collect();
            results = self.enforce_sanctions(&banned, after_ms).await;
        }
        let closing = stored.kicked.iter().map(|user_id| {
            let user_id = *user_id;
            let code = CloseCode::Kicked;
            let command = NodeCommand::Disconnect { user_id, stream_id: None, code };
            self.command_nodes_of_user(user_id, command)
        });
        join_all(closing).await.into_iter().fold(results, CommandResults::merge)
    }
}

impl StoredBatch {
    /// Adds a change that takes effect in the event log.
    fn add_decision(&mut self, decided: Result<Outcome, ControlError>) -> Result<(), ControlError> {
        match decided {
            Ok(outcome) => self.entries.push(outcome.audit_id),
            // Recorded, and carried out later.
            Err(error @ ControlError::Deferred { audit_id, .. }) => {
                self.entries.push(audit_id);
                self.left_out.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn leave_out(&mut self, error: ControlError) {
        self.left_out.push(error.to_string());
        self.first_error.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::stages::control::fakes::{World, operator};
    use crate::protocol::admin::{SanctionRequest, UndoRequest, UserRef};

    fn ban(user_id: u64) -> BatchChange {
        let user = UserRef(format!("id:{user_id}"));
        BatchChange::Ban(SanctionRequest {
            user,
            stream_id: None,
            reason: None,
            note: None,
            duration_ms: None,
        })
    }

    fn bans(users: std::ops::Range<u64>, after_ms: u64) -> BatchRequest {
        let disconnect_after_ms = Some(after_ms);
        let changes = users.map(ban).collect();
        BatchRequest { changes, disconnect_after_ms, include_moderators: false }
    }

    fn count(world: &World, start: &str) -> usize {
        world.journal.lines().iter().filter(|line| line.starts_with(start)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_one_act_with_one_undo() {
        let world = World::new().await;
        world.registry.place(101, "a").await;
        world.registry.place(102, "b").await;
        let request = bans(101..139, 30_000);
        let outcome = world.control.batch(&operator(), &request).await.unwrap();
        assert_eq!((outcome.changes, outcome.connections), (Some(38), Some(3)));
        assert_eq!((outcome.audit_id, world.metadata.audits().len()), (39, 39));
        assert_eq!(world.control.bans().await.unwrap().len(), 38);
        assert_eq!(count(&world, "b: ReloadSanctions"), 1, "one reload for all");
        assert!(
            world.sanctions.check_ban(UserScope::everywhere(UserId(101))).is_some(),
            "comments are refused at once"
        );

        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(count(&world, "a: disconnect"), 0, "the undo is near");
        let undo = UndoRequest { audit_id: outcome.audit_id, note: None };
        let undone = world.control.undo(&operator(), &undo).await.unwrap();
        assert_eq!((undone.changes, undone.left_out.len()), (Some(38), 0));
        assert_eq!(world.control.bans().await.unwrap(), []);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(count(&world, "a: disconnect"), 0);
        let again = world.control.undo(&operator(), &undo).await.unwrap_err();
        assert!(again.to_string().contains("has taken it back already"), "{again}");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_close_when_the_time_to_undo_ends() {
        let world = World::new().await;
        world.registry.place(101, "a").await;
        let outcome = world.control.batch(&operator(), &bans(101..102, 10_000)).await.unwrap();
        let single = (outcome.user_id, outcome.audit_id, world.metadata.audits().len());
        assert_eq!(single, (Some(UserId(101)), 1, 1), "one change has one entry");
        assert_eq!(world.sanctions.newly_banned(), [], "the periodic reload leaves it alone");
        tokio::time::sleep(Duration::from_millis(9_900)).await;
        assert_eq!(count(&world, "a: disconnect 101 banned"), 0);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(count(&world, "a: disconnect 101 banned"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_ban_has_a_time_to_undo_of_its_own() {
        let world = World::new().await;
        world.registry.place(101, "a").await;
        let request = bans(101..102, 10_000);
        let first = world.control.batch(&operator(), &request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let undo = UndoRequest { audit_id: first.audit_id, note: None };
        world.control.undo(&operator(), &undo).await.unwrap();
        world.control.batch(&operator(), &request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(count(&world, "a: disconnect 101 banned"), 0, "the first one has no part in it");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count(&world, "a: disconnect 101 banned"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_that_is_named_twice_is_free_after_undo() {
        let world = World::new().await;
        world.registry.place(101, "a").await;
        let changes = vec![ban(101), ban(101)];
        let request = BatchRequest { changes, ..bans(101..102, 10_000) };
        let outcome = world.control.batch(&operator(), &request).await.unwrap();
        assert_eq!((outcome.changes, outcome.connections), (Some(2), Some(2)), "each once");
        let undo = UndoRequest { audit_id: outcome.audit_id, note: None };
        let undone = world.control.undo(&operator(), &undo).await.unwrap();
        assert_eq!((undone.changes, undone.left_out.len()), (Some(2), 0));
        assert_eq!(world.control.bans().await.unwrap(), []);
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(count(&world, "a: disconnect"), 0, "nobody is banned");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_cannot_be_made_are_left_out() {
        let world = World::new().await;
        let mut request = bans(101..102, 0);
        let twin = UserRef("twin".to_owned());
        let timeout = |user: UserRef| {
            let duration_ms = Some(60_000);
            BatchChange::Timeout(SanctionRequest {
                user,
                stream_id: None,
                reason: None,
                note: None,
                duration_ms,
            })
        };
        request.changes.extend([timeout(twin.clone()), timeout(UserRef("42".to_owned()))]);
        let outcome = world.control.batch(&operator(), &request).await.unwrap();
        assert_eq!((outcome.changes, outcome.left_out.len()), (Some(2), 1));
        assert!(outcome.left_out[0].contains("names 2 users"), "{outcome:?}");
        let none = BatchRequest { changes: vec![timeout(twin)], ..bans(101..102, 0) };
        let error = world.control.batch(&operator(), &none).await.unwrap_err();
        assert!(matches!(error, ControlError::BadUser(_)), "{error}");
    }
}
