//! Joining and resuming: viewers that return, comment early, or leave at once.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::{ClientMessage, ServerMessage, StreamId, StreamPosition};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{self, Daemon, Viewer, archived};

async fn post(daemon: &Daemon, path: &str, body: Value) {
    let _: Value = daemon.admin().post(path, &body).await.unwrap();
}

fn deleted(message: &ServerMessage) -> Option<live_comments::protocol::CommentId> {
    match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.comment_id),
        _ => None,
    }
}

/// The stream is quiet meanwhile, so no later message shows the viewer that it missed anything.
#[tokio::test]
async fn deletion_while_away_is_sent_on_return() {
    let daemon = Daemon::start("[delivery]\nworkers = 1");
    let mut stays = daemon.join(42, "ann").await;
    let mut leaves = daemon.watch().await;
    let (comment, seq) = stays.comment("to be deleted").await;
    stays.until_seq(seq).await;
    leaves.until_seq(seq).await;
    let position = leaves.position;
    drop(leaves);
    post(&daemon, "/v1/delete", json!({"comment_id": comment, "reason": "off_topic"})).await;
    assert_eq!(stays.until(deleted).await, comment);
    let mut back = daemon.resume(position).await;
    assert_eq!(back.until(deleted).await, comment);
}

#[tokio::test]
async fn position_beyond_the_log_restarts_at_the_head() {
    let daemon = Daemon::start("");
    let mut sender = daemon.join(42, "ann").await;
    let epoch = sender.position.epoch;
    for seq in [1_000_000, (1 << 53) - 1] {
        let mut viewer = daemon.resume(StreamPosition { epoch, seq }).await;
        let begun = |message: &ServerMessage| match message {
            ServerMessage::Welcome { seq, .. } => Some(*seq),
            _ => None,
        };
        viewer.position.seq = viewer.until(begun).await;
        let (_, seq) = sender.comment("hi").await;
        viewer.until_seq(seq).await;
        assert_eq!(viewer.texts(), ["hi"]);
    }
}

/// The viewer is more than one page behind, and all of it is still in the ring. The second page
/// comes from the history too, because the ring still holds deleted comments.
#[tokio::test]
async fn comment_deleted_while_away_is_never_shown() {
    let daemon = Daemon::start("[delivery]\nworkers = 1");
    let mut stays = daemon.join(42, "ann").await;
    let position = stays.position;
    let mut sent = Vec::new();
    for n in 0..700 {
        sent.push(stays.comment(&format!("comment {n}")).await);
    }
    let comment = sent[650].0;
    let last = sent[699].1;
    stays.until_seq(last).await;
    post(&daemon, "/v1/delete", json!({"comment_id": comment, "reason": "off_topic"})).await;
    assert_eq!(stays.until(deleted).await, comment);
    let mut back = daemon.resume(position).await;
    back.until_seq(last).await;
    assert_eq!(back.comments.len(), 699);
    assert!(back.comments.iter().all(|shown| shown.comment_id != comment), "it was deleted");
}

/// Returns the value of a counter without labels.
async fn counter(daemon: &Daemon, name: &str) -> u64 {
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let text = String::from_utf8(support::raw(daemon, request).await).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
}

#[tokio::test]
async fn storm_at_one_position_reads_it_a_few_times() {
    const STORM: u64 = 300;
    let daemon = Daemon::start("");
    let mut stays = daemon.join(42, "ann").await;
    let position = stays.position;
    let mut last = 0;
    for n in 0..100 {
        (_, last) = stays.comment(&format!("comment {n}")).await;
    }
    let resume = || async {
        let mut back = daemon.resume(position).await;
        back.until_seq(last).await;
        assert_eq!((back.comments.len(), back.gaps.len()), (100, 0));
    };
    let started = std::time::Instant::now();
    futures_util::future::join_all((0..STORM).map(|_| resume())).await;
    let seconds = started.elapsed().as_secs() + 1;
    assert!(counter(&daemon, "lcd_catch_up_pages_total").await >= STORM);
    let reads = counter(&daemon, "lcd_catch_up_reads_total").await;
    // Once per second, and once more while the stream was still changing.
    assert!((1..=2 * seconds + 2).contains(&reads), "{reads} reads in {seconds} s");
}

/// All streams share the log, so the last record of a quiet stream lies far before its end.
#[tokio::test]
async fn quiet_stream_has_no_gap_after_a_restart() {
    let daemon = Daemon::start("");
    let new = json!({"title": "busy"}).to_string();
    let admin =
        format!("Bearer {}", daemon.token_of(1, "root", live_comments::protocol::Role::Admin));
    let headers = [("authorization", &*admin)];
    let (status, body) = support::http(&daemon, "POST", "/api/streams", &headers, Some(&new)).await;
    assert_eq!(status, 201, "{body}");
    let busy = body["stream_id"].as_str().unwrap().parse::<StreamId>().unwrap();
    let mut quiet = daemon.join(42, "ann").await;
    let (_, seq) = quiet.comment("before").await;
    quiet.until_seq(seq).await;
    let token = Some(daemon.token(43, "bob").into());
    let options = ViewerOptions { token, stream: busy, ..daemon.options() };
    let mut talker = Viewer::join(options).await;
    for n in 0..50 {
        talker.comment(&format!("elsewhere {n}")).await;
    }
    archived(&daemon).await;
    let position = quiet.position;
    drop((quiet, talker));
    let daemon = daemon.terminate().restart();
    let mut back = daemon.resume(position).await;
    let mut fresh = daemon.join(44, "cat").await;
    let (_, seq) = fresh.comment("after").await;
    for viewer in [&mut back, &mut fresh] {
        viewer.until_seq(seq).await;
        assert_eq!(viewer.texts(), ["after"]);
        assert_eq!(viewer.gaps, []);
    }
}

