//! Looks up a user: name, connections, sanctions, latest comments, audit entries. Moderators of a
//! stream look up the latest comments there.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::future::join_all;

use super::cluster::in_time;
use super::comments_of_user::LONGEST_LAST_MS;
use super::search::SearchRange;
use super::undo::link;
use super::{Control, ControlError};
use crate::daemon::engines::eventlog::Record;
use crate::protocol::admin::{Sanction, UserComment, UserDetail, UserRef, Who};
use crate::protocol::events::{Event, HiddenFrom};
use crate::protocol::moderation::UserCommentList;
use crate::protocol::{CommentId, StreamId, UserId};

/// The time back in which comments are looked for: one hour.
const RECENT_MS: u64 = 3_600_000;
/// Steps of that search, over all partitions: 32,768 records.
const RECENT_WINDOWS: usize = 32;
/// Steps of a search on one stream: 65,536 records of its partition.
const STREAM_WINDOWS: usize = 64;
/// Comments and audit entries that are returned.
const MAX_SHOWN: usize = 20;
/// Deletions that are remembered while their comments are looked for.
const MAX_REMOVED: usize = 10_000;

impl Control {
    /// Returns a user's name, connections and sanctions.
    pub async fn who(&self, reference: &UserRef) -> Result<Who, ControlError> {
        let in_force = self.bans().await?;
        let mut shadows = self.shadows().await?;
        let who = self.who_among(reference, &in_force).await?;
        shadows.retain(|shadow| shadow.user_id == who.user_id);
        Ok(Who { shadows, ..who })
    }

    /// Returns the same without shadows of several users, or for each the reason why it cannot be
    /// told.
    ///
    /// # Errors
    /// The sanctions cannot be read.
    pub async fn who_each(
        &self,
        references: &[UserRef],
    ) -> Result<Vec<Result<Who, ControlError>>, ControlError> {
        let in_force = self.bans().await?;
        Ok(join_all(references.iter().map(|user| self.who_among(user, &in_force))).await)
    }

    async fn who_among(
        &self,
        reference: &UserRef,
        in_force: &[Sanction],
    ) -> Result<Who, ControlError> {
        let user = self.resolve(reference).await?;
        let user_id = user.user_id;
        let of_user = in_force.iter().filter(|sanction| sanction.user_id == user_id);
        let sanctions = of_user.cloned().collect();
        let connections = in_time(self.parts.registry.locate(user_id)).await?;
        Ok(Who {
            user_id,
            name: user.name.as_deref().map(str::to_owned),
            connections,
            sanctions,
            shadows: Vec::new(),
            unreachable: Vec::new(),
        })
    }

    /// Returns all that is known about a user.
    pub async fn user_detail(&self, reference: &UserRef) -> Result<UserDetail, ControlError> {
        let who = self.who(reference).await?;
        let asked_ms = self.parts.clock.now_ms().saturating_sub(RECENT_MS);
        let mut recent = RecentComments::of(who.user_id, None, asked_ms, MAX_SHOWN);
        let range =
            SearchRange { stream_id: None, since_ms: asked_ms, max_windows: RECENT_WINDOWS };
        let searched_to_ms = {
            let mut look = |record: &Record| {
                recent.look(record);
                ControlFlow::Continue(())
            };
            self.search_back(&range, &mut look).await?
        };
        let target = format!("user {}", who.user_id);
        let mut audit = self.parts.metadata.audit_about(&target, MAX_SHOWN).await?;
        link(&mut audit);
        let reputation = self.reputation_of(who.user_id).await?;
        let RecentComments { said, removals, newest, .. } = recent;
        Ok(UserDetail {
            who,
            since_ms: searched_to_ms.unwrap_or(asked_ms),
            said,
            removed: removals,
            comments: newest.into_values().rev().collect(),
            audit,
            reputation,
        })
    }

    /// Returns what a user wrote on a stream in the last day, the newest `limit` comments in full.
    /// Says how far back it was searched, which on a busy stream may be less. A user that nobody
    /// knows has written nothing.
    ///
    /// # Errors
    /// The stream does not exist, or the log does not answer.
    pub async fn comments_on_stream(
        &self,
        stream_id: StreamId,
        user_id: UserId,
        limit: usize,
    ) -> Result<UserCommentList, ControlError> {
        self.require_stream(stream_id).await?;
        let asked_ms = self.parts.clock.now_ms().saturating_sub(LONGEST_LAST_MS);
        let only = Some(stream_id);
        let mut recent = RecentComments::of(user_id, only, asked_ms, limit);
        let range =
            SearchRange { stream_id: only, since_ms: asked_ms, max_windows: STREAM_WINDOWS };
        let searched_to_ms = {
            let mut look = |record: &Record| {
                recent.look(record);
                ControlFlow::Continue(())
            };
            self.search_back(&range, &mut look).await?
        };
        let RecentComments { said, removals, newest, .. } = recent;
        Ok(UserCommentList {
            user_id,
            since: searched_to_ms.unwrap_or(asked_ms),
            said,
            removed: removals,
            comments: newest.into_values().rev().collect(),
        })
    }

