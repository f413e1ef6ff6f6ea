//! Repeats and floods, found by comparing a comment with recent ones of its user and stream.
//!
//! Time is the comments' own, so a replay decides as the first run did. Windows are per stream.
//! Bounded: at most [`MAX_TRACKED`] users and as many texts in each of two generations, and per
//! user or text only as many entries as the limits need. When full, the least recently seen are
//! forgotten. Texts that are nearly equal are counted in [`super::near`], within its own bound.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _};

use crate::daemon::base::config::RulesConfig;
use crate::daemon::base::two_generations::TwoGenerations;
use crate::protocol::{Comment, CommentId, StreamId, UserId};
use parking_lot::Mutex;

use super::near::NearTexts;

const MAX_TRACKED: usize = 65_536;
/// The most comments remembered per user, and users per text, whatever the limits are.
const MAX_ENTRIES: usize = 4096;

/// A limit that a comment exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// The same text by the same user.
    Repeat,
    /// Comments by one user, whatever their text.
    UserFlood,
    /// The same text, or nearly the same one, by many users.
    ChorusFlood,
}

/// A comment as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) comment: &'a Comment,
    /// Texts are the same if this is.
    pub(super) text: &'a str,
    /// Texts are nearly the same if they share one of these.
    pub(super) near: &'a [u64],
}

/// The comments of the window, this one included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Of the user, with this text.
    pub(super) same: usize,
    /// Of the user.
    pub(super) comments: usize,
    /// Users with this text; of others at most `flood_users`.
    pub(super) users: usize,
    /// Users with nearly this text.
    pub(super) near_users: usize,
}

/// Recent comments. Judging a comment adds it, once: one that is judged again, because its first
/// check was late, counts as it did then.
#[derive(Debug)]
pub(super) struct History {
    limits: Limits,
    hasher: ahash::RandomState,
    recent: Mutex<Recent>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    window_ms: u64,
    max_repeats: usize,
    flood_comments: usize,
    flood_users: usize,
    /// Comments to remember per user.
    user_entries: usize,
}

#[derive(Debug)]
struct Recent {
    users: TwoGenerations<(StreamId, UserId), VecDeque<SeenText>>,
    texts: TwoGenerations<(StreamId, u64), VecDeque<SeenUser>>,
    near: NearTexts,
}

#[derive(Debug, Clone, Copy)]
struct SeenText {
    comment_id: CommentId,
    text: u64,
    at: u64,
}

#[derive(Debug, Clone, Copy)]
struct SeenUser {
    user_id: UserId,
    at: u64,
}

/// An entry of the history.
trait Seen {
    /// Returns the time of its comment, in milliseconds.
    fn at(&self) -> u64;
}

impl Seen for SeenText {
    fn at(&self) -> u64 {
        self.at
    }
}

impl Seen for SeenUser {
    fn at(&self) -> u64 {
        self.at
    }
}

impl History {
    pub(super) fn new(config: &RulesConfig) -> Self {
        let window_ms = u64::try_from(config.window.as_millis()).unwrap_or(u64::MAX);
        let max_repeats = config.max_repeats as usize;
        let flood_comments = config.flood_comments as usize;
        let user_entries = max_repeats.max(flood_comments).clamp(63, MAX_ENTRIES - 1) + 1;
        let flood_users = (config.flood_users as usize).min(MAX_ENTRIES);
        let limits = Limits { window_ms, max_repeats, flood_comments, flood_users, user_entries };
        let users = TwoGenerations::new(window_ms.max(1), MAX_TRACKED);
        let texts = TwoGenerations::new(window_ms.max(1), MAX_TRACKED);
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let recent = Mutex::new(Recent { users, texts, near: NearTexts::default() });
        Self { limits, hasher, recent }
    }

    /// Returns whether users with the same text are counted.
    pub(super) fn counts_users(&self) -> bool {
        self.limits.flood_users > 0
    }