/// The first viewer of the stream sends its comment together with the handshake.
#[tokio::test]
async fn welcome_comes_first_and_early_comment_is_shown() {
    let daemon = Daemon::start("");
    let token = daemon.token(42, "ann");
    let mut request = format!(
        "GET /ws/1?token={token} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
         connection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    let comment = br#"{"type":"comment","message":"early","ref":"r"}"#;
    // A mask of zeros leaves the payload unchanged.
    request.extend([0x81, 0x80 | comment.len() as u8, 0, 0, 0, 0]);
    request.extend(comment);
    let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    socket.write_all(&request).await.unwrap();
    let mut seen = Vec::new();
    let text = |seen: &[u8]| String::from_utf8_lossy(seen).into_owned();
    let reading = async {
        // The comment may come before its ack, but both come after the welcome.
        while ![r#""message":"early""#, r#""type":"ack""#].iter().all(|s| text(&seen).contains(s)) {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "{}", text(&seen));
        }
    };
    tokio::time::timeout(support::PATIENCE, reading).await.expect("the sender sees its comment");
    let seen = text(&seen);
    let place = |kind: &str| seen.find(&format!(r#""type":"{kind}""#)).expect(kind);
    assert!(place("welcome") < place("ack").min(place("comments")), "{seen}");
}

/// The last bytes and the end of the connection arrive together.
#[tokio::test]
async fn viewer_that_sends_and_leaves_is_removed_at_once() {
    let daemon = Daemon::start("[delivery]\npresence_interval = \"50ms\"");
    let mut viewer = daemon.watch().await;
    let count = |wanted| {
        move |message: &ServerMessage| match message {
            ServerMessage::Presence { viewers } => (*viewers == wanted).then_some(()),
            _ => None,
        }
    };
    let mut leaving = Vec::new();
    for _ in 0..20 {
        let request = "GET /ws/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\
                       connection: upgrade\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        leaving.push(socket);
    }
    viewer.until(count(21)).await;
    for socket in &mut leaving {
        // A pong masked with zeros, directly followed by the end.
        socket.write_all(&[0x8A, 0x80, 0, 0, 0, 0]).await.unwrap();
        socket.shutdown().await.unwrap();
    }
    let gone = tokio::time::timeout(Duration::from_secs(10), viewer.until(count(1)));
    gone.await.expect("well before the first ping finds out");
}

/// Sampling limits only what is sent live. Whoever was away or paused can have everything.
#[tokio::test]
async fn a_throttled_viewer_catches_up_with_everything() {
    let daemon = Daemon::start("");
    let mut sender = daemon.join(42, "ann").await;
    let mut paused = [daemon.watch().await, daemon.watch().await];
    let away = daemon.watch().await.position;
    let throttle = serde_json::json!({"stream_id": "1", "sample_rate": 0.1});
    let _: serde_json::Value = daemon.admin().post("/v1/throttle", &throttle).await.unwrap();
    for viewer in &mut paused {
        let throttled = |message: &ServerMessage| match message {
            ServerMessage::ThrottleNotification { sample_rate, .. } => {
                (!sample_rate.is_all()).then_some(())
            }
            _ => None,
        };
        viewer.until(throttled).await;
        viewer.send(&ClientMessage::Pause).await;
        viewer.send(&ClientMessage::Ping).await;
        viewer.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
    }
    let mut last = 0;
    for n in 0..100 {
        last = sender.comment(&format!("comment {n}")).await.1;
    }
    sender.until_seq(last).await;
    let all: Vec<_> = (0..100).map(|n| format!("comment {n}")).collect();
    let mut back = daemon.resume(away).await;
    back.until_seq(last).await;
    assert_eq!(back.texts(), all);
    let [resumed, skipping] = &mut paused;
    let before = skipping.position.seq;
    resumed.send(&ClientMessage::Resume { skip: false }).await;
    resumed.until_seq(last).await;
    assert_eq!((resumed.texts(), &*resumed.gaps), (back.texts(), &[][..]));
    skipping.send(&ClientMessage::Resume { skip: true }).await;
    skipping.until_seq(last).await;
    assert_eq!((skipping.texts().len(), &*skipping.gaps), (0, &[(before + 1, last)][..]));
    let throttle = serde_json::json!({"stream_id": "1", "sample_rate": 1.0});
    let _: serde_json::Value = daemon.admin().post("/v1/throttle", &throttle).await.unwrap();
    let unthrottled = |message: &ServerMessage| match message {
        ServerMessage::ThrottleNotification { sample_rate, .. } => {
            sample_rate.is_all().then_some(())
        }
        _ => None,
    };
    sender.until(unthrottled).await;
    let (_, seq) = sender.comment("and on").await;
    for viewer in [&mut back, resumed, skipping] {
        viewer.until_seq(seq).await;
        assert_eq!(viewer.texts().last(), Some(&"and on"));
    }
}
