//! Counts the users that say most on each stream, the texts that many users say, and the users of
//! whom this node refuses most.
//!
//! In: each comment that the broadcast stage reads, once per cluster; each deletion; each comment
//! that ingest refuses. Out: [`Talkers`] of a stream, and the users that are refused most.
//!
//! Always holds: an addition takes one short lock, searches at most 192 places and allocates
//! nothing, except the place of a stream that begins. Counts are never below the true ones, and
//! their error is told. A window has two halves of five minutes; the time is that of reading.
//!
//! When full: at most [`MAX_STREAMS`] streams of 19 KB are counted, 3.7 MB in all. A stream without
//! a comment for ten seconds gives its place to one that has some.

mod facts;
mod halves;
mod space_saving;
#[cfg(test)]
mod tests;

use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::facts::{ShortName, ShortText, TextFacts, UserFacts};
use self::halves::{Halves, Window};
use crate::protocol::admin::{RefusedUser, SameText, Talker, Talkers};
use crate::protocol::text::alike_key;
use crate::protocol::{Comment, Identity, StreamId, UserId};

/// Streams that are counted.
const MAX_STREAMS: usize = 192;
/// Users and texts of one stream in each half.
const USERS: usize = 64;
const TEXTS: usize = 32;
/// A stream that is quiet for this long may lose its place.
const QUIET: Duration = Duration::from_secs(10);
/// Streams that are reported to other nodes at a time. More people than this who look at different
/// streams of one node take turns.
const MAX_REQUESTED: usize = 8;
/// A stream is reported for this long after it was asked for.
const REPORTED_FOR: Duration = Duration::from_secs(10);
/// Users of this node that are refused, in each half and in a report.
const REFUSED: usize = 64;
const MAX_REPORTED_REFUSED: usize = 32;

/// The sketches of a node. The streams are those whose broadcast stage runs here.
#[derive(Debug, Default)]
pub struct TalkerSketches {
    streams: Mutex<AHashMap<StreamId, Box<StreamSketch>>>,
    refused: Mutex<Option<Box<RefusedSketch>>>,
    /// Streams that other nodes asked for, and when.
    requested: Mutex<Vec<(StreamId, Instant)>>,
}

#[derive(Debug, Clone)]
struct StreamSketch {
    window: Window,
    users: Halves<u64, UserFacts, USERS>,
    texts: Halves<u32, TextFacts, TEXTS>,
    latest: Instant,
}

#[derive(Debug, Clone)]
struct RefusedSketch {
    window: Window,
    users: Halves<(u64, u64), ShortName, REFUSED>,
}

impl TalkerSketches {
    /// Counts a comment that was accepted.
    pub fn record_comment(&self, comment: &Comment, now: Instant) {
        let mut streams = self.streams.lock();
        if let Some(sketch) = streams.get_mut(&comment.stream_id) {
            return sketch.add(comment, now);
        }
        if streams.len() >= MAX_STREAMS {
            let Some(quiet) = quietest(&streams, now) else { return };
            streams.remove(&quiet);
        }
        let mut sketch = Box::new(StreamSketch::new(now));
        sketch.add(comment, now);
        streams.insert(comment.stream_id, sketch);
    }

    /// Counts a comment of a user that was deleted.
    pub fn record_removal(&self, stream_id: StreamId, user_id: UserId) {
        if let Some(sketch) = self.streams.lock().get_mut(&stream_id) {
            sketch.remove(user_id);
        }
    }

    /// Counts a comment that this node refused.
    pub fn record_refusal(&self, stream_id: StreamId, identity: &Identity, now: Instant) {
        let mut refused = self.refused.lock();
        let sketch = refused.get_or_insert_with(|| Box::new(RefusedSketch::new(now)));
        sketch.users.turn(sketch.window.advance(now));
        let name = sketch.users.now.add((stream_id.0, identity.user_id.0));
        if name.is_empty() {
            *name = ShortName::of(&identity.name);
        }
    }

    /// Forgets streams that another node broadcasts now.
    pub fn forget(&self, streams: &[StreamId]) {
        self.streams.lock().retain(|stream_id, _| !streams.contains(stream_id));
    }

    /// Returns what is known of a stream; `None` if it is not counted here.
    pub fn of_stream(&self, stream_id: StreamId, now: Instant) -> Option<Talkers> {
        // Copied, so that the broadcast stage does not wait while it is sorted and written.
        let mut sketch = self.streams.lock().get(&stream_id)?.clone();
        sketch.advance(now);
        Some(sketch.talkers(stream_id, now))
    }

    /// Adds a stream to the reports of the next ten seconds. Of more than [`MAX_REQUESTED`], those
    /// that were asked for last are reported.
    pub fn request(&self, stream_id: StreamId, now: Instant) {
        let mut requested = self.requested.lock();
        requested.retain(|(known, _)| *known != stream_id);
        if requested.len() >= MAX_REQUESTED {
            requested.remove(0);
        }
        requested.push((stream_id, now));
    }

