//! Direct messages over HTTP, before they are kept: who may send one, how many, and which texts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::user_rate::UserRate;
use crate::daemon::base::config::MessagesConfig;
use crate::daemon::engines::directory::Sanctions;
use crate::daemon::stages::moderation::{ModerationContext, Pipeline, Subject};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::events::Decision;
use crate::protocol::{Comment, CommentId, ErrorCode, Identity, StreamId, UserId};

/// Lists and acknowledgements of a user per second. A client needs one of each per connection.
const READS_PER_SECOND: u32 = 20;
/// The longest wait for a stage of moderation that asks others.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks what users do with direct messages.
#[derive(Debug)]
pub(crate) struct MessageDoor {
    between_users: bool,
    sent: UserRate,
    read: UserRate,
    sanctions: Sanctions,
    pipeline: Arc<Pipeline>,
    context: Arc<ModerationContext>,
}

impl MessageDoor {
    pub(super) fn new(
        config: &MessagesConfig,
        sanctions: Sanctions,
        pipeline: Arc<Pipeline>,
        context: Arc<ModerationContext>,
    ) -> Self {
        Self {
            between_users: config.between_users,
            sent: UserRate::new(config.per_minute, Duration::from_secs(60)),
            read: UserRate::new(READS_PER_SECOND, Duration::from_secs(1)),
            sanctions,
            pipeline,
            context,
        }
    }

