//! Several recordings as one sequence of comments, each from its own start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use ahash::AHashMap;
use sha1::{Digest as _, Sha1};

use crate::loadgen::recording::{
    RecordedComment, RecordedEvent, RecordedSender, RecordedThrottle, RecordingError,
    RecordingReader,
};
use crate::protocol::UserId;

/// The part of the recordings that is played, and what varies between runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) from_ms: u64,
    /// The end, exclusive.
    pub(crate) to_ms: u64,
    /// Each user's comments are later by a time up to this, the same for all of them.
    pub(crate) jitter_ms: u64,
    /// Makes other users, and other times within the jitter.
    pub(crate) seed: u64,
}

/// A comment and its place in the sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlayedComment {
    pub(crate) at_ms: u64,
    pub(crate) user: UserId,
    pub(crate) comment: RecordedComment,
}

/// What a selection contains.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// The latest name of each user.
    pub(crate) users: AHashMap<UserId, std::sync::Arc<str>>,
    pub(crate) comments: u64,
    /// Time of the last comment.
    pub(crate) last_ms: u64,
    /// Changes of the throttle, if there is one recording.
    pub(crate) throttle: Vec<RecordedThrottle>,
    /// What is missing of files.
    pub(crate) torn: Vec<String>,
}

impl Overview {
    /// Reads the selection once.
    ///
    /// # Errors
    /// A file cannot be read, or the selection has no comments.
    pub(crate) fn read(selection: &Selection) -> Result<Self, RecordingError> {
        let mut overview = Self::default();
        for (number, path) in selection.files.iter().enumerate() {
            let mut reader = RecordingReader::open(path)?;
            let mut comments = 0;
            while let Some(event) = reader.next_event()? {
                let ts_ms = event.ts_ms().unwrap_or_default();
                if ts_ms >= selection.to_ms {
                    break;
                }
                match event {
                    RecordedEvent::Comment(comment) if ts_ms >= selection.from_ms => {
                        comments += 1;
                        overview.last_ms = overview.last_ms.max(ts_ms);
                        let user = user_id(&comment.sender(), number, selection.seed);
                        overview.users.insert(user, comment.user);
                    }
                    RecordedEvent::Throttle(throttle) if selection.files.len() == 1 => {
                        overview.throttle.push(throttle);
                    }
                    _ => {}
                }
            }
            let torn = reader.torn();
            if comments == 0 {
                return Err(RecordingError::Empty { path: path.clone(), reason: torn });
            }
            overview.comments += comments;
            overview.torn.extend(torn.map(|torn| format!("{}: {torn}", path.display())));
        }
        overview.last_ms += selection.jitter_ms;
        Ok(overview)
    }
}

/// Reads the comments of a selection in order of their times. Those of one user stay in order.
#[derive(Debug)]
pub(crate) struct Overlay {
    selection: Selection,
    tracks: Vec<Track>,
    /// Comments that were read, up to one jitter ahead.
    ready: BinaryHeap<Reverse<QueuedComment>>,
    /// Comments read so far, which orders those of one time.
    read: u64,
}

#[derive(Debug)]
struct Track {
    reader: RecordingReader,
    /// The comment that was read but not queued.
    next: Option<RecordedComment>,
}

#[derive(Debug)]
struct QueuedComment {
    number: u64,
    played: PlayedComment,
}

impl QueuedComment {
    fn key(&self) -> (u64, u64) {
        (self.played.at_ms, self.number)
    }
}

impl PartialEq for QueuedComment {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for QueuedComment {}

impl PartialOrd for QueuedComment {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueuedComment {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Overlay {
    /// # Errors
    /// A file cannot be opened or read.
    pub(crate) fn open(selection: Selection) -> Result<Self, RecordingError> {
        let mut tracks = Vec::with_capacity(selection.files.len());
        for path in &selection.files {
            tracks.push(Track { reader: RecordingReader::open(path)?, next: None });
        }
        let from_ms = selection.from_ms;
        let mut overlay = Self { selection, tracks, ready: BinaryHeap::new(), read: 0 };
        overlay.seek(from_ms)?;
        Ok(overlay)
    }