    /// Returns whether a user wrote on a stream in the last day, as far back as
    /// [`Self::comments_on_stream`] looks. Ends at the latest comment of the user.
    pub(super) async fn has_written_on(
        &self,
        stream_id: StreamId,
        user_id: UserId,
    ) -> Result<bool, ControlError> {
        let since_ms = self.parts.clock.now_ms().saturating_sub(LONGEST_LAST_MS);
        let range =
            SearchRange { stream_id: Some(stream_id), since_ms, max_windows: STREAM_WINDOWS };
        let mut has_written = false;
        let mut look = |record: &Record| {
            let Ok(Event::CommentSubmitted(event)) = Event::decode(&record.payload) else {
                return ControlFlow::Continue(());
            };
            let comment = &event.comment;
            has_written = (comment.user_id, comment.stream_id) == (user_id, stream_id)
                && comment.created_at >= since_ms;
            if has_written { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.search_back(&range, &mut look).await?;
        Ok(has_written)
    }
}

/// The last decision on a comment.
struct SeenRemoval {
    reason: Arc<str>,
    from: HiddenFrom,
}

/// The latest comments of a user, collected from records that come latest first.
struct RecentComments {
    user_id: UserId,
    /// Only those on this stream.
    stream_id: Option<StreamId>,
    since_ms: u64,
    /// The most that are kept.
    max: usize,
    said: u64,
    removals: u64,
    /// The deletions whose comments are still to come; `None` where a deletion was taken back.
    removed: HashMap<CommentId, Option<SeenRemoval>>,
    newest: BTreeMap<[u8; 16], UserComment>,
}

impl RecentComments {
    fn of(user_id: UserId, stream_id: Option<StreamId>, since_ms: u64, max: usize) -> Self {
        let removed = HashMap::new();
        let newest = BTreeMap::new();
        Self { user_id, stream_id, since_ms, max, said: 0, removals: 0, removed, newest }
    }

    fn is_about(&self, user_id: UserId, stream_id: StreamId) -> bool {
        user_id == self.user_id && self.stream_id.is_none_or(|only| only == stream_id)
    }

    fn look(&mut self, record: &Record) {
        match Event::decode(&record.payload) {
            Ok(Event::CommentModerated(event))
                if self.is_about(event.user_id, event.stream_id)
                    && event.timestamp >= self.since_ms
                    && self.removed.len() < MAX_REMOVED =>
            {
                let Some(from) = event.decision.hides_from() else { return };
                // What comes last in the log is seen first, and counts.
                if let Entry::Vacant(unknown) = self.removed.entry(event.comment_id) {
                    unknown.insert(Some(SeenRemoval { reason: event.reason, from }));
                    self.removals += 1;
                }
            }
            Ok(Event::CommentRestored(event))
                if self.is_about(event.user_id, event.stream_id)
                    && self.removed.len() < MAX_REMOVED =>
            {
                self.removed.entry(event.comment_id).or_insert(None);
            }
            Ok(Event::CommentSubmitted(event))
                if self.is_about(event.comment.user_id, event.comment.stream_id) =>
            {
                let comment = &event.comment;
                if comment.created_at < self.since_ms {
                    return;
                }
                self.said += 1;
                let removed = self.removed.get(&comment.comment_id).and_then(Option::as_ref);
                let shadowed = match removed {
                    Some(removed) => removed.from == HiddenFrom::Others,
                    None => event.shadow,
                };
                let shown = UserComment {
                    comment_id: comment.comment_id,
                    stream_id: comment.stream_id,
                    message: comment.message.to_string(),
                    created_at: comment.created_at,
                    removed: removed.map(|removed| removed.reason.to_string()),
                    shadowed,
                };
                self.newest.insert(comment.comment_id.sort_key(), shown);
                if self.newest.len() > self.max {
                    self.newest.pop_first();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::daemon::engines::eventlog::Topic;
    use crate::daemon::engines::metadata::in_memory::stream;
    use crate::daemon::stages::control::fakes::{
        STARTED_MS, World, comment_id, operator, submitted,
    };
    use crate::protocol::Role;
    use crate::protocol::admin::{DeleteRequest, RestoreRequest, UserRequest};
    use crate::protocol::events::CommentSubmitted;
    use crate::protocol::stream::ModerationMode;

    #[tokio::test]
    async fn a_user_is_shown_with_comments_and_acts() {
        let world = World::new().await;
        (1..=30).for_each(|number| drop(world.comment(number, &format!("comment {number}"))));
        let reason = Some("spam".to_owned());
        let delete = DeleteRequest { comment_id: comment_id(29), reason, note: None };
        world.control.delete(&operator(), &delete).await.unwrap();
        let ann = UserRef("ann".to_owned());
        let kick = UserRequest { user: ann.clone(), note: None };
        world.control.kick(&operator(), &kick).await.unwrap();
        let detail = world.control.user_detail(&ann).await.unwrap();
        assert_eq!((detail.said, detail.removed, detail.comments.len()), (30, 1, MAX_SHOWN));
        let newest: Vec<_> =
            detail.comments[..2].iter().map(|it| (&*it.message, it.removed.as_deref())).collect();
        assert_eq!(newest, [("comment 30", None), ("comment 29", Some("spam"))]);
        let actions: Vec<_> = detail.audit.iter().map(|entry| &*entry.action).collect();
        assert_eq!(actions, ["kick"]);
        let restore = RestoreRequest { comment_id: comment_id(29), note: None };
        world.control.restore(&operator(), &restore).await.unwrap();
        let detail = world.control.user_detail(&ann).await.unwrap();
        assert_eq!((detail.removed, detail.comments[1].removed.as_deref()), (0, None));
    }

    #[tokio::test]
    async fn moderators_are_shown_comments_on_their_stream() {
        let world = World::new().await;
        world.metadata.put_stream(stream(2, ModerationMode::Async));
        world.control.parts.streams.reload_stream(StreamId(2)).await.unwrap();
        (1..=3).for_each(|number| drop(world.comment(number, &format!("comment {number}"))));
        let elsewhere = submitted(StreamId(2), 4, "elsewhere");
        let payload = Event::CommentSubmitted(elsewhere).encode();
        world.log.put(Topic::CommentEvents, 2, STARTED_MS, payload);
        let reason = Some("spam".to_owned());
        let delete = DeleteRequest { comment_id: comment_id(3), reason, note: None };
        world.control.delete(&operator(), &delete).await.unwrap();
        let listed = async |stream, limit| {
            world.control.comments_on_stream(StreamId(stream), UserId(42), limit).await.unwrap()
        };
        let one = listed(1, 2).await;
        assert_eq!((one.said, one.removed), (3, 1));
        let shown: Vec<_> =
            one.comments.iter().map(|it| (&*it.message, it.removed.as_deref())).collect();
        assert_eq!(shown, [("comment 3", Some("spam")), ("comment 2", None)]);
        let two = listed(2, 2).await;
        assert_eq!((two.said, two.removed, &*two.comments[0].message), (1, 0, "elsewhere"));
        let nobody = world.control.comments_on_stream(StreamId(1), UserId(999), 2).await.unwrap();
        assert_eq!((nobody.said, nobody.comments.len()), (0, 0));
        let unknown = world.control.comments_on_stream(StreamId(9), UserId(42), 2).await;
        assert!(matches!(unknown, Err(ControlError::UnknownStream(_))), "{unknown:?}");
    }

    #[tokio::test]
    async fn comments_that_only_the_user_sees_are_marked() {
        let world = World::new().await;
        world.comment(1, "shown");
        world.comment(2, "hidden by a decision");
        let hidden =
            CommentSubmitted { shadow: true, ..submitted(StreamId(1), 3, "of a shadowed user") };
        let payload = Event::CommentSubmitted(hidden).encode();
        world.log.put(Topic::CommentEvents, 1, STARTED_MS, payload);
        let moderator = (100, Role::Moderator);
        let comment = json!({ "comment_id": comment_id(2) });
        world.moderate(moderator, StreamId(1), "shadow", comment.clone()).await.unwrap();
        let marks = async || {
            let detail = world.control.user_detail(&UserRef("ann".to_owned())).await.unwrap();
            let marked = |it: &UserComment| (it.shadowed, it.removed.clone());
            detail.comments.iter().map(marked).collect::<Vec<_>>()
        };
        let by_decision = (true, Some("moderator".to_owned()));
        assert_eq!(marks().await, [(true, None), by_decision, (false, None)]);
        world.moderate(moderator, StreamId(1), "unshadow", comment).await.unwrap();
        assert_eq!(marks().await, [(true, None), (false, None), (false, None)]);
        let delete = DeleteRequest { comment_id: comment_id(3), reason: None, note: None };
        world.control.delete(&operator(), &delete).await.unwrap();
        assert_eq!(marks().await[0], (false, Some("moderator".to_owned())), "nobody sees it");
    }
}
