//! Tests of the WebSocket handshake, from the request to the hand-over or the close code.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{RefusalCodes, get, handshake, open, raw, request, shake};
use super::rig::{Rig, eventually, sign, token};
use crate::daemon::base::config::GatewayConfig;
use crate::daemon::base::handoff::{AuthRequest, ConnectionId, Deflate, ViewerLink};
use crate::daemon::engines::metadata::in_memory::{sanction, stream};
use crate::daemon::stages::auth::fixtures::NOW_S;
use crate::net::Transport;
use crate::net::websocket::{Opcode, server_frame};
use crate::protocol::admin::SanctionKind;
use crate::protocol::message::{Encoding, msgpack};
use crate::protocol::stream::{ModerationMode, Stream};
use crate::protocol::{
    CloseCode, Epoch, ErrorCode, Role, ServerMessage, StreamId, StreamPosition, UserId, UserScope,
};

/// The parts of a viewer with a WebSocket.
struct WebSocketLink {
    transport: Transport,
    early_bytes: Vec<u8>,
    encoding: Encoding,
    deflate: Deflate,
}

fn websocket(link: ViewerLink) -> WebSocketLink {
    match link {
        ViewerLink::WebSocket { transport, early_bytes, encoding, deflate } => {
            WebSocketLink { transport, early_bytes, encoding, deflate }
        }
        other => panic!("no WebSocket: {other:?}"),
    }
}

fn plain(transport: Transport) -> std::net::TcpStream {
    match transport {
        Transport::Plain(socket) => socket.into(),
        Transport::Tls(..) | Transport::Records(..) => panic!("no TLS was asked for"),
    }
}

