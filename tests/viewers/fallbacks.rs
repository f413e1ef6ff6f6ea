//! Viewers without a WebSocket: server-sent events read by `curl -N`, and long polling.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use live_comments::client::viewer::ViewerConnection;
use live_comments::protocol::admin::Who;
use live_comments::protocol::{ClientMessage, Seq, ServerMessage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{self, Daemon, PATIENCE, comment, http};

/// No message comes by itself.
const NO_PRESENCE: &str = "[delivery]\npresence_interval = \"1h\"";

/// An event stream that `curl` reads.
struct EventStream {
    curl: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// The lines so far.
    seen: Vec<String>,
    /// The latest id.
    id: Option<String>,
}

impl EventStream {
    /// `words` are further arguments, such as headers.
    fn open(url: &str, words: &[&str]) -> Self {
        let mut curl = Command::new("curl")
            .args(["-sNk", "-D", "-"])
            .args(words)
            .arg(url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl");
        let output = BufReader::new(curl.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let mut lines = output.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line).ok())
        });
        Self { curl, lines, seen: Vec::new(), id: None }
    }

    /// Returns the next line; `None` at the end of the stream.
    async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.lines.recv()).await.expect("a line in time")?;
        self.seen.push(line.clone());
        Some(line)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        // It may have ended with its stream.
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// A poller. Its requests have connections of their own.
struct Poller<'a> {
    daemon: &'a Daemon,
    token: Option<String>,
    since: Option<String>,
    waiting: VecDeque<Value>,
    status: u16,
}

impl<'a> Poller<'a> {
    fn new(daemon: &'a Daemon, token: Option<String>) -> Self {
        Self { daemon, token, since: None, waiting: VecDeque::new(), status: 200 }
    }

    /// Polls once. Returns the answer's body.
    async fn poll(&mut self, wait_ms: u64) -> Value {
        let mut path = format!("/api/streams/1/comments/poll?wait_ms={wait_ms}");
        for (name, value) in [("token", &self.token), ("since", &self.since)] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={value}"));
            }
        }
        let (status, body) = http(self.daemon, "GET", &path, &[], None).await;
        self.status = status;
        if let Some(since) = body["since"].as_str() {
            self.since = Some(since.to_owned());
        }
        body
    }

    async fn next(&mut self) -> Option<Value> {
        while self.waiting.is_empty() {
            let body = self.poll(10_000).await;
            if self.status != 200 {
                return None;
            }
            self.waiting.extend(body["messages"].as_array().unwrap().iter().cloned());
        }
        self.waiting.pop_front()
    }
}

/// A viewer over either transport.
enum Fallback<'a> {
    Events(EventStream),
    Polls(Poller<'a>),
}

impl<'a> Fallback<'a> {
    fn both(daemon: &'a Daemon, token: Option<&str>) -> [Self; 2] {
        let query = token.map_or_else(String::new, |token| format!("?token={token}"));
        let events = daemon.url(&format!("/api/streams/1/events{query}"));
        [
            Self::Events(EventStream::open(&events, &[])),
            Self::Polls(Poller::new(daemon, token.map(str::to_owned))),
        ]
    }

    /// Returns the next message; `None` after the last one.
    async fn next(&mut self) -> Option<Value> {
        match self {
            Self::Polls(poller) => poller.next().await,
            Self::Events(events) => loop {
                let line = events.line().await?;
                if let Some(id) = line.strip_prefix("id: ") {
                    events.id = Some(id.to_owned());
                } else if let Some(data) = line.strip_prefix("data: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
            },
        }
    }

    /// Returns the next message of a type.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("ended before {kind}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Returns the texts of the comments up to a position, whose ranges must join.
    async fn texts_until(&mut self, seq: u64, from: &mut u64) -> Vec<String> {
        let mut texts = Vec::new();
        while *from < seq {
            let batch = self.until("comments").await;
            if batch["echo"] == true {
                continue;
            }
            assert_eq!(batch["from_seq"].as_u64(), Some(*from + 1), "{batch}");
            *from = batch["to_seq"].as_u64().unwrap();
            let comments = batch["comments"].as_array().unwrap();
            texts.extend(comments.iter().map(|one| one["message"].as_str().unwrap().to_owned()));
        }
        texts
    }
}

async fn post(daemon: &Daemon, path: &str, body: Value) -> Value {
    daemon.admin().post(path, &body).await.unwrap()
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("comment {n}")).collect()
}

