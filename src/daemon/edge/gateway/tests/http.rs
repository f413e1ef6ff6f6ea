//! Tests of the REST API, health, metrics, and answers to bad requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;
use tokio::sync::oneshot;

use super::client::{Reply, get, raw, request};
use super::rig::{Rig, token};
use crate::daemon::base::handoff::{Accepted, ReplyTo};
use crate::daemon::engines::bus::BusMessage;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::SanctionKind;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{Comment, CommentId, ErrorCode, NodeId, Role, StreamId, UserId};

const JSON: &str = "Content-Type: application/json";
const COMMENTS: &str = "POST /api/streams/1/comments";

fn bearer(user: u64, role: &str) -> String {
    format!("Authorization: Bearer {}", token(user, role))
}

async fn post(rig: &Rig, body: &[u8]) -> Reply {
    request(rig.address, COMMENTS, &[JSON, &bearer(1, "viewer")], body).await
}

fn comment_id(n: u64) -> CommentId {
    CommentId::from_unix_ticks(17_500_000_000_000_000 + n, 1, [7; 6])
}

/// Answers one submission in place of ingest.
async fn ingest(rig: &mut Rig, outcome: Result<Accepted, ErrorBody>) -> (String, Option<String>) {
    let submission = rig.submissions.recv().await.unwrap();
    assert_eq!((submission.stream_id, submission.identity.user_id), (StreamId(1), UserId(1)));
    let ReplyTo::Caller(caller) = submission.reply_to else { panic!("it came over HTTP") };
    caller.send(outcome).unwrap();
    (submission.message, submission.client_ref.map(|text| text.to_string()))
}

#[tokio::test]
async fn a_comment_goes_to_ingest_and_gets_its_outcome() {
    let mut rig = Rig::start().await;
    let accepted = Accepted { comment_id: comment_id(1), seq: 17, comment: None, delayed: false };
    let address = rig.address;
    let headers = [JSON.to_owned(), bearer(1, "viewer")];
    let posting = tokio::spawn(async move {
        let headers = headers.each_ref().map(String::as_str);
        request(address, COMMENTS, &headers, "{\"message\":\"grüße\",\"ref\":\"r1\"}".as_bytes())
            .await
    });
    let submitted = ingest(&mut rig, Ok(accepted)).await;
    assert_eq!(submitted, ("grüße".to_owned(), Some("r1".to_owned())));
    let reply = posting.await.unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(reply.json(), json!({"comment_id": comment_id(1).to_string(), "seq": 17}));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn a_refusal_of_ingest_has_its_code_and_wait() {
    let mut rig = Rig::start().await;
    for (code, status, retry_ms, retry_after) in [
        (ErrorCode::RateLimited, 429, Some(1500), Some("2")),
        (ErrorCode::StorageFull, 507, None, None),
        (ErrorCode::HeldForReview, 202, None, None),
        (ErrorCode::CommentEmpty, 422, None, None),
    ] {
        let address = rig.address;
        let headers = [JSON.to_owned(), bearer(1, "viewer")];
        let posting = tokio::spawn(async move {
            let headers = headers.each_ref().map(String::as_str);
            request(address, COMMENTS, &headers, b"{\"message\":\"hi\"}").await
        });
        let mut error = ErrorBody::new(code, "as ingest says");
        error.retry_after_ms = retry_ms;
        ingest(&mut rig, Err(error)).await;
        let reply = posting.await.unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (status, code.as_str()));
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
    }
}