#[tokio::test]
async fn delivery_gets_a_bare_socket_it_can_write_to() {
    let mut rig = Rig::start().await;
    let mut client = open(rig.address, "/ws/1", &[]).await;
    assert!(client.head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
    assert!(!client.head.contains("sec-websocket-protocol"), "none was asked for");
    let viewer = rig.viewer().await;
    assert_eq!((viewer.stream_id, viewer.bearer.is_none()), (StreamId(1), true));
    assert!(!viewer.must_authenticate, "the stream is open");
    assert_eq!(viewer.resume_from, None);
    let link = websocket(viewer.link);
    assert_eq!((link.encoding, link.deflate), (Encoding::Json, Deflate::Off));
    let mut socket = plain(link.transport);
    assert!(socket.nodelay().unwrap());
    socket.write_all(&server_frame(Opcode::Text, false, b"hello")).unwrap();
    assert_eq!(client.frame().await, (Opcode::Text, b"hello".to_vec()));
}

#[tokio::test]
async fn alias_path_subprotocol_deflate_and_position_work() {
    let mut rig = Rig::start().await;
    let headers = [
        "Sec-WebSocket-Protocol: chat, lc.v1.msgpack",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ];
    let client = open(rig.address, "/stream/4?epoch=7&seq=99&nonce=1", &headers).await;
    assert!(client.head.contains("sec-websocket-protocol: lc.v1.msgpack\r\n"), "{}", client.head);
    let agreed = "sec-websocket-extensions: permessage-deflate; client_no_context_takeover\r\n";
    assert!(client.head.contains(agreed), "{}", client.head);
    let viewer = rig.viewer().await;
    let position = StreamPosition { epoch: Epoch(7), seq: 99 };
    assert_eq!((viewer.stream_id, viewer.resume_from), (StreamId(4), Some(position)));
    let link = websocket(viewer.link);
    assert_eq!((link.encoding, link.deflate), (Encoding::Msgpack, Deflate::Shared));
}

#[tokio::test]
async fn bytes_sent_after_the_handshake_are_not_lost() {
    let mut rig = Rig::start().await;
    let early = [handshake("/ws/1", &[]).as_bytes(), b"early bytes"].concat();
    let _client = shake(TcpStream::connect(rig.address).await.unwrap(), &early).await;
    let viewer = rig.viewer().await;
    assert_eq!(websocket(viewer.link).early_bytes, b"early bytes");
}

#[tokio::test]
async fn a_token_in_the_header_wins_over_the_query() {
    let mut rig = Rig::start().await;
    let ann = token(1, "viewer");
    let bob = token(2, "moderator");
    let bearer = format!("Authorization: Bearer {ann}");
    for (path, headers, user) in [
        ("/ws/2".to_owned(), vec![bearer.as_str()], 1),
        (format!("/ws/2?token={bob}"), vec![], 2),
        (format!("/ws/2?token={bob}"), vec![bearer.as_str()], 1),
    ] {
        let _client = open(rig.address, &path, &headers).await;
        let viewer = rig.viewer().await;
        let identity = viewer.bearer.unwrap().identity;
        assert_eq!(identity.user_id, UserId(user));
        assert!(!viewer.must_authenticate);
    }
}

/// A browser adds such a header to every request to a site that is protected by a proxy.
#[tokio::test]
async fn a_header_of_another_layer_is_ignored() {
    let mut rig = Rig::start().await;
    let basic = ["Authorization: Basic eDp5"];
    let ann = token(1, "viewer");
    let both = ["Authorization: Basic eDp5", &format!("Authorization: bearer   {ann} ")];
    for (path, headers, user) in [
        ("/ws/1".to_owned(), &basic[..], None),
        (format!("/ws/1?token={ann}"), &basic, Some(1)),
        ("/ws/1".to_owned(), &both, Some(1)),
        ("/ws/1".to_owned(), &["Authorization: Digest username=\"\u{e9}\""], None),
        ("/ws/1".to_owned(), &["Authorization: Bearerish x"], None),
        ("/ws/1".to_owned(), &["Authorization:"], None),
    ] {
        let _client = open(rig.address, &path, headers).await;
        let bearer = rig.viewer().await.bearer;
        assert_eq!(bearer.map(|bearer| bearer.identity.user_id.0), user, "{path} {headers:?}");
    }
    let _client = open(rig.address, "/ws/2", &basic).await;
    assert!(rig.viewer().await.must_authenticate, "it may still send `auth`");
    let history = request(rig.address, "GET /api/streams/1/comments", &basic, b"").await;
    assert_eq!(history.status, 200);
}

#[tokio::test]
async fn a_closed_stream_without_a_token_requires_auth() {
    let mut rig = Rig::start().await;
    let _client = open(rig.address, "/ws/2", &[]).await;
    let viewer = rig.viewer().await;
    assert!(viewer.must_authenticate && viewer.bearer.is_none());
}

#[tokio::test]
async fn viewers_are_refused_with_a_close_code() {
    let mut rig = Rig::start().await;
    rig.sanction(13, SanctionKind::Ban).await;
    let query = |token: &str| format!("/ws/1?token={token}");
    let expired = sign(&json!({"sub": 1, "name": "ann", "exp": NOW_S - 3600}));
    let early = sign(&json!({"sub": 1, "name": "ann", "exp": NOW_S + 60, "nbf": NOW_S + 50}));
    let aimed = sign(&json!({"sub": 1, "name": "ann", "exp": NOW_S + 60, "aud": "tv"}));
    let nameless = sign(&json!({"sub": 1, "exp": NOW_S + 60}));
    let forged = token(1, "viewer").replace('.', "x.");
    for (path, error, close) in [
        ("/ws/77".to_owned(), "unknown_stream", CloseCode::UnknownStream),
        ("/ws/3".to_owned(), "stream_ended", CloseCode::StreamEnded),
        (query(&token(13, "viewer")), "banned", CloseCode::Banned),
        (query(&expired), "token_expired", CloseCode::TokenExpired),
        (query(&early), "token_not_yet_valid", CloseCode::TokenNotYetValid),
        (query(&aimed), "token_audience", CloseCode::Unauthorized),
        (query(&nameless), "token_claims", CloseCode::Unauthorized),
        (query(&forged), "token_malformed", CloseCode::Unauthorized),
        (query(&format!("{}A", token(1, "viewer"))), "token_signature", CloseCode::Unauthorized),
        (query("eyJhbGciOiJub25lIn0.e30."), "token_algorithm", CloseCode::Unauthorized),
        (query("hello"), "token_malformed", CloseCode::Unauthorized),
        (query(""), "token_malformed", CloseCode::Unauthorized),
    ] {
        let mut client = open(rig.address, &path, &[]).await;
        let refusal = client.refusal().await;
        let expected = RefusalCodes {
            error: error.to_owned(),
            bye: close.as_str().to_owned(),
            close: close.number(),
            // 50 s to go, less the tolerance of 30 s.
            reconnect_after_ms: (error == "token_not_yet_valid").then_some(20_000),
        };
        assert_eq!(refusal, expected, "{path}");
    }
    for bearer in ["Bearer", "bearer  ", "Bearer \u{e9}"] {
        let header = [format!("Authorization: {bearer}")];
        let header = header.each_ref().map(String::as_str);
        let refusal = open(rig.address, "/ws/1", &header).await.refusal().await;
        assert_eq!((refusal.error.as_str(), refusal.close), ("token_malformed", 4501), "{bearer}");
    }
    assert!(rig.no_viewer(), "delivery heard of none of them");
    assert_eq!(rig.registry.count(None), 0);
}

#[tokio::test]
async fn a_refusal_uses_the_viewers_encoding_and_closes() {
    let rig = Rig::start().await;
    let headers = ["Sec-WebSocket-Protocol: lc.v1.msgpack"];
    let mut client = open(rig.address, "/ws/77", &headers).await;
    let (opcode, error) = client.frame().await;
    assert_eq!(opcode, Opcode::Binary);
    let error = msgpack::decode_server(&error).unwrap();
    assert!(matches!(error, ServerMessage::Error { code: ErrorCode::UnknownStream, .. }));
    let (_, bye) = client.frame().await;
    let bye = msgpack::decode_server(&bye).unwrap();
    assert!(matches!(bye, ServerMessage::Bye { reconnect_after_ms: None, .. }));
    assert_eq!(client.frame().await.0, Opcode::Close);
    client.stream.write_all(&[0x88, 0x80, 1, 2, 3, 4]).await.unwrap();
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn requests_without_handshake_are_refused_over_http() {
    let rig = Rig::start().await;
    let good = |path: &str, extra: &[&str]| handshake(path, extra);
    let old = good("/ws/1", &[]).replace("Version: 13", "Version: 8");
    let http10 = good("/ws/1", &[]).replace("HTTP/1.1", "HTTP/1.0");
    for (what, text, status, code) in [
        ("old version", old, 426, "bad_handshake"),
        ("HTTP/1.0", http10, 426, "bad_handshake"),
        ("protocol", good("/ws/1", &["Sec-WebSocket-Protocol: x"]), 426, "bad_handshake"),
        ("stream name", good("/ws/main", &[]), 400, "bad_request"),
        ("stream zero", good("/ws/0", &[]), 400, "bad_request"),
        ("half a position", good("/ws/1?seq=4", &[]), 400, "bad_request"),
        ("epoch", good("/ws/1?epoch=x&seq=4", &[]), 400, "bad_request"),
        ("negative seq", good("/ws/1?epoch=1&seq=-4", &[]), 400, "bad_request"),
        ("two tokens", good("/ws/1?token=a&token=b", &[]), 400, "bad_request"),
        ("no stream", good("/ws/", &[]), 404, "not_found"),
    ] {
        // These answers keep the connection open, so the request asks the server to close it.
        let text = text.replace("Connection: Upgrade", "Connection: Upgrade, close");
        let reply = raw(rig.address, text.as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}: {reply:?}");
    }
    let plain = request(rig.address, "GET /ws/1", &[], b"").await;
    assert_eq!((plain.status, plain.code().as_str()), (426, "bad_handshake"));
    assert_eq!(plain.header("upgrade"), Some("websocket"));
}

#[tokio::test]
async fn a_full_node_answers_503_until_a_viewer_leaves() {
    let mut rig = Rig::start_with(|config| config.max_connections = 1).await;
    let _first = open(rig.address, "/ws/1", &[]).await;
    let viewer = rig.viewer().await;
    let closing = handshake("/ws/1", &[]).replace(": Upgrade", ": Upgrade, close");
    let reply = raw(rig.address, closing.as_bytes()).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "node_full"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(reply.json()["retry_after_ms"], 1000);
    drop(viewer);
    let _second = open(rig.address, "/ws/1", &[]).await;
    rig.viewer().await;
}

#[tokio::test]
async fn beyond_the_rate_a_viewer_gets_its_retry_time() {
    let adjust = |config: &mut GatewayConfig| {
        (config.connections_per_second, config.connection_burst) = (2, 1);
    };
    let mut rig = Rig::start_with(adjust).await;
    // Neither a bad handshake nor another kind of request takes a slot.
    for path in ["/healthz", "/readyz", "/metrics", "/api/streams/1", "/ws/1"] {
        request(rig.address, &format!("GET {path}"), &[], b"").await;
    }
    let _first = open(rig.address, "/ws/1", &[]).await;
    rig.viewer().await;
    let mut waits = Vec::new();
    for _ in 0..3 {
        // Reads to the end: the server closes although the request does not ask for it.
        let reply = raw(rig.address, handshake("/ws/1", &[]).as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "connection_rate"));
        let wait_ms = reply.json()["retry_after_ms"].as_u64().unwrap();
        let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert_eq!(seconds, wait_ms.div_ceil(1000));
        waits.push(wait_ms);
    }
    // Half a second apart, less the time between the requests.
    assert!(waits.is_sorted() && waits[0] <= 500 && waits[2] > 500, "{waits:?}");
    assert!(rig.no_viewer());
    let refused = rig.board.metrics().connections_refused.totals();
    assert_eq!(refused.get("connection_rate"), Some(&3));
    assert!(rig.board.rate_refusal_at_ms() > 0);
    assert_eq!(get(rig.address, "/healthz").await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(waits[0])).await;
    let _second = open(rig.address, "/ws/1", &[]).await;
    rig.viewer().await;
}

#[tokio::test]
async fn a_draining_node_refuses_new_viewers() {
    let rig = Rig::start().await;
    rig.board.set_draining(true);
    let closing = handshake("/ws/1", &[]).replace(": Upgrade", ": Upgrade, close");
    let reply = raw(rig.address, closing.as_bytes()).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "shutting_down"));
    assert_eq!(reply.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_user_has_a_connection_limit() {
    let mut rig = Rig::start_with(|config| config.max_connections_per_user = 2).await;
    let path = format!("/ws/1?token={}", token(5, "viewer"));
    let _one = open(rig.address, &path, &[]).await;
    let _two = open(rig.address, &path, &[]).await;
    let first = rig.viewer().await;
    let _second = rig.viewer().await;
    assert_eq!(rig.registry.count(Some(5)), 2);
    let mut third = open(rig.address, &path, &[]).await;
    let refusal = third.refusal().await;
    assert_eq!((refusal.error.as_str(), refusal.close), ("too_many_connections", 4005));
    assert_eq!(refusal.reconnect_after_ms, Some(12_000), "the pong timeout and a little");
    assert_eq!(rig.sink.probed.lock()[..], [UserId(5)], "dead connections are looked for");
    drop(first);
    let registry = rig.registry.clone();
    eventually("the registration is removed", || registry.count(Some(5)) == 1).await;
    let _again = open(rig.address, &path, &[]).await;
    rig.viewer().await;
}

#[tokio::test]
async fn an_address_has_a_connection_limit() {
    let mut rig = Rig::start_with(|config| config.max_connections_per_address = 1).await;
    let _one = open(rig.address, "/ws/1", &[]).await;
    let viewer = rig.viewer().await;
    let mut other = open(rig.address, "/ws/1", &[]).await;
    assert_eq!(other.refusal().await.close, CloseCode::TooManyConnections.number());
    drop(viewer);
    let _again = open(rig.address, "/ws/1", &[]).await;
    rig.viewer().await;
}

#[tokio::test]
async fn a_registry_that_is_down_refuses_nobody() {
    let mut rig = Rig::start().await;
    let path = format!("/ws/1?token={}", token(5, "viewer"));
    let _one = open(rig.address, &path, &[]).await;
    let registered = rig.viewer().await;
    rig.registry.set_down(true);
    let _two = open(rig.address, &path, &[]).await;
    assert!(rig.viewer().await.bearer.is_some());
    drop(registered);
    rig.registry.set_down(false);
    let registry = rig.registry.clone();
    eventually("what was dropped meanwhile is removed", || registry.count(Some(5)) == 0).await;
}

#[tokio::test]
async fn a_ban_during_the_handover_closes_the_connection() {
    let mut rig = Rig::start().await;
    let metadata = rig.metadata.clone();
    let sanctions = rig.sanctions.clone();
    let ban = move || {
        metadata.put_sanction(sanction(5, SanctionKind::Ban, None));
        // Reloading from a test double never waits, so one poll completes it.
        futures_util::FutureExt::now_or_never(sanctions.reload()).unwrap().unwrap();
    };
    *rig.sink.during_attach.lock() = Some(Box::new(ban));
    let path = format!("/ws/1?token={}", token(5, "viewer"));
    let _client = open(rig.address, &path, &[]).await;
    let _viewer = rig.viewer().await;
    let sink = rig.sink.clone();
    eventually("the viewer is disconnected", || {
        *sink.disconnected.lock() == [(UserScope::on(UserId(5), StreamId(1)), CloseCode::Banned)]
    })
    .await;
}

#[tokio::test]
async fn a_stream_closed_in_the_handover_closes_the_viewer() {
    let mut rig = Rig::start().await;
    let metadata = rig.metadata.clone();
    let streams = rig.streams.clone();
    let close = move || {
        metadata.put_stream(Stream { anonymous: false, ..stream(1, ModerationMode::Async) });
        futures_util::FutureExt::now_or_never(streams.reload()).unwrap().unwrap();
    };
    *rig.sink.during_attach.lock() = Some(Box::new(close));
    let _client = open(rig.address, "/ws/1", &[]).await;
    let _viewer = rig.viewer().await;
    let sink = rig.sink.clone();
    eventually("the viewer is closed", || {
        *sink.closed_streams.lock() == [(StreamId(1), ErrorCode::TokenRequired, true)]
    })
    .await;
}

#[tokio::test]
async fn a_position_fits_53_bits() {
    let mut rig = Rig::start().await;
    let most: u64 = (1 << 53) - 1;
    let _client = open(rig.address, &format!("/ws/1?epoch=1&seq={most}"), &[]).await;
    assert_eq!(rig.viewer().await.resume_from.unwrap().seq, most);
    for (epoch, seq) in [("1", "9007199254740992"), ("1", "%2B5"), ("%2B1", "5"), ("1", "")] {
        let path = format!("/api/streams/1/events?epoch={epoch}&seq={seq}");
        let reply = get(rig.address, &path).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{path}");
    }
    assert!(rig.no_viewer());
}

#[tokio::test]
async fn a_user_in_timeout_can_watch() {
    let mut rig = Rig::start().await;
    rig.sanction(5, SanctionKind::Timeout).await;
    let _client = open(rig.address, &format!("/ws/1?token={}", token(5, "viewer")), &[]).await;
    assert!(rig.viewer().await.bearer.is_some());
}

#[tokio::test]
async fn auth_messages_are_answered() {
    let mut rig = Rig::start().await;
    rig.sanction(13, SanctionKind::Ban).await;
    let connection = |slot| ConnectionId { worker: 0, generation: 1, slot };
    let tokens = [token(6, "moderator"), token(13, "viewer"), "nonsense".to_owned()];
    let expected = [Ok(UserId(6)), Err(ErrorCode::Banned), Err(ErrorCode::TokenMalformed)];
    for (slot, token) in tokens.into_iter().enumerate() {
        let connection = connection(slot as u32);
        let request = AuthRequest { connection, stream_id: StreamId(2), address: None, token };
        rig.auth_requests.send(request).await.unwrap();
        let (answered, outcome) = rig.kept.authenticated.recv().await.unwrap();
        assert_eq!(answered, connection);
        let held = rig.registry.count(Some(6));
        let short = outcome.as_ref().map(|(bearer, _)| bearer.identity.user_id).map_err(|e| e.code);
        assert_eq!(short, expected[slot]);
        if let Ok((bearer, permit)) = outcome {
            assert_eq!((bearer.identity.role, held), (Role::Moderator, 1));
            drop(permit);
            let registry = rig.registry.clone();
            eventually("the late permit is given back", || registry.count(Some(6)) == 0).await;
        }
    }
}

#[tokio::test]
async fn the_newest_name_of_each_user_is_stored_in_batches() {
    let mut rig = Rig::start().await;
    for user in [5, 6, 5] {
        let path = format!("/ws/1?token={}", token(user, "viewer"));
        let _client = open(rig.address, &path, &[]).await;
        rig.viewer().await;
    }
    let metadata = rig.metadata.clone();
    rig.stop().await;
    let users = metadata.users();
    let names: Vec<_> = users.iter().map(|user| (user.user_id.0, &*user.name)).collect();
    assert_eq!(names, [(5, "user5"), (6, "user6")]);
}

#[tokio::test]
async fn a_client_with_an_unfinished_request_is_closed() {
    let rig = Rig::start_with(|config| config.handshake_timeout = Duration::from_millis(100)).await;
    for half in ["", "GET /ws/1 HTTP/1.1\r\nHost: x\r\n"] {
        let mut socket = TcpStream::connect(rig.address).await.unwrap();
        socket.write_all(half.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let read = socket.read_to_end(&mut rest);
        let ended = tokio::time::timeout(super::rig::PATIENCE, read).await;
        assert!(ended.is_ok(), "{half:?}: still open");
    }
}

#[tokio::test]
async fn stopping_closes_the_port_but_no_viewers() {
    let mut rig = Rig::start().await;
    let mut client = open(rig.address, "/ws/1", &[]).await;
    let viewer = rig.viewer().await;
    // An idle HTTP connection must not delay the stop.
    let _idle = TcpStream::connect(rig.address).await.unwrap();
    let address = rig.address;
    rig.begin_stop();
    rig.gateway_stopped().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    let mut socket = plain(websocket(viewer.link).transport);
    socket.write_all(&server_frame(Opcode::Text, false, b"still here")).unwrap();
    assert_eq!(client.frame().await.1, b"still here");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_remedy() {
    let rig = Arc::new(Rig::start().await);
    let error =
        crate::daemon::edge::gateway::listener::listen(rig.address).unwrap_err().to_string();
    assert!(error.contains(&rig.address.to_string()), "{error}");
    assert!(error.contains("--listen"), "{error}");
}
