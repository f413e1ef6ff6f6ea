//! Streams as events: scheduled, started, ended, replayed, deleted; and what caches may keep of
//! their history.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use live_comments::client::viewer::{ViewerError, ViewerOptions};
use live_comments::protocol::admin::Outcome;
use live_comments::protocol::stream::{Stream, StreamState};
use live_comments::protocol::{CommentId, ErrorCode, Role, ServerMessage, StreamId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::support::{Daemon, PATIENCE, Viewer, archived, comment, http, msgpack, raw};

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

async fn create(daemon: &Daemon, body: Value) -> Stream {
    let outcome: Outcome = daemon.admin().post("/v1/streams", &body).await.unwrap();
    outcome.stream.unwrap()
}

async fn change(daemon: &Daemon, stream: StreamId, body: Value) -> Stream {
    let path = format!("/v1/streams/{stream}");
    let outcome: Outcome = daemon.admin().post(&path, &body).await.unwrap();
    outcome.stream.unwrap()
}

/// Sends a comment. Returns its id, or the code of the refusal.
async fn say(viewer: &mut Viewer, text: &str) -> Result<CommentId, ErrorCode> {
    viewer.send(&comment(text, text)).await;
    let answered = |message: &ServerMessage| match message {
        ServerMessage::Ack { client_ref, comment_id, .. }
            if client_ref.as_deref() == Some(text) =>
        {
            Some(Ok(*comment_id))
        }
        ServerMessage::Error { code, client_ref, .. } if client_ref.as_deref() == Some(text) => {
            Some(Err(*code))
        }
        _ => None,
    };
    viewer.until(answered).await
}

/// An answer that need not end, as it arrives.
struct AnswerReader {
    socket: tokio::net::TcpStream,
    seen: Vec<u8>,
}

impl AnswerReader {
    async fn open(daemon: &Daemon, path: &str, headers: &str) -> Self {
        let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, seen: Vec::new() }
    }

    /// Reads until a text has arrived.
    async fn until(&mut self, wanted: &str) {
        let reading = async {
            while !String::from_utf8_lossy(&self.seen).contains(wanted) {
                let read = self.socket.read_buf(&mut self.seen).await.unwrap();
                let seen = String::from_utf8_lossy(&self.seen);
                assert_ne!(read, 0, "no {wanted} in {seen}");
            }
        };
        timeout(PATIENCE, reading).await.expect("an answer in time");
    }
}

/// Requests a path and reads until a text arrives, of an answer that need not end.
async fn read_until(daemon: &Daemon, path: &str, headers: &str, wanted: &str) -> String {
    let mut answer = AnswerReader::open(daemon, path, headers).await;
    answer.until(wanted).await;
    String::from_utf8(answer.seen).unwrap()
}

fn on(daemon: &Daemon, stream: StreamId) -> ViewerOptions {
    let token = Some(daemon.token(42, "ann").into());
    ViewerOptions { stream, token, ..daemon.options() }
}

