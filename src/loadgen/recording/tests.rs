//! Recordings as files: all forms, torn and damaged ones.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::protocol::UserId;
use crate::protocol::throttle::SampleRate;

const FORMS: [&str; 3] = ["chat.jsonl", "chat.jsonl.gz", "chat.lcr"];

fn comment(ts_ms: u64, text: &str) -> RecordedComment {
    RecordedComment {
        ts_ms,
        id: None,
        user: "ann".into(),
        user_id: Some(UserId(42)),
        user_key: None,
        text: text.into(),
        moderation: None,
        moderation_s: None,
    }
}

#[test]
fn recordings_survive_plain_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let mut timed_out = comment(40, "buy now \u{1F525} \"quoted\"");
    timed_out.moderation = Some("timeout".into());
    timed_out.moderation_s = Some(600);
    let comments = vec![comment(0, "hi"), timed_out];
    for name in FORMS {
        let path = dir.path().join(name);
        let mut writer = RecordingWriter::create(&path).unwrap();
        comments.iter().for_each(|comment| writer.write(comment).unwrap());
        writer.finish().unwrap();
        assert_eq!(read(&path).unwrap(), Recording { comments: comments.clone(), torn: None });
        let again = RecordingWriter::create(&path).unwrap_err().to_string();
        assert!(again.contains("exists"), "{again}");
    }
}

#[test]
fn bad_lines_are_named_and_times_only_grow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.jsonl");
    let lines = "{\"ts_ms\":5,\"user\":\"a\",\"text\":\"x\"}\n\n{\"ts_ms\":3,\"user\":\"b\",\
                 \"text\":\"y\"}\n";
    std::fs::write(&path, lines).unwrap();
    let times: Vec<_> = read(&path).unwrap().comments.iter().map(|comment| comment.ts_ms).collect();
    assert_eq!(times, [5, 5]);
    std::fs::write(&path, format!("{lines}{{\"ts_ms\":-1}}\n")).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("line 4") && error.contains("expected {\"ts_ms\""), "{error}");
    std::fs::write(&path, "").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("no comments"));
}

#[test]
fn the_fixtures_are_recordings() {
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/chat");
    for (name, comments) in [
        ("chat_open_northernlion_fallguys.jsonl.gz", 3090),
        ("chat_open_chatdownloader_examples.jsonl.gz", 5574),
    ] {
        let recording = read(&chat.join(name)).unwrap();
        assert_eq!((recording.comments.len(), recording.torn), (comments, None), "{name}");
    }
}

/// A recording that was flushed after each comment.
struct Flushed {
    bytes: Vec<u8>,
    /// The length of the file after each flush.
    lengths: Vec<usize>,
}

impl Flushed {
    fn write(path: &Path, comments: u64) -> Self {
        let mut writer = RecordingWriter::create(path).unwrap();
        let mut lengths = Vec::new();
        for n in 0..comments {
            writer.write(&comment(n, &format!("comment {n}"))).unwrap();
            writer.flush().unwrap();
            lengths.push(std::fs::metadata(path).unwrap().len() as usize);
        }
        writer.finish().unwrap();
        Self { bytes: std::fs::read(path).unwrap(), lengths }
    }

    /// Returns the number of comments that were flushed when the file had this length.
    fn comments_in(&self, length: usize) -> usize {
        self.lengths.partition_point(|flushed| *flushed <= length)
    }
}

