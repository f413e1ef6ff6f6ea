//! Messages to one user, or to all viewers of a stream.

use std::sync::Arc;

use tokio::time::Instant;

use super::cluster::{CommandResults, in_time};
use super::users::ResolvedUser;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::metadata::{KeptIds, NewAudit, NewMessage};
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{AnnounceRequest, DirectRequest, Outcome, audit_action};
use crate::protocol::{Identity, KeptMessage, StreamId, UserId};

/// A message of a user to another that [`Control::check_message`] has checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserMessage {
    user_id: UserId,
    message: String,
}

impl UserMessage {
    /// Returns the text in its normal form.
    pub fn text(&self) -> &str {
        &self.message
    }
}

/// A message that is kept, and was sent to the connections of its user.
struct SentMessage {
    ids: KeptIds,
    results: CommandResults,
}

impl Control {
    /// Sends a message to every connection of a user. The outcome has their number. The message is
    /// kept before it is sent, until the user acknowledges it: a connection may be dead.
    pub async fn direct(
        &self,
        actor: &Actor,
        request: &DirectRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let message = validate::note("message", &request.message)?;
        let user = self.resolve(&request.user).await?;
        let user_id = user.user_id;
        let entry = self.entry(actor, audit_action::DM, format!("user {user_id}"), request);
        let from = actor.shown_as().to_string();
        let new = NewMessage { from, from_user: None, message, sent_at: entry.at };
        let SentMessage { ids, results } = self.keep_and_send(user_id, new, Some(entry)).await?;
        // It was kept with the entry.
        let audit_id = ids.audit_id.unwrap_or_default();
        let connections = Some(results.connections);
        let kept = results.connections == 0;
        Ok(user.named_in(Outcome { connections, kept, ..outcome(audit_id, results, started) }))
    }

    /// Checks a message of a user to another, and brings it into its normal form. Changes nothing.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::MessageToSelf`], [`ControlError::UnknownUser`],
    /// [`ControlError::UnknownUserId`] for a user that was never seen, and
    /// [`ControlError::BadUser`] for a name of several users.
    pub async fn check_message(
        &self,
        sender: &Identity,
        request: &DirectRequest,
    ) -> Result<UserMessage, ControlError> {
        let message = validate::note("message", &request.message)?;
        let user = self.resolve(&request.user).await?;
        if user.user_id == sender.user_id {
            return Err(ControlError::MessageToSelf { user: user.shown() });
        }
        if user.name.is_none() {
            return Err(ControlError::UnknownUserId(user.user_id));
        }
        Ok(UserMessage { user_id: user.user_id, message })
    }

    /// Keeps a message of a user to another and sends it. Returns its id. It is no change by an
    /// operator, and has no audit entry.
    pub async fn send_message(
        &self,
        sender: &Identity,
        message: UserMessage,
    ) -> Result<u64, ControlError> {
        let UserMessage { user_id, message } = message;
        let from = sender.name.to_string();
        let sent_at = self.parts.clock.now_ms();
        let new = NewMessage { from, from_user: Some(sender.user_id), message, sent_at };
        let sent = self.keep_and_send(user_id, new, None).await?;
        Ok(sent.ids.message_id)
    }