async fn say(sender: &mut support::Viewer, range: std::ops::Range<u32>) -> u64 {
    let mut last = 0;
    for text in numbered(range) {
        last = sender.comment(&text).await.1;
    }
    last
}

#[tokio::test]
async fn comments_come_in_order_and_resume_without_loss() {
    let daemon = Daemon::start("");
    let mut sender = daemon.join(42, "ann").await;
    for mut viewer in Fallback::both(&daemon, None) {
        let welcome = viewer.until("welcome").await;
        let epoch = welcome["epoch"].as_u64().unwrap();
        let mut position = welcome["seq"].as_u64().unwrap();
        let last = say(&mut sender, 0..20).await;
        assert_eq!(viewer.texts_until(last, &mut position).await, numbered(0..20));
        let back = match &mut viewer {
            Fallback::Events(events) => {
                assert_eq!(events.id, Some(format!("{epoch}:{last}")));
                let head = events.seen.join("\n").to_ascii_lowercase();
                for line in ["200 ok", "text/event-stream", "no-store", "retry: "] {
                    assert!(head.contains(line), "{line}: {head}");
                }
                let url = daemon.url("/api/streams/1/events");
                let header = format!("Last-Event-ID: {epoch}:{last}");
                vec![
                    Fallback::Events(EventStream::open(&url, &["-H", &header])),
                    Fallback::Events(EventStream::open(
                        &format!("{url}?epoch={epoch}&seq={last}"),
                        &[],
                    )),
                ]
            }
            // A session that no node knows: it continues from the position in `since`.
            Fallback::Polls(poller) => {
                let since = poller.since.clone().unwrap();
                let parts: Vec<&str> = since.split('.').collect();
                let other = "0123456789abcdef0123456789abcdef";
                let since = Some(format!("{}.{}.{other}.7", parts[0], parts[1]));
                vec![Fallback::Polls(Poller { since, ..Poller::new(&daemon, None) })]
            }
        };
        drop(viewer);
        let missed = say(&mut sender, 20..30).await;
        for mut viewer in back {
            let mut position = viewer.until("welcome").await["seq"].as_u64().unwrap();
            assert_eq!(position, last);
            assert_eq!(viewer.texts_until(missed, &mut position).await, numbered(20..30));
            let live = say(&mut sender, 30..33).await;
            let texts = viewer.texts_until(live, &mut position).await;
            assert!(texts.ends_with(&numbered(30..33)), "{texts:?}");
        }
    }
}

#[tokio::test]
async fn positions_of_no_log_start_at_its_head() {
    let daemon = Daemon::start("");
    let mut sender = daemon.join(42, "ann").await;
    let last = say(&mut sender, 0..3).await;
    sender.until_seq(last).await;
    let epoch = sender.position.epoch;
    let url = daemon.url("/api/streams/1/events");
    for id in ["4294967295:1".to_owned(), format!("{epoch}:9007199254740991")] {
        let header = format!("Last-Event-ID: {id}");
        let mut viewer = Fallback::Events(EventStream::open(&url, &["-H", &header]));
        let mut welcome = viewer.until("welcome").await;
        if welcome["seq"] == json!(9_007_199_254_740_991_u64) {
            welcome = viewer.until("welcome").await;
        }
        let seq = welcome["seq"].as_u64().unwrap();
        assert!((last..last + 100).contains(&seq), "{welcome}");
        assert_eq!(welcome["epoch"], json!(epoch));
    }
}

