//! Bad input of every kind gets its stable code and leaves the daemon's state unchanged.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

use base64::Engine as _;
use live_comments::client::admin::AdminError;
use live_comments::protocol::{Role, ServerMessage};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::support::socket::{RawSocket, frame};
use crate::support::{self, Daemon, STREAM, archived, history, http, raw};

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x82, payload)
}

/// Name, subprotocol, bytes, expected error code, close code if the connection must end.
type FrameCase = (&'static str, &'static str, Vec<u8>, &'static str, Option<u16>);

/// Name, method, path, headers, body, expected status and error code.
type RequestCase<'a> =
    (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], Option<&'a str>, u16, &'a str);

const JSON: &str = "lc.v1.json";
const MSGPACK: &str = "lc.v1.msgpack";

async fn frames_and_messages(daemon: &Daemon, token: &str) -> usize {
    let big = format!(r#"{{"type":"comment","message":"{}"}}"#, "x".repeat(33_000));
    let long = format!(r#"{{"type":"comment","message":"{}"}}"#, "x".repeat(501));
    let ref_long = format!(r#"{{"type":"comment","message":"x","ref":"{}"}}"#, "r".repeat(65));
    let mut unmasked = text("{}");
    unmasked[1] &= 0x7F;
    let cases: Vec<FrameCase> = vec![
        // frames
        ("unmasked frame", JSON, unmasked, "bad_frame", Some(1002)),
        ("reserved bit", JSON, frame(0xC1, b"{}"), "bad_frame", Some(1002)),
        ("unknown opcode", JSON, frame(0x83, b"{}"), "bad_frame", Some(1002)),
        ("fragmented ping", JSON, frame(0x09, b""), "bad_frame", Some(1002)),
        ("stray continuation", JSON, frame(0x80, b"x"), "bad_frame", Some(1002)),
        (
            "interrupted message",
            JSON,
            [frame(0x01, b"{"), text("{}")].concat(),
            "bad_frame",
            Some(1002),
        ),
        ("close with one byte", JSON, frame(0x88, b"x"), "bad_frame", Some(1002)),
        ("close with a forbidden code", JSON, frame(0x88, &[3, 0xED]), "bad_frame", Some(1002)),
        ("message too large", JSON, text(&big), "too_large", Some(1009)),
        ("text that is not UTF-8", JSON, frame(0x81, &[0xC3, 0x28]), "bad_utf8", Some(1007)),
        ("binary on JSON", JSON, binary(b"{}"), "wrong_frame_type", Some(1003)),
        ("text on MessagePack", MSGPACK, text("{}"), "wrong_frame_type", Some(1003)),
        // JSON
        ("empty message", JSON, text(""), "bad_json", None),
        ("half an object", JSON, text(r#"{"type":"#), "bad_json", None),
        ("two objects", JSON, text("{}{}"), "bad_message", None),
        ("no type", JSON, text(r#"{"message":"x"}"#), "bad_message", None),
        ("unknown type", JSON, text(r#"{"type":"shout"}"#), "unknown_type", None),
        ("comment without message", JSON, text(r#"{"type":"comment"}"#), "bad_message", None),
        (
            "message is a number",
            JSON,
            text(r#"{"type":"comment","message":1}"#),
            "bad_message",
            None,
        ),
        ("ref too long", JSON, text(&ref_long), "bad_message", None),
        ("deep nesting", JSON, text(&"[".repeat(3000)), "bad_message", None),
        // comments
        (
            "empty comment",
            JSON,
            text(r#"{"type":"comment","message":"  "}"#),
            "comment_empty",
            None,
        ),
        (
            "invisible comment",
            JSON,
            text("{\"type\":\"comment\",\"message\":\"\u{200B}\"}"),
            "comment_empty",
            None,
        ),
        ("long comment", JSON, text(&long), "comment_too_long", None),
        (
            "control character",
            JSON,
            text(r#"{"type":"comment","message":"a\u0000b"}"#),
            "control_characters",
            None,
        ),
        (
            "unknown reaction",
            JSON,
            text(r#"{"type":"reaction","reaction":"nuke"}"#),
            "unknown_reaction",
            None,
        ),
        (
            "forged token",
            JSON,
            text(r#"{"type":"auth","token":"a.b.c"}"#),
            "token_malformed",
            Some(4501),
        ),
        (
            "parent that is no id",
            JSON,
            text(r#"{"type":"comment","message":"x","parent_id":"seven"}"#),
            "bad_message",
            None,
        ),
        (
            "parent of another kind of id",
            JSON,
            text(
                r#"{"type":"comment","message":"x","parent_id":"936da01f-9abd-4d9d-80c7-02af85c822a8"}"#,
            ),
            "bad_message",
            None,
        ),
        (
            "an array for a patch",
            JSON,
            text(r#"{"type":"room","patch":[5000]}"#),
            "bad_message",
            None,
        ),
        ("an array for a message", JSON, text(r#"["ping"]"#), "bad_message", None),
        (
            "an array for an act",
            JSON,
            text(r#"{"type":"moderate","act":{"unban":["id:42"]}}"#),
            "bad_message",
            None,
        ),
        // MessagePack
        (
            "an array for a patch in MessagePack",
            MSGPACK,
            binary(&[&[0x92, 6, 0xA6][..], b"[5000]"].concat()),
            "bad_message",
            None,
        ),
        ("never used byte", MSGPACK, binary(&[0xC1]), "bad_msgpack", None),
        ("cut array", MSGPACK, binary(&[0x92, 1]), "bad_msgpack", None),
        ("a map", MSGPACK, binary(&[0x80]), "bad_message", None),
        ("unknown kind", MSGPACK, binary(&[0x91, 99]), "unknown_type", None),
        ("wrong field type", MSGPACK, binary(&[0x93, 1, 7, 0xC0]), "bad_message", None),
        (
            "cut parent",
            MSGPACK,
            binary(&[0x94, 1, 0xA1, b'x', 0xC0, 0xC4, 2, 1, 2]),
            "bad_message",
            None,
        ),
        (
            "array that claims 4 GiB",
            MSGPACK,
            binary(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 1]),
            "bad_msgpack",
            None,
        ),
    ];
    let count = cases.len();
    for (name, protocol, bytes, code, close) in cases {
        println!("{name}");
        let viewer = RawSocket::open(daemon, &format!("?token={token}"), protocol).await;
        let answer = viewer.answer_to(&bytes, close.is_some()).await;
        assert_eq!(answer, (code.to_owned(), close), "{name}");
    }
    let mut many = RawSocket::open(daemon, "", JSON).await;
    many.socket.write_all(&text("x").repeat(20)).await.unwrap();
    let (code, close) = many.answer_to(&[], true).await;
    assert_eq!((code.as_str(), close), ("too_many_errors", Some(4507)));
    count + 1
}

fn unsigned_token() -> String {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"sub":"1","name":"x","role":"admin","exp":99999999999}"#;
    format!("{}.{}.", part(r#"{"alg":"none","typ":"JWT"}"#), part(claims))
}

async fn tokens(daemon: &Daemon) -> usize {
    let valid = daemon.token(5, "eve");
    let mut other_secret = valid[..valid.len() - 4].to_owned();
    other_secret.push_str("AAAA");
    let cases = [
        ("not a token", "nonsense".to_owned(), "token_malformed", 4501),
        ("alg none", unsigned_token(), "token_algorithm", 4501),
        ("wrong signature", other_secret, "token_signature", 4501),
        (
            "expired",
            daemon.token_with(5, "eve", |claims| claims.exp = 1_000),
            "token_expired",
            4502,
        ),
        (
            "no user",
            daemon.token_with(5, "eve", |claims| claims.sub = String::new()),
            "token_claims",
            4501,
        ),
        ("no name", daemon.token_with(5, "", |_| {}), "token_claims", 4501),
        (
            "for another audience",
            daemon.token_with(5, "eve", |claims| claims.aud = Some("else".into())),
            "token_audience",
            4501,
        ),
    ];
    let count = cases.len();
    for (name, token, code, close) in cases {
        let viewer = RawSocket::open(daemon, &format!("?token={token}"), JSON).await;
        let answer = viewer.answer_to(&[], true).await;
        assert_eq!(answer, (code.to_owned(), Some(close)), "{name} over WebSocket");
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let body = Some(r#"{"message":"x"}"#);
        let (status, answer) =
            http(daemon, "POST", "/api/streams/1/comments", &headers, body).await;
        assert_eq!((status, answer["code"].as_str()), (401, Some(code)), "{name} over HTTP");
    }
    count * 2
}

async fn requests(daemon: &Daemon, token: &str) -> usize {
    let bearer = format!("Bearer {token}");
    let auth: &[(&str, &str)] = &[("authorization", &bearer)];
    let comments = "/api/streams/1/comments";
    let reactions = "/api/streams/1/reactions";
    let vote = Some(r#"{"option":0}"#);
    let huge = format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000));
    let cases: &[RequestCase<'_>] = &[
        ("no such path", "GET", "/nowhere", &[], None, 404, "not_found"),
        ("wrong method", "DELETE", comments, auth, None, 405, "method_not_allowed"),
        ("no token", "POST", comments, &[], Some("{}"), 401, "not_authenticated"),
        ("not JSON", "POST", comments, auth, Some("{"), 400, "bad_json"),
        ("wrong type", "POST", comments, auth, Some(r#"{"message":1}"#), 400, "bad_message"),
        ("huge body", "POST", comments, auth, Some(&huge), 413, "too_large"),
        ("empty comment", "POST", comments, auth, Some(r#"{"message":""}"#), 422, "comment_empty"),
        (
            "no such stream",
            "POST",
            "/api/streams/77/comments",
            auth,
            Some(r#"{"message":"x"}"#),
            404,
            "unknown_stream",
        ),
        ("stream is a word", "GET", "/api/streams/one/comments", &[], None, 400, "bad_request"),
        (
            "limit too large",
            "GET",
            "/api/streams/1/comments?limit=5000",
            &[],
            None,
            400,
            "bad_request",
        ),
        (
            "before is no id",
            "GET",
            "/api/streams/1/comments?before=x",
            &[],
            None,
            400,
            "bad_request",
        ),
        ("viewer makes a stream", "POST", "/api/streams", auth, Some("{}"), 403, "forbidden"),
        ("viewer ends a stream", "DELETE", "/api/streams/1", auth, None, 403, "forbidden"),
        ("nobody ends a stream", "DELETE", "/api/streams/1", &[], None, 401, "not_authenticated"),
        ("not a handshake", "GET", "/ws/1", &[], None, 426, "bad_handshake"),
        ("reaction, no token", "POST", reactions, &[], Some("{}"), 401, "not_authenticated"),
        ("reaction, not JSON", "POST", reactions, auth, Some("{"), 400, "bad_json"),
        (
            "reaction, a number",
            "POST",
            reactions,
            auth,
            Some(r#"{"reaction":1}"#),
            400,
            "bad_message",
        ),
        ("path that is not UTF-8", "GET", "/api/streams/%FF", &[], None, 400, "bad_request"),
        (
            "query that is not UTF-8",
            "GET",
            "/api/streams/1/comments?before=%FF",
            &[],
            None,
            400,
            "bad_request",
        ),
        ("an array", "POST", comments, auth, Some("[]"), 400, "bad_message"),
        (
            "limit with a sign",
            "GET",
            "/api/streams/1/comments?limit=%2B5",
            &[],
            None,
            400,
            "bad_request",
        ),
        ("poll is a word", "POST", "/api/streams/1/polls/x/votes", auth, vote, 400, "bad_request"),
        ("poll below 0", "POST", "/api/streams/1/polls/-1/votes", auth, vote, 400, "bad_request"),
        (
            "poll beyond 53 bits",
            "POST",
            "/api/streams/1/polls/9007199254740992/votes",
            auth,
            vote,
            400,
            "bad_request",
        ),
        (
            "option below 0",
            "POST",
            "/api/streams/1/polls/1/votes",
            auth,
            Some(r#"{"option":-1}"#),
            400,
            "bad_message",
        ),
        ("no such poll", "POST", "/api/streams/1/polls/1/votes", auth, vote, 409, "poll_closed"),
        (
            "message beyond 53 bits",
            "POST",
            "/api/streams/1/messages/acknowledged",
            auth,
            Some(r#"{"up_to":9007199254740992}"#),
            400,
            "bad_message",
        ),
        (
            "message that is no number",
            "POST",
            "/api/streams/1/messages/acknowledged",
            auth,
            Some(r#"{"up_to":"x"}"#),
            400,
            "bad_message",
        ),
        (
            "comment is a word",
            "GET",
            "/api/streams/1/comments/x/replies",
            &[],
            None,
            400,
            "bad_request",
        ),
        (
            "reply before a word",
            "GET",
            "/api/streams/1/comments/2f5e1c80-c6e5-11f0-8000-0242ac120002/replies?before=x",
            &[],
            None,
            400,
            "bad_request",
        ),
        ("PUT of events", "PUT", "/api/streams/1/events", &[], None, 405, "method_not_allowed"),
        (
            "no reaction",
            "POST",
            reactions,
            auth,
            Some(r#"{"reaction":"nuke"}"#),
            422,
            "unknown_reaction",
        ),
    ];
    let mut positions = positions();
    positions.extend(history_places());
    let positions: Vec<RequestCase<'_>> = positions.iter().map(PositionCase::request).collect();
    let cases: Vec<_> = cases.iter().chain(&positions).collect();
    for (name, method, path, headers, body, status, code) in &cases {
        let (found, answer) = http(daemon, method, path, headers, *body).await;
        assert_eq!((found, answer["code"].as_str()), (*status, Some(*code)), "{name}: {answer}");
    }
    let answer = raw(daemon, b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    cases.len() + 1 + heads(daemon, token).await
}

/// Requests that are refused for their heads.
async fn heads(daemon: &Daemon, token: &str) -> usize {
    let long = "x".repeat(17 * 1024);
    let cases = [
        (format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"), 431, ""),
        (
            "HEAD /api/streams/1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
                .to_owned(),
            405,
            "allow: get\r\n",
        ),
        (
            format!(
                "POST /api/streams/1/comments HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
                 content-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            ),
            415,
            "\"code\":\"unsupported_media_type\"",
        ),
    ];
    let count = cases.len();
    for (request, status, part) in cases {
        let answer = raw(daemon, request.as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    count
}

/// A position of an event stream or a poll, and the expected status and error code.
struct PositionCase {
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
    code: &'static str,
}

impl PositionCase {
    fn request(&self) -> RequestCase<'_> {
        (self.path, "GET", self.path, &self.headers, None, self.status, self.code)
    }
}

fn positions() -> Vec<PositionCase> {
    let of = |path, headers, status, code| PositionCase { path, headers, status, code };
    let ids = ["", "soon", "3", "3:", ":841", "-3:841", "3:8:1", "3:0x1", "99999999999:1"];
    let mut cases: Vec<_> = ids
        .into_iter()
        .map(|id| of("/api/streams/1/events", vec![("last-event-id", id)], 400, "bad_request"))
        .collect();
    for path in [
        "/api/streams/1/events?epoch=3",
        "/api/streams/1/events?epoch=3&seq=x",
        "/api/streams/1/events?epoch=-3&seq=1",
        "/api/streams/one/events",
        "/api/streams/1/comments/poll?since=",
        "/api/streams/1/comments/poll?since=3.841",
        "/api/streams/1/comments/poll?since=3.841.00000000000000000000000000000000.-1",
        "/api/streams/1/comments/poll?since=3.841.%3Cscript%3E.0",
        "/api/streams/1/comments/poll?wait_ms=30001",
        "/api/streams/1/comments/poll?wait_ms=-1",
        "/api/streams/1/comments/poll?wait_ms=1e3",
        "/api/streams/one/comments/poll",
    ] {
        cases.push(of(path, Vec::new(), 400, "bad_request"));
    }
    for (path, status, code) in [
        ("/api/streams/77/events", 404, "unknown_stream"),
        ("/api/streams/77/comments/poll", 404, "unknown_stream"),
        ("/api/streams/1/events?token=a.b.c", 401, "token_malformed"),
        ("/api/streams/1/comments/poll?token=a.b.c", 401, "token_malformed"),
    ] {
        cases.push(of(path, Vec::new(), status, code));
    }
    cases
}

/// Places in the history of a stream that was just started.
fn history_places() -> Vec<PositionCase> {
    let of = |path, status, code| PositionCase { path, headers: Vec::new(), status, code };
    let bad = [
        "/api/streams/1/comments?before=",
        "/api/streams/1/comments?before=%1B%5B2J",
        "/api/streams/1/comments?before=2f5e1c80-c6e5-11f0-8000-0242ac12000",
        "/api/streams/1/comments?before=%27%20OR%201%3D1--",
        "/api/streams/1/comments?at=",
        "/api/streams/1/comments?at=-1",
        "/api/streams/1/comments?at=%2B1",
        "/api/streams/1/comments?at=1.5",
        "/api/streams/1/comments?at=1e3",
        "/api/streams/1/comments?at=NaN",
        "/api/streams/1/comments?at=9007199254740992",
        "/api/streams/1/comments?at=99999999999999999999",
        "/api/streams/1/comments?at=%3Cscript%3E",
        "/api/streams/1/comments?at=1&at=2",
        "/api/streams/1/comments?at=0&before=2f5e1c80-c6e5-11f0-8000-0242ac120002",
    ];
    let beyond = of("/api/streams/1/comments?at=9007199254740991", 416, "beyond_end");
    let unknown = of("/api/streams/77/comments?at=0", 404, "unknown_stream");
    bad.into_iter().map(|path| of(path, 400, "bad_request")).chain([beyond, unknown]).collect()
}

async fn admin_requests(daemon: &Daemon) -> usize {
    let admin = daemon.admin();
    let cases = [
        ("/v1/ban", serde_json::json!({}), "bad_message"),
        ("/v1/ban", serde_json::json!({"user": 7}), "bad_message"),
        ("/v1/ban", serde_json::json!({"user": "nobody"}), "not_found"),
        ("/v1/ban", serde_json::json!({"user": "7", "colour": 1}), "bad_message"),
        ("/v1/timeout", serde_json::json!({"user": "7"}), "bad_message"),
        ("/v1/unban", serde_json::json!({"user": "7"}), "not_found"),
        ("/v1/throttle", serde_json::json!({"stream_id": 1, "sample_rate": 2.0}), "bad_message"),
        ("/v1/throttle", serde_json::json!({"stream_id": 77}), "unknown_stream"),
        ("/v1/announce", serde_json::json!({"stream_id": 1, "message": ""}), "bad_message"),
        ("/v1/delete", serde_json::json!({"comment_id": "x"}), "bad_message"),
        (
            "/v1/delete",
            serde_json::json!({"comment_id": "2f5e1c80-c6e5-11f0-8000-0242ac120002"}),
            "not_found",
        ),
        (
            "/v1/mod/approve",
            serde_json::json!({"comment_id": "2f5e1c80-c6e5-11f0-8000-0242ac120002"}),
            "not_found",
        ),
        ("/v1/tokens", serde_json::json!({"user_id": 0, "name": "x"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": 1}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": -1}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": "soon"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": u64::MAX}), "bad_message"),
        (
            "/v1/streams",
            serde_json::json!({"state": "live", "starts_at": 4_000_000_000_000_u64}),
            "bad_message",
        ),
        ("/v1/streams", serde_json::json!({"title": "a\u{1b}[2J"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"description": "a\nb"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"description": "x".repeat(2_001)}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"title": "x".repeat(201)}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"description": "\u{1b}]0;x\u{7}"}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"starts_at": 4_000_000_000_000_u64}), "bad_message"),
        ("/v1/streams/77/delete", serde_json::json!({}), "unknown_stream"),
        ("/v1/nowhere", serde_json::json!({}), "not_found"),
    ];
    let count = cases.len();
    for (path, body, code) in cases {
        match admin.post::<_, serde_json::Value>(path, &body).await {
            Err(AdminError::Refused(error)) => {
                assert_eq!(error.code.as_str(), code, "{path} {body}");
            }
            other => panic!("{path} {body}: {other:?}"),
        }
    }
    count
}

fn configurations() -> usize {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lcd.toml");
    let cases = [
        ("[gateway]\nlisten = \"nowhere\"", "gateway.listen"),
        ("[gatewy]", "gatewy"),
        ("[gateway]\nping_interval = \"soon\"", "gateway.ping_interval"),
        ("[gateway]\nidle_timeout = \"1s\"", "gateway.idle_timeout"),
        ("[gateway]\nproxy_protocol = true", "gateway.trusted_proxies"),
        ("[gateway]\nforwarded_header = \"forwarded\"", "gateway.trusted_proxies"),
        ("[gateway]\nforwarded_header = \"x-real-ip\"", "gateway.forwarded_header"),
        ("[gateway]\ntrusted_proxies = [\"proxy.local\"]", "proxy.local"),
        ("[gateway]\ntrusted_proxies = [\"10.0.0.0/40\"]", "10.0.0.0/40"),
        ("[gateway]\nbase_path = \"live\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/live/\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/a/../b\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/<b>\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/metrics\"", "gateway.base_path"),
        ("[broadcast]\nhysteresis = 2.0", "broadcast.hysteresis"),
        ("[node]\nroles = [\"edge\"]", "node.roles"),
        ("[gateway.tls]\ncertificate = \"/none\"\nkey = \"/none\"", "/none"),
        ("not toml at all", "TOML"),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        let data = directory.path().join("data");
        let output = Command::new(env!("CARGO_BIN_EXE_lcd"))
            .args(["--listen", "127.0.0.1:0"].iter().filter(|_| !text.contains("listen")))
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(data)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(said.contains(expected), "{text:?} gave {said:?}");
    }
    cases.len()
}

#[tokio::test]
async fn bad_input_gets_its_code_and_changes_nothing() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (_, seq) = ann.comment("before").await;
    archived(&daemon).await;
    let token = daemon.token_of(6, "eve", Role::Viewer);
    let bans = || async { daemon.admin().get::<serde_json::Value>("/v1/bans").await.unwrap() };
    let streams = || async { http(&daemon, "GET", "/api/streams", &[], None).await };
    let before = (history(&daemon, STREAM).await, bans().await, streams().await);

    let mut count = frames_and_messages(&daemon, &token).await;
    count += tokens(&daemon).await;
    count += requests(&daemon, &token).await;
    count += admin_requests(&daemon).await;
    count += configurations();
    println!("{count} bad inputs refused");
    assert!(count >= 40);

    archived(&daemon).await;
    let after = (history(&daemon, STREAM).await, bans().await, streams().await);
    assert_eq!(before, after);
    let (_, next) = ann.comment("after").await;
    assert_eq!(next, seq + 1, "nothing was appended to the log between");
}

/// Texts in which nothing is visible.
const INVISIBLE: [&str; 7] =
    ["\u{3164}", "\u{200B}", "\u{2800}", "\u{FFFA}", "\u{301}", "\u{2068}\u{2069}", " \u{FE0F}"];

/// A text as it is sent, and its normal form.
const NORMAL_FORMS: [(&str, &str); 6] = [
    ("ann ", "ann"),
    ("ann\u{200B}", "ann"),
    ("\u{2068}ann\u{2069}", "ann"),
    ("\u{202E}ann", "ann"),
    ("cafe\u{301}", "caf\u{E9}"),
    ("👩🏽‍🚀 ❤️ 1️⃣", "👩🏽‍🚀 ❤️ 1️⃣"),
];

#[tokio::test]
async fn an_invisible_text_is_refused_at_every_door() {
    let daemon = Daemon::start("");
    let (_, _) = daemon.join(42, "ann").await.comment("hello").await;
    let admin = daemon.admin();
    let token = daemon.token_of(7, "boss", Role::Admin);
    let bearer = format!("Bearer {token}");
    let auth = [("authorization", &*bearer)];
    for text in INVISIBLE {
        let viewer =
            RawSocket::open(&daemon, &format!("?token={}", daemon.token(9, text)), JSON).await;
        assert_eq!(viewer.answer_to(&[], true).await, ("token_claims".to_owned(), Some(4501)));
        let message = serde_json::json!({"message": text});
        let viewer = RawSocket::open(&daemon, &format!("?token={token}"), JSON).await;
        let sent = serde_json::json!({"type": "comment", "message": text}).to_string();
        let (code, _) = viewer.answer_to(&self::text(&sent), false).await;
        assert_eq!(code, "comment_empty", "{text:?} over WebSocket");
        let body = message.to_string();
        let (status, answer) =
            http(&daemon, "POST", "/api/streams/1/comments", &auth, Some(&body)).await;
        assert_eq!((status, answer["code"].as_str()), (422, Some("comment_empty")));
        for (path, body) in [
            ("/v1/announce", serde_json::json!({"stream_id": 1, "message": text})),
            ("/v1/dm", serde_json::json!({"user": "42", "message": text})),
            ("/v1/ban", serde_json::json!({"user": "42", "reason": text})),
            ("/v1/kick", serde_json::json!({"user": "42", "note": text})),
            ("/v1/tokens", serde_json::json!({"user_id": 1, "name": text})),
        ] {
            match admin.post::<_, serde_json::Value>(path, &body).await {
                Err(AdminError::Refused(error)) => {
                    assert_eq!(error.code.as_str(), "bad_message", "{path} {body}");
                    assert!(error.message.contains("no visible character"), "{}", error.message);
                }
                other => panic!("{path} {body}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_text_has_one_normal_form_at_every_door() {
    let daemon = Daemon::start("");
    let admin = daemon.admin();
    let mut viewer = daemon.watch().await;
    let announced = |message: &ServerMessage| match message {
        ServerMessage::Announcement { message, .. } => Some(message.to_string()),
        _ => None,
    };
    for (user_id, (sent, normal)) in (50..).zip(NORMAL_FORMS) {
        let (_, seq) = daemon.join(user_id, sent).await.comment(sent).await;
        viewer.until_seq(seq).await;
        let shown = viewer.comments.last().unwrap();
        assert_eq!((&*shown.name, &*shown.message), (normal, normal), "{sent:?}");
        let body = serde_json::json!({"stream_id": 1, "message": sent});
        let _: serde_json::Value = admin.post("/v1/announce", &body).await.unwrap();
        assert_eq!(viewer.until(announced).await, normal, "{sent:?}");
        let body = serde_json::json!({"title": sent});
        let _: serde_json::Value = admin.post("/v1/streams/1", &body).await.unwrap();
        let (_, streams) = http(&daemon, "GET", "/api/streams", &[], None).await;
        assert!(streams.to_string().contains(&format!("\"title\":\"{normal}\"")), "{streams}");
    }
}

#[tokio::test]
async fn a_name_with_a_space_is_no_other_name() {
    let daemon = Daemon::start("");
    let (_, _) = daemon.join(1, "ann").await.comment("one").await;
    let (_, _) = daemon.join(2, "ann ").await.comment("two").await;
    let (_, _) = daemon.join(3, "bob\u{200B}").await.comment("three").await;
    let admin = daemon.admin();
    for user_id in 1..=3 {
        let named = async {
            loop {
                let who: serde_json::Value =
                    admin.get(&format!("/v1/who/{user_id}")).await.unwrap();
                if who["name"].is_string() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        timeout(support::PATIENCE, named).await.expect("the name is stored");
    }
    for user in ["ann", "ann ", "ann\u{2800}"] {
        let body = serde_json::json!({"user": user});
        match admin.post::<_, serde_json::Value>("/v1/ban", &body).await {
            Err(AdminError::Refused(error)) => {
                assert!(error.message.contains("2 users: id:2, id:1"), "{}", error.message);
            }
            other => panic!("{user:?}: {other:?}"),
        }
    }
    let body = serde_json::json!({"user": "bob "});
    let banned: serde_json::Value = admin.post("/v1/ban", &body).await.unwrap();
    assert_eq!(banned["user_id"].to_string().trim_matches('"'), "3");
}

#[tokio::test]
async fn requests_beyond_a_limit_are_told_how_long_to_wait() {
    let daemon = Daemon::start(
        "gateway.max_connections_per_user = 2\ningest.comments_per_minute.viewer = 3",
    );
    let slow = daemon.token_of(42, "ann", Role::Viewer);
    let viewer = RawSocket::open(&daemon, &format!("?token={slow}"), JSON).await;
    let comment = text(r#"{"type":"comment","message":"x"}"#);
    let (code, _) = viewer.answer_to(&comment.repeat(4), false).await;
    assert_eq!(code, "rate_limited");
    let _first =
        RawSocket::open(&daemon, &format!("?token={}", daemon.token(43, "bob")), JSON).await;
    let _second =
        RawSocket::open(&daemon, &format!("?token={}", daemon.token(43, "bob")), JSON).await;
    let third =
        RawSocket::open(&daemon, &format!("?token={}", daemon.token(43, "bob")), JSON).await;
    let (code, close) = third.answer_to(&[], true).await;
    assert_eq!((code.as_str(), close), ("too_many_connections", Some(4005)));
}

/// Markup and SQL are texts like others; every door shows them as they are.
#[tokio::test]
async fn markup_and_sql_in_titles_are_texts() {
    let daemon = Daemon::start("");
    let title = "<script>alert(1)</script>'; DROP TABLE streams; --";
    let description = "\"><img src=x onerror=alert(1)> ${7*7} {{7*7}} %s %n";
    let body = serde_json::json!({"title": title, "description": description});
    let made: serde_json::Value = daemon.admin().post("/v1/streams", &body).await.unwrap();
    let stream = &made["stream"];
    assert_eq!((&stream["title"], &stream["description"]), (&body["title"], &body["description"]));
    let path = format!("/api/streams/{}", stream["stream_id"].as_str().unwrap());
    let (status, shown) = http(&daemon, "GET", &path, &[], None).await;
    assert_eq!(status, 200);
    assert_eq!((&shown["title"], &shown["description"]), (&body["title"], &body["description"]));
    let (_, all) = http(&daemon, "GET", "/api/streams", &[], None).await;
    assert_eq!(all["streams"].as_array().unwrap().len(), 2, "{all}");
}

/// A position of another log, or one that this log has not reached, is not an error: the viewer is
/// told where it stands, over each transport.
#[tokio::test]
async fn a_foreign_position_begins_at_the_newest() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (_, seq) = ann.comment("before").await;
    ann.until_seq(seq).await;
    let epoch = ann.position.epoch.0;
    let newest = format!("\"epoch\":{epoch},\"seq\":{seq}");
    let session = "0".repeat(32);
    for (foreign_epoch, foreign_seq) in [(epoch + 1, 1), (epoch, 9_007_199_254_740_991_u64)] {
        let id = format!("last-event-id: {foreign_epoch}:{foreign_seq}\r\n");
        first_welcome(&daemon, "/api/streams/1/events", &id, &newest).await;
        let query = format!("epoch={foreign_epoch}&seq={foreign_seq}");
        first_welcome(&daemon, &format!("/api/streams/1/events?{query}"), "", &newest).await;
        let since = format!("since={foreign_epoch}.{foreign_seq}.{session}.0");
        for query in [query, since] {
            let mut path = format!("/api/streams/1/comments/poll?{query}&wait_ms=1000");
            let mut told = String::new();
            let mut is_placed = false;
            for _ in 0..2 {
                let (status, body) = http(&daemon, "GET", &path, &[], None).await;
                assert_eq!(status, 200, "{path}: {body}");
                let messages = body["messages"].as_array().unwrap();
                is_placed |= messages.iter().any(|message| {
                    message["type"] == "welcome"
                        && message["epoch"] == epoch
                        && message["seq"] == seq
                });
                told.push_str(&body["messages"].to_string());
                let since = body["since"].as_str().unwrap();
                path = format!("/api/streams/1/comments/poll?since={since}&wait_ms=1000");
            }
            assert!(is_placed, "{path}: {told}");
            assert!(!told.contains("before"), "{told}");
        }
    }
}

/// Reads an event stream until it has a text.
async fn first_welcome(daemon: &Daemon, path: &str, headers: &str, wanted: &str) {
    use tokio::io::AsyncReadExt as _;
    let mut socket = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            let read = socket.read_buf(&mut seen).await.unwrap();
            assert_ne!(read, 0, "no {wanted} in {}", String::from_utf8_lossy(&seen));
        }
    };
    timeout(support::PATIENCE, reading).await.expect("a welcome in time");
    assert!(!String::from_utf8_lossy(&seen).contains("before"), "nothing is sent twice");
}
