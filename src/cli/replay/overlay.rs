//! Several recordings as one sequence of events, each recording from its own start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::Arc;

use ahash::AHashMap;
use sha1::{Digest as _, Sha1};

use crate::cli::keyed::Keyed;
use crate::loadgen::recording::{
    RecordedComment, RecordedDeletion, RecordedEvent, RecordedSender, RecordedThrottle,
    RecordingError, RecordingReader,
};
use crate::protocol::UserId;
use crate::protocol::admin::RulesInForce;
use crate::protocol::throttle::SampleRate;

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

/// Events that are played besides comments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) deletions: bool,
    pub(crate) throttle: bool,
}

/// The id of a comment in one of the recordings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordedId {
    pub(crate) file: usize,
    pub(crate) id: Arc<str>,
}

/// An event of the sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PlayedEvent {
    Comment(PlayedComment),
    Deletion(PlayedDeletion),
    /// The share that an operator fixed from now on; `None` leaves it to the throttle.
    Throttle(Option<SampleRate>),
}

/// A comment and its place in the sequence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlayedComment {
    pub(crate) at_ms: u64,
    pub(crate) user: UserId,
    /// Present if a deletion may name the comment.
    pub(crate) recorded_id: Option<RecordedId>,
    pub(crate) comment: RecordedComment,
}

/// A deletion of a comment that was read before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlayedDeletion {
    pub(crate) recorded_id: RecordedId,
    pub(crate) reason: Option<String>,
}

/// The contents of a selection.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// The latest name of each user.
    pub(crate) users: AHashMap<UserId, std::sync::Arc<str>>,
    pub(crate) comments: u64,
    pub(crate) deletions: u64,
    /// Time of the last comment or deletion.
    pub(crate) last_ms: u64,
    /// Changes of the throttle, if there is one recording.
    pub(crate) throttle: Vec<RecordedThrottle>,
    /// The rules of the daemon that was recorded, of the first recording that has them.
    pub(crate) rules: Option<RulesInForce>,
    /// Sentences about what is missing of files, and about files that contradict each other.
    pub(crate) warnings: Vec<String>,
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
            // The last comment before the part, and whether there is more after it.
            let mut earlier_ms = None;
            let mut has_more = false;
            while let Some(event) = reader.next_event()? {
                let ts_ms = event.ts_ms().unwrap_or_default();
                if ts_ms >= selection.to_ms {
                    has_more = true;
                    break;
                }
                match event {
                    RecordedEvent::Comment(comment) if ts_ms >= selection.from_ms => {
                        comments += 1;
                        overview.last_ms = overview.last_ms.max(ts_ms);
                        let user = user_id(&comment.sender(), number, selection.seed);
                        overview.users.insert(user, comment.user);
                    }
                    RecordedEvent::Comment(_) => earlier_ms = Some(ts_ms),
                    RecordedEvent::Deletion(_) if ts_ms >= selection.from_ms => {
                        overview.deletions += 1;
                        overview.last_ms = overview.last_ms.max(ts_ms);
                    }
                    RecordedEvent::Throttle(throttle) if selection.files.len() == 1 => {
                        overview.throttle.push(throttle);
                    }
                    RecordedEvent::Header(header) => {
                        if let Some(rules) = header.rules {
                            overview.add_rules(rules, path);
                        }
                    }
                    _ => {}
                }
            }
            let torn = reader.torn();
            if comments == 0 && (has_more || earlier_ms.is_some()) {
                let last_ms = earlier_ms.filter(|_| !has_more);
                return Err(RecordingError::OutsidePart { path: path.clone(), last_ms });
            }
            if comments == 0 {
                return Err(RecordingError::Empty { path: path.clone(), reason: torn });
            }
            overview.comments += comments;
            overview.warnings.extend(torn.map(|torn| format!("{}: {torn}", path.display())));
        }
        overview.last_ms += selection.jitter_ms;
        Ok(overview)
    }

    /// Keeps the rules of the first recording that has some.
    fn add_rules(&mut self, rules: RulesInForce, path: &std::path::Path) {
        match &self.rules {
            None => self.rules = Some(rules),
            Some(first) if *first != rules => self.warnings.push(format!(
                "{} was recorded under other rules than the recordings before it; theirs are used",
                path.display()
            )),
            Some(_) => {}
        }
    }

    /// Returns how often an operator fixed a share.
    pub(crate) fn fixed_shares(&self) -> u64 {
        self.throttle.iter().filter(|change| change.fixed).count() as u64
    }
}

