//! Carries out the acts of moderators of one stream.

use super::{Actor, Control, ControlError};
use crate::protocol::admin::{DeleteOfUserRequest, Outcome, SanctionRequest};
use crate::protocol::moderation::ClearUserRequest;
use crate::protocol::{Identity, ModerationAct, StreamId};

impl Control {
    /// Carries out an act of a moderator on a stream. Comments of other streams are not touched;
    /// bans and timeouts hold on all streams.
    ///
    /// # Errors
    /// Those of the operation with the name of the act, [`ControlError::OfOtherStream`],
    /// [`ControlError::OwnUser`] and [`ControlError::NotHigherRole`].
    pub async fn moderate(
        &self,
        moderator: &Identity,
        stream_id: StreamId,
        act: &ModerationAct,
    ) -> Result<Outcome, ControlError> {
        let stream = self.require_stream(stream_id).await?;
        self.check_may_act(moderator, act).await?;
        let actor = &Actor::bearer(moderator);
        let expected = Some(stream_id);
        match act {
            ModerationAct::Delete(request) => self.delete_of_stream(actor, request, expected).await,
            ModerationAct::ClearUser(request) => {
                let ClearUserRequest { user, last_ms, reason, note } = request.clone();
                let stream_id = expected;
                let request = DeleteOfUserRequest { user, last_ms, stream_id, reason, note };
                self.delete_of_user(actor, &request).await
            }
            ModerationAct::ClearRoom(request) => self.clear_room(actor, stream_id, request).await,
            ModerationAct::Timeout(request) => {
                let shortest = Some(stream.room.shortest_timeout_ms());
                let duration_ms = request.duration_ms.or(shortest);
                self.timeout(actor, &SanctionRequest { duration_ms, ..request.clone() }).await
            }
            ModerationAct::Ban(request) => self.ban(actor, request).await,
            ModerationAct::Unban(request) => self.unban(actor, request).await,
            ModerationAct::Approve(request) => {
                self.approve_of_stream(actor, request, expected).await
            }
            ModerationAct::Reject(request) => self.reject_of_stream(actor, request, expected).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::daemon::engines::metadata::MetadataStore as _;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{STARTED_MS, World, comment_id, operator};
    use crate::protocol::admin::ReviewItem;
    use crate::protocol::room::RoomPatch;
    use crate::protocol::stream::ModerationMode;
    use crate::protocol::{Role, Standing, UserId};

    const ONE: StreamId = StreamId(1);
    const TWO: StreamId = StreamId(2);

    async fn act(
        world: &World,
        stream_id: StreamId,
        name: &str,
        fields: Value,
    ) -> Result<Outcome, ControlError> {
        let act = ModerationAct::named(name, fields).unwrap();
        let moderator = Identity {
            user_id: UserId(100),
            name: "mod".into(),
            role: Role::Moderator,
            avatar: None,
            comments_per_minute: None,
            standing: Standing::default(),
        };
        world.control.moderate(&moderator, stream_id, &act).await
    }

    fn waiting() -> ReviewItem {
        let item = json!({
            "comment_id": comment_id(9),
            "stream_id": ONE,
            "user_id": "42",
            "name": "ann",
            "message": "buy",
            "reason": "link",
            "flagged_at": STARTED_MS,
            "held": true,
        });
        serde_json::from_value(item).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn comments_of_other_streams_are_left_alone() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.comment(1, "bad");
        world.metadata.queue_review(waiting(), 0).await.unwrap();
        let before = world.state();
        let clear = json!({"user": "ann", "last_ms": 600_000});
        for (name, fields) in [
            ("delete", json!({ "comment_id": comment_id(1) })),
            ("approve", json!({ "comment_id": comment_id(9) })),
            ("reject", json!({ "comment_id": comment_id(9) })),
            ("clear_user", clear.clone()),
            ("clear_room", json!({"last_ms": 600_000})),
        ] {
            let error = act(&world, TWO, name, fields).await.unwrap_err();
            assert_eq!(error.body().code.as_str(), "not_found", "{name}: {error}");
        }
        assert_eq!(world.state(), before);
        let of = async |stream_id| {
            world.control.review_queue_of(&operator(), stream_id, 9).await.unwrap().len()
        };
        assert_eq!((of(ONE).await, of(TWO).await), (1, 0));
        assert_eq!(act(&world, ONE, "clear_user", clear).await.unwrap().changes, Some(1));
        act(&world, ONE, "approve", json!({ "comment_id": comment_id(9) })).await.unwrap();
        assert_eq!(of(ONE).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_is_the_shortest_of_the_room() {
        let world = World::new().await;
        let length = async |fields| {
            let done = act(&world, ONE, "timeout", fields).await.unwrap();
            let timeout = world.control.bans().await.unwrap().remove(0);
            assert_eq!(done.expires_at, timeout.expires_at, "a moderator is told");
            timeout.expires_at.unwrap() - STARTED_MS
        };
        let ann = json!({"user": "ann"});
        assert_eq!(length(ann.clone()).await, 600_000);
        let timeouts_ms = Some(vec![60_000, 3_600_000]);
        let patch = RoomPatch { timeouts_ms, ..RoomPatch::default() };
        world.control.update_room(&operator(), ONE, &patch).await.unwrap();
        assert_eq!(length(ann.clone()).await, 60_000);
        assert_eq!(length(json!({"user": "ann", "duration_ms": 5_000})).await, 5_000);
        act(&world, ONE, "unban", ann.clone()).await.unwrap();
        assert!(world.control.bans().await.unwrap().is_empty());
        let unknown = act(&world, StreamId(9), "ban", ann).await.unwrap_err();
        assert!(matches!(unknown, ControlError::UnknownStream(_)), "{unknown}");
    }
}