    /// Continues with the comments recorded at or after a time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn seek(&mut self, ts_ms: u64) -> Result<(), RecordingError> {
        let ts_ms = ts_ms.max(self.selection.from_ms);
        self.ready.clear();
        for track in &mut self.tracks {
            track.reader.seek(ts_ms)?;
            track.advance(self.selection.to_ms)?;
        }
        Ok(())
    }

    /// Returns the next comment and leaves it there; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn peek(&mut self) -> Result<Option<&PlayedComment>, RecordingError> {
        while let Some(track) = self.earliest_track() {
            let next_ms = self.tracks[track].next.as_ref().map_or(u64::MAX, |next| next.ts_ms);
            if self.ready.peek().is_some_and(|Reverse(first)| first.played.at_ms <= next_ms) {
                break;
            }
            self.queue(track)?;
        }
        Ok(self.ready.peek().map(|Reverse(first)| &first.played))
    }

    /// # Errors
    /// A file cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<PlayedComment>, RecordingError> {
        self.peek()?;
        Ok(self.ready.pop().map(|Reverse(first)| first.played))
    }

    /// Returns the track whose next comment is the earliest; `None` if all are at their ends.
    fn earliest_track(&self) -> Option<usize> {
        let times = self.tracks.iter().enumerate();
        let times = times.filter_map(|(number, track)| Some((track.next.as_ref()?.ts_ms, number)));
        times.min().map(|(_, number)| number)
    }

    fn queue(&mut self, number: usize) -> Result<(), RecordingError> {
        let track = &mut self.tracks[number];
        let Some(comment) = track.next.take() else { return Ok(()) };
        track.advance(self.selection.to_ms)?;
        let user = user_id(&comment.sender(), number, self.selection.seed);
        let at_ms = comment.ts_ms + jitter(user, self.selection.seed, self.selection.jitter_ms);
        self.read += 1;
        let played = PlayedComment { at_ms, user, comment };
        self.ready.push(Reverse(QueuedComment { number: self.read, played }));
        Ok(())
    }
}

impl Track {
    /// Reads up to the next comment before `to_ms`.
    fn advance(&mut self, to_ms: u64) -> Result<(), RecordingError> {
        self.next = None;
        while let Some(event) = self.reader.next_event()? {
            if event.ts_ms().is_some_and(|ts_ms| ts_ms >= to_ms) {
                break;
            }
            if let RecordedEvent::Comment(comment) = event {
                self.next = Some(comment);
                break;
            }
        }
        Ok(())
    }
}

/// Returns the user id of a recorded user, the same in every run: 52 bits of a SHA-1, in the range
/// from 2^52 to 2^53. Operators rarely use ids in this range, and JavaScript still counts exactly
/// in it. Users of several files are different people, and so are those of another seed.
fn user_id(sender: &RecordedSender, file: usize, seed: u64) -> UserId {
    let mut hash = Sha1::new();
    if file > 0 || seed > 0 {
        hash.update(format!("file {file} seed {seed} "));
    }
    match sender {
        RecordedSender::Id(id) => hash.update(format!("id {id}")),
        RecordedSender::Key(key) => hash.update(format!("key {key}")),
        RecordedSender::Name(name) => hash.update(name.as_bytes()),
    }
    UserId(1 << 52 | first_eight(&hash.finalize()) >> 12)
}

/// Returns a user's delay, evenly spread over users.
fn jitter(user: UserId, seed: u64, up_to_ms: u64) -> u64 {
    match up_to_ms {
        0 => 0,
        up_to_ms => {
            let digest = Sha1::digest(format!("delay {} {seed}", user.0));
            first_eight(&digest) % (up_to_ms + 1)
        }
    }
}

