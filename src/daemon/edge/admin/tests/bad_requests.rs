//! A bad request is answered with a stable code and changes nothing.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use ErrorCode::*;

/// Method, path, body, and the expected error code.
type Row = (&'static str, &'static str, Vec<u8>, ErrorCode);

fn row(method: &'static str, path: &'static str, body: impl Into<Vec<u8>>, code: ErrorCode) -> Row {
    (method, path, body.into(), code)
}

fn post(path: &'static str, body: &Value, code: ErrorCode) -> Row {
    row("POST", path, body.to_string(), code)
}

fn paths_and_methods() -> Vec<Row> {
    vec![
        row("GET", "/", "", NotFound),
        row("GET", "/v1", "", NotFound),
        row("GET", "/v1/status/", "", NotFound),
        row("GET", "/v1/who/", "", NotFound),
        row("POST", "/v2/ban", "{}", NotFound),
        row("GET", "/v1/ban", "", MethodNotAllowed),
        row("POST", "/v1/status", "{}", MethodNotAllowed),
        row("DELETE", "/v1/streams/1", "", MethodNotAllowed),
        row("PATCH", "/v1/streams", "{}", MethodNotAllowed),
    ]
}

fn parameters() -> Vec<Row> {
    vec![
        row("GET", "/v1/top?interval_ms=0", "", BadRequest),
        row("GET", "/v1/top?interval_ms=60001", "", BadRequest),
        row("GET", "/v1/top?interval_ms=-1", "", BadRequest),
        row("GET", "/v1/top?interval_ms=1s", "", BadRequest),
        row("GET", "/v1/top?every=1000", "", BadRequest),
        row("GET", "/v1/audit?limit=0", "", BadRequest),
        row("GET", "/v1/audit?limit=1001", "", BadRequest),
        row("GET", "/v1/dead-letters?limit=1001", "", BadRequest),
        row("GET", "/v1/dead-letters?stream=x", "", BadRequest),
        row("GET", "/v1/mod/queue?limit=many", "", BadRequest),
        row("GET", "/v1/mod/decisions?limit=0", "", BadRequest),
        row("GET", "/v1/mod/decisions?before=yesterday", "", BadRequest),
        row("GET", "/v1/mod/offenders?limit=1001", "", BadRequest),
        row("GET", "/v1/history/x", "", BadRequest),
        row("GET", "/v1/history/0", "", BadRequest),
        row("GET", "/v1/history/1?before=yesterday", "", BadRequest),
        row("GET", "/v1/history/9", "", UnknownStream),
        row("GET", "/v1/tail/9", "", UnknownStream),
        row("GET", "/v1/streams/9/talkers", "", UnknownStream),
        row("GET", "/v1/streams/x/talkers", "", BadRequest),
        row("POST", "/v1/streams/1/talkers", "{}", MethodNotAllowed),
        row("GET", "/v1/tail/9223372036854775808", "", BadRequest),
        row("GET", "/v1/who/nobody", "", NotFound),
        row("GET", "/v1/who/twin", "", BadRequest),
        row("GET", "/v1/who/%FF", "", BadRequest),
        row("GET", "/v1/who/%07", "", BadRequest),
        row("POST", "/v1/views/forget", "{\"name\":\"final\"}", NotFound),
        row("POST", "/v1/views/forget", "{\"name\":\"two words\"}", BadMessage),
    ]
}

