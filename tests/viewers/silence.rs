//! The daemon's own acts, over real sockets: it closes silent viewers, bounds
//! reactions, and shows a share of the comments of a busy stream.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use live_comments::protocol::throttle::SampleRate;
use live_comments::protocol::{ClientMessage, CloseCode, ErrorCode, ServerMessage};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Daemon, PATIENCE, STREAM, Viewer, archived, comment, history};

/// A WebSocket connection that answers nothing, not even a ping.
async fn open_silently(daemon: &Daemon, stream: u64) -> TcpStream {
    let mut socket = TcpStream::connect(daemon.address).await.unwrap();
    let request = format!(
        "GET /ws/{stream} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

/// Reads everything until the daemon ends the connection.
async fn read_to_end(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset after the close frame also ends the connection.
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.expect("closed in time");
    bytes
}

/// Returns whether the last frame closes with a code.
fn closes_with(bytes: &[u8], code: CloseCode) -> bool {
    let reason = code.as_str().as_bytes();
    let mut frame = vec![0x88, reason.len() as u8 + 2];
    frame.extend(code.number().to_be_bytes());
    frame.extend(reason);
    bytes.ends_with(&frame)
}

/// A viewer that reads, and so answers pings, until its connection ends.
fn read_until_closed(mut viewer: Viewer) -> JoinHandle<Viewer> {
    tokio::spawn(async move {
        while viewer.next().await.is_ok() {}
        viewer
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_answers_no_ping_is_closed() {
    let daemon = Daemon::start("gateway = { ping_interval = \"1s\", idle_timeout = \"3s\" }");
    let opened = Instant::now();
    let answering = read_until_closed(daemon.watch().await);
    let silent = read_to_end(open_silently(&daemon, STREAM.0).await).await;
    let silent_for = opened.elapsed();
    assert!(closes_with(&silent, CloseCode::IdleTimeout), "{:?}", String::from_utf8_lossy(&silent));
    let pings = silent.windows(2).filter(|bytes| *bytes == [0x89, 0x00]).count();
    assert!(pings >= 1, "it was asked first");
    assert!(silent_for >= Duration::from_secs(2), "{silent_for:?} is not the idle timeout");
    // Longer than the timeout without a message from this viewer, only its pongs.
    tokio::time::sleep(Duration::from_secs(4).saturating_sub(opened.elapsed())).await;
    assert!(!answering.is_finished(), "a viewer that answers stays");
    daemon.terminate();
    answering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_without_a_token_is_closed_in_time() {
    let daemon = Daemon::start("gateway.auth_timeout = \"400ms\"");
    let members = json!({"stream_id": 2, "title": "members only", "anonymous": false});
    let _: serde_json::Value = daemon.admin().post("/v1/streams", &members).await.unwrap();
    let bytes = read_to_end(open_silently(&daemon, 2).await).await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(closes_with(&bytes, CloseCode::AuthTimeout), "{text}");
    assert!(text.contains("\"code\":\"auth_timeout\"") && text.contains("`auth`"), "{text}");
    assert!(!text.contains("welcome"), "nothing is sent before the token: {text}");
}

#[tokio::test]
async fn reactions_beyond_the_rate_are_refused() {
    let daemon = Daemon::start("reactions = { per_second = 3, window = \"100ms\" }");
    let mut eager = daemon.join(42, "ann").await;
    let mut calm = daemon.join(43, "bob").await;
    for _ in 0..8 {
        eager.send(&ClientMessage::Reaction { reaction: "fire".into() }).await;
    }
    calm.send(&ClientMessage::Reaction { reaction: "heart".into() }).await;
    for _ in 0..5 {
        let refused = eager.until(|message| match message {
            ServerMessage::Error { code, retry_after_ms, .. } => Some((*code, *retry_after_ms)),
            _ => None,
        });
        let (code, retry_after_ms) = refused.await;
        assert_eq!(code, ErrorCode::RateLimited);
        assert!(retry_after_ms.is_some_and(|ms| ms > 0 && ms <= 1_000), "{retry_after_ms:?}");
    }
    let total = |name: &'static str, wanted: u64| {
        move |message: &ServerMessage| match message {
            ServerMessage::ReactionsUpdate { reactions } => {
                reactions.get(name).copied().filter(|total| *total >= wanted)
            }
            _ => None,
        }
    };
    assert_eq!(calm.until(total("fire", 3)).await, 3, "no more were counted");
    // The limit is each viewer's own, and ends.
    tokio::time::sleep(Duration::from_secs(1)).await;
    eager.send(&ClientMessage::Reaction { reaction: "fire".into() }).await;
    assert_eq!(calm.until(total("fire", 4)).await, 4);
    let late = &mut daemon.watch().await;
    assert_eq!(late.until(total("heart", 1)).await, 1);
}

/// Returns the rate of a throttle notification.
fn notified(message: &ServerMessage) -> Option<SampleRate> {
    match message {
        ServerMessage::ThrottleNotification { sample_rate, .. } => Some(*sample_rate),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_stream_shows_the_same_share_to_everybody() {
    let daemon = Daemon::start(
        "[broadcast]\n\
         throttle = [{ from_per_second = 0.0, sample_rate = 1.0 },\n\
                     { from_per_second = 100.0, sample_rate = 0.2 }]\n\
         step_down_after = \"1s\"",
    );
    let fifth = SampleRate::from_share(0.2).unwrap();
    let mut viewers = [daemon.watch().await, daemon.watch().await];
    let mut sender = daemon.join(42, "ann").await;
    let mut sent = 0;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    // 400 comments/s, until viewers have long been told of it.
    let mut told_at = None;
    while told_at.is_none_or(|at| sent < at + 400) {
        ticks.tick().await;
        for _ in 0..4 {
            sent += 1;
            sender.send(&comment(&format!("comment {sent}"), &format!("r{sent}"))).await;
        }
        while let Ok(message) = timeout(Duration::ZERO, sender.next()).await {
            if let Some(rate) = notified(&message.unwrap()) {
                assert_eq!(rate, fifth);
                told_at = Some(sent);
            }
        }
        assert!(sent < 40_000, "the throttle never began");
    }
    // The stream is quiet again, and a last comment is shown.
    for viewer in &mut viewers {
        let rates = [viewer.until(notified).await, viewer.until(notified).await];
        assert_eq!(rates, [fifth, SampleRate::ALL], "announced when it begins and ends");
    }
    let (_, last) = sender.comment_as("the end", "last").await;
    for viewer in &mut viewers {
        viewer.until_seq(last).await;
        assert_eq!(viewer.gaps, [], "a comment that is left out is no gap");
    }
    let [one, other] = &viewers;
    assert_eq!(one.comments, other.comments, "both were shown the same");
    assert!(one.texts().contains(&"the end"));
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    assert_eq!(stored.len(), sent + 1, "everything is stored");
    let shown = one.comments.len();
    assert!(shown >= sent / 10 && shown < sent, "{shown} of {sent} shown");
    // In the throttled second, those were shown that the rate keeps.
    let throttled = &stored[stored.len() - 301..stored.len() - 1];
    for stored in throttled {
        let is_shown = one.comments.iter().any(|shown| shown.seq == stored.seq);
        assert_eq!(is_shown, fifth.keeps(stored.comment_id), "{}", stored.message);
    }
}