/// Reads the events of a selection in order of their times. Those of one user stay in order.
#[derive(Debug)]
pub(crate) struct Overlay {
    selection: Selection,
    plays_deletions: bool,
    tracks: Vec<Track>,
    /// Events that were read, up to one jitter ahead.
    ready: BinaryHeap<Reverse<QueuedEvent>>,
    /// Events read so far, which orders those of one time.
    read: u64,
    throttle: ThrottleTrack,
}

#[derive(Debug)]
struct Track {
    reader: RecordingReader,
    /// The event that was read but not queued.
    next: Option<TrackEvent>,
}

#[derive(Debug)]
enum TrackEvent {
    Comment(RecordedComment),
    Deletion(RecordedDeletion),
}

impl TrackEvent {
    fn ts_ms(&self) -> u64 {
        match self {
            Self::Comment(comment) => comment.ts_ms,
            Self::Deletion(deletion) => deletion.ts_ms,
        }
    }
}

/// An event, ordered by its time and then by the number with which it was read.
type QueuedEvent = Keyed<(u64, u64), PlayedEvent>;

/// The shares that an operator fixed, and the times at which the throttle took over again.
#[derive(Debug, Default)]
struct ThrottleTrack {
    changes: Vec<(u64, Option<SampleRate>)>,
    /// The index of the change that comes next.
    next: usize,
    /// The setting that holds at the position of the last seek, with that position.
    current: Option<(u64, Option<SampleRate>)>,
}

impl ThrottleTrack {
    fn new(recorded: &[RecordedThrottle]) -> Self {
        if !recorded.iter().any(|change| change.fixed) {
            return Self::default();
        }
        let setting =
            |change: &RecordedThrottle| (change.ts_ms, change.fixed.then_some(change.sample_rate));
        let mut changes = vec![(0, None)];
        changes.extend(recorded.iter().map(setting));
        // Each further change of the throttle by itself is the daemon's own decision.
        changes.dedup_by_key(|(_, setting)| *setting);
        Self { changes, next: 0, current: None }
    }

    fn seek(&mut self, ts_ms: u64) {
        if self.changes.is_empty() {
            return;
        }
        self.next = self.changes.partition_point(|(at_ms, _)| *at_ms <= ts_ms);
        let before = self.next.checked_sub(1).map(|index| self.changes[index]);
        self.current = Some((ts_ms, before.and_then(|(_, setting)| setting)));
    }

    fn peek_ms(&self) -> Option<u64> {
        let next = || self.changes.get(self.next).copied();
        self.current.or_else(next).map(|(at_ms, _)| at_ms)
    }

    fn next(&mut self) -> Option<Option<SampleRate>> {
        if let Some((_, setting)) = self.current.take() {
            return Some(setting);
        }
        let (_, setting) = self.changes.get(self.next).copied()?;
        self.next += 1;
        Some(setting)
    }
}

impl Overlay {
    /// Opens the recordings for their comments.
    ///
    /// # Errors
    /// A file cannot be opened or read.
    pub(crate) fn open(selection: Selection) -> Result<Self, RecordingError> {
        Self::open_with(selection, Extras::default(), &[])
    }

    /// Opens the recordings for their comments and `extras`. `throttle` has the recorded changes of
    /// the throttle.
    ///
    /// # Errors
    /// A file cannot be opened or read.
    pub(crate) fn open_with(
        selection: Selection,
        extras: Extras,
        throttle: &[RecordedThrottle],
    ) -> Result<Self, RecordingError> {
        let mut tracks = Vec::with_capacity(selection.files.len());
        for path in &selection.files {
            tracks.push(Track { reader: RecordingReader::open(path)?, next: None });
        }
        let from_ms = selection.from_ms;
        let throttle = ThrottleTrack::new(if extras.throttle { throttle } else { &[] });
        let mut overlay = Self {
            selection,
            plays_deletions: extras.deletions,
            tracks,
            ready: BinaryHeap::new(),
            read: 0,
            throttle,
        };
        overlay.seek(from_ms)?;
        Ok(overlay)
    }