fn bodies() -> Vec<Row> {
    let mut deep = "[".repeat(10_000);
    deep.push_str(&"]".repeat(10_000));
    vec![
        row("POST", "/v1/ban", "", BadJson),
        row("POST", "/v1/ban", "{\"user\": ", BadJson),
        row("POST", "/v1/ban", "user=42", BadJson),
        row("POST", "/v1/ban", "{\"user\":\"42\"} {}", BadJson),
        row("POST", "/v1/ban", deep, BadMessage),
        row("POST", "/v1/ban", *b"{\"user\":\"\xFF\"}", BadUtf8),
        row("POST", "/v1/ban", "\u{feff}{\"user\":\"42\"}", BadJson),
        row("POST", "/v1/drain", " ", BadJson),
        post("/v1/ban", &json!({"user": "42", "reason": "x".repeat(70_000)}), TooLarge),
        post("/v1/ban", &json!({"user": 42}), BadMessage),
        post("/v1/ban", &json!({}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "until": "forever"}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "duration_ms": -5}), BadMessage),
        post("/v1/drain", &json!({"undo": "yes"}), BadMessage),
        post("/v1/drain", &json!({"node": 7}), BadMessage),
        post("/v1/drain", &json!({"nodes": ["b"]}), BadMessage),
        post("/v1/dead-letters/requeue", &json!({}), BadMessage),
        post("/v1/dead-letters/requeue", &json!({"ids": ["0-1"], "all": true}), BadMessage),
        post("/v1/dead-letters/requeue", &json!({"ids": ["0-1"]}), NotFound),
        post("/v1/dead-letters/ack", &json!({"ids": ["\u{7}"]}), NotFound),
        post("/v1/dead-letters/ack", &json!({"id": "0-1"}), BadMessage),
        post("/v1/delete", &json!({"comment_id": "1"}), BadMessage),
        post("/v1/throttle", &json!({"stream_id": 1, "sample_rate": 1.5}), BadMessage),
        post("/v1/throttle", &json!({"stream_id": 1, "sample_rate": -0.1}), BadMessage),
        post("/v1/streams", &json!({"moderation": "strict"}), BadMessage),
        post("/v1/streams", &json!({"state": "paused"}), BadMessage),
        post("/v1/tokens", &json!({"user_id": 1, "name": "v", "role": "king"}), BadMessage),
    ]
}

fn meanings() -> Vec<Row> {
    let long = "x".repeat(501);
    let unknown = comment_id(77);
    let kick = &json!({"action": "kick", "user": "42"});
    vec![
        post("/v1/ban", &json!({"user": ""}), BadRequest),
        post("/v1/ban", &json!({"user": "0"}), BadRequest),
        post("/v1/ban", &json!({"user": "twin"}), BadRequest),
        post("/v1/ban", &json!({"user": "nobody"}), NotFound),
        post("/v1/ban", &json!({"user": "42", "stream_id": "99"}), UnknownStream),
        post("/v1/ban", &json!({"user": "42", "stream_id": "one"}), BadMessage),
        post("/v1/unban", &json!({"user": "42", "stream_id": "99"}), NotFound),
        post("/v1/kick", &json!({"user": "42", "stream_id": "1"}), BadMessage),
        post("/v1/drain", &json!({"node": "nobody"}), NotFound),
        post("/v1/preview", &json!({"action": "drain", "node": "nobody"}), NotFound),
        post("/v1/ban", &json!({"user": "42", "reason": ""}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "reason": long}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "reason": "a\u{0}b"}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "duration_ms": 10}), BadMessage),
        post("/v1/ban", &json!({"user": "42", "duration_ms": u64::MAX}), BadMessage),
        post("/v1/timeout", &json!({"user": "42"}), BadMessage),
        post("/v1/timeout", &json!({"user": "42", "duration_ms": 999}), BadMessage),
        post("/v1/timeout", &json!({"user": "42", "duration_ms": 2_592_000_001_u64}), BadMessage),
        post("/v1/unban", &json!({"user": "42"}), NotFound),
        post("/v1/kick", &json!({"user": "42", "note": "\n\u{1b}"}), BadMessage),
        post("/v1/dm", &json!({"user": "42", "message": " "}), BadMessage),
        post("/v1/dm", &json!({"user": "42", "message": "x".repeat(501)}), BadMessage),
        post("/v1/announce", &json!({"stream_id": 1, "message": ""}), BadMessage),
        post("/v1/announce", &json!({"stream_id": 9, "message": "hi"}), UnknownStream),
        post("/v1/delete", &json!({"comment_id": unknown}), NotFound),
        post("/v1/throttle", &json!({"stream_id": 9}), UnknownStream),
        post("/v1/mod/claim", &json!({"comment_id": unknown}), NotFound),
        post("/v1/mod/claim", &json!({"comment_id": unknown, "for_ms": 5}), BadMessage),
        post("/v1/throttle", &json!({"stream_id": 1, "for_ms": 60_000}), BadMessage),
        post("/v1/delete_of_user", &json!({"user": "42", "last_ms": 999}), BadMessage),
        post("/v1/delete_of_user", &json!({"user": "42", "last_ms": 60_000}), NotFound),
        post("/v1/batch", &json!({"changes": []}), BadMessage),
        post("/v1/batch", &json!({"changes": vec![kick; 101]}), BadMessage),
        post("/v1/batch", &json!({"changes": [{"action": "ban", "user": "nobody"}]}), NotFound),
        post("/v1/batch", &json!({"changes": [{"action": "praise", "user": "42"}]}), BadMessage),
        post("/v1/batch", &json!({"changes": [kick], "disconnect_after_ms": 60_001}), BadMessage),
        post("/v1/mod/approve", &json!({"comment_id": unknown}), NotFound),
        post("/v1/mod/reject", &json!({"comment_id": unknown}), NotFound),
        post("/v1/mod/test", &json!({"text": " "}), CommentEmpty),
        post("/v1/mod/test", &json!({"text": "x".repeat(501)}), CommentTooLong),
        post("/v1/mod/test", &json!({"text": "hi", "stream_id": 9}), UnknownStream),
        post("/v1/mod/test", &json!({"text": "hi", "user": "nobody"}), NotFound),
        post("/v1/mod/test", &json!({"text": "hi", "role": "admin"}), BadMessage),
        post("/v1/streams", &json!({"stream_id": 1}), StreamExists),
        post("/v1/streams", &json!({"stream_id": 0}), BadMessage),
        post("/v1/streams", &json!({"title": "x".repeat(201)}), BadMessage),
        post("/v1/streams/1", &json!({}), BadMessage),
        post("/v1/streams/9", &json!({"title": "nine"}), UnknownStream),
        post("/v1/streams/one", &json!({"title": "one"}), BadRequest),
        post("/v1/tokens", &json!({"user_id": 0, "name": "v"}), BadMessage),
        post("/v1/tokens", &json!({"user_id": u64::MAX, "name": "v", "count": 2}), BadMessage),
        post("/v1/tokens", &json!({"user_id": 1, "name": ""}), BadMessage),
        post("/v1/tokens", &json!({"user_id": 1, "name": "v", "count": 0}), BadMessage),
        post("/v1/tokens", &json!({"user_id": 1, "name": "v", "count": 10_001}), BadMessage),
        post("/v1/tokens", &json!({"user_id": 1, "name": "v", "ttl_ms": 1}), BadMessage),
    ]
}

