//! Tests of event streams and polls, from the request to the hand-over or the status.

use std::io::IoSlice;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::{Reply, get, request};
use super::rig::{PATIENCE, Rig, eventually, token};
use crate::daemon::base::handoff::{NewViewer, ReactionCounts, ViewerLink};
use crate::daemon::base::pipe::PipeWriter;
use crate::net::Trust;
use crate::protocol::admin::SanctionKind;
use crate::protocol::{CloseCode, Epoch, StreamId, StreamPosition, UserId, UserScope};

const EVENTS: &str = "/api/streams/1/events";
const POLL: &str = "/api/streams/1/comments/poll";

/// Takes the pipe of a poller, whose place is free then.
fn poll_pipe(viewer: NewViewer) -> PipeWriter {
    pipe_of(viewer.link)
}

fn pipe_of(link: ViewerLink) -> PipeWriter {
    match link {
        ViewerLink::Poll(pipe) => pipe,
        other => panic!("no poll: {other:?}"),
    }
}

fn write(pipe: &PipeWriter, events: &'static str) {
    pipe.write([&Bytes::from_static(events.as_bytes())]).unwrap();
}

/// Sends a request for events that follows another one on its connection, and plays delivery.
#[tokio::test]
async fn event_stream_takes_the_socket_of_a_used_connection() {
    let mut rig = Rig::start().await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.write_all(first).await.unwrap();
    let mut bytes = vec![0; 4096];
    let read = socket.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200"));
    let ann = token(1, "viewer");
    let second = format!(
        "GET {EVENTS}?epoch=1&seq=1&token={ann} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 7:99\r\n\r\n"
    );
    socket.write_all(second.as_bytes()).await.unwrap();
    let viewer = rig.viewer().await;
    let position = StreamPosition { epoch: Epoch(7), seq: 99 };
    assert_eq!(viewer.resume_from, Some(position), "the header wins");
    assert_eq!(viewer.bearer.unwrap().identity.user_id, UserId(1));
    let ViewerLink::EventSocket { mut transport, head } = viewer.link else { panic!("no socket") };
    let head = String::from_utf8(head.to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{head}");
    let retry = head.split_once("\r\n\r\nretry: ").unwrap().1.trim_end();
    assert!((1000..=3000).contains(&retry.parse::<u32>().unwrap()), "{head}");
    let event = b"data: {}\n\n";
    assert_eq!(transport.write(&[IoSlice::new(event)]).unwrap(), event.len());
    let mut received = [0; 10];
    socket.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, event, "nothing of an answer comes before");
    drop(viewer.permit);
    rig.stop().await;
}

#[tokio::test]
async fn fallbacks_are_refused_with_a_status() {
    let mut rig = Rig::start().await;
    rig.sanction(13, SanctionKind::Ban).await;
    for (id, query, status, code) in [
        ("77", String::new(), 404, "unknown_stream"),
        ("3", String::new(), 409, "stream_ended"),
        ("2", String::new(), 401, "not_authenticated"),
        ("1", "token=hello".to_owned(), 401, "token_malformed"),
        ("1", format!("token={}", token(13, "viewer")), 403, "banned"),
        ("one", String::new(), 400, "bad_request"),
    ] {
        for path in ["events", "comments/poll"] {
            let path = format!("/api/streams/{id}/{path}?{query}");
            let reply = get(rig.address, &path).await;
            assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
        }
    }
    let bad = |text: &str| format!("Last-Event-ID: {text}");
    for header in ["", "soon", "7", "7:", "7:-1", "7:1:1", "7:1e3"].map(bad) {
        let reply = request(rig.address, &format!("GET {EVENTS}"), &[&header], b"").await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{header}");
    }
    for query in ["since=", "since=7.1", "wait_ms=30001", "wait_ms=-1", "wait_ms="] {
        let reply = get(rig.address, &format!("{POLL}?{query}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{query}");
    }
    for path in [EVENTS, POLL] {
        assert_eq!(request(rig.address, &format!("HEAD {path}"), &[], b"").await.status, 405);
    }
    assert!(rig.no_viewer(), "nobody was let in");
    let refused = rig.board.metrics().connections_refused.totals();
    assert_eq!(refused.get("banned"), Some(&2), "{refused:?}");
}

#[tokio::test]
async fn event_streams_and_polls_take_places() {
    let mut rig = Rig::start_with(|config| config.max_connections = 2).await;
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let line = format!("GET {EVENTS} HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(line.as_bytes()).await.unwrap();
    let first = rig.viewer().await;
    let address = rig.address;
    let polling = tokio::spawn(async move { get(address, POLL).await });
    let NewViewer { link, permit: _place, .. } = rig.viewer().await;
    let second = pipe_of(link);
    for path in [EVENTS, POLL] {
        let reply = get(rig.address, path).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "node_full"), "{path}");
    }
    write(&second, "id: 3:8\ndata: {\"type\":\"welcome\"}\n\n");
    assert_eq!(polling.await.unwrap().status, 200);
    drop(first);
    let polling = tokio::spawn(async move { get(address, POLL).await });
    write(&poll_pipe(rig.viewer().await), "id: 3:8\ndata: {}\n\n");
    assert_eq!(polling.await.unwrap().status, 200, "its place is free again");
}