#[tokio::test]
async fn a_full_or_closed_ingest_is_a_retryable_error() {
    let mut rig = Rig::start().await;
    let address = rig.address;
    let headers = [JSON.to_owned(), bearer(1, "viewer")];
    let first = tokio::spawn(async move {
        let headers = headers.each_ref().map(String::as_str);
        request(address, COMMENTS, &headers, b"{\"message\":\"waits\"}").await
    });
    // The queue has room for one submission, and nobody takes it.
    while rig.submissions.is_empty() {
        tokio::task::yield_now().await;
    }
    let reply = post(&rig, b"{\"message\":\"one too many\"}").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "overloaded"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    drop(rig.submissions.recv().await.unwrap());
    let lost = first.await.unwrap();
    assert_eq!((lost.status, lost.code().as_str()), (503, "log_unavailable"), "nobody answered it");
    rig.submissions.close();
    let reply = post(&rig, b"{\"message\":\"too late\"}").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "shutting_down"));
}

#[tokio::test]
async fn bad_submissions_are_refused_with_their_code() {
    let mut rig = Rig::start().await;
    rig.sanction(13, SanctionKind::Ban).await;
    let long_ref = json!({"message": "x", "ref": "r".repeat(65)}).to_string();
    let huge = json!({"message": "x".repeat(40_000)}).to_string();
    let ann = bearer(1, "viewer");
    let banned = bearer(13, "viewer");
    let good: &[u8] = b"{\"message\":\"hi\"}";
    type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 25] = [
        (COMMENTS, &[JSON], good, 401, "not_authenticated"),
        (COMMENTS, &[JSON, "Authorization: Bearer x"], good, 401, "token_malformed"),
        (COMMENTS, &[JSON, "Authorization: Basic eDp5"], good, 401, "not_authenticated"),
        (COMMENTS, &[JSON, "Authorization: Bearer"], good, 401, "token_malformed"),
        (COMMENTS, &[JSON, &banned], good, 403, "banned"),
        (COMMENTS, &[&ann], good, 415, "unsupported_media_type"),
        (COMMENTS, &["Content-Type: text/plain", &ann], good, 415, "unsupported_media_type"),
        (COMMENTS, &[JSON, &ann], b"", 400, "bad_json"),
        (COMMENTS, &[JSON, &ann], b"{", 400, "bad_json"),
        (COMMENTS, &[JSON, &ann], b"{\"message\":\"hi\"} x", 400, "bad_json"),
        (COMMENTS, &[JSON, &ann], b"{\"message\":\"\xff\"}", 400, "bad_utf8"),
        (COMMENTS, &[JSON, &ann], b"[]", 400, "bad_message"),
        (COMMENTS, &[JSON, &ann], b"{}", 400, "bad_message"),
        (COMMENTS, &[JSON, &ann], b"{\"message\":7}", 400, "bad_message"),
        (COMMENTS, &[JSON, &ann], b"{\"message\":\"x\",\"ref\":\"\"}", 400, "bad_message"),
        (COMMENTS, &[JSON, &ann], long_ref.as_bytes(), 400, "bad_message"),
        (COMMENTS, &[JSON, &ann], huge.as_bytes(), 413, "too_large"),
        ("POST /api/streams/9/comments", &[JSON, &ann], good, 404, "unknown_stream"),
        ("POST /api/streams/x/comments", &[JSON, &ann], good, 400, "bad_request"),
        ("PUT /api/streams/1/comments", &[JSON, &ann], good, 405, "method_not_allowed"),
        ("PUT /api/streams/1", &[&ann], b"", 405, "method_not_allowed"),
        ("DELETE /api/streams/1", &[&ann], b"", 403, "forbidden"),
        ("POST /ws/1", &[], b"", 405, "method_not_allowed"),
        ("GET /nowhere", &[], b"", 404, "not_found"),
        ("GET /api/", &[], b"", 404, "not_found"),
    ];
    for (line, headers, body, status, code) in cases {
        let reply = request(rig.address, line, headers, body).await;
        let what = format!(
            "{line} {} gave {reply:?}",
            String::from_utf8_lossy(&body[..body.len().min(40)])
        );
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{what}");
    }
    assert!(rig.submissions.try_recv().is_err(), "ingest heard of none of them");
}

