//! Recordings.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::choices;
use super::scratch::Scratch;
use crate::loadgen::recording::{
    self, RecordedComment, RecordedEvent, Recording, RecordingReader, RecordingWriter,
};

/// The first bytes of compressed data of any form.
const MAGIC: [u8; 18] = [
    0x1F, 0x28, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x5B, 0x5C, 0x5D,
    0x5E, 0x5F,
];

/// A recording. Two choices: its form (lines that are compressed here, or a compressed file), and
/// where a compressed one is torn.
pub fn recording(data: &[u8]) {
    let ([mode, cut], bytes) = choices(data);
    let scratch = Scratch::new();
    let torn_at = |length: usize| length * usize::from(cut) / 255;
    if mode & 2 != 0 {
        compressed(&scratch, bytes, torn_at(bytes.len()));
        return;
    }
    let plain = recording::read(&scratch.write("plain.jsonl", bytes)).ok();
    if let Some(Recording { comments, .. }) = &plain {
        assert!(!comments.is_empty());
        assert!(comments.is_sorted_by_key(|comment| comment.ts_ms), "time only moves forward");
        for name in ["again.jsonl", "again.jsonl.gz", "again.lcr"] {
            assert_eq!(&write_and_read(&scratch, name, comments), comments, "{name}");
        }
        let whole = std::fs::read(scratch.path().join("again.lcr")).expect("it was written");
        let torn = scratch.write("torn.lcr", &whole[..torn_at(whole.len())]);
        if let Ok(torn) = recording::read(&torn) {
            assert!(starts_with(comments, &torn.comments), "a torn end costs only the end");
        }
    }
    let mut compressed = bytes.to_vec();
    // Lines that begin as compressed data do are taken for such, and are compressed twice then.
    let is_compressed = mode & 1 != 0 || bytes.first().is_some_and(|byte| MAGIC.contains(byte));
    if !is_compressed {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("a vector takes it");
        compressed = encoder.finish().expect("a vector takes it");
        let whole = recording::read(&scratch.write("whole.jsonl.gz", &compressed)).ok();
        assert_eq!(whole, plain, "compression changes nothing");
    }
    compressed.truncate(torn_at(compressed.len()));
    let torn = recording::read(&scratch.write("torn.jsonl.gz", &compressed));
    if let (Ok(torn), Some(plain), true) = (torn, plain, !is_compressed) {
        assert!(
            starts_with(&plain.comments, &torn.comments),
            "a torn recording is the start of the whole one"
        );
    }
}

/// Whether the comments are the first of all. What was decided about one may stand behind the end.
fn starts_with(all: &[RecordedComment], first: &[RecordedComment]) -> bool {
    let undecided = |comment: &RecordedComment| RecordedComment {
        moderation: None,
        moderation_s: None,
        ..comment.clone()
    };
    all.len() >= first.len()
        && all.iter().map(undecided).zip(first).all(|(one, other)| one == undecided(other))
}

/// A file that claims to be compressed, with whatever index: reading and seeking end, and times
/// only move forward.
fn compressed(scratch: &Scratch, bytes: &[u8], seek_ms: usize) {
    let path = scratch.write("any.lcr", bytes);
    let Ok(mut reader) = RecordingReader::open(&path) else { return };
    let times = |reader: &mut RecordingReader| {
        let events = std::iter::from_fn(|| reader.next_event().ok().flatten());
        events.filter_map(|event: RecordedEvent| event.ts_ms()).collect::<Vec<_>>()
    };
    assert!(times(&mut reader).is_sorted());
    let seek_ms = seek_ms as u64;
    if reader.seek(seek_ms).is_ok() {
        let found = times(&mut reader);
        assert!(found.is_sorted() && found.iter().all(|ts_ms| *ts_ms >= seek_ms));
    }
}

fn write_and_read(
    scratch: &Scratch,
    name: &str,
    comments: &[RecordedComment],
) -> Vec<RecordedComment> {
    let path: &Path = &scratch.path().join(name);
    let mut writer = RecordingWriter::create(path).expect("the file is new");
    for comment in comments {
        writer.write(comment).expect("a file takes it");
    }
    writer.finish().expect("a file takes it");
    let Recording { comments, torn } = recording::read(path).expect("what was written is readable");
    assert_eq!(torn, None, "it was written to its end");
    comments
}