#[tokio::test]
async fn operators_reach_viewers_of_each_transport() {
    let daemon = Daemon::start("[delivery]\npresence_interval = \"100ms\"");
    let mut sender = daemon.join(42, "ann").await;
    let token = daemon.token(7, "bob");
    for mut viewer in Fallback::both(&daemon, Some(&token)) {
        let welcome = viewer.until("welcome").await;
        assert_eq!(welcome["user"]["user_id"], "7");
        let (id, _) = sender.comment("to be deleted").await;
        viewer.until("comments").await;
        post(&daemon, "/v1/delete", json!({"comment_id": id})).await;
        assert_eq!(viewer.until("comment.deleted").await["comment_id"], id.to_string());
        post(&daemon, "/v1/announce", json!({"stream_id": 1, "message": "half time"})).await;
        assert_eq!(viewer.until("announcement").await["message"], "half time");
        post(&daemon, "/v1/dm", json!({"user": "7", "message": "hello"})).await;
        assert_eq!(viewer.until("direct").await["message"], "hello");
        post(&daemon, "/v1/throttle", json!({"stream_id": 1, "sample_rate": 0.0})).await;
        assert_eq!(viewer.until("throttle_notification").await["sample_rate"], 0.0);
        post(&daemon, "/v1/throttle", json!({"stream_id": 1})).await;
        sender.send(&ClientMessage::Reaction { reaction: "fire".into() }).await;
        assert!(viewer.until("reactions_update").await["reactions"]["fire"].as_u64() > Some(0));
        let kind = match &viewer {
            Fallback::Events(_) => "sse",
            Fallback::Polls(_) => "poll",
        };
        let who: Who = daemon.admin().get("/v1/who/7").await.unwrap();
        let kinds: Vec<_> = who.connections.iter().map(|one| one.transport.as_str()).collect();
        assert!(kinds.contains(&kind), "{kinds:?}");
        let kicked = post(&daemon, "/v1/kick", json!({"user": "7"})).await;
        assert!(kicked["connections"].as_u64() >= Some(1), "{kicked}");
        let bye = viewer.until("bye").await;
        assert_eq!(bye["code"], "kicked");
        assert!(bye["reconnect_after_ms"].is_u64());
        if let Fallback::Events(_) = &viewer {
            assert_eq!(viewer.next().await, None, "the stream ends");
        }
    }
}

#[tokio::test]
async fn ban_ends_event_stream_and_poll_within_100_ms() {
    let daemon = Daemon::start("");
    let token = daemon.token(7, "bob");
    let [mut events, mut polls] = Fallback::both(&daemon, Some(&token));
    events.until("welcome").await;
    polls.until("welcome").await;
    let mut began = Instant::now();
    let mut ended = began;
    let mut waited = began;
    let ban = async {
        // The poll waits by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
        began = Instant::now();
        post(&daemon, "/v1/ban", json!({"user": "7"})).await;
    };
    let by_events = async {
        assert_eq!(events.until("error").await["code"], "banned");
        let bye = events.until("bye").await;
        ended = Instant::now();
        bye
    };
    let by_poll = async {
        assert_eq!(polls.until("error").await["code"], "banned");
        let bye = polls.until("bye").await;
        waited = Instant::now();
        bye
    };
    let (bye, polled_bye, ()) = tokio::join!(by_events, by_poll, ban);
    assert_eq!((&bye["code"], &polled_bye["code"]), (&json!("banned"), &json!("banned")));
    assert!(bye["reconnect_after_ms"].is_null());
    let [by_events, by_poll] = [ended - began, waited - began];
    println!("banned: the event stream after {by_events:?}, the poll after {by_poll:?}");
    assert!(by_events.as_millis() < 100 && by_poll.as_millis() < 100, "{by_events:?} {by_poll:?}");
    assert_eq!(events.next().await, None);
    assert_eq!(polls.next().await, None, "the next poll is refused");
    let query = format!("?token={token}");
    for path in ["events", "comments/poll"] {
        let path = format!("/api/streams/1/{path}{query}");
        let (status, body) = http(&daemon, "GET", &path, &[], None).await;
        assert_eq!((status, body["code"].as_str()), (403, Some("banned")), "{path}");
    }
}

