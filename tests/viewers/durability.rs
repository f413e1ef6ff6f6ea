//! Acknowledged comments survive `kill -9` at any time, and viewers that resume see every comment
//! once.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::daemon::base::clock::SystemClock;
use live_comments::daemon::base::config::EventLogConfig;
use live_comments::daemon::engines::eventlog::embedded::EmbeddedLog;
use live_comments::daemon::engines::eventlog::{EventLog as _, LogTelemetry, NewRecord, Topic};
use live_comments::protocol::events::{CommentSubmitted, Event};
use live_comments::protocol::{Comment, CommentId, ServerMessage};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use crate::support::{Daemon, STREAM, StoppedDaemon, Viewer, archived, comment, history};

/// Nothing is sampled out, so every comment must arrive.
const SHOW_ALL: &str = "broadcast.throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]";
const SENDERS: u64 = 10;
/// Rate of one sender; 5 000 comments/s together.
const PER_SECOND: u64 = 500;

/// Acks by `ref`.
type Acks = Arc<Mutex<HashMap<String, (CommentId, u64)>>>;

/// Sends comments until the connection breaks, and records the acknowledgements.
async fn send_until_broken(
    connection: ViewerConnection,
    sender: u64,
    round: usize,
    acks: Acks,
) -> Vec<String> {
    let (mut writer, mut reader) = connection.split();
    let received = acks.clone();
    let read = tokio::spawn(async move {
        while let Ok(message) = reader.next().await {
            if let ServerMessage::Ack { client_ref: Some(client_ref), comment_id, seq } = message {
                received.lock().insert(client_ref.to_string(), (comment_id, seq));
            }
        }
    });
    let mut sent = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    'sending: loop {
        ticks.tick().await;
        for _ in 0..PER_SECOND / 100 {
            let client_ref = format!("{round}-{sender}-{}", sent.len());
            let text = format!("comment {client_ref}");
            let fed = writer.feed(&comment(&text, &client_ref)).await;
            sent.push(client_ref);
            if fed.is_err() {
                break 'sending;
            }
        }
        if writer.flush().await.is_err() {
            break;
        }
    }
    read.await.unwrap();
    sent
}

/// Reads until the connection breaks.
async fn watch_until_broken(mut viewer: Viewer) -> Viewer {
    while viewer.next().await.is_ok() {}
    viewer
}

/// Sends unacknowledged comments again, as a client does that has lost its acks.
async fn send_again(daemon: &Daemon, refs: &[String], acks: &Acks) {
    for sender in 1..=SENDERS {
        let missing: Vec<_> = {
            let acks = acks.lock();
            let mine = |text: &&String| text.split('-').nth(1) == Some(&sender.to_string());
            refs.iter().filter(mine).filter(|text| !acks.contains_key(*text)).cloned().collect()
        };
        let mut viewer = daemon.join(sender, &format!("sender {sender}")).await;
        for client_ref in missing {
            let ack = viewer.comment_as(&format!("comment {client_ref}"), &client_ref).await;
            acks.lock().insert(client_ref, ack);
        }
    }
}

/// Resumes from a viewer's position and keeps the comments it has seen.
async fn resume_viewer(daemon: &Daemon, viewer: Viewer) -> Viewer {
    let mut back = daemon.resume(viewer.position).await;
    back.comments = viewer.comments;
    back.gaps = viewer.gaps;
    back
}

async fn kill_rounds(seed: u64, rounds: usize, damage: impl Fn(&StoppedDaemon, &mut StdRng)) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut daemon = Daemon::start(SHOW_ALL);
    let acks = Acks::default();
    let mut refs = Vec::new();
    let mut viewers = vec![daemon.watch().await, daemon.watch().await];
    for round in 0..rounds {
        let mut senders = JoinSet::new();
        for sender in 1..=SENDERS {
            let token = Some(daemon.token(sender, &format!("sender {sender}")).into());
            let options = ViewerOptions { token, ..daemon.options() };
            let (connection, _) = ViewerConnection::join(&options).await.unwrap();
            senders.spawn(send_until_broken(connection, sender, round, acks.clone()));
        }
        let watching: Vec<_> =
            viewers.drain(..).map(|viewer| tokio::spawn(watch_until_broken(viewer))).collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(150..1200))).await;
        let stopped = daemon.kill();
        while let Some(sent) = senders.join_next().await {
            refs.extend(sent.unwrap());
        }
        for viewer in watching {
            viewers.push(viewer.await.unwrap());
        }
        damage(&stopped, &mut random);
        let acked = acks.lock().len();
        daemon = stopped.restart();
        println!("round {round}: {} sent, {acked} acknowledged so far", refs.len());
        let mut back = Vec::new();
        for viewer in viewers.drain(..) {
            back.push(resume_viewer(&daemon, viewer).await);
        }
        viewers = back;
        send_again(&daemon, &refs, &acks).await;
    }
    let acks = acks.lock().clone();
    verify(&daemon, viewers, &refs, &acks).await;
}