#[tokio::test]
async fn unknown_fields_are_ignored_as_on_a_socket() {
    let mut rig = Rig::start().await;
    let ann = bearer(1, "viewer");
    let body = br#"{"message":"hi","colour":{"r":[1]},"type":"comment","ref":"a"}"#;
    let headers = [JSON, &ann];
    let answer = request(rig.address, COMMENTS, &headers, body);
    let (_, submission) = tokio::join!(answer, async {
        let submission = rig.submissions.recv().await.unwrap();
        (submission.message, submission.client_ref)
    });
    assert_eq!(submission, ("hi".to_owned(), Some("a".into())));
}

#[tokio::test]
async fn a_draining_node_refuses_changes_and_answers_reads() {
    let mut rig = Rig::start().await;
    rig.board.set_draining(true);
    let ann = bearer(1, "viewer");
    let admin = bearer(9, "admin");
    for (line, headers, body) in [
        (COMMENTS, [JSON, ann.as_str()], &b"{\"message\":\"hi\"}"[..]),
        ("POST /api/streams", [JSON, &admin], b"{}"),
        ("PATCH /api/streams/1", [JSON, &admin], b"{\"title\":\"x\"}"),
    ] {
        let reply = request(rig.address, line, &headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "shutting_down"), "{line}");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(reply.header("connection"), Some("close"), "the next goes to another node");
        assert!(reply.json()["detail"].as_str().unwrap().contains("another node"));
    }
    assert!(rig.submissions.try_recv().is_err());
    for path in ["/api/streams", "/api/streams/1", "/api/streams/1/comments", "/", "/healthz"] {
        assert_eq!(get(rig.address, path).await.status, 200, "{path}");
    }
    rig.board.set_draining(false);
    assert_eq!(request(rig.address, "POST /api/streams", &[JSON, &admin], b"{}").await.status, 201);
}

#[tokio::test]
async fn a_body_without_an_announced_length_is_bounded_too() {
    let rig = Rig::start().await;
    let chunk = format!("5000\r\n{}\r\n", "x".repeat(0x5000));
    let text = format!(
        "{COMMENTS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{JSON}\r\n{}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n",
        bearer(1, "viewer")
    );
    let reply = raw(rig.address, text.as_bytes()).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"));
}

#[tokio::test]
async fn the_allow_header_names_the_methods_of_a_path() {
    let rig = Rig::start().await;
    let reply = request(rig.address, "PUT /api/streams/1", &[], b"").await;
    let allowed = reply.header("allow").unwrap().to_owned();
    for method in ["get", "patch", "delete"] {
        assert!(allowed.contains(method), "{allowed}");
    }
}

async fn fill(rig: &Rig, count: u64) {
    let comment = |n| Comment {
        stream_id: StreamId(1),
        comment_id: comment_id(n),
        user_id: UserId(1),
        name: "ann".into(),
        message: format!("comment {n}").into(),
        created_at: 0,
        badges: Default::default(),
        parent_id: None,
    };
    let row = |n| ArchivedComment { comment: Arc::new(comment(n)), seq: n, shadow: false };
    let rows: Vec<_> = (0..count).map(row).collect();
    rig.comments.write_rows(&rows, &[]).await.unwrap();
}

