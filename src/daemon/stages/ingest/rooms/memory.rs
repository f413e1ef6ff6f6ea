//! The memory of what was said in rooms lately, as far as their rules ask for it.

use tokio::time::Instant;

use crate::daemon::base::two_generations::TwoGenerations;
use crate::policy::room::is_exempt;
use crate::protocol::events::CommentSubmitted;
use crate::protocol::room::{LONGEST_SLOW_MS, LONGEST_UNIQUE_MS, RoomRules};
use crate::protocol::text::alike_hash;
use crate::protocol::{Comment, CommentId, StreamId, UserId};

/// At least this many users and as many texts are remembered, the newest. Up to 100 bytes each.
const REMEMBERED: usize = 250_000;
/// The clock of the memory begins so late that no time before its start is negative.
const STARTED_AT_MS: u64 = LONGEST_SLOW_MS + LONGEST_UNIQUE_MS;

/// The share of a room that a comment takes for a time: its sender's turn in slow mode, and its
/// text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RoomShare {
    pub(super) slow_ms: Option<u64>,
    pub(super) text: Option<TextShare>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextShare {
    /// Equal for texts that are alike.
    pub(super) hash: u64,
    /// Present if only its author sees the comment: the text is taken for the author only.
    pub(super) author: Option<UserId>,
    pub(super) unique_ms: u64,
}

impl RoomShare {
    /// Returns what a comment with this text takes under these rules.
    pub(super) fn new(rules: &RoomRules, text: &str) -> Self {
        let share = |unique_ms| TextShare { hash: alike_hash(text), author: None, unique_ms };
        Self { slow_ms: rules.slow_ms, text: rules.unique_ms.map(share) }
    }