#[tokio::test]
async fn polls_carry_on_in_their_session() {
    let mut rig = Rig::start().await;
    let address = rig.address;
    let ann = token(1, "viewer");
    let poll = |query: String| {
        let path = format!("{POLL}?token={ann}&{query}");
        tokio::spawn(async move { get(address, &path).await })
    };
    let since = |reply: &Reply| reply.json()["since"].as_str().unwrap().to_owned();
    let first = poll(String::new());
    let viewer = rig.viewer().await;
    assert_eq!((viewer.stream_id, viewer.resume_from), (StreamId(1), None));
    let pipe = poll_pipe(viewer);
    write(&pipe, "id: 3:8\ndata: {\"type\":\"welcome\"}\n\n");
    let first = first.await.unwrap();
    assert_eq!(first.json()["messages"], json!([{"type": "welcome"}]));
    assert_eq!(first.header("cache-control"), Some("no-store"));
    let mut latest = since(&first);
    assert!(latest.starts_with("3.8."), "{latest}");
    let second = poll(format!("since={latest}"));
    write(&pipe, "id: 3:9\ndata: 1\n\ndata: 2\n\n");
    let second = second.await.unwrap();
    assert_eq!(second.json()["messages"], json!([1, 2]));
    latest = since(&second);
    let nothing = poll(format!("since={latest}&wait_ms=0")).await.unwrap();
    assert_eq!((nothing.json()["messages"].clone(), since(&nothing)), (json!([]), latest.clone()));
    assert!(rig.no_viewer(), "all in one session");
    write(&pipe, "data: \"bye\"\n\n");
    drop(pipe);
    let last = poll(format!("since={latest}")).await.unwrap();
    assert_eq!(last.json()["messages"], json!(["bye"]));
    let again = poll(format!("since={}", since(&last)));
    let viewer = rig.viewer().await;
    let position = StreamPosition { epoch: Epoch(3), seq: 9 };
    assert_eq!(viewer.resume_from, Some(position), "a session that is gone is resumed");
    write(&poll_pipe(viewer), "id: 3:9\ndata: \"welcome\"\n\n");
    assert_eq!(again.await.unwrap().json()["messages"], json!(["welcome"]));
}

/// Another token of the same user is another session, so that its expiry and its role count.
#[tokio::test]
async fn session_is_found_with_its_own_token_only() {
    let mut rig = Rig::start().await;
    let address = rig.address;
    let poll = |query: String| {
        let path = format!("{POLL}?{query}");
        tokio::spawn(async move { get(address, &path).await })
    };
    let first = poll(format!("token={}", token(1, "viewer")));
    let pipe = poll_pipe(rig.viewer().await);
    write(&pipe, "id: 3:8\ndata: \"for ann\"\n\n");
    let since = first.await.unwrap().json()["since"].as_str().unwrap().to_owned();
    write(&pipe, "data: \"secret\"\n\n");
    for other in ["", &token(2, "viewer"), &token(1, "moderator")] {
        let polled = match other {
            "" => poll(format!("since={since}")),
            other => poll(format!("since={since}&token={other}")),
        };
        write(&poll_pipe(rig.viewer().await), "id: 3:8\ndata: \"welcome\"\n\n");
        assert_eq!(polled.await.unwrap().json()["messages"], json!(["welcome"]));
    }
}