    /// Continues with the events recorded at or after a time. A share that was fixed before it
    /// comes first.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn seek(&mut self, ts_ms: u64) -> Result<(), RecordingError> {
        let ts_ms = ts_ms.max(self.selection.from_ms);
        self.ready.clear();
        self.throttle.seek(ts_ms);
        for track in &mut self.tracks {
            track.reader.seek(ts_ms)?;
            track.advance(self.selection.to_ms, self.plays_deletions)?;
        }
        Ok(())
    }

    /// Returns the time of the next event and leaves it there; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn peek_ms(&mut self) -> Result<Option<u64>, RecordingError> {
        let first_ms = self.first_ready_ms()?;
        Ok(match (first_ms, self.throttle.peek_ms()) {
            (Some(first_ms), Some(change_ms)) => Some(first_ms.min(change_ms)),
            // Without a comment after it, nobody would notice a change.
            (first_ms, _) => first_ms,
        })
    }

    /// Returns the next event; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<PlayedEvent>, RecordingError> {
        let Some(first_ms) = self.first_ready_ms()? else { return Ok(None) };
        if self.throttle.peek_ms().is_some_and(|change_ms| change_ms <= first_ms) {
            return Ok(self.throttle.next().map(PlayedEvent::Throttle));
        }
        Ok(self.ready.pop().map(|Reverse(first)| first.value))
    }

    /// Returns the next comment, past everything else; `None` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(crate) fn next_comment(&mut self) -> Result<Option<PlayedComment>, RecordingError> {
        while let Some(event) = self.next()? {
            if let PlayedEvent::Comment(comment) = event {
                return Ok(Some(comment));
            }
        }
        Ok(None)
    }

    /// Reads on until the first event of all is queued, and returns its time.
    fn first_ready_ms(&mut self) -> Result<Option<u64>, RecordingError> {
        while let Some(track) = self.earliest_track() {
            let next_ms = self.tracks[track].next.as_ref().map_or(u64::MAX, TrackEvent::ts_ms);
            if self.ready.peek().is_some_and(|Reverse(first)| first.key.0 <= next_ms) {
                break;
            }
            self.queue(track)?;
        }
        Ok(self.ready.peek().map(|Reverse(first)| first.key.0))
    }

    /// Returns the track whose next event is the earliest; `None` if all are at their ends.
    fn earliest_track(&self) -> Option<usize> {
        let times = self.tracks.iter().enumerate();
        let times =
            times.filter_map(|(number, track)| Some((track.next.as_ref()?.ts_ms(), number)));
        times.min().map(|(_, number)| number)
    }

    fn queue(&mut self, file: usize) -> Result<(), RecordingError> {
        let track = &mut self.tracks[file];
        let Some(next) = track.next.take() else { return Ok(()) };
        track.advance(self.selection.to_ms, self.plays_deletions)?;
        let Selection { seed, jitter_ms, .. } = self.selection;
        self.read += 1;
        let (at_ms, event) = match next {
            TrackEvent::Comment(comment) => {
                let user = user_id(&comment.sender(), file, seed);
                let at_ms = comment.ts_ms + jitter(user, seed, jitter_ms);
                let id = comment.id.clone().filter(|_| self.plays_deletions);
                let recorded_id = id.map(|id| RecordedId { file, id });
                let played = PlayedComment { at_ms, user, recorded_id, comment };
                (at_ms, PlayedEvent::Comment(played))
            }
            TrackEvent::Deletion(RecordedDeletion { ts_ms, id, reason }) => {
                let recorded_id = RecordedId { file, id };
                // A deletion does not name the user. The longest delay keeps it behind its comment.
                let played = PlayedDeletion { recorded_id, reason };
                (ts_ms + jitter_ms, PlayedEvent::Deletion(played))
            }
        };
        self.ready.push(Reverse(Keyed { key: (at_ms, self.read), value: event }));
        Ok(())
    }
}