    /// Adds a comment, unless it was judged before, and returns the limits it exceeds.
    pub(super) fn judge(&self, counted: Counted<'_>) -> Vec<Excess> {
        let Counted { comment, near, .. } = counted;
        let text = self.hash(counted.text);
        let mut recent = self.recent.lock();
        let mut counts = self.add_to_user(&mut recent, comment, text);
        if self.counts_users() {
            counts.users = self.add_to_text(&mut recent, comment, text);
            let at = comment.created_at;
            counts.near_users = recent.near.add(near, comment.user_id, at, self.limits.window_ms);
        }
        self.excesses(counts)
    }

    /// Returns what [`Self::judge`] would count, and adds nothing.
    pub(super) fn counts_with(&self, counted: Counted<'_>) -> Counts {
        let Counted { comment, near, .. } = counted;
        let text = self.hash(counted.text);
        let is_recent = |at: u64| within(at, comment.created_at, self.limits.window_ms);
        let recent = self.recent.lock();
        let of_user = recent.users.get(&(comment.stream_id, comment.user_id)).into_iter().flatten();
        let of_user: Vec<&SeenText> = of_user.filter(|one| is_recent(one.at)).collect();
        let is_same = |one: &&SeenText| one.comment_id == comment.comment_id;
        let place = of_user.iter().position(is_same).unwrap_or(of_user.len());
        let before = &of_user[..place];
        let of_text = recent.texts.get(&(comment.stream_id, text)).into_iter().flatten();
        let of_others = of_text.filter(|one| one.user_id != comment.user_id && is_recent(one.at));
        Counts {
            same: before.iter().filter(|one| one.text == text).count() + 1,
            comments: before.len() + 1,
            users: of_others.count() + 1,
            near_users: recent.near.count_with(
                near,
                comment.user_id,
                comment.created_at,
                self.limits.window_ms,
            ),
        }
    }

    /// Returns the limits that these numbers exceed.
    pub(super) fn excesses(&self, counts: Counts) -> Vec<Excess> {
        let limits = self.limits;
        let mut excesses = Vec::new();
        if counts.same > limits.max_repeats.saturating_add(1) {
            excesses.push(Excess::Repeat);
        }
        if limits.flood_comments > 0 && counts.comments > limits.flood_comments {
            excesses.push(Excess::UserFlood);
        }
        if limits.flood_users > 0 && counts.users.max(counts.near_users) >= limits.flood_users {
            excesses.push(Excess::ChorusFlood);
        }
        excesses
    }

    fn add_to_user(&self, recent: &mut Recent, comment: &Comment, text: u64) -> Counts {
        let limits = self.limits;
        let at = comment.created_at;
        let seen = recent.users.touch((comment.stream_id, comment.user_id), at);
        forget_run_out(seen, at, limits.window_ms);
        let comment_id = comment.comment_id;
        let known = seen.iter().position(|one| one.comment_id == comment_id);
        let before = seen.iter().take(known.unwrap_or(seen.len()));
        let before = before.filter(|one| within(one.at, at, limits.window_ms));
        let same = before.clone().filter(|one| one.text == text).count() + 1;
        let counts = Counts { same, comments: before.count() + 1, ..Counts::default() };
        if known.is_none() {
            if seen.len() >= limits.user_entries {
                forget_oldest(seen);
            }
            seen.push_back(SeenText { comment_id, text, at });
        }
        counts
    }

    fn add_to_text(&self, recent: &mut Recent, comment: &Comment, text: u64) -> usize {
        let Limits { window_ms, flood_users, .. } = self.limits;
        let at = comment.created_at;
        let users = recent.texts.touch((comment.stream_id, text), at);
        forget_run_out(users, at, window_ms);
        let own = users.iter().position(|one| one.user_id == comment.user_id);
        let own_at = own.and_then(|index| users.remove(index)).map_or(at, |own| own.at.max(at));
        let others = users.iter().filter(|one| within(one.at, at, window_ms)).count();
        if users.len() >= flood_users {
            forget_oldest(users);
        }
        users.push_back(SeenUser { user_id: comment.user_id, at: own_at });
        others + 1
    }