#[tokio::test]
async fn history_is_paged_newest_first_to_the_end() {
    let rig = Rig::start().await;
    fill(&rig, 250).await;
    let mut seqs = Vec::new();
    let mut path = "/api/streams/1/comments".to_owned();
    let mut pages = 0;
    loop {
        let page = get(rig.address, &path).await.json();
        pages += 1;
        let comments = page["comments"].as_array().unwrap();
        seqs.extend(comments.iter().map(|comment| comment["seq"].as_u64().unwrap()));
        let Some(before) = page["next_before"].as_str() else { break };
        path = format!("/api/streams/1/comments?before={before}");
    }
    assert_eq!(seqs, (0..250).rev().collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let exact = get(rig.address, "/api/streams/1/comments?limit=250").await.json();
    assert!(exact.get("next_before").is_none(), "a page that ends the history says so");
}

#[tokio::test]
async fn bad_history_requests_are_refused() {
    let rig = Rig::start().await;
    for (query, status, code) in [
        ("1/comments?limit=0", 400, "bad_request"),
        ("1/comments?limit=1001", 400, "bad_request"),
        ("1/comments?limit=many", 400, "bad_request"),
        ("1/comments?limit=-1", 400, "bad_request"),
        ("1/comments?before=yesterday", 400, "bad_request"),
        ("1/comments?limit=1&limit=2", 400, "bad_request"),
        ("9/comments", 404, "unknown_stream"),
        ("0/comments", 400, "bad_request"),
        ("2/comments", 401, "not_authenticated"),
    ] {
        let reply = get(rig.address, &format!("/api/streams/{query}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{query}");
    }
    let path = "GET /api/streams/2/comments?limit=1000";
    let reply = request(rig.address, path, &[&bearer(1, "viewer")], b"").await;
    assert_eq!(reply.status, 200, "a token opens a closed stream");
    rig.comments.set_down(true);
    let reply = get(rig.address, "/api/streams/1/comments").await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "store_unavailable"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(!reply.body.contains("switched off"), "the store's own words stay inside");
}

#[tokio::test]
async fn streams_are_listed_shown_created_and_changed() {
    let rig = Rig::start().await;
    let list = get(rig.address, "/api/streams").await.json();
    assert_eq!(list["streams"].as_array().unwrap().len(), 4);
    assert_eq!(get(rig.address, "/api/streams/1").await.json()["title"], "stream 1");
    let admin = bearer(9, "admin");
    let body = br#"{"stream_id":12,"title":"Finale","state":"scheduled"}"#;
    let made = request(rig.address, "POST /api/streams", &[JSON, &admin], body).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(get(rig.address, "/api/streams/12").await.json()["state"], "scheduled");
    let again = request(rig.address, "POST /api/streams", &[JSON, &admin], body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "stream_exists"));
    let caster = bearer(8, "broadcaster");
    let patch = br#"{"state":"live"}"#;
    let changed = request(rig.address, "PATCH /api/streams/12", &[JSON, &caster], patch).await;
    assert_eq!((changed.status, &changed.json()["state"]), (200, &json!("live")));
    assert_eq!(rig.streams.get(StreamId(12)).unwrap().title, "Finale");
    let commands = rig.registry.commands();
    let reload = NodeCommand::ReloadStream { stream_id: StreamId(12) };
    let other = NodeId::new("two");
    assert_eq!(commands, [(other.clone(), reload.clone()), (other, reload)], "each time");
    let audits = rig.metadata.audits();
    let audited: Vec<_> = audits.iter().map(|entry| (&*entry.action, &*entry.target)).collect();
    assert_eq!(audited, [("create_stream", "stream 12"), ("update_stream", "stream 12")]);
    assert_eq!((&*audits[0].actor, &*audits[1].actor), ("user9 (user 9)", "user8 (user 8)"));
}

#[tokio::test]
async fn moderators_change_the_rules_of_a_room() {
    let rig = Rig::start().await;
    let path = "/api/streams/1/room";
    let moderator = bearer(7, "moderator");
    let patch = br#"{"slow_ms":5000,"shield":true}"#;
    let line = format!("PATCH {path}");
    for (token, expected) in
        [(bearer(6, "viewer"), (403, "forbidden")), (moderator.clone(), (200, ""))]
    {
        let reply = request(rig.address, &line, &[JSON, &token], patch).await;
        let code = if reply.status == 200 { String::new() } else { reply.code() };
        assert_eq!((reply.status, code.as_str()), expected);
    }
    let shown = async |headers: &[&str]| {
        let room = request(rig.address, &format!("GET {path}"), headers, b"").await.json();
        let stream = request(rig.address, "GET /api/streams/1", headers, b"").await.json();
        assert_eq!(room["settings"], stream["room"]);
        let all = request(rig.address, "GET /api/streams", headers, b"").await.json();
        assert_eq!(room["settings"], all["streams"][0]["room"]);
        assert_eq!(room["in_force"]["slow_ms"], 30_000);
        room["settings"].clone()
    };
    let settings = json!({"rules": {"slow_ms": 5000}, "shield": true});
    assert_eq!(shown(&[&moderator]).await, settings);
    let in_force = json!({"slow_ms": 30_000, "unique_ms": 600_000, "no_links": true});
    let viewer = bearer(6, "viewer");
    for headers in [&[][..], &[viewer.as_str()]] {
        assert_eq!(shown(headers).await, json!({ "rules": in_force }), "viewers see no settings");
    }
    let entry = rig.metadata.audits().pop().unwrap();
    assert_eq!((&*entry.action, &*entry.actor), ("room", "user7 (user 7)"));
    for (body, code) in [(&b"{}"[..], "bad_message"), (br#"{"slow":1}"#, "bad_message")] {
        let reply = request(rig.address, &line, &[JSON, &moderator], body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code));
    }
    let clear = format!("POST {path}/clear");
    let body = br#"{"last_ms":60000}"#;
    let reply = request(rig.address, &clear, &[JSON, &bearer(6, "viewer")], body).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"));
}

#[tokio::test]
async fn ending_a_stream_dismisses_its_viewers() {
    let rig = Rig::start().await;
    let caster = bearer(8, "broadcaster");
    let patch = br#"{"state":"ended"}"#;
    let ended = request(rig.address, "PATCH /api/streams/1", &[JSON, &caster], patch).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("ended")));
    assert_eq!(rig.bus.take_published(), [(StreamId(1), BusMessage::Ended)]);
}