#[tokio::test]
async fn streams_closed_to_anonymous_viewers_need_a_token() {
    let daemon = Daemon::start("");
    let admin =
        format!("Bearer {}", daemon.token_of(1, "root", live_comments::protocol::Role::Admin));
    let auth = [("authorization", admin.as_str())];
    let body = Some(r#"{"stream_id":"2","anonymous":false}"#);
    assert_eq!(http(&daemon, "POST", "/api/streams", &auth, body).await.0, 201);
    for path in ["events", "comments/poll"] {
        let path = format!("/api/streams/2/{path}");
        let (status, body) = http(&daemon, "GET", &path, &[], None).await;
        let code = body["code"].as_str();
        assert_eq!((status, code), (401, Some("not_authenticated")), "{path}");
    }
    let url = daemon.url("/api/streams/2/events");
    let header = format!("Authorization: {admin}");
    let mut viewer = Fallback::Events(EventStream::open(&url, &["-H", &header]));
    assert_eq!(viewer.until("welcome").await["user"]["name"], "root");
    let body = Some(r#"{"state":"ended"}"#);
    assert_eq!(http(&daemon, "PATCH", "/api/streams/2", &auth, body).await.0, 200);
    assert_eq!(viewer.until("bye").await["code"], "stream_ended");
    let (status, body) = http(&daemon, "GET", "/api/streams/2/events", &auth, None).await;
    assert_eq!((status, body["code"].as_str()), (409, Some("stream_ended")));
}

#[tokio::test]
async fn reactions_over_http_are_added_up() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.watch().await;
    let bearer = format!("Bearer {}", daemon.token(7, "bob"));
    let headers = [("authorization", bearer.as_str())];
    let path = "/api/streams/1/reactions";
    for _ in 0..3 {
        let body = Some(r#"{"reaction":"fire"}"#);
        assert_eq!(http(&daemon, "POST", path, &headers, body).await.0, 204);
    }
    let fire = |message: &ServerMessage| match message {
        ServerMessage::ReactionsUpdate { reactions } => {
            reactions.get("fire").copied().filter(|total| *total == 3)
        }
        _ => None,
    };
    viewer.until(fire).await;
}

#[tokio::test]
async fn lost_answer_is_repeated_and_older_poll_ends() {
    let daemon = Daemon::start(NO_PRESENCE);
    let mut sender = daemon.join(42, "ann").await;
    let mut poller = Poller::new(&daemon, None);
    assert_eq!(poller.poll(0).await["messages"][0]["type"], "welcome");
    let before = poller.since.clone();
    say(&mut sender, 0..1).await;
    let answer = poller.poll(10_000).await;
    poller.since = before;
    assert_eq!(poller.poll(10_000).await, answer, "the client has not received it");
    let since = poller.since.clone();
    let mut older = Poller { since: since.clone(), ..Poller::new(&daemon, None) };
    let newer = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let saying = say(&mut sender, 1..2);
        tokio::join!(poller.poll(20_000), saying).0
    };
    let (older, newer) = tokio::join!(older.poll(20_000), newer);
    assert_eq!((&older["messages"], older["since"].as_str()), (&json!([]), since.as_deref()));
    assert!(newer["messages"].to_string().contains("comment 1"), "{newer}");
}

/// Opens an event stream whose socket holds little.
async fn slow_events(daemon: &Daemon) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(daemon.address).await.unwrap();
    slow.write_all(b"GET /api/streams/1/events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    slow
}

/// Returns the place of the last comment.
async fn send_more_than_sockets_hold(daemon: &Daemon) -> Seq {
    let mut sender = daemon.join(42, "ann").await;
    let text = "x".repeat(400);
    let mut last = 0;
    for batch in 0..40 {
        for n in 0..40 {
            sender.send(&comment(&text, &format!("{batch}-{n}"))).await;
        }
        let mut acked = 0;
        while acked < 40 {
            if let ServerMessage::Ack { seq, .. } = sender.next().await.unwrap() {
                last = last.max(seq);
                acked += 1;
            }
        }
    }
    last
}

/// Nobody can come back to an ended stream for what has not been sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_is_told_what_the_end_cut_off() {
    let daemon = Daemon::start("[gateway]\npong_timeout = \"60s\"");
    let mut slow = slow_events(&daemon).await;
    let mut fast = daemon.watch().await;
    let last = send_more_than_sockets_hold(&daemon).await;
    post(&daemon, "/v1/streams/1", json!({"state": "ended"})).await;
    fast.until_closed().await;
    let mut seen = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut seen)).await.expect("the end").unwrap();
    let seen = String::from_utf8(seen).unwrap();
    let to_last = format!("\"to_seq\":{last}");
    let gap = seen.rfind("\"type\":\"gap\"").expect("a gap");
    let told = ["\"type\":\"gap\"", &to_last, "\"code\":\"stream_ended\"", "\"type\":\"bye\""];
    let places = told.map(|part| seen[gap..].find(part).expect(part));
    assert!(places.is_sorted(), "{}", &seen[gap..]);
}