async fn verify(
    daemon: &Daemon,
    viewers: Vec<Viewer>,
    refs: &[String],
    acks: &HashMap<String, (CommentId, u64)>,
) {
    assert_eq!(acks.len(), refs.len(), "every comment was acknowledged in the end");
    let by_seq: BTreeMap<u64, &String> = acks.iter().map(|(text, (_, seq))| (*seq, text)).collect();
    assert_eq!(by_seq.len(), refs.len(), "each with its own seq");
    let expected: Vec<String> = by_seq.values().map(|text| format!("comment {text}")).collect();
    let (&last, _) = by_seq.last_key_value().unwrap();
    for mut viewer in viewers {
        viewer.until_seq(last).await;
        assert_eq!(viewer.gaps, [], "a viewer that resumes skips nothing");
        assert!(viewer.texts() == expected, "each viewer sees each comment once, in order");
    }
    archived(daemon).await;
    let stored = history(daemon, STREAM).await;
    let ids: HashSet<_> = stored.iter().map(|comment| comment.comment_id).collect();
    assert_eq!(ids.len(), stored.len(), "nothing twice in history");
    assert_eq!(stored.len(), refs.len(), "no other comment in history");
    assert!(
        acks.values().all(|(id, _)| ids.contains(id)),
        "every acknowledged comment is in history"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acked_comment_survives_kill() {
    kill_rounds(1, 5, |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acked_comment_survives_a_torn_last_record() {
    let tear = |stopped: &StoppedDaemon, random: &mut StdRng| {
        let half_written: Vec<u8> =
            (0..random.random_range(1..200)).map(|_| random.random()).collect();
        let segment = newest_segment(stopped);
        std::fs::File::options()
            .append(true)
            .open(segment)
            .unwrap()
            .write_all(&half_written)
            .unwrap();
    };
    kill_rounds(2, 3, tear).await;
}

fn newest_segment(stopped: &StoppedDaemon) -> PathBuf {
    let directory = stopped.data_dir().join("log/comment_events");
    let files = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    segments.max().unwrap_or_else(|| panic!("no segment in {}", directory.display()))
}

#[tokio::test]
async fn comment_repeated_after_a_lost_ack_is_shown_once() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.watch().await;
    let mut sender = daemon.join(42, "ann").await;
    let first = sender.comment_as("once", "my-ref").await;
    let again = sender.comment_as("once", "my-ref").await;
    assert_eq!(first, again);
    drop(sender);
    let daemon = daemon.kill_and_restart();
    let mut sender = daemon.join(42, "ann").await;
    assert_eq!(sender.comment_as("once", "my-ref").await, first, "also after a restart");
    let other = daemon.join(43, "bob").await.comment_as("mine", "my-ref").await;
    assert_ne!(other.0, first.0, "a ref belongs to its user");
    while viewer.next().await.is_ok() {}
    let mut viewer = resume_viewer(&daemon, viewer).await;
    viewer.until_seq(other.1).await;
    assert_eq!(viewer.texts(), ["once", "mine"]);
}

#[tokio::test]
async fn clean_shutdown_asks_viewers_to_reconnect() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.join(42, "ann").await;
    let (_, seq) = viewer.comment("before").await;
    viewer.until_seq(seq).await;
    daemon.signal_term();
    let bye = viewer
        .until(|message| match message {
            ServerMessage::Bye { code, reconnect_after_ms } => {
                Some((code.clone(), *reconnect_after_ms))
            }
            _ => None,
        })
        .await;
    assert_eq!(&*bye.0, "shutdown");
    assert!(bye.1.is_some(), "with a time to reconnect");
    assert_eq!(viewer.until_closed().await, 4000);
    let daemon = daemon.stopped().restart();
    let mut back = daemon.resume(viewer.position).await;
    let (_, seq) = daemon.join(43, "bob").await.comment("after").await;
    back.until_seq(seq).await;
    assert_eq!(back.texts(), ["after"]);
}

/// Appends the last comment of a stopped daemon once more, under another id, as another node does
/// that does not know the first record.
async fn append_again(stopped: &StoppedDaemon) {
    let config = EventLogConfig::default();
    let directory = stopped.data_dir().join("log");
    let telemetry = LogTelemetry::default();
    let log = EmbeddedLog::open(&directory, &config, Arc::new(SystemClock), telemetry).unwrap();
    let end = log.bounds(Topic::CommentEvents, 0).await.unwrap().end;
    let page = log.read_partition(Topic::CommentEvents, 0, end - 1, 1).await.unwrap();
    let record = &page.records[0];
    let Ok(Event::CommentSubmitted(event)) = Event::decode(&record.payload) else {
        panic!("a comment is the last record")
    };
    let comment_id = CommentId(uuid::Uuid::from_u128(event.comment.comment_id.0.as_u128() + 1));
    let comment = Arc::new(Comment { comment_id, ..(*event.comment).clone() });
    let again = Event::CommentSubmitted(CommentSubmitted { comment, ..event });
    let record = NewRecord {
        key: record.key,
        timestamp_ms: record.timestamp_ms + 1_000,
        payload: again.encode().into(),
    };
    log.append(Topic::CommentEvents, vec![record]).await.unwrap();
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_repeated_in_the_log_is_kept_once() {
    let daemon = Daemon::start("");
    let start = daemon.watch().await.position;
    let first = daemon.join(42, "ann").await.comment_as("once", "my-ref").await;
    let stopped = daemon.terminate();
    append_again(&stopped).await;
    let daemon = stopped.restart();
    let mut sender = daemon.join(42, "ann").await;
    assert_eq!(sender.comment_as("once", "my-ref").await, first, "the first of both");
    let (_, last) = sender.comment_as("after", "other").await;
    assert_eq!(last, first.1 + 2, "the log has both records");
    let mut viewer = daemon.resume(start).await;
    viewer.until_seq(last).await;
    assert_eq!(viewer.texts(), ["once", "after"]);
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    let stored: Vec<_> = stored.iter().map(|comment| &*comment.message).collect();
    assert_eq!(stored, ["once", "after"]);
}
