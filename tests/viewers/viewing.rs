//! Viewers over real sockets: comments, pauses, reactions, presence, slow readers.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use live_comments::client::viewer::{FollowerError, FollowerEvent, StreamFollower, ViewerOptions};
use live_comments::protocol::{ClientMessage, CloseCode, ErrorCode, ServerMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Daemon, PATIENCE, Viewer, comment, msgpack};

#[tokio::test]
async fn json_and_msgpack_viewers_see_the_same_order() {
    let daemon = Daemon::start("");
    let mut json = daemon.watch().await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    let mut sender = daemon.join(42, "ann").await;
    let mut last = 0;
    for n in 0..50 {
        last = sender.comment(&format!("comment {n} é 😀")).await.1;
    }
    for viewer in [&mut json, &mut packed, &mut sender] {
        viewer.until_seq(last).await;
    }
    assert_eq!(json.comments, packed.comments);
    assert_eq!(json.comments, sender.comments);
    assert_eq!(json.comments.len(), 50);
}

#[tokio::test]
async fn anonymous_viewer_may_authenticate_later() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.watch().await;
    assert!(viewer.welcome.user.is_none());
    viewer.send(&comment("hi", "r")).await;
    let code = |message: &ServerMessage| match message {
        ServerMessage::Error { code, .. } => Some(*code),
        _ => None,
    };
    assert_eq!(viewer.until(code).await, ErrorCode::NotAuthenticated);
    viewer.send(&ClientMessage::Auth { token: daemon.token(42, "ann") }).await;
    let user = viewer
        .until(|message| match message {
            ServerMessage::Welcome { user, .. } => user.clone(),
            _ => None,
        })
        .await;
    assert_eq!(user.user_id.0, 42);
    viewer.comment("hi").await;
}

#[tokio::test]
async fn paused_viewer_gets_no_comments() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.watch().await;
    viewer.send(&ClientMessage::Pause).await;
    viewer.send(&ClientMessage::Ping).await;
    viewer.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
    let mut sender = daemon.join(42, "ann").await;
    let (_, seq) = sender.comment("while paused").await;
    sender.until_seq(seq).await;
    viewer.send(&ClientMessage::Ping).await;
    viewer.until(|message| matches!(message, ServerMessage::Pong).then_some(())).await;
    assert!(viewer.comments.is_empty());
    viewer.send(&ClientMessage::Resume { skip: false }).await;
    viewer.until_seq(seq).await;
    assert_eq!(viewer.texts(), ["while paused"]);
}

#[tokio::test]
async fn returning_viewer_gets_what_it_missed() {
    let daemon = Daemon::start("");
    let mut sender = daemon.join(42, "ann").await;
    let mut viewer = daemon.watch().await;
    let (_, seq) = sender.comment("before").await;
    viewer.until_seq(seq).await;
    let position = viewer.position;
    drop(viewer);
    let mut last = 0;
    for round in 0..15 {
        for n in round * 100..(round + 1) * 100 {
            sender.send(&comment(&format!("missed {n}"), &format!("m{n}"))).await;
        }
        // A viewer that does not read its acks is a slow consumer.
        let mut acked = 0;
        while acked < 100 {
            if let ServerMessage::Ack { seq, .. } = sender.next().await.unwrap() {
                acked += 1;
                last = last.max(seq);
            }
        }
    }
    for options in [daemon.options(), msgpack(daemon.options())] {
        let mut back = Viewer::join(ViewerOptions { resume: Some(position), ..options }).await;
        assert_eq!(back.welcome.seq, position.seq);
        back.until_seq(last).await;
        assert_eq!(back.comments.len(), 1500);
        assert_eq!(back.gaps, []);
    }
}

#[tokio::test]
async fn reactions_are_added_up_and_survive_a_restart() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.join(42, "ann").await;
    for _ in 0..3 {
        viewer.send(&ClientMessage::Reaction { reaction: "fire".into() }).await;
    }
    let fire = |message: &ServerMessage| match message {
        ServerMessage::ReactionsUpdate { reactions } => {
            reactions.get("fire").copied().filter(|total| *total == 3)
        }
        _ => None,
    };
    viewer.until(fire).await;
    let daemon = daemon.kill_and_restart();
    daemon.watch().await.until(fire).await;
}

#[tokio::test]
async fn viewers_are_sent_their_number() {
    let daemon = Daemon::start("[delivery]\npresence_interval = \"100ms\"");
    let mut viewer = daemon.watch().await;
    let _others = (daemon.watch().await, daemon.watch().await);
    let count = |wanted| {
        move |message: &ServerMessage| match message {
            ServerMessage::Presence { viewers } => (*viewers == wanted).then_some(()),
            _ => None,
        }
    };
    viewer.until(count(3)).await;
    drop(_others);
    viewer.until(count(1)).await;
}