/// Cuts a recording behind each of its bytes: everything flushed is read, nothing is made up,
/// and the missing end is told.
#[test]
fn a_torn_end_costs_only_the_end() {
    const COMMENTS: u64 = 20;
    let dir = tempfile::tempdir().unwrap();
    for name in FORMS {
        let path = dir.path().join(name);
        let written = Flushed::write(&path, COMMENTS);
        for length in 0..written.bytes.len() {
            std::fs::write(&path, &written.bytes[..length]).unwrap();
            let flushed = written.comments_in(length);
            let (texts, torn) = match read(&path) {
                Ok(Recording { comments, torn }) => {
                    (comments.iter().map(|it| it.text.to_string()).collect(), torn)
                }
                Err(RecordingError::Empty { reason, .. }) => (Vec::new(), reason),
                Err(error) => panic!("{name}, {length} bytes: {error}"),
            };
            // A last line may be whole before its end was flushed.
            let count = texts.len();
            assert!((flushed..=flushed + 1).contains(&count), "{name}, {length}: {count}");
            assert!(texts.into_iter().eq((0..count).map(|n| format!("comment {n}"))));
            let last = written.bytes[..length].last();
            let ends_with_a_line =
                name.ends_with(".jsonl") && matches!(last, None | Some(b'\n' | b'}'));
            match torn {
                None => assert!(ends_with_a_line || length == 0, "{name}, {length}: untold"),
                Some(torn) => {
                    assert!(!ends_with_a_line, "{name}, {length}: {torn}");
                    let line = format!("line {}", count + 1);
                    let told = if name.ends_with(".lcr") { "to its end" } else { &line };
                    assert!(torn.contains(told), "{torn}");
                }
            }
        }
    }
}

#[test]
fn damage_in_compressed_data_costs_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.jsonl.gz");
    let mut bytes = Flushed::write(&path, 50).bytes;
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0xFF);
    std::fs::write(&path, &bytes).unwrap();
    let recording = read(&path).unwrap();
    assert!((5..45).contains(&recording.comments.len()), "{}", recording.comments.len());
    assert!(recording.torn.is_some());
    std::fs::write(&path, b"no gzip").unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("no comments") && error.contains("compressed"), "{error}");
}

fn throttle(ts_ms: u64, share: f64) -> RecordedEvent {
    let sample_rate = SampleRate::from_share(share).unwrap();
    RecordedEvent::Throttle(RecordedThrottle { ts_ms, sample_rate, fixed: false })
}

fn deletion(ts_ms: u64, id: &str) -> RecordedEvent {
    RecordedEvent::Deletion(RecordedDeletion { ts_ms, id: id.into(), reason: None })
}

/// Returns a recording of several frames: one comment per second, each of 500 bytes.
fn long_recording(comments: u64) -> Vec<RecordedEvent> {
    let header =
        RecordingHeader { version: 1, source: "test".into(), started_at_ms: Some(5), rules: None };
    let mut events = vec![RecordedEvent::Header(header), throttle(0, 0.5)];
    for n in 0..comments {
        let id = format!("c{n}");
        let text = format!("{n} {}", "x".repeat(500));
        events.push(RecordedEvent::Comment(RecordedComment {
            id: Some(id.as_str().into()),
            ..comment(n * 1_000, &text)
        }));
        if n % 10 == 9 {
            events.push(deletion(n * 1_000 + 5, &id));
        }
    }
    events
}

fn write_all(path: &Path, events: &[RecordedEvent]) {
    let mut writer = RecordingWriter::create(path).unwrap();
    events.iter().for_each(|event| writer.write_event(event).unwrap());
    writer.finish().unwrap();
}

fn rest(reader: &mut RecordingReader) -> Vec<RecordedEvent> {
    std::iter::from_fn(|| reader.next_event().unwrap()).collect()
}

#[test]
fn every_event_survives_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let events = long_recording(3_000);
    for name in FORMS {
        let path = dir.path().join(name);
        write_all(&path, &events);
        let mut reader = RecordingReader::open(&path).unwrap();
        assert_eq!(rest(&mut reader), events, "{name}");
        assert_eq!(reader.torn(), None);
        let deleted = read(&path).unwrap().comments;
        let deleted = deleted.iter().filter(|c| c.moderation.as_deref() == Some("delete"));
        assert_eq!(deleted.count(), 300);
    }
    let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
    assert!(size("chat.lcr") < size("chat.jsonl") / 10, "it is compressed");
}