    /// Returns the streams that were asked for in the last ten seconds.
    pub fn requested(&self, now: Instant) -> Vec<StreamId> {
        let mut requested = self.requested.lock();
        requested.retain(|(_, at)| now.saturating_duration_since(*at) < REPORTED_FOR);
        requested.iter().map(|(stream_id, _)| *stream_id).collect()
    }

    /// Returns the users of whom this node refused most comments, at most 32. The counts are those
    /// that are certain, so that sums over nodes are too.
    pub fn refused_users(&self, now: Instant) -> Vec<RefusedUser> {
        let Some(mut sketch) = self.refused.lock().clone() else { return Vec::new() };
        sketch.users.turn(sketch.window.advance(now));
        let users = &sketch.users;
        let mut rows: Vec<RefusedUser> = users
            .keys()
            .into_iter()
            .map(|key| {
                let name = users.now.get(key).or_else(|| users.before.get(key));
                RefusedUser {
                    stream_id: StreamId(key.0),
                    user_id: UserId(key.1),
                    name: name.map_or_else(String::new, |name| name.as_str().to_owned()),
                    refused: users.estimate(key).at_least(),
                }
            })
            .collect();
        rows.sort_by_key(|row| (std::cmp::Reverse(row.refused), row.stream_id, row.user_id));
        rows.truncate(MAX_REPORTED_REFUSED);
        rows
    }
}

/// Returns the stream that has been quiet for longest, if one has been for long enough.
fn quietest(streams: &AHashMap<StreamId, Box<StreamSketch>>, now: Instant) -> Option<StreamId> {
    let (stream_id, sketch) = streams.iter().min_by_key(|(_, sketch)| sketch.latest)?;
    (now.saturating_duration_since(sketch.latest) >= QUIET).then_some(*stream_id)
}

impl RefusedSketch {
    fn new(now: Instant) -> Self {
        Self { window: Window::starting_at(now), users: Halves::new() }
    }
}

impl StreamSketch {
    fn new(now: Instant) -> Self {
        Self {
            window: Window::starting_at(now),
            users: Halves::new(),
            texts: Halves::new(),
            latest: now,
        }
    }

    fn advance(&mut self, now: Instant) {
        let turn = self.window.advance(now);
        self.users.turn(turn);
        self.texts.turn(turn);
    }

    fn add(&mut self, comment: &Comment, now: Instant) {
        self.advance(now);
        self.latest = now;
        let key = alike_key(&comment.message);
        let user = self.users.now.add(comment.user_id.0);
        user.text = key;
        user.name = ShortName::of(&comment.name);
        let text = self.texts.now.add(key);
        text.users.add(comment.user_id);
        if text.sample.is_empty() {
            text.sample = ShortText::of(&comment.message);
        }
    }

    /// A deletion often comes after its comment's half has ended.
    fn remove(&mut self, user_id: UserId) {
        let Halves { now, before } = &mut self.users;
        let known = now.get_mut(user_id.0).or_else(|| before.get_mut(user_id.0));
        if let Some(user) = known {
            user.removed = user.removed.saturating_add(1);
        }
    }

    fn talkers(&self, stream_id: StreamId, now: Instant) -> Talkers {
        let talkers = self.users.keys().into_iter().map(|key| self.talker(key)).collect();
        let mut texts: Vec<SameText> =
            self.texts.keys().into_iter().map(|key| self.same_text(key)).collect();
        texts.retain(|row| row.users >= 2);
        texts.sort_by_key(|row| (std::cmp::Reverse((row.users, row.said)), row.id));
        let length = self.window.length(now);
        let mut counted = Talkers {
            window_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            said: self.users.additions(),
            talkers,
            texts,
            ..Talkers::none_of(stream_id)
        };
        counted.sort_users();
        counted
    }

    fn talker(&self, key: u64) -> Talker {
        let estimate = self.users.estimate(key);
        let now = self.users.now.get(key);
        let before = self.users.before.get(key);
        let latest = now.or(before).copied().unwrap_or_default();
        let removed = [now, before].into_iter().flatten().map(|user| u64::from(user.removed));
        Talker {
            user_id: UserId(key),
            name: latest.name.as_str().to_owned(),
            said: estimate.count,
            error: estimate.error,
            refused: 0,
            removed: removed.sum(),
            text: latest.text,
        }
    }

    fn same_text(&self, key: u32) -> SameText {
        let estimate = self.texts.estimate(key);
        let now = self.texts.now.get(key).copied().unwrap_or_default();
        let before = self.texts.before.get(key).copied().unwrap_or_default();
        let users = now.users.union(&before.users).count();
        let first = if before.sample.is_empty() { now.sample } else { before.sample };
        SameText {
            id: key,
            text: first.as_str().to_owned(),
            users,
            said: estimate.count,
            error: estimate.error,
            new: users.saturating_sub(before.users.count()),
        }
    }
}