/// One in a hundred viewers never reads. The others get everything, the slow ones get a gap, and
/// the memory of the daemon stays within its bounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_viewer_does_not_delay_others() {
    let daemon = Daemon::start("[delivery]\nring_frames = 16\nring_bytes = \"256 KiB\"");
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.push(open_without_reading(&daemon).await);
    }
    let mut viewer = daemon.watch().await;
    let before = memory_kib(daemon.pid());
    let mut sender = daemon.join(42, "ann").await;
    let text = "x".repeat(400);
    let mut last = 0;
    for batch in 0..200 {
        for n in 0..40 {
            sender.send(&comment(&text, &format!("{batch}-{n}"))).await;
        }
        let mut acked = 0;
        while acked < 40 {
            if let ServerMessage::Ack { seq, .. } = sender.next().await.unwrap() {
                acked += 1;
                last = last.max(seq);
            }
        }
        viewer.until_seq(last).await;
    }
    assert_eq!(viewer.comments.len(), 8_000);
    assert_eq!(viewer.gaps, []);
    let grown_kib = memory_kib(daemon.pid()).saturating_sub(before);
    println!("8 000 comments of 400 bytes to 10 viewers that do not read: {grown_kib} KiB more");
    assert!(grown_kib < 64 * 1024, "{grown_kib} KiB");
    for socket in slow {
        let told = read_until(socket, "\"type\":\"gap\"").await;
        assert!(told, "a slow viewer is told what it skipped");
    }
}

/// Sends a handshake and then reads nothing.
async fn open_without_reading(daemon: &Daemon) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(daemon.address).await.unwrap();
    let request = "GET /ws/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn read_until(mut socket: tokio::net::TcpStream, wanted: &str) -> bool {
    let mut seen = String::new();
    let mut buffer = vec![0; 64 * 1024];
    let search = async {
        loop {
            match socket.read(&mut buffer).await {
                Ok(bytes) if bytes > 0 => seen.push_str(&String::from_utf8_lossy(&buffer[..bytes])),
                _ => return false,
            }
            if seen.contains(wanted) {
                return true;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.unwrap_or(false)
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn next_event(follower: &mut StreamFollower) -> FollowerEvent {
    let event = tokio::time::timeout(PATIENCE, follower.next()).await;
    event.expect("an event in time").expect("it continues")
}

#[tokio::test]
async fn follower_survives_a_kill_without_loss() {
    let daemon = Daemon::start("");
    let token = Some(daemon.token(7, "bob").into());
    let mut follower = StreamFollower::new(ViewerOptions { token, ..daemon.options() });
    assert!(matches!(next_event(&mut follower).await, FollowerEvent::Connected(_)));
    let mut sender = daemon.join(42, "ann").await;
    for number in 0..50 {
        sender.comment(&number.to_string()).await;
    }
    let mut texts: Vec<String> = Vec::new();
    while texts.len() < 25 {
        if let FollowerEvent::Comment(comment) = next_event(&mut follower).await {
            texts.push(comment.message.to_string());
        }
    }
    let stopped = daemon.kill();
    let own = follower.comment("written while away").unwrap();
    loop {
        match next_event(&mut follower).await {
            FollowerEvent::Comment(comment) => texts.push(comment.message.to_string()),
            FollowerEvent::Lost { .. } => break,
            _ => {}
        }
    }
    let daemon = stopped.restart();
    let mut sender = daemon.join(43, "zoe").await;
    for number in 50..100 {
        sender.comment(&number.to_string()).await;
    }
    let mut stored = 0;
    while texts.len() < 101 || stored == 0 {
        match next_event(&mut follower).await {
            FollowerEvent::Comment(comment) => texts.push(comment.message.to_string()),
            FollowerEvent::Stored { client_ref, .. } if client_ref == own => stored += 1,
            FollowerEvent::Connected(welcome) => assert_eq!(welcome.reactions.len(), 8),
            FollowerEvent::Lost { .. } | FollowerEvent::Message(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    texts.retain(|text| text != "written while away");
    assert_eq!((texts, stored), (numbers, 1));

    let request = serde_json::json!({ "user": "7" });
    daemon.admin().post::<_, serde_json::Value>("/v1/ban", &request).await.unwrap();
    let end = loop {
        match tokio::time::timeout(PATIENCE, follower.next()).await.expect("an end in time") {
            Ok(_) => {}
            Err(FollowerError::Ended(end)) => break end,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(end.close_code(), Some(CloseCode::Banned));
}
