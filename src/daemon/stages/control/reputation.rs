//! The points of users: what changes by operators cost or give back, and forgiving all of them.
//!
//! Points are stored with the audit entry of the change, in one transaction. Moderators read them
//! from the store, so no node is told.

use serde_json::json;
use tokio::time::Instant;

use super::cluster::CommandResults;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::metadata::{AuditPoints, NewAudit, PointCause};
use crate::policy::reputation::{APPROVAL, Offence, PointAmount, text_key};
use crate::protocol::admin::{Outcome, SanctionKind, UserReputation, UserRequest, audit_action};
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, UserId};

impl Control {
    /// Sets the points of a user to none.
    ///
    /// # Errors
    /// [`ControlError::NothingToForgive`] without points.
    pub async fn forgive(
        &self,
        actor: &Actor,
        request: &UserRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let before = self.reputation_of(user_id).await?;
        let before = before.filter(|before| before.points > 0.0);
        let before = before.ok_or(ControlError::NothingToForgive(user_id))?;
        let target = format!("user {user_id}");
        let mut entry = self.entry(actor, audit_action::FORGIVE, target, request);
        if let Some(fields) = entry.detail.as_object_mut() {
            fields.insert("points".to_owned(), json!(before.points));
        }
        let entry =
            self.with_points(entry, Some(user_id), PointCause::ThisEntry, PointAmount::Forgiven);
        let audit_id = self.parts.metadata.audit(entry).await?;
        Ok(user.named_in(outcome(audit_id, CommandResults::default(), started)))
    }

    /// Returns the points of a user and what they lower; `None` if nothing is counted here.
    pub async fn reputation_of(
        &self,
        user_id: UserId,
    ) -> Result<Option<UserReputation>, ControlError> {
        let Some(rules) = self.parts.reputation else { return Ok(None) };
        let known = self.parts.metadata.known_users(&[user_id]).await?.into_iter().next();
        let now_ms = self.parts.clock.now_ms();
        let reputation = known.as_ref().map(|known| &known.reputation);
        let points = reputation.map_or(0.0, |it| it.points_at(now_ms, rules.half_life_ms));
        let account_created = known.as_ref().and_then(|known| known.account_created);
        let age_ms = account_created.map(|created| now_ms.saturating_sub(created));
        let since = reputation.and_then(|reputation| reputation.since);
        Ok(Some(UserReputation {
            points: rounded(points),
            since: since.filter(|_| points > 0.0),
            lowers: rounded(rules.shift(points, age_ms).lowered()),
            account_created,
        }))
    }

    /// Returns the entry of a new ban or timeout with its points.
    pub(super) fn costing_sanction(
        &self,
        entry: NewAudit,
        user_id: UserId,
        kind: SanctionKind,
    ) -> NewAudit {
        let offence = match kind {
            SanctionKind::Ban => Offence::Ban,
            SanctionKind::Timeout => Offence::Timeout,
        };
        let amount = PointAmount::Exactly(offence.points());
        self.with_points(entry, Some(user_id), PointCause::ThisEntry, amount)
    }

    /// Returns the entry of a deletion with its points.
    pub(super) fn costing_deletion(
        &self,
        entry: NewAudit,
        user_id: UserId,
        comment_id: CommentId,
        message: &str,
    ) -> NewAudit {
        let amount = PointAmount::Exactly(Offence::Removed.points());
        let cause = PointCause::Comment(comment_id);
        let mut entry = self.with_points(entry, Some(user_id), cause, amount);
        if let Some(points) = &mut entry.points {
            points.text = text_key(message);
        }
        entry
    }

    /// Returns the entry of a decision on a comment of the review queue with the points of its
    /// author.
    pub(super) fn costing_decision(
        &self,
        entry: NewAudit,
        comment_id: CommentId,
        decision: Decision,
    ) -> NewAudit {
        let amount = if decision.deletes() { Offence::Removed.points() } else { APPROVAL };
        let cause = PointCause::Comment(comment_id);
        self.with_points(entry, None, cause, PointAmount::Exactly(amount))
    }