    /// Returns what a comment takes that only its author sees.
    pub(super) fn hidden(self, author: UserId) -> Self {
        let text = self.text.map(|text| TextShare { author: Some(author), ..text });
        Self { text, ..self }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The last comment that took a place.
#[derive(Debug, Clone, Copy)]
struct Taken {
    /// On the clock of the memory.
    at_ms: u64,
    by: CommentId,
}

/// The stream, the hash, and the author of a text that is taken for its author only.
type TextKey = (StreamId, u64, Option<UserId>);

/// The turns and texts that were taken on this node, in rooms with such a rule.
#[derive(Debug)]
pub struct RoomMemory {
    turns: TwoGenerations<(StreamId, UserId), Taken>,
    texts: TwoGenerations<TextKey, Taken>,
    started: Instant,
}

impl Default for RoomMemory {
    fn default() -> Self {
        Self::with_capacity(REMEMBERED)
    }
}

impl RoomMemory {
    fn with_capacity(remembered: usize) -> Self {
        Self {
            turns: TwoGenerations::new(LONGEST_SLOW_MS, remembered),
            texts: TwoGenerations::new(LONGEST_UNIQUE_MS, remembered),
            started: Instant::now(),
        }
    }

    fn now_ms(&self) -> u64 {
        STARTED_AT_MS + self.started.elapsed().as_millis() as u64
    }

    /// Returns the time since a user's last comment, in milliseconds, if it is known.
    pub(super) fn since_last_ms(&self, stream_id: StreamId, user_id: UserId) -> Option<u64> {
        let taken = self.turns.get(&(stream_id, user_id))?;
        Some(self.now_ms().saturating_sub(taken.at_ms))
    }

    /// Returns the time since a text was last said, in milliseconds, as far as its user sees and
    /// if it is known.
    pub(super) fn since_said_ms(
        &self,
        stream_id: StreamId,
        user_id: UserId,
        hash: u64,
    ) -> Option<u64> {
        let said = [None, Some(user_id)];
        let said = said.iter().filter_map(|author| self.texts.get(&(stream_id, hash, *author)));
        let at_ms = said.map(|taken| taken.at_ms).max()?;
        Some(self.now_ms().saturating_sub(at_ms))
    }

    /// Remembers a comment that was accepted now.
    pub(super) fn take(&mut self, share: &RoomShare, comment: &Comment) {
        self.put(share, comment, self.now_ms());
    }

    /// Remembers a comment read back from the log, under the rules of its room today.
    pub fn remember_event(&mut self, rules: &RoomRules, event: &CommentSubmitted, now_ms: u64) {
        let comment = &event.comment;
        if !is_exempt(event.role) {
            let age_ms = now_ms.saturating_sub(comment.created_at);
            let at_ms = self.now_ms().saturating_sub(age_ms);
            let share = RoomShare::new(rules, &comment.message);
            let share = if event.shadow { share.hidden(comment.user_id) } else { share };
            self.put(&share, comment, at_ms);
        }
    }

    /// Notes that only its author sees a comment that was accepted. Returns what it takes now.
    pub(super) fn hide(&mut self, share: &RoomShare, comment: &Comment) -> RoomShare {
        let of_text = RoomShare { slow_ms: None, ..*share };
        self.give_back(&of_text, comment);
        self.take(&of_text.hidden(comment.user_id), comment);
        share.hidden(comment.user_id)
    }

    /// Notes that a comment has another id than the one with which it took its place.
    pub(super) fn rename(&mut self, share: &RoomShare, comment: &Comment, to: CommentId) {
        let Comment { stream_id, user_id, comment_id, .. } = *comment;
        let renamed = |taken: Option<&Taken>| {
            let taken = taken.filter(|taken| taken.by == comment_id)?;
            Some(Taken { by: to, ..*taken })
        };
        if share.slow_ms.is_some()
            && let Some(taken) = renamed(self.turns.get(&(stream_id, user_id)))
        {
            self.turns.insert((stream_id, user_id), taken);
        }
        if let Some(TextShare { hash, author, .. }) = share.text
            && let Some(taken) = renamed(self.texts.get(&(stream_id, hash, author)))
        {
            self.texts.insert((stream_id, hash, author), taken);
        }
    }

    /// Forgets a comment that was not stored after all.
    pub(super) fn give_back(&mut self, share: &RoomShare, comment: &Comment) {
        let Comment { stream_id, user_id, comment_id, .. } = *comment;
        let long_ago = Taken { at_ms: 0, by: comment_id };
        let is_mine = |taken: Option<&Taken>| taken.is_some_and(|taken| taken.by == comment_id);
        if share.slow_ms.is_some() && is_mine(self.turns.get(&(stream_id, user_id))) {
            self.turns.insert((stream_id, user_id), long_ago);
        }
        if let Some(TextShare { hash, author, .. }) = share.text
            && is_mine(self.texts.get(&(stream_id, hash, author)))
        {
            self.texts.insert((stream_id, hash, author), long_ago);
        }
    }

    /// Notes that another node has given away a user's turn, which is free again in `wait_ms`.
    pub(super) fn turn_is_taken(&mut self, comment: &Comment, slow_ms: u64, wait_ms: u64) {
        let at_ms = (self.now_ms() + wait_ms).saturating_sub(slow_ms);
        let taken = Taken { at_ms, by: comment.comment_id };
        self.turns.insert((comment.stream_id, comment.user_id), taken);
    }

    /// Notes that a text was said on another node, and is free again in `wait_ms`. Noted for the
    /// author of the comment only: it may be a comment that nobody else sees.
    pub(super) fn text_is_taken(&mut self, comment: &Comment, text: TextShare, wait_ms: u64) {
        let at_ms = (self.now_ms() + wait_ms).saturating_sub(text.unique_ms);
        let taken = Taken { at_ms, by: comment.comment_id };
        self.texts.insert((comment.stream_id, text.hash, Some(comment.user_id)), taken);
    }

    fn put(&mut self, share: &RoomShare, comment: &Comment, at_ms: u64) {
        let taken = Taken { at_ms, by: comment.comment_id };
        let now_ms = self.now_ms();
        if share.slow_ms.is_some() {
            self.turns.advance_on_time(now_ms);
            self.turns.insert((comment.stream_id, comment.user_id), taken);
        }
        if let Some(text) = share.text {
            self.texts.advance_on_time(now_ms);
            self.texts.insert((comment.stream_id, text.hash, text.author), taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::testing::comments::sample_comment;

    const RULES: RoomRules = RoomRules {
        slow_ms: Some(30_000),
        unique_ms: Some(60_000),
        followers_ms: None,
        subscribers_only: false,
        emotes_only: false,
        no_links: false,
    };

    fn comment(number: u64, user: u64, text: &str) -> Comment {
        Comment { user_id: UserId(user), message: text.into(), ..sample_comment(number) }
    }

    fn take(memory: &mut RoomMemory, comment: &Comment) {
        memory.take(&RoomShare::new(&RULES, &comment.message), comment);
    }

    fn since(memory: &RoomMemory, comment: &Comment) -> [Option<u64>; 2] {
        let hash = alike_hash(&comment.message);
        [
            memory.since_last_ms(comment.stream_id, comment.user_id),
            memory.since_said_ms(comment.stream_id, comment.user_id, hash),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_comment_and_text_are_known() {
        let mut memory = RoomMemory::default();
        let first = comment(1, 7, "hello");
        assert_eq!(since(&memory, &first), [None, None]);
        take(&mut memory, &first);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(since(&memory, &comment(2, 7, "HELLO!")), [Some(5_000), Some(5_000)]);
        assert_eq!(since(&memory, &comment(3, 8, "other")), [None, None]);
        let elsewhere = Comment { stream_id: StreamId(99), ..first.clone() };
        assert_eq!(since(&memory, &elsewhere), [None, None]);
        memory.take(&RoomShare::default(), &comment(4, 9, "free"));
        assert_eq!(since(&memory, &comment(5, 9, "free")), [None, None], "no rule asks for it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_that_was_not_stored_is_forgotten() {
        let mut memory = RoomMemory::default();
        let lost = comment(1, 7, "hello");
        let share = RoomShare::new(&RULES, "hello");
        take(&mut memory, &lost);
        memory.give_back(&share, &comment(2, 7, "hello"));
        assert_eq!(since(&memory, &lost), [Some(0), Some(0)], "of another comment");
        memory.give_back(&share, &lost);
        let [last, said] = since(&memory, &lost);
        assert!(last.is_none_or(|ms| ms >= LONGEST_SLOW_MS));
        assert!(said.is_none_or(|ms| ms >= LONGEST_UNIQUE_MS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_comment_keeps_its_place() {
        let mut memory = RoomMemory::default();
        let first = comment(1, 7, "hello");
        let share = RoomShare::new(&RULES, "hello");
        take(&mut memory, &first);
        tokio::time::advance(Duration::from_secs(5)).await;
        let renamed = comment(2, 7, "hello");
        memory.rename(&share, &first, renamed.comment_id);
        memory.give_back(&share, &first);
        assert_eq!(since(&memory, &renamed), [Some(5_000), Some(5_000)]);
        memory.give_back(&share, &renamed);
        assert!(since(&memory, &renamed)[0].is_none_or(|ms| ms >= LONGEST_SLOW_MS));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_taken_elsewhere_is_free_in_time() {
        let mut memory = RoomMemory::default();
        let refused = comment(1, 7, "hello");
        let text = RoomShare::new(&RULES, "hello").text.unwrap();
        memory.turn_is_taken(&refused, 30_000, 12_000);
        memory.text_is_taken(&refused, text, 50_000);
        assert_eq!(since(&memory, &refused), [Some(18_000), Some(10_000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn comments_of_the_log_count_with_their_age() {
        let mut memory = RoomMemory::default();
        let event = |role| CommentSubmitted {
            comment: Comment { created_at: 1_000_000, ..comment(1, 7, "hello") }.into(),
            role,
            client_ref: None,
            shadow: false,
            screened: false,
        };
        memory.remember_event(&RULES, &event(crate::protocol::Role::Moderator), 1_020_000);
        assert_eq!(since(&memory, &comment(2, 7, "hello")), [None, None]);
        memory.remember_event(&RULES, &event(crate::protocol::Role::Viewer), 1_020_000);
        assert_eq!(since(&memory, &comment(2, 7, "hello")), [Some(20_000), Some(20_000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hidden_text_is_taken_for_its_author() {
        let mut memory = RoomMemory::default();
        let hidden = comment(1, 7, "hello");
        let share = RoomShare::new(&RULES, "hello");
        take(&mut memory, &hidden);
        let share = memory.hide(&share, &hidden);
        let by_others = comment(2, 8, "hello");
        assert!(since(&memory, &by_others)[1].is_none_or(|ms| ms >= LONGEST_UNIQUE_MS));
        assert_eq!(since(&memory, &hidden), [Some(0), Some(0)]);
        memory.give_back(&share, &hidden);
        assert!(since(&memory, &hidden)[1].is_none_or(|ms| ms >= LONGEST_UNIQUE_MS));

        let mut memory = RoomMemory::default();
        let event = CommentSubmitted {
            comment: Comment { created_at: 1_000_000, ..hidden.clone() }.into(),
            role: crate::protocol::Role::Viewer,
            client_ref: None,
            shadow: true,
            screened: false,
        };
        memory.remember_event(&RULES, &event, 1_020_000);
        assert_eq!(since(&memory, &by_others), [None, None], "nor after a restart");
        assert_eq!(since(&memory, &hidden), [Some(20_000), Some(20_000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let mut memory = RoomMemory::with_capacity(100);
        for number in 1..1_000 {
            take(&mut memory, &comment(number, number, &format!("text {number}")));
            assert!(memory.turns.len() <= 200 && memory.texts.len() <= 200);
        }
        let newest = comment(999, 999, "text 999");
        assert_eq!(since(&memory, &newest), [Some(0), Some(0)]);
    }
}