#[tokio::test]
async fn a_scheduled_stream_starts_by_itself() {
    let daemon = Daemon::start("");
    let starts_at = now_ms() + 4_000;
    let new = json!({"title": "Final", "description": "of the season", "starts_at": starts_at});
    let stream = create(&daemon, new).await;
    assert_eq!((stream.state, stream.started_at), (StreamState::Scheduled, None));
    let id = stream.stream_id;
    let mut viewer = Viewer::join(on(&daemon, id)).await;
    assert_eq!(say(&mut viewer, "early").await, Err(ErrorCode::StreamNotLive));
    let mut packed = Viewer::join(msgpack(on(&daemon, id))).await;
    let events = format!("/api/streams/{id}/events");
    let polls = format!("/api/streams/{id}/comments/poll");
    let welcome = format!(r#""state":"scheduled","starts_at":{starts_at}"#);
    for path in [&events, &polls] {
        read_until(&daemon, path, "", &welcome).await;
    }
    let (status, body) =
        http(&daemon, "GET", &format!("/api/streams/{id}/comments?at=0"), &[], None).await;
    assert_eq!((status, &body["code"]), (409, &json!("stream_not_started")));

    let started =
        r#"{"type":"stream","state":"live","title":"Final","description":"of the season""#;
    let told = read_until(&daemon, &events, "", started);
    let notice = |message: &ServerMessage| match message {
        ServerMessage::Stream(notice) => Some((notice.state, notice.started_at)),
        _ => None,
    };
    let all = async { tokio::join!(viewer.until(notice), packed.until(notice), told) };
    let ((state, started_at), from_msgpack, _) = all.await;
    assert_eq!((state, started_at), from_msgpack);
    assert_eq!(state, StreamState::Live);
    let late_ms = started_at.unwrap() - starts_at;
    assert!(late_ms < 10_000, "started {late_ms} ms after its time");
    say(&mut viewer, "in time").await.unwrap();
    let audit: Value = daemon.admin().get("/v1/audit?limit=10").await.unwrap();
    let starts: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    let by_schedule = starts.iter().filter(|entry| entry["actor"] == "schedule").count();
    assert_eq!(by_schedule, 1, "{audit}");
}

#[tokio::test]
async fn a_start_is_not_missed_while_the_node_is_down() {
    let daemon = Daemon::start("");
    let stream = create(&daemon, json!({"starts_at": now_ms() + 1_500})).await;
    let stopped = daemon.kill();
    sleep(Duration::from_millis(1_600)).await;
    let daemon = stopped.restart();
    let path = format!("/api/streams/{}", stream.stream_id);
    let started = async {
        loop {
            let (_, body) = http(&daemon, "GET", &path, &[], None).await;
            if body["state"] == "live" {
                return body;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let body = timeout(PATIENCE, started).await.expect("it starts after the restart");
    assert!(body["started_at"].as_u64() >= stream.starts_at, "{body}");
}

#[tokio::test]
async fn a_deleted_stream_is_gone_for_everybody() {
    let daemon = Daemon::start("");
    let id = create(&daemon, json!({"title": "short"})).await.stream_id;
    let mut viewer = Viewer::join(on(&daemon, id)).await;
    say(&mut viewer, "to be lost").await.unwrap();
    archived(&daemon).await;
    let admin = format!("Bearer {}", daemon.token_of(1, "root", Role::Admin));
    let broadcaster = format!("Bearer {}", daemon.token_of(2, "bob", Role::Broadcaster));
    let path = format!("/api/streams/{id}");
    let delete =
        async |token: &str| http(&daemon, "DELETE", &path, &[("authorization", token)], None).await;
    assert_eq!(delete(&broadcaster).await.1["code"], "forbidden");
    let mut events = AnswerReader::open(&daemon, &format!("{path}/events"), "").await;
    events.until("welcome").await;
    let deleted = delete(&admin).await;
    let (_, closed) = tokio::join!(events.until("unknown_stream"), viewer.until_closed());
    assert_eq!((closed, deleted.0), (4504, 204));
    for path in [
        path.clone(),
        format!("{path}/comments"),
        format!("{path}/comments?at=0"),
        format!("{path}/comments/poll"),
        format!("{path}/events"),
    ] {
        let (status, body) = http(&daemon, "GET", &path, &[], None).await;
        assert_eq!((status, &body["code"]), (404, &json!("unknown_stream")), "{path}");
    }
    let again = delete(&admin).await;
    assert_eq!((again.0, &again.1["code"]), (404, &json!("unknown_stream")));
    let next = create(&daemon, json!({})).await.stream_id;
    assert_ne!(next, id, "its comments would be shown there");
    let body = json!({"stream_id": id}).to_string();
    let headers = [("authorization", &*admin)];
    let (status, taken) = http(&daemon, "POST", "/api/streams", &headers, Some(&body)).await;
    assert_eq!((status, &taken["code"]), (409, &json!("stream_exists")));
    let audit = daemon.admin().get::<Value>("/v1/audit?limit=10").await.unwrap();
    let entries = audit["items"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["action"] == "delete_stream").unwrap();
    let audit_id = entry["audit_id"].clone();
    let refused = daemon.admin().post::<_, Value>("/v1/undo", &json!({"audit_id": audit_id})).await;
    assert!(refused.unwrap_err().to_string().contains("not given again"));
    let daemon = daemon.kill_and_restart();
    let (status, _) = http(&daemon, "GET", &path, &[], None).await;
    assert_eq!(status, 404, "also after a restart");
}

#[tokio::test]
async fn an_ended_stream_is_replayed_in_step() {
    let daemon = Daemon::start("");
    let id = create(&daemon, json!({})).await.stream_id;
    let mut viewer = Viewer::join(on(&daemon, id)).await;
    for n in 0..3 {
        say(&mut viewer, &format!("early {n}")).await.unwrap();
    }
    sleep(Duration::from_millis(1_100)).await;
    for n in 0..2 {
        say(&mut viewer, &format!("late {n}")).await.unwrap();
    }
    let ended = change(&daemon, id, json!({"state": "ended"})).await;
    assert_eq!(viewer.until_closed().await, 4505);
    archived(&daemon).await;
    let started_at = ended.started_at.unwrap();
    let length = ended.ended_at.unwrap() - started_at;
    let page = async |query: String| {
        let path = format!("/api/streams/{id}/comments?{query}");
        http(&daemon, "GET", &path, &[], None).await
    };
    let texts = |body: &Value| -> Vec<String> {
        let comments = body["comments"].as_array().unwrap().iter();
        comments.map(|comment| comment["message"].as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = page(format!("at={length}")).await;
    assert_eq!(texts(&all), ["late 1", "late 0", "early 2", "early 1", "early 0"]);
    let last_early = all["comments"][2]["created_at"].as_u64().unwrap() - started_at;
    let (_, middle) = page(format!("at={}&limit=2", last_early + 500)).await;
    assert_eq!(texts(&middle), ["early 2", "early 1"]);
    let before = middle["next_before"].as_str().unwrap().to_owned();
    assert_eq!(texts(&page(format!("before={before}")).await.1), ["early 0"]);
    let (status, beyond) = page(format!("at={}", length + 1)).await;
    assert_eq!((status, &beyond["code"]), (416, &json!("beyond_end")));
    let ann = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", &*ann)];
    let path = format!("/api/streams/{id}/comments");
    let (status, refused) =
        http(&daemon, "POST", &path, &headers, Some(r#"{"message":"too late"}"#)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("stream_not_live")));
    let options = on(&daemon, id);
    match live_comments::client::viewer::ViewerConnection::join(&options).await.unwrap_err() {
        live_comments::client::viewer::ConnectError::NotWelcome {
            error: ViewerError::Refused { code, .. },
            ..
        } => assert_eq!(code, ErrorCode::StreamEnded),
        other => panic!("{other}"),
    }
}

/// A page of history over HTTP.
struct Page {
    status: u16,
    head: String,
    body: Value,
}

impl Page {
    async fn get(daemon: &Daemon, query: &str, headers: &str) -> Self {
        let request = format!(
            "GET /api/streams/1/comments?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             {headers}\r\n"
        );
        let answer = String::from_utf8(raw(daemon, request.as_bytes()).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_default();
        Self { status, head: head.to_owned(), body }
    }

    fn field(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

#[tokio::test]
async fn a_page_is_kept_until_something_is_deleted() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let mut ids = Vec::new();
    let mut last = 0;
    for n in 0..10 {
        let (id, seq) = ann.comment(&format!("comment {n}")).await;
        ids.push(id);
        last = seq;
    }
    ann.until_seq(last).await;
    archived(&daemon).await;
    let newest = Page::get(&daemon, "limit=2", "").await;
    assert_eq!(newest.field("cache-control"), "public, max-age=0, s-maxage=1");
    assert_eq!(newest.field("vary"), "Authorization");
    let query = format!("before={}&limit=4", ids[8]);
    let page = Page::get(&daemon, &query, "").await;
    assert_eq!(page.field("cache-control"), "public, max-age=30, must-revalidate");
    assert_eq!(page.body["comments"].as_array().unwrap().len(), 4);
    let tag = page.field("etag").to_owned();
    for named in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
        let same = Page::get(&daemon, &query, &format!("if-none-match: {named}\r\n")).await;
        assert_eq!((same.status, same.field("etag")), (304, &*tag), "{named}");
        assert_eq!(same.field("cache-control"), "public, max-age=30, must-revalidate");
        assert!(same.body.is_null());
    }
    let other = Page::get(&daemon, &query, "if-none-match: \"other\"\r\n").await;
    assert_eq!(other.status, 200);
    let token = format!("authorization: Bearer {}\r\n", daemon.token(43, "bob"));
    let own = Page::get(&daemon, &query, &token).await;
    assert_eq!(own.field("cache-control"), "private, no-cache");

    let delete = json!({"comment_id": ids[6], "reason": "off_topic"});
    let _: Value = daemon.admin().post("/v1/delete", &delete).await.unwrap();
    let deleted = |message: &ServerMessage| match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.comment_id),
        _ => None,
    };
    assert_eq!(ann.until(deleted).await, ids[6]);
    let after = Page::get(&daemon, &query, &format!("if-none-match: {tag}\r\n")).await;
    assert_eq!(after.status, 200, "what was kept is not the page any more");
    assert!(!after.body.to_string().contains(&ids[6].to_string()));
    assert_ne!(after.field("etag"), tag);
}

#[tokio::test]
async fn a_gap_says_where_its_comments_are() {
    let config = "[delivery]\nresume_comments = 20\n[store]\nrecent_events = 20";
    let daemon = Daemon::start(config);
    let mut ann = daemon.join(42, "ann").await;
    let start = ann.position;
    let mut last = 0;
    for n in 0..100 {
        last = ann.comment(&format!("comment {n}")).await.1;
    }
    ann.until_seq(last).await;
    archived(&daemon).await;
    let address = "api/streams/1/comments";
    let gap = |message: &ServerMessage| match message {
        ServerMessage::Gap { to_seq, history, .. } => Some((*to_seq, history.clone())),
        _ => None,
    };
    for options in [daemon.options(), msgpack(daemon.options())] {
        let mut back = Viewer::join(ViewerOptions { resume: Some(start), ..options }).await;
        let (to_seq, history) = back.until(gap).await;
        assert_eq!(history.as_deref(), Some(address));
        back.until_seq(last).await;
        assert!(last - to_seq >= 20, "at least resume_comments are sent: {to_seq} of {last}");
        assert_eq!((back.gaps.len(), back.comments.len() as u64), (1, last - to_seq));
        let (_, body) = http(&daemon, "GET", &format!("/{address}?limit=1000"), &[], None).await;
        assert_eq!(body["comments"].as_array().unwrap().len(), 100, "they are there");
    }
    let told = format!(r#""history":"{address}""#);
    let id = format!("last-event-id: {}:{}\r\n", start.epoch, start.seq);
    read_until(&daemon, "/api/streams/1/events", &id, &told).await;
    let path = format!("/api/streams/1/comments/poll?epoch={}&seq={}", start.epoch, start.seq);
    let (_, first) = http(&daemon, "GET", &path, &[], None).await;
    let since = first["since"].as_str().unwrap();
    let next = format!("/api/streams/1/comments/poll?since={since}&wait_ms=5000");
    let (_, rest) = http(&daemon, "GET", &next, &[], None).await;
    assert!(format!("{first}{rest}").contains(&told), "{first}{rest}");
    // The latest comments come without one.
    let position = live_comments::protocol::StreamPosition { seq: last - 15, ..start };
    let mut back = daemon.resume(position).await;
    back.until_seq(last).await;
    assert_eq!((back.gaps.len(), back.comments.len()), (0, 15));
}

#[tokio::test]
async fn a_gap_leads_to_the_history_below_a_base_path() {
    let daemon = Daemon::start(
        "[gateway]\nbase_path = \"/live\"\n[delivery]\nresume_comments = 20\n\
         [store]\nrecent_events = 20",
    );
    let site = "/live/";
    let history = "api/streams/1/comments";
    let (_, joined) = http(&daemon, "GET", &format!("{site}{history}/poll"), &[], None).await;
    let welcome = &joined["messages"][0];
    let ann = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", &*ann)];
    for n in 0..60 {
        let body = json!({"message": format!("comment {n}")}).to_string();
        let path = format!("{site}{history}");
        let (status, answer) = http(&daemon, "POST", &path, &headers, Some(&body)).await;
        assert_eq!(status, 201, "{answer}");
    }
    let id = format!("last-event-id: {}:{}\r\n", welcome["epoch"], welcome["seq"]);
    let told = format!(r#""history":"{history}""#);
    read_until(&daemon, &format!("{site}api/streams/1/events"), &id, &told).await;
    let path = format!("{site}{history}?limit=1000");
    let complete = async {
        while http(&daemon, "GET", &path, &[], None).await.1["comments"]
            .as_array()
            .is_none_or(|comments| comments.len() < 60)
        {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, complete).await.expect("all are at the address that was told");
}
