//! Recordings of a stream whose events are made up, and of a daemon that goes away.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::loadgen::recording::{self, RecordingReader};
use crate::protocol::admin::RuleLevel;
use crate::protocol::message::CommentsBatch;
use crate::protocol::{Epoch, UserId};

fn comment(seq: u64) -> SequencedComment {
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + seq, 7, [1; 6]),
        user_id: UserId(seq),
        name: format!("user{seq}").into(),
        message: format!("text {seq}").into(),
        created_at: 1_700_000_000_000 + seq * 100,
        seq,
        badges: Default::default(),
        parent_id: None,
    }
}

fn rules() -> RulesInForce {
    let all = RuleLevel { from_per_second: 0.0, sample_rate: SampleRate::ALL };
    RulesInForce {
        throttle: vec![all],
        hysteresis: 0.8,
        step_down_after_ms: 5_000,
        egress_bytes_per_second: 0,
    }
}

fn deleted(seq: u64, at_ms: u64) -> StreamEvent {
    let reason = "spam".to_owned();
    StreamEvent::Deleted { id: comment(seq).comment_id, reason, at_ms }
}

async fn record(path: &Path, sent: Vec<StreamEvent>) -> u64 {
    let writer = RecordingWriter::create(path).unwrap();
    let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
    recorder.rules = Some(rules());
    let (events, received) = mpsc::channel(16);
    let publish = async {
        for event in sent {
            events.send(event).await.unwrap();
        }
        drop(events);
    };
    let (written, ()) = tokio::join!(recorder.write(received), publish);
    written.unwrap();
    recorder.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn events_keep_order_and_their_times() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["chat.lcr", "chat.jsonl", "chat.jsonl.gz"] {
        let path = dir.path().join(name);
        let quarter = SampleRate::from_share(0.25).unwrap();
        let start = comment(1).created_at;
        let throttle =
            StreamEvent::Throttle { sample_rate: quarter, fixed: true, at_ms: start + 150 };
        let sent = vec![
            StreamEvent::Comment(comment(1)),
            StreamEvent::Comment(comment(2)),
            throttle,
            deleted(2, start + 300),
            StreamEvent::Incomplete("items are missing".to_owned()),
            StreamEvent::Comment(comment(5)),
            // Of a comment before the recording, and by a clock that is behind.
            deleted(9, start - 1),
        ];
        assert_eq!(record(&path, sent).await, 3);
        let comments = recording::read(&path).unwrap().comments;
        let comments: Vec<_> =
            comments.iter().map(|c| (c.ts_ms, &*c.user, c.moderation.as_deref())).collect();
        let expected = [(0, "user1", None), (100, "user2", Some("delete")), (400, "user5", None)];
        assert_eq!(comments, expected);
        let mut reader = RecordingReader::open(&path).unwrap();
        let mut times = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            times.push(event.ts_ms());
            match event {
                RecordedEvent::Header(header) => {
                    assert_eq!(header.started_at_ms, Some(start));
                    assert_eq!(header.source, "stream 7");
                    assert_eq!(header.rules, Some(rules()));
                }
                RecordedEvent::Throttle(throttle) => {
                    assert_eq!((throttle.sample_rate, throttle.fixed), (quarter, true));
                }
                RecordedEvent::Deletion(deletion) => {
                    assert_eq!(deletion.reason.as_deref(), Some("spam"));
                }
                RecordedEvent::Comment(_) => {}
            }
        }
        let expected = [None, Some(0), Some(100), Some(150), Some(300), Some(400), Some(400)];
        assert_eq!(times, expected);
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chat.lcr");
    for sent in [0, 1] {
        let writer = RecordingWriter::create(&path).unwrap();
        let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
        let (events, received) = mpsc::channel(16);
        for seq in 0..sent {
            events.send(StreamEvent::Comment(comment(seq))).await.unwrap();
        }
        drop(events);
        recorder.write(received).await.unwrap();
        let refused = Err(anyhow::anyhow!("stream 7 does not exist"));
        let error = end_recording(recorder, refused, Some(&path)).unwrap_err();
        assert_eq!(error.to_string(), "stream 7 does not exist");
        assert_eq!(path.exists(), sent > 0, "what was recorded is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_recording_has_all_but_a_second() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["chat.lcr", "chat.jsonl", "chat.jsonl.gz"] {
        let path = dir.path().join(name);
        let writer = RecordingWriter::create(&path).unwrap();
        let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
        let (events, received) = mpsc::channel(16);
        let publish = async {
            for seq in 1..=5 {
                events.send(StreamEvent::Comment(comment(seq))).await.unwrap();
            }
            tokio::time::sleep(2 * FLUSH_INTERVAL).await;
            let written = recording::read(&path).unwrap();
            assert_eq!(written.comments.len(), 5, "{name}");
            drop(events);
        };
        let (written, ()) = tokio::join!(recorder.write(received), publish);
        written.unwrap();
    }
}

#[tokio::test]
async fn a_restarted_daemon_may_show_all_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let quarter = SampleRate::from_share(0.25).unwrap();
    let change = TailItem::Throttle { sample_rate: quarter, fixed: false, timestamp: 7 };
    let line = format!("{}\n", crate::protocol::json::to_string(&change).unwrap());
    let answers = Arc::new(Mutex::new(vec![String::new(), line]));
    let answer = move || {
        let lines = answers.lock().pop().unwrap_or_default();
        async move { lines }
    };
    let routes = axum::Router::new().route("/v1/tail/7", axum::routing::get(answer));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let (events, mut received) = mpsc::channel(16);
    let first_three = async {
        let mut shares = Vec::new();
        for _ in 0..3 {
            shares.push(match received.recv().await {
                Some(StreamEvent::Throttle { sample_rate, .. }) => Some(sample_rate),
                _ => None,
            });
        }
        shares
    };
    let shares = tokio::select! {
        ended = tail(AdminClient::new(path), StreamId(7), &events) => panic!("{ended:?}"),
        shares = first_three => shares,
    };
    assert_eq!(shares, [Some(quarter), None, Some(SampleRate::ALL)]);
    server.abort();
}