    fn hash(&self, text: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }
}

/// Drops entries that have run out: those outside of the window of this time, and also of the
/// newest entry. A comment that was held is judged late, and must not end the window of those that
/// came meanwhile; neither must one of a node whose clock is fast.
fn forget_run_out<T: Seen>(seen: &mut VecDeque<T>, at: u64, window_ms: u64) {
    let newest = seen.iter().map(Seen::at).fold(at, u64::max);
    seen.retain(|one| within(one.at(), at, window_ms) || within(one.at(), newest, window_ms));
}

/// Drops the entry of the earliest comment.
fn forget_oldest<T: Seen>(seen: &mut VecDeque<T>) {
    if let Some(oldest) = (0..seen.len()).min_by_key(|index| seen[*index].at()) {
        seen.remove(oldest);
    }
}

/// Nodes' clocks differ, so a remembered comment may be newer than the one judged now.
fn within(at: u64, now: u64, window_ms: u64) -> bool {
    now.abs_diff(at) < window_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::stages::moderation::rules::fold::{Folded, Symbols};
    use crate::daemon::stages::moderation::rules::near::near_keys;
    use crate::daemon::stages::moderation::samples::comment;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    fn history(max_repeats: u32, flood_comments: u32, flood_users: u32) -> History {
        let window = Duration::from_secs(30);
        let config = RulesConfig {
            max_repeats,
            flood_comments,
            flood_users,
            window,
            ..RulesConfig::default()
        };
        History::new(&config)
    }

    /// Returns an id that no other comment has.
    fn next_id() -> CommentId {
        static LAST: AtomicU64 = AtomicU64::new(10_000_000);
        CommentId::from_unix_ticks(LAST.fetch_add(1, Ordering::Relaxed), 1, [1; 6])
    }

    fn judge(history: &History, user: u64, text: &str, at_s: u64) -> Vec<Excess> {
        judge_as(history, next_id(), user, text, at_s)
    }

    fn judge_as(
        history: &History,
        comment_id: CommentId,
        user: u64,
        text: &str,
        at_s: u64,
    ) -> Vec<Excess> {
        let created_at = 1_000_000 + at_s * 1000;
        let comment = Comment { comment_id, created_at, ..comment(1, user, text) };
        let near = near_keys(&Folded::new(text, Symbols::AsLetters), comment.stream_id);
        let text = text.to_lowercase();
        let counted = Counted { comment: &comment, text: &text, near: &near };
        let foreseen = history.excesses(history.counts_with(counted));
        let excesses = history.judge(counted);
        assert_eq!(foreseen, excesses, "what is foreseen is what comes");
        excesses
    }

    #[test]
    fn the_same_text_may_be_repeated_up_to_the_limit() {
        let history = history(2, 0, 0);
        for second in 0..3 {
            assert_eq!(judge(&history, 7, "Buy NOW", second), []);
        }
        assert_eq!(judge(&history, 7, "buy now", 3), [Excess::Repeat]);
        assert_eq!(judge(&history, 8, "buy now", 3), [], "another user");
        assert_eq!(judge(&history, 7, "something else", 3), []);
        assert_eq!(judge(&history, 7, "buy now", 40), [], "the window has passed");
    }

    #[test]
    fn a_comment_judged_again_counts_once() {
        let history = history(2, 4, 0);
        let ids: Vec<_> = (0..3).map(|_| next_id()).collect();
        for round in 0..3 {
            for (second, id) in ids.iter().enumerate() {
                let excesses = judge_as(&history, *id, 7, "buy now", second as u64);
                assert_eq!(excesses, [], "round {round}");
            }
        }
        assert_eq!(judge(&history, 7, "buy now", 3), [Excess::Repeat]);
        assert_eq!(judge_as(&history, ids[2], 7, "buy now", 2), [], "as the first time");
        assert_eq!(judge(&history, 7, "something else", 4), [Excess::UserFlood]);
    }

    #[test]
    fn many_comments_of_one_user_are_a_flood() {
        let history = history(100, 5, 0);
        for n in 0..5 {
            assert_eq!(judge(&history, 7, &format!("text {n}"), n), []);
        }
        assert_eq!(judge(&history, 7, "one more", 5), [Excess::UserFlood]);
        assert_eq!(judge(&history, 7, "later", 36), []);
    }

    #[test]
    fn a_chorus_counts_users_not_comments() {
        let history = history(100, 0, 3);
        assert_eq!(judge(&history, 1, "gg", 0), []);
        assert_eq!(judge(&history, 1, "gg", 1), []);
        assert_eq!(judge(&history, 2, "gg", 1), []);
        assert_eq!(judge(&history, 3, "GG", 2), [Excess::ChorusFlood]);
        assert_eq!(judge(&history, 4, "gg", 40), []);
    }

    #[test]
    fn a_chorus_counts_nearly_equal_texts() {
        let history = history(100, 0, 3);
        let pasta = "buy my book about the streamer everybody";
        assert_eq!(judge(&history, 1, &format!("{pasta} 1234"), 0), []);
        assert_eq!(judge(&history, 2, &format!("{pasta} xd"), 1), []);
        assert_eq!(judge(&history, 2, &format!("{pasta} lol"), 1), []);
        assert_eq!(judge(&history, 3, &format!("{pasta} kk!!"), 2), [Excess::ChorusFlood]);
        assert_eq!(judge(&history, 4, "a book about something else that nobody buys", 2), []);
        assert_eq!(judge(&history, 5, &format!("{pasta} !!!"), 40), []);
    }

    #[test]
    fn old_comments_leave_the_recent_ones_counted() {
        let history = history(1, 0, 3);
        assert_eq!(judge(&history, 7, "buy now", 100), []);
        assert_eq!(judge(&history, 7, "buy now", 101), []);
        assert_eq!(judge(&history, 8, "buy now", 101), []);
        for old in 0..2 {
            assert_eq!(judge(&history, 7, "buy now", old), [], "in its own window");
        }
        assert_eq!(judge(&history, 7, "buy now", 2), [Excess::Repeat], "old ones count together");
        assert_eq!(judge(&history, 7, "buy now", 102), [Excess::Repeat]);
        assert_eq!(judge(&history, 9, "buy now", 102), [Excess::ChorusFlood]);
    }

    #[test]
    fn a_fast_clock_ends_no_window() {
        let history = history(1, 0, 0);
        assert_eq!(judge(&history, 7, "buy now", 4_000), [], "of a node that is an hour ahead");
        for second in 0..2 {
            assert_eq!(judge(&history, 7, "buy now", second), []);
        }
        assert_eq!(judge(&history, 7, "buy now", 2), [Excess::Repeat]);
    }

    #[test]
    fn streams_do_not_mix() {
        let history = history(0, 0, 0);
        let mut first = comment(1, 7, "hi");
        first.created_at = 5;
        let second = Comment { stream_id: StreamId(2), ..first.clone() };
        let judge = |comment| history.judge(Counted { comment, text: "hi", near: &[] });
        assert_eq!(judge(&first), []);
        assert_eq!(judge(&second), []);
        let again = Comment { comment_id: next_id(), ..first.clone() };
        assert_eq!(judge(&again), [Excess::Repeat]);
    }

    #[test]
    fn the_same_comments_get_the_same_verdicts_again() {
        let run = || {
            let history = history(1, 4, 3);
            let texts = ["a", "b", "a", "a", "c", "b"];
            let verdicts =
                (0..200).map(|n| judge(&history, n % 5, texts[n as usize % texts.len()], n / 3));
            verdicts.collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