    /// Returns the entry of a change that takes another back, with the points that it gives back.
    pub(super) fn giving_back(
        &self,
        entry: NewAudit,
        user_id: UserId,
        cause: PointCause,
    ) -> NewAudit {
        self.with_points(entry, Some(user_id), cause, PointAmount::Exactly(0.0))
    }

    fn with_points(
        &self,
        entry: NewAudit,
        user_id: Option<UserId>,
        cause: PointCause,
        amount: PointAmount,
    ) -> NewAudit {
        let Some(rules) = self.parts.reputation else { return entry };
        let half_life_ms = rules.half_life_ms;
        entry.with_points(AuditPoints { user_id, cause, amount, text: None, half_life_ms })
    }
}

/// Rounds to thousandths, which nobody tells apart.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::stages::control::fakes::{World, comment_id, operator};
    use crate::protocol::admin::{
        ClearRoomRequest, DeleteRequest, RestoreRequest, ReviewEvidence, ReviewItem, ReviewRequest,
        SanctionRequest, UndoRequest, UserRef,
    };
    use crate::protocol::room::UNCHECKED;
    use crate::protocol::{Role, StreamId};

    const ANN: UserId = UserId(42);

    fn ann() -> UserRef {
        UserRef("ann".to_owned())
    }

    fn sanction(duration_ms: Option<u64>) -> SanctionRequest {
        SanctionRequest { user: ann(), stream_id: None, reason: None, note: None, duration_ms }
    }

    fn delete(number: u64) -> DeleteRequest {
        DeleteRequest { comment_id: comment_id(number), reason: None, note: None }
    }

    async fn points(world: &World) -> f64 {
        world.control.reputation_of(ANN).await.unwrap().unwrap().points
    }

    async fn undo(world: &World, audit_id: u64) -> Outcome {
        let request = UndoRequest { audit_id, note: None };
        world.control.undo(&operator(), &request).await.unwrap()
    }

    /// Returns an item of the review queue, by user 42.
    fn queued(world: &World, number: u64, reason: &str) -> ReviewItem {
        let comment = world.comment(number, &format!("is comment {number} allowed?")).comment;
        ReviewItem {
            comment_id: comment.comment_id,
            stream_id: comment.stream_id,
            user_id: ANN,
            name: "ann".to_owned(),
            message: comment.message.to_string(),
            reason: reason.to_owned(),
            flagged_at: 5,
            held: false,
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: ReviewEvidence::default(),
        }
    }

    /// Queues a comment of user 42 for review.
    async fn flag(world: &World, number: u64) -> ReviewRequest {
        let item = queued(world, number, "link");
        let comment_id = item.comment_id;
        world.metadata.queue_review(item, 0).await.unwrap();
        ReviewRequest { comment_id, reason: None, note: None }
    }

    #[tokio::test(start_paused = true)]
    async fn sanctions_cost_points_until_undone() {
        let world = World::new().await;
        let control = &world.control;
        let timeout = control.timeout(&operator(), &sanction(Some(60_000))).await.unwrap();
        assert_eq!(points(&world).await, 2.0);
        let longer = control.timeout(&operator(), &sanction(Some(90_000))).await.unwrap();
        assert_eq!(points(&world).await, 2.0, "it is corrected, not given again");
        let ban = control.ban(&operator(), &sanction(None)).await.unwrap();
        assert_eq!(points(&world).await, 8.0);
        for (entry, left) in [(ban, 2.0), (longer, 2.0), (timeout, 0.0)] {
            undo(&world, entry.audit_id).await;
            assert_eq!(points(&world).await, left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_on_a_stream_costs_no_points() {
        let world = World::new().await;
        let control = &world.control;
        let stream_id = Some(StreamId(1));
        let timeout = SanctionRequest { stream_id, ..sanction(Some(60_000)) };
        control.timeout(&operator(), &timeout).await.unwrap();
        let ban = SanctionRequest { stream_id, ..sanction(None) };
        control.ban(&operator(), &ban).await.unwrap();
        let fields = json!({"user": "id:42"});
        world.moderate_one((100, Role::Moderator), StreamId(1), "ban", fields).await.unwrap();
        assert_eq!(points(&world).await, 0.0);
        control.ban(&operator(), &sanction(None)).await.unwrap();
        assert_eq!(points(&world).await, 6.0, "on all streams it costs as before");
    }

    #[tokio::test(start_paused = true)]
    async fn removed_comments_cost_points_until_restored() {
        let world = World::new().await;
        let control = &world.control;
        (1..=3).for_each(|number| drop(world.comment(number, &format!("comment number {number}"))));
        let first = control.delete(&operator(), &delete(1)).await.unwrap();
        control.delete(&operator(), &delete(2)).await.unwrap();
        control.delete(&operator(), &delete(2)).await.unwrap();
        assert_eq!(points(&world).await, 2.0, "each comment counts once");
        undo(&world, first.audit_id).await;
        let restore = RestoreRequest { comment_id: comment_id(2), note: None };
        control.restore(&operator(), &restore).await.unwrap();
        assert_eq!(points(&world).await, 0.0);
        let clear = ClearRoomRequest { last_ms: 600_000, reason: None, note: None };
        control.clear_room(&operator(), StreamId(1), &clear).await.unwrap();
        assert_eq!(points(&world).await, 0.0, "a cleared room is nobody's fault");
    }

    #[tokio::test(start_paused = true)]
    async fn reviews_cost_points_and_give_some_back() {
        let world = World::new().await;
        let control = &world.control;
        let bad = flag(&world, 1).await;
        let good = flag(&world, 2).await;
        assert_eq!(points(&world).await, 0.0, "a flag is no decision");
        let rejected = control.reject(&operator(), &bad).await.unwrap();
        assert_eq!(points(&world).await, 1.0);
        control.approve(&operator(), &good).await.unwrap();
        assert_eq!(points(&world).await, 0.5);
        undo(&world, rejected.audit_id).await;
        assert_eq!(points(&world).await, 0.0);
        control.reject(&operator(), &bad).await.unwrap();
        assert_eq!(points(&world).await, 1.0, "it was decided again");
    }

    #[tokio::test(start_paused = true)]
    async fn approving_the_unchecked_gives_nothing_back() {
        let world = World::new().await;
        let control = &world.control;
        control.timeout(&operator(), &sanction(Some(60_000))).await.unwrap();
        for number in 1..=2 {
            let item = queued(&world, number, UNCHECKED);
            world.metadata.queue_review(item, 0).await.unwrap();
        }
        let request =
            |number| ReviewRequest { comment_id: comment_id(number), reason: None, note: None };
        control.approve(&operator(), &request(1)).await.unwrap();
        assert_eq!(points(&world).await, 2.0);
        control.reject(&operator(), &request(2)).await.unwrap();
        assert_eq!(points(&world).await, 3.0, "a rejected one still costs");
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_is_forgiven_and_that_is_undone() {
        let world = World::new().await;
        let control = &world.control;
        let request = UserRequest { user: ann(), note: Some("sorry".to_owned()) };
        let nothing = control.forgive(&operator(), &request).await.unwrap_err();
        assert!(matches!(nothing, ControlError::NothingToForgive(ANN)), "{nothing}");
        control.ban(&operator(), &sanction(None)).await.unwrap();
        let detail = control.user_detail(&ann()).await.unwrap().reputation.unwrap();
        assert_eq!((detail.points, detail.lowers), (6.0, 0.15));
        assert!(detail.since.is_some());
        let forgiven = control.forgive(&operator(), &request).await.unwrap();
        assert_eq!(forgiven.user_id, Some(ANN));
        assert_eq!(points(&world).await, 0.0);
        let entry = &control.audit_log(1).await.unwrap()[0];
        assert_eq!((&*entry.action, &*entry.target), (audit_action::FORGIVE, "user 42"));
        assert_eq!(entry.detail["points"], 6.0);
        let undone = undo(&world, forgiven.audit_id).await;
        assert_eq!(undone.now.as_deref(), Some("the points from before count again"));
        assert_eq!(points(&world).await, 6.0);
    }
}