#[test]
fn seeking_finds_the_first_event_of_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let events = long_recording(3_000);
    for name in FORMS {
        let path = dir.path().join(name);
        write_all(&path, &events);
        let mut reader = RecordingReader::open(&path).unwrap();
        for ts_ms in [2_500_000, 0, 999_500, 999_000, 2_999_000, 1_000_000_000, 7] {
            reader.seek(ts_ms).unwrap();
            let expected: Vec<_> = events
                .iter()
                .filter(|event| event.ts_ms().is_some_and(|at| at >= ts_ms))
                .cloned()
                .collect();
            let mut found = rest(&mut reader);
            found.retain(|event| event.ts_ms().is_some());
            assert_eq!(found, expected, "{name} at {ts_ms}");
        }
    }
    let reader = RecordingReader::open(&dir.path().join("chat.lcr")).unwrap();
    assert_eq!((reader.length_ms(), reader.comments()), (Some(2_999_005), Some(3_000)));
}

#[test]
fn seeking_reads_only_the_frame_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_all(&path, &long_recording(3_000));
    let mut bytes = std::fs::read(&path).unwrap();
    // The first frame is unreadable, which a reader that passes over it does not notice.
    bytes[100..120].fill(0xFF);
    std::fs::write(&path, &bytes).unwrap();
    let mut reader = RecordingReader::open(&path).unwrap();
    reader.seek(2_000_000).unwrap();
    assert_eq!(rest(&mut reader).len(), 1_100);
    assert_eq!(reader.torn(), None);
    reader.seek(0).unwrap();
    let found = rest(&mut reader).len();
    assert!((1_100..3_302).contains(&found), "{found}");
    assert!(reader.torn().unwrap().contains("damaged"), "{:?}", reader.torn());
}

#[test]
fn an_end_between_two_frames_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    write_all(&path, &long_recording(3_000));
    let bytes = std::fs::read(&path).unwrap();
    let magic = [0x28, 0xB5, 0x2F, 0xFD];
    let frames = (1..bytes.len()).filter(|at| bytes[*at..].starts_with(&magic));
    let frames: Vec<_> = frames.collect();
    assert!(frames.len() > 3, "{frames:?}");
    for length in frames {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let mut reader = RecordingReader::open(&path).unwrap();
        assert!(rest(&mut reader).len() > 100);
        assert!(reader.torn().unwrap().contains("to its end"), "{length}: {:?}", reader.torn());
    }
}

#[test]
fn an_archive_of_archives_and_of_zstd_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let events = long_recording(100);
    let path = dir.path().join("chat.lcr");
    write_all(&path, &events);
    let once = std::fs::read(&path).unwrap();
    let twice = dir.path().join("twice.lcr");
    std::fs::write(&twice, [once.clone(), once.clone()].concat()).unwrap();
    let recording = read(&twice).unwrap();
    assert_eq!((recording.comments.len(), recording.torn), (200, None));
    assert!(recording.comments.is_sorted_by_key(|comment| comment.ts_ms));
    // As `zstd` writes it: one frame, of more than is verified at once.
    let lines: Vec<u8> = long_recording(6_000).iter().flat_map(RecordedEvent::to_line).collect();
    assert!(lines.len() > 3 << 20);
    let plain = dir.path().join("chat.jsonl.zst");
    std::fs::write(&plain, zstd::encode_all(&lines[..], 1).unwrap()).unwrap();
    let recording = read(&plain).unwrap();
    assert_eq!((recording.comments.len(), recording.torn), (6_000, None));
    // And read back: the lines are in frames that any decoder knows.
    let decoded = zstd::decode_all(&once[..]).unwrap();
    assert_eq!(decoded, events.iter().flat_map(RecordedEvent::to_line).collect::<Vec<u8>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes changed anywhere in an archive cost events, and nothing is made up.
    #[test]
    fn damage_costs_events_and_invents_none(
        at in 0.0_f64..1.0,
        length in 1_usize..200,
        byte: u8,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        let events = long_recording(1_500);
        write_all(&path, &events);
        let mut bytes = std::fs::read(&path).unwrap();
        let from = (bytes.len() as f64 * at) as usize;
        let to = (from + length).min(bytes.len());
        bytes[from..to].fill(byte);
        std::fs::write(&path, &bytes).unwrap();
        let mut reader = RecordingReader::open(&path).unwrap();
        let mut known = events.iter();
        while let Ok(Some(event)) = reader.next_event() {
            prop_assert!(known.any(|expected| *expected == event), "{:?}", event);
        }
    }
}