#[tokio::test]
async fn changing_streams_needs_the_role_and_right_fields() {
    let rig = Rig::start().await;
    let title = json!({"title": "x".repeat(201)}).to_string();
    let role = |role: Role| bearer(9, role.as_str());
    let admin = role(Role::Admin);
    let caster = role(Role::Broadcaster);
    let viewer = role(Role::Viewer);
    type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 10] = [
        ("POST /api/streams", &[JSON], b"{}", 401, "not_authenticated"),
        ("POST /api/streams", &[JSON, &caster], b"{}", 403, "forbidden"),
        ("POST /api/streams", &[JSON, &admin], b"{\"state\":\"over\"}", 400, "bad_message"),
        ("POST /api/streams", &[JSON, &admin], b"{\"stream_id\":0}", 400, "bad_message"),
        ("POST /api/streams", &[JSON, &admin], b"{\"titel\":\"x\"}", 400, "bad_message"),
        ("POST /api/streams", &[JSON, &admin], title.as_bytes(), 400, "bad_message"),
        ("PATCH /api/streams/1", &[JSON, &viewer], b"{}", 403, "forbidden"),
        ("PATCH /api/streams/1", &[JSON, &caster], b"{\"title\":\"a\\u0007\"}", 400, "bad_message"),
        ("PATCH /api/streams/99", &[JSON, &caster], b"{}", 404, "unknown_stream"),
        ("PATCH /api/streams/one", &[JSON, &caster], b"{}", 400, "bad_request"),
    ];
    for (line, headers, body, status, code) in cases {
        let reply = request(rig.address, line, headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{line} {reply:?}");
    }
    rig.metadata.set_down(true);
    let down = request(rig.address, "PATCH /api/streams/1", &[JSON, &caster], b"{}").await;
    assert_eq!((down.status, down.code().as_str()), (503, "store_unavailable"));
    assert!(!down.body.contains("switched off"), "the store's own words stay inside");
    assert_eq!(rig.streams.all().len(), 4);
    assert!(rig.metadata.audits().is_empty());
}