impl Track {
    /// Reads up to the next event before `to_ms`.
    fn advance(&mut self, to_ms: u64, deletions: bool) -> Result<(), RecordingError> {
        self.next = None;
        while let Some(event) = self.reader.next_event()? {
            if event.ts_ms().is_some_and(|ts_ms| ts_ms >= to_ms) {
                break;
            }
            match event {
                RecordedEvent::Comment(comment) => self.next = Some(TrackEvent::Comment(comment)),
                RecordedEvent::Deletion(deletion) if deletions => {
                    self.next = Some(TrackEvent::Deletion(deletion));
                }
                _ => continue,
            }
            break;
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
        std::iter::from_fn(|| overlay.next_comment().unwrap()).collect()
    }

    #[test]
    fn a_part_without_comments_says_where_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        // At 0 s, 8 s and 16 s.
        write_recording(&path, 3, 1, 8_000);
        let error = |from_ms, to_ms| {
            let selection = Selection { from_ms, to_ms, ..all_of(vec![path.clone()]) };
            Overview::read(&selection).unwrap_err().to_string()
        };
        let late = error(600_000, u64::MAX);
        assert!(late.ends_with("in the selected part: its last comment is at 16s"), "{late}");
        let between = error(9_000, 15_000);
        assert!(between.ends_with("no comments in the selected part"), "{between}");
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
            assert_eq!(overlay.peek_ms().unwrap(), Some(ts_ms));
            assert_eq!(overlay.next_comment().unwrap().unwrap().at_ms, ts_ms);
            assert_eq!(overlay.next_comment().unwrap().unwrap().at_ms, ts_ms, "of the other file");
        }
        overlay.seek(5_000).unwrap();
        assert_eq!(overlay.next().unwrap(), None);
    }

    /// Describes events: `c0` and `d0` are the comment with id 0 and its deletion, `25%` a share.
    fn shown(overlay: &mut Overlay) -> Vec<String> {
        let next = || overlay.next().unwrap();
        std::iter::from_fn(next)
            .map(|event| match event {
                PlayedEvent::Comment(comment) => {
                    format!("c{}", comment.recorded_id.map_or("-".into(), |id| id.id))
                }
                PlayedEvent::Deletion(deletion) => format!("d{}", deletion.recorded_id.id),
                PlayedEvent::Throttle(None) => "auto".to_owned(),
                PlayedEvent::Throttle(Some(rate)) => format!("{}%", rate.share() * 100.0),
            })
            .collect()
    }

    #[test]
    fn deletions_and_fixed_shares_have_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lcr");
        let lines = [
            r#"{"ts_ms":0,"id":"0","user":"ann","text":"hi"}"#,
            r#"{"ts_ms":100,"throttle":0.5}"#,
            r#"{"ts_ms":200,"throttle":0.25,"fixed":true}"#,
            r#"{"ts_ms":300,"id":"1","user":"ben","text":"hi"}"#,
            r#"{"ts_ms":400,"deleted":"0","reason":"spam"}"#,
            r#"{"ts_ms":500,"throttle":0.5}"#,
            r#"{"ts_ms":600,"throttle":0.1}"#,
            r#"{"ts_ms":700,"user":"ann","text":"bye"}"#,
            r#"{"ts_ms":800,"deleted":"1"}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let selection = all_of(vec![path]);
        let overview = Overview::read(&selection).unwrap();
        assert_eq!((overview.comments, overview.deletions, overview.fixed_shares()), (3, 2, 1));
        assert_eq!(overview.last_ms, 800);
        let open =
            |extras| Overlay::open_with(selection.clone(), extras, &overview.throttle).unwrap();
        assert_eq!(shown(&mut open(Extras::default())), ["c-", "c-", "c-"]);
        let mut all = open(Extras { deletions: true, throttle: true });
        assert_eq!(shown(&mut all), ["auto", "c0", "25%", "c1", "d0", "auto", "c-", "d1"]);
        all.seek(350).unwrap();
        assert_eq!(shown(&mut all), ["25%", "d0", "auto", "c-", "d1"], "as it was at that time");
        let jitter = Selection { jitter_ms: 50, ..selection.clone() };
        let late = Extras { deletions: true, throttle: false };
        let late = shown(&mut Overlay::open_with(jitter, late, &[]).unwrap());
        let place = |wanted: &str| late.iter().position(|event| event == wanted).unwrap();
        assert!(place("c0") < place("d0") && place("c1") < place("d1"), "{late:?}");
    }
}
