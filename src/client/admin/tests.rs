use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::protocol::ErrorCode;
use crate::protocol::admin::{Outcome, UserRef, UserRequest};

/// A daemon's socket with `routes` behind it, for as long as the directory and the handle live.
fn serve(routes: axum::Router) -> (tempfile::TempDir, AdminClient, AbortOnDropHandle<()>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = AbortOnDropHandle::new(tokio::spawn(async move {
        axum::serve(listener, routes).await.unwrap();
    }));
    (dir, AdminClient::new(path), server)
}

#[tokio::test]
async fn a_post_carries_body_and_actor() {
    let routes = axum::Router::new().route(
        "/v1/kick",
        post(async |request: Request| {
            let actor = request.headers()[ACTOR_HEADER].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
            let request: UserRequest = serde_json::from_slice(&body).unwrap();
            assert_eq!(request.user, UserRef("ann".into()));
            assert!(!actor.is_empty());
            Json(Outcome { audit_id: 9, connections: Some(1), ..Outcome::default() })
        }),
    );
    let (_dir, client, _server) = serve(routes);
    let request = UserRequest { user: UserRef("ann".into()), note: None };
    let outcome: Outcome = client.post("/v1/kick", &request).await.unwrap();
    assert_eq!((outcome.audit_id, outcome.connections), (9, Some(1)));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_message() {
    let details = json!({"code": "bad_request", "detail": "two users are called ann"});
    let routes = axum::Router::new()
        .route("/v1/who/ann", get(async move || (StatusCode::BAD_REQUEST, Json(details))))
        .route("/v1/status", get(async || (StatusCode::BAD_GATEWAY, "upstream gone")));
    let (_dir, client, _server) = serve(routes);

    let error = client.get::<Value>("/v1/who/ann").await.unwrap_err();
    assert_eq!(error.to_string(), "two users are called ann (bad_request)");
    let AdminError::Refused(body) = error else { panic!("{error:?}") };
    assert_eq!(body.code, ErrorCode::BadRequest);

    let error = client.get::<Value>("/v1/status").await.unwrap_err().to_string();
    assert!(error.contains("502") && error.contains("upstream gone"), "{error}");
}

#[tokio::test]
async fn lines_survive_any_division_into_chunks() {
    let routes = axum::Router::new().route(
        "/v1/top",
        get(async || {
            let parts = ["{\"n\":1}\n\n{\"n\"", ":2}", "\n", "{\"n\":3}\n"];
            let parts = parts.map(|part| Ok::<_, std::convert::Infallible>(Bytes::from(part)));
            Body::from_stream(futures_util::stream::iter(parts))
        }),
    );
    let (_dir, client, _server) = serve(routes);
    let lines = client.lines::<Value>("/v1/top").await.unwrap();
    let lines: Vec<_> = lines.map(Result::unwrap).collect().await;
    assert_eq!(lines, [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
}

#[tokio::test]
async fn a_line_that_is_no_json_is_an_error_and_not_a_panic() {
    let routes = axum::Router::new().route("/v1/top", get(async || "{\"n\":\n"));
    let (_dir, client, _server) = serve(routes);
    let mut lines = client.lines::<Value>("/v1/top").await.unwrap();
    assert!(matches!(lines.next().await, Some(Err(AdminError::Broken(_)))));
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn without_a_daemon_the_error_names_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent.sock");
    let error = AdminClient::new(absent.clone()).get::<Value>("/v1/status").await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AdminError::NotRunning { .. }));
    assert!(text.contains(absent.to_str().unwrap()), "{text}");
    assert!(text.contains("`lcd`") && text.contains("--socket"), "{text}");

    // A socket that a killed daemon left behind.
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let error = AdminClient::new(stale).get::<Value>("/v1/status").await.unwrap_err();
    assert!(matches!(error, AdminError::NotRunning { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_reaches_the_daemon_as_it_was_written() {
    let routes = axum::Router::new()
        .route("/v1/who/{user}", get(async |Path(user): Path<String>| Json(json!(user))));
    let (_dir, client, _server) = serve(routes);
    for name in ["ann", "a/b?c=d#e f%41", "..", "Жук 🪲"] {
        let path = format!("/v1/who/{}", path_segment(name));
        assert_eq!(client.get::<String>(&path).await.unwrap(), name);
    }
}

#[tokio::test]
async fn compressed_answers_are_read() {
    use std::io::Write as _;

    const LINES: usize = 20_000;
    let deflated = |text: String| {
        let fast = flate2::Compression::fast();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), fast);
        encoder.write_all(text.as_bytes()).unwrap();
        ([("content-encoding", "deflate")], encoder.finish().unwrap())
    };
    let top = deflated("{\"viewers\":1}\n".repeat(LINES));
    let status = deflated(json!({"node": "a".repeat(100_000)}).to_string());
    let broken = ([("content-encoding", "deflate")], "{}");
    let routes = axum::Router::new()
        .route("/v1/top", get(async move || top))
        .route("/v1/status", get(async move || status))
        .route("/v1/nodes", get(async move || broken));
    let (_dir, client, _server) = serve(routes);
    let lines = client.lines::<Value>("/v1/top").await.unwrap();
    let read: Vec<_> = lines.map(Result::unwrap).collect().await;
    assert!(read.len() == LINES && read.iter().all(|line| line["viewers"] == 1));
    let status: Value = client.get("/v1/status").await.unwrap();
    assert_eq!(status["node"].as_str().map(str::len), Some(100_000));
    let error = client.get::<Value>("/v1/nodes").await.unwrap_err().to_string();
    assert!(error.contains("does not inflate"), "{error}");
}