#[tokio::test]
async fn health_distinguishes_alive_from_ready() {
    let rig = Rig::start().await;
    assert_eq!(get(rig.address, "/healthz").await.status, 200);
    assert_eq!(get(rig.address, "/readyz").await.status, 200);
    rig.board.set_ready(false);
    let starting = get(rig.address, "/readyz").await;
    assert_eq!((starting.status, starting.code().as_str()), (503, "overloaded"));
    rig.board.set_ready(true);
    rig.board.set_draining(true);
    let draining = get(rig.address, "/readyz").await;
    assert_eq!((draining.status, draining.code().as_str()), (503, "shutting_down"));
    assert_eq!(get(rig.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn ready_means_that_the_roles_are_served() {
    let rig = Rig::start().await;
    rig.board.set_essential(vec!["event log"]);
    let other = rig.board.add_breaker("comment store").half("health check");
    other.failed(&"10.0.0.7 refuses");
    let impaired = get(rig.address, "/readyz").await;
    assert_eq!(impaired.status, 200, "chat goes on without history");
    assert!(impaired.body.contains("comment store has been down"), "{}", impaired.body);
    let log = rig.board.add_breaker("event log").half("health check");
    log.failed(&"10.0.0.8:9092 does not answer");
    let down = get(rig.address, "/readyz").await;
    assert_eq!((down.status, down.code().as_str()), (503, "log_unavailable"));
    assert!(down.body.contains("event log has been down"), "{}", down.body);
    assert!(!down.body.contains("10.0.0."), "hosts are not for everybody: {}", down.body);
    log.succeeded();
    assert_eq!(get(rig.address, "/readyz").await.status, 200);
}

#[tokio::test]
async fn metrics_have_counters_workers_breakers_and_lag() {
    let rig = Rig::start().await;
    rig.board.add_worker().connections.store(3, Ordering::Relaxed);
    let breaker = rig.board.add_breaker("comment store");
    (0..3).for_each(|_| breaker.failed(&"down"));
    let reply = get(rig.address, "/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        "lcd_comments_received_total 0\n",
        "lcd_worker_connections{worker=\"0\"} 3\n",
        "lcd_breaker_state{dependency=\"comment store\"} 2\n",
        "lcd_consumer_lag{group=\"archiver\",topic=\"comment_events\",partition=\"0\"} 7\n",
        "lcd_ready 1\n",
    ] {
        assert!(reply.body.contains(line), "{line} is missing in {}", reply.body);
    }
    assert!(reply.body.ends_with("# EOF\n"));
    let older = ["accept: text/plain;version=0.0.4"];
    let reply = request(rig.address, "GET /metrics", &older, b"").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(reply.body.contains("# TYPE lcd_comments_received_total counter\n"), "{}", reply.body);
    assert!(!reply.body.contains("# EOF"));
}

#[tokio::test]
async fn any_origin_is_allowed_and_preflights_are_answered() {
    let rig = Rig::start().await;
    let preflight = request(rig.address, "OPTIONS /api/streams/1/comments", &[], b"").await;
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("authorization"), "{allowed}");
    let refused = get(rig.address, "/api/streams/9").await;
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "errors are readable too");
}

#[tokio::test]
async fn requests_in_flight_are_answered_while_stopping() {
    let mut rig = Rig::start().await;
    let address = rig.address;
    let headers = [JSON.to_owned(), bearer(1, "viewer")];
    let posting = tokio::spawn(async move {
        let headers = headers.each_ref().map(String::as_str);
        request(address, COMMENTS, &headers, b"{\"message\":\"last words\"}").await
    });
    let submission = rig.submissions.recv().await.unwrap();
    rig.begin_stop();
    let ReplyTo::Caller(caller) = submission.reply_to else { panic!("it came over HTTP") };
    let caller: oneshot::Sender<_> = caller;
    let accepted = Accepted { comment_id: comment_id(1), seq: 1, comment: None, delayed: false };
    caller.send(Ok(accepted)).unwrap();
    assert_eq!(posting.await.unwrap().status, 201);
    rig.gateway_stopped().await;
}
