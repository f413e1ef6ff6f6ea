//! Small exports of each tool, with what makes real ones hard. All content is made up.

use super::*;
use crate::loadgen::recording::RecordingReader;

const CHAT_DOWNLOADER: &str = r#"[
  {"action_type": "add_chat_message", "author": {"id": "UC1", "name": "Mo"}, "message": "late",
   "message_id": "m3", "time_in_seconds": 9, "timestamp": 1700000009500000},
  {"action_type": "add_chat_message", "author": {"id": "UC1", "name": "Mo"},
   "message": "early :_wave:", "emotes": [{"id": "e", "name": ":_wave:"}],
   "message_id": "m1", "time_in_seconds": -2.5, "timestamp": 1699999997500000},
  {"action_type": "add_chat_message", "author": {"id": "UC2", "name": "Mo"}, "message": "other Mo",
   "message_id": "m2", "time_in_seconds": 0, "timestamp": 1700000000000000},
  {"action_type": "add_chat_message", "author": {"id": "UC2", "name": "Mo"}, "message": null,
   "message_id": "m4", "message_type": "paid_message", "time_in_seconds": 1,
   "timestamp": 1700000001000000},
  {"action_type": "remove_chat_item", "target_message_id": "m2", "message_type": "removed",
   "time_in_seconds": 4, "timestamp": 1700000004000000},
  {"action_type": "mark_chat_items_by_author_as_deleted", "author": {"id": "UC9"},
   "time_in_seconds": 4, "timestamp": 1700000004000000},
  {"action_type": "add_chat_message", "author": {"id": "UC3", "name": "Li"},
   "message": "cut \ud83d", "message_id": "m5", "timestamp": 1700000005000000},
  {"action_type": "add_chat_message", "author": {"id": "UC3", "name": "Li"},
   "message": "LONG", "message_id": "m6", "timestamp": 1700000006000000}
]"#;

const TWITCH: &str = r#"{
  "FileInfo": {"Version": {"Major": 1}}, "streamer": {"name": "x", "id": 1},
  "video": {"title": "t", "start": 0, "end": 60, "comments": 3},
  "comments": [
    {"_id": "c2", "created_at": "2024-01-01T00:00:10.75Z", "content_offset_seconds": 10,
     "commenter": {"display_name": "Bea", "_id": "12", "name": "bea"},
     "message": {"body": "second", "fragments": [], "user_badges": null}},
    {"_id": "c1", "created_at": "2024-01-01T00:00:10.25Z", "content_offset_seconds": 10,
     "commenter": {"display_name": "Ann", "_id": "11", "name": "ann"},
     "message": {"body": "", "fragments": [{"text": "first"}, {"text": " part"}]}},
    {"_id": "c3", "created_at": "2024-01-01T00:00:12Z", "content_offset_seconds": 12,
     "commenter": null, "message": {"body": "gone", "fragments": []}},
    {"_id": "c4", "created_at": "2024-01-01T00:00:12Z", "content_offset_seconds": 12,
     "commenter": null, "message": {"body": "gone too", "fragments": []}},
    {"_id": "c5", "created_at": "2024-03-01T00:00:00Z", "content_offset_seconds": 11,
     "commenter": {"display_name": "Cy", "_id": "13", "name": "cy"},
     "message": {"body": "written in March", "fragments": []}}
  ],
  "embeddedData": {"firstParty": [{"data": "AAAA"}]}
}"#;

/// As yt-dlp stores it, with a line that is no JSON.
const YOUTUBE: &str = include_str!("../../../fixtures/exports/damaged.live_chat.json");

struct Imports {
    summary: ImportSummary,
    events: Vec<RecordedEvent>,
}

fn imported(name: &str, bytes: &[u8]) -> Imports {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, bytes).unwrap();
    let output = dir.path().join(recording_name(&file));
    let mut summary = import(&file, &output, &ProgressLine::new()).unwrap();
    summary.file = name.to_owned();
    summary.output = output.file_name().unwrap().to_string_lossy().into_owned();
    let mut events = Vec::new();
    if output.exists() {
        let mut reader = RecordingReader::open(&output).unwrap();
        events = std::iter::from_fn(|| reader.next_event().unwrap()).collect();
        assert_eq!(reader.torn(), None);
    }
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.iter().all(|path| *path == file || *path == output), "{left:?}");
    Imports { summary, events }
}