fn first_eight(digest: &[u8]) -> u64 {
    let mut first = [0_u8; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::loadgen::recording::RecordingWriter;

    /// Writes comments of `users` users, one per `interval_ms`.
    pub(crate) fn write_recording(path: &Path, comments: u64, users: u64, interval_ms: u64) {
        let mut writer = RecordingWriter::create(path).unwrap();
        for n in 0..comments {
            writer
                .write(&RecordedComment {
                    ts_ms: n * interval_ms,
                    id: None,
                    user: format!("user{}", n % users).into(),
                    user_id: None,
                    user_key: None,
                    text: format!("text {n}").into(),
                    moderation: None,
                    moderation_s: None,
                })
                .unwrap();
        }
        writer.finish().unwrap();
    }

    pub(crate) fn all_of(files: Vec<PathBuf>) -> Selection {
        Selection { files, from_ms: 0, to_ms: u64::MAX, jitter_ms: 0, seed: 0 }
    }

    fn played(selection: &Selection) -> Vec<PlayedComment> {
        let mut overlay = Overlay::open(selection.clone()).unwrap();
        std::iter::from_fn(|| overlay.next().unwrap()).collect()
    }

    #[test]
    fn ids_are_stable_and_in_range() {
        let named = |name: &str| user_id(&RecordedSender::Name(name.into()), 0, 0);
        let numbered = |id| user_id(&RecordedSender::Id(UserId(id)), 0, 0);
        let ann = RecordedSender::Name("ann".into());
        assert_eq!(named("ann"), named("ann"));
        assert_ne!(named("ann"), named("ben"));
        assert_ne!(numbered(1), numbered(2));
        assert_ne!(user_id(&ann, 0, 0), user_id(&ann, 1, 0), "another file");
        assert_ne!(user_id(&ann, 0, 0), user_id(&ann, 0, 1), "another seed");
        assert_ne!(user_id(&RecordedSender::Key("ann".into()), 0, 0), named("ann"));
        for id in [named(""), named("ann"), named("a name of many words"), numbered(7)] {
            assert!((1 << 52..1 << 53).contains(&id.0));
        }
    }

    #[test]
    fn files_are_overlaid_from_their_starts() {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a.lcr");
        let b = dir.path().join("b.jsonl");
        write_recording(&a, 50, 5, 100);
        write_recording(&b, 20, 5, 250);
        let selection = all_of(vec![a.clone(), b.clone()]);
        let both = played(&selection);
        assert_eq!(both.len(), 70);
        assert!(both.is_sorted_by_key(|played| played.at_ms));
        let overview = Overview::read(&selection).unwrap();
        assert_eq!((overview.users.len(), overview.comments), (10, 70), "two files, two crowds");
        assert_eq!(overview.last_ms, 4_900);
        let some = Selection { from_ms: 1_000, to_ms: 2_000, ..selection };
        let times: Vec<_> = played(&some).iter().map(|played| played.at_ms).collect();
        assert_eq!(times.len(), 14);
        assert!(times.iter().all(|at_ms| (1_000..2_000).contains(at_ms)), "{times:?}");
        assert_eq!(Overview::read(&some).unwrap().comments, 14);
    }

    #[test]
    fn jitter_moves_users_and_keeps_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lcr");
        write_recording(&path, 400, 7, 10);
        let still = all_of(vec![path]);
        let moved = Selection { jitter_ms: 500, ..still.clone() };
        let before = played(&still);
        let after = played(&moved);
        assert!(after.is_sorted_by_key(|played| played.at_ms));
        assert_eq!(after.len(), before.len());
        let mut delays = AHashMap::new();
        for played in &after {
            let delay = played.at_ms - played.comment.ts_ms;
            assert!(delay <= 500);
            assert_eq!(*delays.entry(played.user).or_insert(delay), delay, "one delay per user");
        }
        let distinct: std::collections::BTreeSet<_> = delays.values().collect();
        assert!(distinct.len() > 3, "{distinct:?}");
        assert_eq!(played(&moved), after, "the same seed gives the same run");
        assert_ne!(played(&Selection { seed: 9, ..moved }), after);
    }

    #[test]
    fn seeking_moves_all_files_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let a = dir.path().join("a.lcr");
        let b = dir.path().join("b.jsonl.gz");
        write_recording(&a, 50, 5, 100);
        write_recording(&b, 50, 5, 100);
        let mut overlay = Overlay::open(all_of(vec![a, b])).unwrap();
        for ts_ms in [4_000, 1_000, 4_900, 0] {
            overlay.seek(ts_ms).unwrap();
            assert_eq!(overlay.peek().unwrap().unwrap().at_ms, ts_ms);
            assert_eq!(overlay.next().unwrap().unwrap().at_ms, ts_ms);
            assert_eq!(overlay.next().unwrap().unwrap().at_ms, ts_ms, "of the other file");
        }
        overlay.seek(5_000).unwrap();
        assert_eq!(overlay.next().unwrap(), None);
    }
}
