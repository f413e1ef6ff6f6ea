//! Requests over HTTP: their paths, heads and bodies.

use super::RequestCase;
use super::positions::{PositionCase, history_places, positions};
use crate::support::{Daemon, http, raw};

pub(super) async fn requests(daemon: &Daemon, token: &str) -> usize {
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