    async fn keep_and_send(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<SentMessage, ControlError> {
        let from: Arc<str> = new.from.as_str().into();
        let message: Arc<str> = new.message.as_str().into();
        let from_user = new.from_user;
        let ids = self.parts.metadata.keep_message(user_id, new, audit).await?;
        let message_id = Some(ids.message_id);
        let command = NodeCommand::Direct { user_id, from, message, message_id, from_user };
        let results = self.command_nodes_of_user(user_id, command).await;
        Ok(SentMessage { ids, results })
    }

    /// Sends a message of a moderator to a user. A moderator of all streams may send one to any
    /// user. The role on one stream reaches the users of that stream: those that watch it now, and
    /// those that wrote on it in the last day, as far back as [`Self::comments_on_stream`] looks.
    ///
    /// # Errors
    /// [`ControlError::NotInStream`]. Without an answer of the registry or of the log, theirs.
    pub(super) async fn direct_of_stream(
        &self,
        moderator: &Identity,
        stream_id: StreamId,
        request: &DirectRequest,
    ) -> Result<Outcome, ControlError> {
        let actor = &Actor::bearer(moderator);
        if moderator.everywhere.is_staff() {
            return self.direct(actor, request).await;
        }
        let user = self.resolve(&request.user).await?;
        self.require_in_stream(&user, stream_id).await?;
        // The name may belong to another user a moment later.
        let request = DirectRequest { user: user.reference(), ..request.clone() };
        self.direct(actor, &request).await
    }

    async fn require_in_stream(
        &self,
        user: &ResolvedUser,
        stream_id: StreamId,
    ) -> Result<(), ControlError> {
        let located = in_time(self.parts.registry.locate(user.user_id)).await;
        let watches = located
            .as_ref()
            .is_ok_and(|all| all.iter().any(|connection| connection.stream_id == stream_id));
        if watches || self.has_written_on(stream_id, user.user_id).await? {
            return Ok(());
        }
        // It may be connected if the registry did not answer.
        located?;
        Err(ControlError::NotInStream { user: user.shown(), stream_id })
    }

    /// Returns the messages that are kept for a user, oldest first.
    pub async fn kept_messages(&self, user_id: UserId) -> Result<Vec<KeptMessage>, ControlError> {
        let now_ms = self.parts.clock.now_ms();
        Ok(self.parts.metadata.kept_messages(user_id, now_ms).await?)
    }

    /// Forgets the messages of a user up to this one, which the user has read.
    pub async fn acknowledge_messages(
        &self,
        user_id: UserId,
        up_to: u64,
    ) -> Result<(), ControlError> {
        Ok(self.parts.metadata.acknowledge_messages(user_id, up_to).await?)
    }

    /// Shows a message to every viewer of a stream, on all nodes.
    pub async fn announce(
        &self,
        actor: &Actor,
        request: &AnnounceRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let stream_id = request.stream_id;
        let message = validate::note("message", &request.message)?;
        self.require_stream(stream_id).await?;
        let entry =
            self.entry(actor, audit_action::ANNOUNCE, format!("stream {stream_id}"), request);
        let audit_id = self.parts.metadata.audit(entry).await?;
        let announcement = BusMessage::Announcement { message: message.into() };
        self.parts.bus.publish(stream_id, vec![announcement]).await?;
        Ok(outcome(audit_id, CommandResults::default(), started))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{World, moderator, operator};
    use crate::protocol::Role;
    use crate::protocol::admin::UserRef;
    use crate::protocol::stream::ModerationMode;

    const ONE: StreamId = StreamId(1);
    const TWO: StreamId = StreamId(2);

    async fn world() -> World {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.control.parts.streams.reload_stream(TWO).await.unwrap();
        world
    }

    /// Sends a message to user 42 as the moderator of only this stream.
    async fn send(world: &World, stream_id: StreamId) -> Result<Outcome, ControlError> {
        let fields = json!({"user": "ann", "message": "hello"});
        world.moderate_one((100, Role::Moderator), stream_id, "message", fields).await
    }

    #[tokio::test]
    async fn a_role_on_one_stream_reaches_its_users() {
        let world = world().await;
        let before = world.state();
        let refused = send(&world, ONE).await.unwrap_err();
        assert!(matches!(refused, ControlError::NotInStream { .. }), "{refused}");
        assert_eq!(refused.body().code.as_str(), "forbidden");
        assert_eq!(world.state(), before);
        world.comment(1, "hi");
        assert!(send(&world, ONE).await.unwrap().kept, "it wrote on the stream");
        world.registry.place(42, "a").await;
        assert!(send(&world, ONE).await.unwrap().connections.is_some_and(|sent| sent > 0));
        let elsewhere = send(&world, TWO).await.unwrap_err();
        assert!(matches!(elsewhere, ControlError::NotInStream { .. }), "{elsewhere}");
        let fields = json!({"user": "ann", "message": "hello"});
        world.moderate((100, Role::Moderator), TWO, "message", fields).await.unwrap();
    }

    #[tokio::test]
    async fn a_viewer_is_reached_though_it_wrote_nothing() {
        let world = world().await;
        world.registry.place(42, "a").await;
        assert!(!send(&world, ONE).await.unwrap().kept);
        world.registry.set_down(true);
        let before = world.state();
        let unknown = send(&world, ONE).await.unwrap_err();
        assert_eq!(unknown.body().code.as_str(), "store_unavailable");
        assert_eq!(world.state(), before, "nothing is sent to a user that may not be there");
    }

    #[tokio::test]
    async fn a_message_is_kept_before_it_is_sent() {
        let world = world().await;
        world.registry.place(42, "b").await;
        let sender = moderator((7, Role::Viewer));
        let request = |user: &str, message: &str| DirectRequest {
            user: UserRef(user.to_owned()),
            message: message.to_owned(),
        };
        let check = async |user: &str, message: &str| {
            world.control.check_message(&sender, &request(user, message)).await
        };
        let audits = world.metadata.audits().len();
        let message = check("ann", " hi\u{200B} ann ").await.unwrap();
        assert_eq!(message.text(), "hi ann");
        let message_id = world.control.send_message(&sender, message).await.unwrap();
        let kept = world.control.kept_messages(UserId(42)).await.unwrap();
        let [kept] = &kept[..] else { panic!("{kept:?}") };
        assert_eq!((kept.message_id, kept.from_user), (message_id, Some(UserId(7))));
        let told = world.journal.lines().concat();
        assert!(told.contains(&format!("message_id: Some({message_id})")), "{told}");
        assert!(told.contains("from_user: Some(UserId(7))"), "{told}");
        assert_eq!(world.metadata.audits().len(), audits, "it is no change by an operator");
        let before = world.state();
        for (user, message, code) in [
            ("id:7", "hi", "bad_request"),
            ("nobody", "hi", "not_found"),
            ("id:999", "hi", "not_found"),
            ("twin", "hi", "bad_request"),
            ("ann", "\u{200B}", "bad_message"),
            ("ann", &"x".repeat(501), "bad_message"),
        ] {
            let refused = check(user, message).await.unwrap_err();
            assert_eq!(refused.body().code.as_str(), code, "{user}: {refused}");
        }
        let stranger = check("id:999", "hi").await.unwrap_err().to_string();
        assert!(stranger.starts_with("no user with the id 999 has"), "{stranger}");
        assert!(!stranger.contains("name"), "{stranger}");
        assert_eq!(world.state(), before);
        world.metadata.fail_next("keep_message");
        let lost = world.control.direct(&operator(), &request("ann", "hi")).await.unwrap_err();
        assert_eq!(lost.body().code.as_str(), "store_unavailable");
        assert_eq!(world.state(), before, "neither sent nor recorded");
    }
}