#[tokio::test]
async fn a_bad_request_gets_its_code_and_changes_nothing() {
    let served = Served::new().await;
    let before = served.world.state();
    let table = [paths_and_methods(), parameters(), bodies(), meanings()].concat();
    assert!(table.len() >= 80);
    for (method, path, body, code) in table {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let response = served.send(method, path, body).await;
        let content_type = response.inner.headers()["content-type"].to_str().unwrap().to_owned();
        let (status, answer) = response.whole().await;
        let case = format!("{method} {path} {shown}: {}", String::from_utf8_lossy(&answer));
        let details: ProblemDetails = serde_json::from_slice(&answer).expect(&case);
        assert_eq!(details.code, code, "{case}");
        assert_eq!(status, code.http_status(), "{case}");
        assert_eq!(content_type, ProblemDetails::CONTENT_TYPE, "{case}");
        assert!(!details.detail.is_empty(), "{case}");
        assert_eq!(served.world.state(), before, "{case}");
    }
}

#[tokio::test]
async fn input_that_is_not_http_closes_only_its_connection() {
    let served = Served::new().await;
    let before = served.world.state();
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"\x16\x03\x01\x00\x00",
        b"POST /v1/ban HTTP/1.1\r\nhost: lcd\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/ban HTTP/1.1\r\nhost: lcd\r\ncontent-length: 50\r\n\r\n{\"user\":\"42\"",
        b"GET /v1/who/a b HTTP/1.1\r\n\r\n",
        b"",
    ] {
        let mut stream = UnixStream::connect(&served.path).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // The connection must be closed, with or without an answer.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(served.world.state(), before);
    let _: Status = served.get("/v1/status").await;
}