#[tokio::test]
async fn stopping_gateway_says_bye_to_waiting_polls() {
    let mut rig = Rig::start().await;
    let address = rig.address;
    let first = tokio::spawn(async move { get(address, POLL).await });
    let pipe = poll_pipe(rig.viewer().await);
    write(&pipe, "id: 3:8\ndata: {}\n\n");
    let since = first.await.unwrap().json()["since"].as_str().unwrap().to_owned();
    let waiting = tokio::spawn(async move { get(address, &format!("{POLL}?since={since}")).await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    rig.begin_stop();
    let reply = waiting.await.unwrap();
    assert_eq!(reply.json()["messages"][0]["code"], "shutdown");
    rig.gateway_stopped().await;
}

#[tokio::test]
async fn ban_during_the_hand_over_ends_the_viewer() {
    let mut rig = Rig::start().await;
    let metadata = rig.metadata.clone();
    let sanctions = rig.sanctions.clone();
    *rig.sink.during_attach.lock() = Some(Box::new(move || {
        let ban = crate::daemon::engines::metadata::in_memory::sanction(1, SanctionKind::Ban, None);
        metadata.put_sanction(ban);
        // Reloading from a test double never waits, so one poll completes it.
        futures_util::FutureExt::now_or_never(sanctions.reload()).unwrap().unwrap();
    }));
    let mut socket = TcpStream::connect(rig.address).await.unwrap();
    let line = format!("GET {EVENTS}?token={} HTTP/1.1\r\nHost: x\r\n\r\n", token(1, "viewer"));
    socket.write_all(line.as_bytes()).await.unwrap();
    let _viewer = rig.viewer().await;
    let banned = (UserScope::on(UserId(1), StreamId(1)), CloseCode::Banned);
    eventually("disconnected", || rig.sink.disconnected.lock().contains(&banned)).await;
}

#[tokio::test]
async fn reactions_reach_the_window() {
    let mut rig = Rig::start().await;
    let bearer = format!("Authorization: Bearer {}", token(1, "viewer"));
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    let line = |id: u32| format!("POST /api/streams/{id}/reactions");
    let body = br#"{"reaction":"fire"}"#;
    assert_eq!(request(rig.address, &line(1), &headers, body).await.status, 204);
    let counted = rig.reactions.recv().await.unwrap();
    assert!(
        matches!(&counted[..], [ReactionCounts { stream_id: StreamId(1), counts }]
            if counts.len() == 1 && counts[0].1 == 1),
        "{counted:?}"
    );
    for (id, headers, body, status, code) in [
        (1, &headers[..], &br#"{"reaction":"nuke"}"#[..], 422, "unknown_reaction"),
        (1, &headers, b"{}", 400, "bad_message"),
        (1, &headers[1..], body, 401, "not_authenticated"),
        (3, &headers, body, 409, "stream_ended"),
        (77, &headers, body, 404, "unknown_stream"),
    ] {
        let reply = request(rig.address, &line(id), headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
    }
}

#[tokio::test]
async fn http2_answers_and_streams_over_one_connection() {
    let mut rig = Rig::start_with(|config| config.dev_tls = true).await;
    let mut config = (*Trust::AnyCertificate.config()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let socket = TcpStream::connect(rig.address).await.unwrap();
    let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut send = |path: &str| {
        let uri = format!("https://localhost{path}");
        sender.send_request(hyper::Request::get(uri).body(Empty::new()).unwrap())
    };
    let events = tokio::spawn(send(&format!("{EVENTS}?epoch=7&seq=9")));
    let viewer = rig.viewer().await;
    assert_eq!(viewer.resume_from, Some(StreamPosition { epoch: Epoch(7), seq: 9 }));
    let ViewerLink::EventPipe(pipe) = viewer.link else { panic!("no pipe") };
    let mut events = events.await.unwrap().unwrap();
    assert_eq!((events.status().as_u16(), events.version()), (200, hyper::Version::HTTP_2));
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    write(&pipe, "data: 1\n\n");
    let health = send("/healthz").await.unwrap();
    assert_eq!(health.status(), 200, "beside the event stream");
    drop(pipe);
    let mut body = Vec::new();
    let reading = async {
        while let Some(frame) = events.body_mut().frame().await {
            body.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the end of the stream");
    let body = String::from_utf8(body).unwrap();
    assert!(body.starts_with("retry: ") && body.ends_with("\n\ndata: 1\n\n"), "{body}");
    let lost = tokio::spawn(send(EVENTS));
    let ViewerLink::EventPipe(pipe) = rig.viewer().await.link else { panic!("no pipe") };
    drop(lost.await.unwrap().unwrap());
    eventually("told that the client left", || pipe.write([&Bytes::from_static(b"x")]).is_err())
        .await;
}