impl Imports {
    /// Returns the events as `ts name: text` or `ts -id`.
    fn lines(&self) -> Vec<String> {
        let line = |event: &RecordedEvent| match event {
            RecordedEvent::Header(header) => format!("{:?}", header.started_at_ms),
            RecordedEvent::Comment(c) => {
                let text: String = c.text.chars().take(20).collect();
                format!("{} {}/{}: {text}", c.ts_ms, c.user, c.user_key.as_deref().unwrap())
            }
            RecordedEvent::Deletion(deletion) => format!("{} -{}", deletion.ts_ms, deletion.id),
            RecordedEvent::Throttle(_) => unreachable!("exports have no throttle"),
        };
        self.events.iter().map(line).collect()
    }

    fn skipped(&self) -> Vec<(&'static str, u64, String)> {
        let skipped = self.summary.skipped.iter();
        skipped.map(|(reason, s)| (*reason, s.count, s.first.to_string())).collect()
    }
}

#[test]
fn chat_downloader_keeps_authors_and_removals() {
    let text = CHAT_DOWNLOADER.replace("LONG", &"ü".repeat(600));
    let imports = imported("chat.json", text.as_bytes());
    assert_eq!(
        imports.lines(),
        [
            "Some(1699999997500)",
            "0 Mo/author:UC1: early :_wave:",
            "2500 Mo/author:UC2: other Mo",
            "6500 -m2",
            &format!("8500 Li/author:UC3: {}", "ü".repeat(20)),
            "12000 Mo/author:UC1: late",
        ]
    );
    let skipped = imports.skipped();
    let reasons: Vec<_> = skipped.iter().map(|(reason, count, _)| (*reason, *count)).collect();
    assert_eq!(reasons, [("not JSON", 1), ("removal of all of an author", 1), ("without text", 1)]);
    let ImportSummary { comments, deletions, users, duration_ms, cut, .. } = imports.summary;
    assert_eq!((comments, deletions, users, duration_ms, cut), (4, 1, 3, 12_000, 1));
}

#[test]
fn twitch_is_sorted_within_the_second() {
    for name in ["twitch.json", "twitch.json.gz", "twitch.json.zst"] {
        let text = TWITCH.as_bytes();
        let bytes = match name.rsplit('.').next().unwrap() {
            "gz" => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                std::io::Write::write_all(&mut encoder, text).unwrap();
                encoder.finish().unwrap()
            }
            "zst" => zstd::encode_all(text, 1).unwrap(),
            _ => text.to_vec(),
        };
        let imports = imported(name, &bytes);
        assert_eq!(imports.summary.output, "twitch.lcr");
        assert_eq!(
            imports.lines(),
            [
                "Some(1704067210250)",
                "0 Ann/twitch:11: first part",
                "500 Bea/twitch:12: second",
                "1500 Cy/twitch:13: written in March",
                "1750 deleted account/twitch:deleted:c3: gone",
                "1750 deleted account/twitch:deleted:c4: gone too",
            ],
            "{name}"
        );
        assert!(imports.skipped().is_empty(), "{:?}", imports.skipped());
        assert_eq!(imports.summary.users, 5);
    }
}

#[test]
fn youtube_joins_runs_and_ignores_tickers() {
    let imports = imported("youtube.live_chat.json", YOUTUBE.as_bytes());
    assert_eq!(
        imports.lines(),
        [
            "Some(1700000000000)",
            "0 Ann/youtube:UC1: go 🔥:_dance:",
            "1000 Bo/youtube:UC2: thanks",
            "2500 -y1",
            "3000 unnamed/youtube:UC3: who",
        ]
    );
    assert_eq!(
        imports.skipped(),
        [
            ("no message", 1, "line 7".to_owned()),
            ("not JSON", 1, "line 4".to_owned()),
            ("ticker", 1, "line 3".to_owned()),
        ]
    );
    // Answers of the page, one after the other.
    let actions: Vec<_> = YOUTUBE.lines().filter(|line| line.starts_with('{')).collect();
    let page = |actions: &[&str]| {
        let actions = actions.join(",");
        format!(
            "{{\"continuationContents\": {{\"liveChatContinuation\": {{\"actions\": [{actions}], \
             \"continuations\": []}}}}, \"trackingParams\": \"x\"}}"
        )
    };
    let pages = format!("{}\n{}\n", page(&actions[..2]), page(&actions[2..]));
    let dumped = imported("dump.json", pages.as_bytes());
    assert_eq!(dumped.lines(), imports.lines());
}

/// Returns what becomes of an export in `fixtures/exports`, which has the fields of real ones.
fn fixture(name: &str) -> Imports {
    let exports = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exports");
    imported(name, &std::fs::read(exports.join(name)).unwrap())
}

