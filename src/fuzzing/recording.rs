//! Recordings.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::choices;
use super::scratch::Scratch;
use crate::loadgen::recording::{self, RecordedComment, Recording, RecordingWriter};

/// A recording. Two choices: whether it is compressed, and where a compressed one is torn.
pub fn recording(data: &[u8]) {
    let ([mode, cut], lines) = choices(data);
    let scratch = Scratch::new();
    let plain = recording::read(&scratch.write("plain.jsonl", lines)).ok();
    if let Some(Recording { comments, .. }) = &plain {
        assert!(!comments.is_empty());
        assert!(comments.is_sorted_by_key(|comment| comment.ts_ms), "time only moves forward");
        for name in ["again.jsonl", "again.jsonl.gz"] {
            assert_eq!(&write_and_read(&scratch, name, comments), comments, "{name}");
        }
    }
    let mut compressed = lines.to_vec();
    if mode & 1 == 0 {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(lines).expect("a vector takes it");
        compressed = encoder.finish().expect("a vector takes it");
        let whole = recording::read(&scratch.write("whole.jsonl.gz", &compressed)).ok();
        assert_eq!(whole, plain, "compression changes nothing");
    }
    compressed.truncate(compressed.len() * usize::from(cut) / 255);
    let torn = recording::read(&scratch.write("torn.jsonl.gz", &compressed));
    if let (Ok(torn), Some(plain), true) = (torn, plain, mode & 1 == 0) {
        assert!(
            plain.comments.starts_with(&torn.comments),
            "a torn recording is the start of the whole one"
        );
    }
}

fn write_and_read(
    scratch: &Scratch,
    name: &str,
    comments: &[RecordedComment],
) -> Vec<RecordedComment> {
    let path = scratch.path().join(name);
    let mut writer = RecordingWriter::create(&path).expect("the file is new");
    for comment in comments {
        writer.write(comment).expect("a file takes it");
    }
    writer.finish().expect("a file takes it");
    let Recording { comments, torn } =
        recording::read(&path).expect("what was written is readable");
    assert_eq!(torn, None, "it was written to its end");
    comments
}