    /// Takes one of the reads that a user has in a second.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn admit_read(&self, user_id: UserId, now_ms: u64) -> Result<(), ErrorBody> {
        self.read.take(user_id, now_ms).map_err(|_| {
            let text = "messages are read or acknowledged too often";
            ErrorBody::new(ErrorCode::RateLimited, text).retry_after_ms(RETRY_AFTER_MS)
        })
    }

    /// Checks that a user may send messages at all, as one who may comment on every stream: a
    /// message reaches its user on all of them.
    ///
    /// # Errors
    /// `messages_off`, `banned` or `timed_out`.
    pub(super) fn may_send(&self, sender: &Identity) -> Result<(), ErrorBody> {
        if !self.between_users {
            let text = "users send each other no messages here: `messages.between_users` is off";
            return Err(ErrorBody::new(ErrorCode::MessagesOff, text));
        }
        match self.sanctions.check_anywhere(sender.user_id) {
            Some(sanction) => Err(sanction.error()),
            None => Ok(()),
        }
    }

    /// Takes one of the messages that a user may send in a minute.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn admit_message(&self, user_id: UserId, now_ms: u64) -> Result<(), ErrorBody> {
        self.sent.take(user_id, now_ms).map_err(|wait_ms| {
            let text = "too many messages in this minute";
            ErrorBody::new(ErrorCode::RateLimited, text).retry_after_ms(wait_ms)
        })
    }

    /// Checks a text as moderation checks a comment of this sender on the stream, with thresholds
    /// that the sender's points lower, except for what it counts: repeats and floods. Nothing is
    /// counted, so a message costs no points. A text that would be flagged is sent, because no
    /// queue has private texts. Returns false for one that reaches nobody, of which its sender is
    /// not told: that of a shadowed user, or one that would be hidden as a comment.
    ///
    /// # Errors
    /// `moderation_rejected`, `overloaded` if moderation does not answer in time.
    pub(super) async fn reaches_its_user(
        &self,
        sender: &Identity,
        stream_id: StreamId,
        text: &str,
        now_ms: u64,
    ) -> Result<bool, ErrorBody> {
        let comment = Comment {
            stream_id,
            comment_id: CommentId::from_unix_ticks(now_ms.saturating_mul(10_000), 0, [0; 6]),
            user_id: sender.user_id,
            name: sender.name.clone(),
            message: text.into(),
            created_at: now_ms,
            badges: Default::default(),
            parent_id: None,
        };
        let role = Some(sender.role);
        self.context.look_up(&[sender.user_id]).await;
        let context = self.context.of_comment(&comment, role);
        let subject = Subject {
            comment: &comment,
            role,
            lowered: context.lowered(),
            // The mood of a crowd does not excuse what is said to one.
            raised: 0.0,
            deadline: Some(Instant::now() + CHECK_TIMEOUT),
        };
        let explained = tokio::time::timeout(CHECK_TIMEOUT, self.pipeline.explain(&subject)).await;
        let stages = explained.map_err(|_| {
            let text = "moderation does not answer";
            ErrorBody::new(ErrorCode::Overloaded, text).retry_after_ms(RETRY_AFTER_MS)
        })?;
        match stages.iter().find(|stage| stage.decides) {
            Some(stage) if stage.decision == Decision::Reject => {
                let text = format!("refused by moderation: {}", stage.reason);
                Err(ErrorBody::new(ErrorCode::ModerationRejected, text))
            }
            Some(stage) if stage.decision == Decision::ShadowBan => Ok(false),
            _ => Ok(!self.sanctions.is_shadowed_anywhere(sender.user_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::base::config::ReputationConfig;
    use crate::daemon::base::supervise::breaker::Breaker;
    use crate::daemon::engines::metadata::in_memory::InMemoryMetadata;
    use crate::daemon::stages::moderation::samples::comment;
    use crate::daemon::stages::moderation::{Finding, ModerationContextParts, Stage};
    use crate::protocol::{Role, Standing};

    const STREAM: StreamId = StreamId(1);
    const NOW_MS: u64 = 100_000;
    const OFFENDER: u64 = 5;

    /// Gives bad texts a score of 0.9 and others 0.65. Rejects from 0.7 on, and flags the others.
    #[derive(Debug)]
    struct Scored;

    #[async_trait]
    impl Stage for Scored {
        fn name(&self) -> &'static str {
            "scored"
        }

        async fn check(&self, subject: &Subject<'_>) -> Finding {
            let score = if subject.comment.message.starts_with("bad") { 0.9 } else { 0.65 };
            let is_rejected = score + subject.lowered >= 0.7;
            Finding::new(if is_rejected { Decision::Reject } else { Decision::Flag }, "toxic")
        }
    }

    fn sender(user_id: u64, role: Role) -> Identity {
        Identity {
            user_id: UserId(user_id),
            name: "someone".into(),
            role,
            everywhere: role,
            avatar: None,
            comments_per_minute: None,
            standing: Standing::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn points_count_for_messages_as_for_comments() {
        let metadata = Arc::new(InMemoryMetadata::default());
        let clock = Arc::new(TokioClock::starting_at(Duration::from_millis(NOW_MS)));
        let context_of_node = || {
            Arc::new(ModerationContext::new(ModerationContextParts {
                metadata: metadata.clone(),
                metadata_breaker: Arc::new(Breaker::new("metadata")),
                clock: clock.clone(),
                config: ReputationConfig::default(),
            }))
        };
        let pipeline = Arc::new(Pipeline::new(vec![Arc::new(Scored)]));
        let sanctions = Sanctions::load(metadata.clone(), clock.clone()).await.unwrap();
        let config = MessagesConfig { between_users: true, ..MessagesConfig::default() };
        let door = MessageDoor::new(&config, sanctions, pipeline.clone(), context_of_node());
        let send = async |user: u64, role: Role, text: &str| {
            let sender = sender(user, role);
            let sent = door.reaches_its_user(&sender, STREAM, text, NOW_MS).await;
            sent.map_err(|error| error.code)
        };
        // Another node moderates what the offender comments.
        let context = context_of_node();
        for number in 1..=3 {
            let comment = comment(STREAM.0, OFFENDER, &format!("bad {number}"));
            let of_comment = context.of_comment(&comment, None);
            let subject = Subject {
                comment: &comment,
                role: None,
                lowered: of_comment.lowered(),
                raised: of_comment.raised(),
                deadline: None,
            };
            let verdict = pipeline.check(&subject).await;
            context.record(&subject, &of_comment, &verdict);
        }
        context.store_points().await;
        let rejected = Err(ErrorCode::ModerationRejected);
        assert_eq!(send(OFFENDER, Role::Viewer, "borderline").await, rejected);
        assert_eq!(send(6, Role::Viewer, "borderline").await, Ok(true), "it is only flagged");
        assert_eq!(send(6, Role::Viewer, "bad").await, rejected);
        assert_eq!(send(OFFENDER, Role::Moderator, "borderline").await, Ok(true), "staff");
    }
}