#[test]
fn a_chat_downloader_export_is_read_as_it_is() {
    let imports = fixture("chat_downloader.json");
    assert_eq!(
        imports.lines(),
        [
            "Some(1649999996750)",
            "0 Kim/author:UCdd: :_hi: hello",
            "5650 Lee/author:UCee: good evening",
            "8350 Kim/author:UCdd: abababababababababab",
            "9750 -k2",
            "10250 Lee/author:UCff: me too",
        ]
    );
    assert_eq!(imports.skipped().len(), 1, "the paid message: {:?}", imports.skipped());
    let ImportSummary { users, cut, .. } = imports.summary;
    assert_eq!((users, cut), (3, 1));
    let ids: Vec<_> = imports
        .events
        .iter()
        .filter_map(|event| match event {
            RecordedEvent::Comment(comment) => comment.id.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["k1", "k2", "k4", "k5"], "the deletion names one of them");
}

#[test]
fn a_twitch_downloader_export_is_read_as_it_is() {
    let imports = fixture("twitch_downloader.json");
    assert_eq!(
        imports.lines(),
        [
            "Some(1685988004000)",
            "0 星/twitch:902: 草草",
            "3125 deleted account/twitch:deleted:t3: (gone)",
            "3250 Zoe/twitch:901: Kappa nice one",
        ]
    );
    assert!(imports.skipped().is_empty(), "{:?}", imports.skipped());
}

#[test]
fn a_youtube_export_is_read_as_it_is() {
    let imports = fixture("youtube.live_chat.json");
    assert_eq!(
        imports.lines(),
        [
            "Some(1650000000000)",
            "0 Kim/youtube:UCdd: off 🎉:_go:",
            "1200 Lee/youtube:UCee: well done",
            "2900 -q1",
            "3500 unnamed/youtube:UCff: who am i",
        ]
    );
    assert_eq!(imports.skipped(), [("ticker", 1, "line 3".to_owned())]);
}

#[test]
fn an_export_without_comments_makes_no_recording() {
    let imports = imported("empty.json", b"[]");
    assert_eq!((imports.summary.comments, imports.events.len()), (0, 0));
    let imports = imported("other.json", b"{\"hello\": \"world\"}\n");
    assert_eq!(imports.skipped(), [("of an unknown form", 1, "line 1".to_owned())]);
}

#[test]
fn a_recording_is_named_without_its_folder() {
    for (file, name) in [
        ("/elsewhere/chat.json", "chat.lcr"),
        ("../chat.v2.json.gz", "chat.v2.lcr"),
        ("chat.json.zst", "chat.lcr"),
        ("chat", "chat.lcr"),
    ] {
        assert_eq!(recording_name(Path::new(file)), Path::new(name), "{file}");
    }
}

#[test]
fn an_existing_recording_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chat.json");
    std::fs::write(&file, CHAT_DOWNLOADER).unwrap();
    let output = dir.path().join("chat.lcr");
    std::fs::write(&output, "mine").unwrap();
    let error = import(&file, &output, &ProgressLine::new()).unwrap_err().to_string();
    assert!(error.contains("exists"), "{error}");
    assert_eq!(std::fs::read(&output).unwrap(), b"mine");
}

#[test]
fn a_cut_off_download_is_used_as_far_as_it_goes() {
    let lines: String = (0..5_000)
        .map(|n| {
            format!(
                "{{\"message\":\"m{n}\",\"author\":{{\"id\":\"{n}\"}},\"time_in_seconds\":{n}}}\n"
            )
        })
        .collect();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, lines.as_bytes()).unwrap();
    let mut bytes = encoder.finish().unwrap();
    bytes.truncate(bytes.len() / 2);
    let imports = imported("chat.jsonl.gz", &bytes);
    assert!((1_000..4_000).contains(&imports.summary.comments), "{}", imports.summary.comments);
    let skipped = imports.skipped();
    assert!(
        skipped.iter().any(|(reason, ..)| reason.starts_with("compressed data")),
        "{skipped:?}"
    );
}

#[test]
fn the_summary_reads_as_documented() {
    let imports = imported("youtube.live_chat.json", YOUTUBE.as_bytes());
    insta::assert_snapshot!(format_summary(&imports.summary));
}

#[test]
fn a_text_is_cut_at_a_character() {
    assert_eq!(cut(&"a".repeat(501)).len(), 500);
    assert_eq!(cut(&"🔥".repeat(500)).len(), 2_000);
    assert_eq!(cut(&"🔥".repeat(501)).chars().count(), 500);
    assert_eq!(cut(&format!("a{}", "🔥🔥".repeat(400))).len(), 1_997);
    assert_eq!(cut("short"), "short");
}