/// It is told what it skipped, as over a WebSocket, and costs a bounded amount of memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_gets_a_gap() {
    let settings = "[delivery]\nring_frames = 16\nring_bytes = \"256 KiB\"\n\
                    [gateway]\npong_timeout = \"60s\"";
    let daemon = Daemon::start(settings);
    let mut slow = slow_events(&daemon).await;
    let mut poller = Poller::new(&daemon, None);
    poller.poll(0).await;
    send_more_than_sockets_hold(&daemon).await;
    let mut seen = String::new();
    let mut buffer = vec![0; 64 * 1024];
    let reading = async {
        while !seen.contains("\"type\":\"gap\"") {
            let bytes = slow.read(&mut buffer).await.unwrap();
            assert!(bytes > 0, "ended");
            seen.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
        }
    };
    timeout(PATIENCE, reading).await.expect("a gap");
    let mut viewer = Fallback::Polls(poller);
    viewer.until("gap").await;
}

#[tokio::test]
async fn http2_carries_events_polls_and_answers() {
    let daemon = Daemon::start("[gateway]\ndev_tls = true\n");
    let url = |path: &str| format!("https://{}{path}", daemon.address);
    let events = EventStream::open(&url("/api/streams/1/events"), &["--http2"]);
    let mut viewer = Fallback::Events(events);
    viewer.until("welcome").await;
    let Fallback::Events(events) = &viewer else { unreachable!() };
    assert!(events.seen[0].starts_with("HTTP/2 200"), "{:?}", events.seen);
    let bearer = format!("Authorization: Bearer {}", daemon.token(42, "ann"));
    let posted = Command::new("curl")
        .args(["-sk", "--http2", "-w", " %{http_version} %{http_code}", "-H", &bearer])
        .args(["--json", r#"{"message":"over http/2"}"#, &url("/api/streams/1/comments")])
        .output()
        .unwrap();
    let posted = String::from_utf8(posted.stdout).unwrap();
    assert!(posted.ends_with(" 2 201"), "{posted}");
    assert_eq!(viewer.until("comments").await["comments"][0]["message"], "over http/2");
    let polled = Command::new("curl")
        .args(["-sk", "--http2", &url("/api/streams/1/comments/poll?wait_ms=0")])
        .output()
        .unwrap();
    let polled: Value = serde_json::from_slice(&polled.stdout).unwrap();
    assert_eq!(polled["messages"][0]["type"], "welcome");
    // HTTP/1.1 over TLS hands the socket to delivery with its session.
    let mut older =
        Fallback::Events(EventStream::open(&url("/api/streams/1/events"), &["--http1.1"]));
    older.until("welcome").await;
    daemon.signal_term();
    for mut viewer in [viewer, older] {
        let bye = viewer.until("bye").await;
        assert_eq!(bye["code"], "shutdown");
        assert!(bye["reconnect_after_ms"].is_u64());
        assert_eq!(viewer.next().await, None);
    }
}

#[tokio::test]
async fn stopping_daemon_says_bye_to_a_waiting_poll() {
    let daemon = Daemon::start(NO_PRESENCE);
    let mut poller = Poller::new(&daemon, None);
    poller.poll(0).await;
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        daemon.signal_term();
    };
    let (answer, ()) = tokio::join!(poller.poll(30_000), stop);
    assert_eq!(answer["messages"][0]["code"], "shutdown", "{answer}");
}

#[tokio::test]
async fn places_and_metrics_count_every_transport() {
    let daemon = Daemon::start("[gateway]\nmax_connections = 3\n");
    let [mut events, mut polls] = Fallback::both(&daemon, None);
    events.until("welcome").await;
    polls.until("welcome").await;
    let _socket = daemon.watch().await;
    for path in ["events", "comments/poll"] {
        let path = format!("/api/streams/1/{path}");
        let (status, body) = http(&daemon, "GET", &path, &[], None).await;
        assert_eq!((status, body["code"].as_str()), (503, Some("node_full")), "{path}");
    }
    let url = daemon.url("/metrics");
    let output = Command::new("curl").args(["-s", &url]).output().unwrap();
    let metrics = String::from_utf8(output.stdout).unwrap();
    for kind in ["websocket", "sse", "poll"] {
        let line = format!("lcd_transport_connections{{transport=\"{kind}\"}} 1");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    drop(events);
    let free = async {
        while ViewerConnection::join(&daemon.options()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("its place is free again");
}

/// Clients that ask once and read nothing. `LC_HALF_OPEN_POLLERS=10000` tries more.
const HALF_OPEN_POLLERS: usize = 400;

#[tokio::test]
async fn half_open_pollers_take_only_the_places() {
    let pollers = std::env::var("LC_HALF_OPEN_POLLERS");
    let pollers = pollers.map_or(HALF_OPEN_POLLERS, |count| count.parse().unwrap());
    support::raise_limit_of_open_files();
    let places = pollers / 4;
    let daemon = Daemon::start(&format!("[gateway]\nmax_connections = {places}\n"));
    let mut held = Vec::new();
    for poller in 0..pollers {
        let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
        let poll = b"GET /api/streams/1/comments/poll HTTP/1.1\r\nhost: x\r\n\r\n";
        socket.write_all(poll).await.unwrap();
        // Every other client is gone at once.
        if poller % 2 == 0 {
            held.push(socket);
        }
    }
    let count = |name: &str| {
        let output = Command::new("curl").args(["-s", &daemon.url("/metrics")]).output().unwrap();
        let metrics = String::from_utf8(output.stdout).unwrap();
        let count = metrics.lines().find_map(|line| line.strip_prefix(name));
        count.map_or(0, |count| count.trim().parse::<usize>().unwrap())
    };
    let refused = "lcd_connections_refused_total{reason=\"node_full\"}";
    let all_answered = async {
        while count(refused) < held.len() - places {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, all_answered).await.expect("an answer to each that waits");
    assert_eq!(count("lcd_transport_connections{transport=\"poll\"}"), places);
    let (status, _) = http(&daemon, "GET", "/api/streams/1", &[], None).await;
    assert_eq!(status, 200, "everybody else is answered");
}