#[test]
fn a_viewer_records_once_and_reports_missing() {
    let mut position = Position::new(Epoch(1), 10);
    let batch = |from_seq, to_seq, seqs: &[u64]| {
        ServerMessage::Comments(CommentsBatch {
            epoch: Epoch(1),
            from_seq,
            to_seq,
            sample_rate: SampleRate::ALL,
            comments: seqs.iter().map(|seq| comment(*seq)).collect(),
            echo: false,
        })
    };
    let mut texts = |message| -> Vec<String> {
        let text = |event| match event {
            StreamEvent::Comment(comment) => comment.message.to_string(),
            StreamEvent::Deleted { .. } => "deleted".to_owned(),
            StreamEvent::Throttle { sample_rate, .. } => sample_rate.share().to_string(),
            StreamEvent::Incomplete(text) => text,
        };
        events_of(message, &mut position).into_iter().map(text).collect()
    };
    assert_eq!(texts(batch(11, 12, &[11, 12])), ["text 11", "text 12"]);
    assert_eq!(texts(batch(12, 13, &[12, 13])), ["text 13"]);
    let notice = ServerMessage::ThrottleNotification {
        sample_rate: SampleRate::from_share(0.5).unwrap(),
        message: String::new(),
    };
    assert_eq!(texts(notice), ["0.5"]);
    let gap = ServerMessage::Gap { from_seq: 14, to_seq: 20, history: None };
    assert_eq!(texts(gap), ["comments from seq 14 to 20 are missing"]);
    let hole = texts(batch(25, 25, &[25]));
    assert_eq!(hole, ["comments from seq 21 to 24 are missing", "text 25"]);
}
