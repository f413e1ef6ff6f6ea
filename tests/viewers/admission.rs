//! The rules of admission also hold for viewers who watch already, and no passing state refuses
//! anybody for good.

#![allow(clippy::print_stderr, reason = "the log of a failed daemon is shown")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use live_comments::client::viewer::{ConnectError, ViewerConnection, ViewerError, ViewerOptions};
use live_comments::protocol::admin::{Outcome, SanctionRequest, UserRef};
use live_comments::protocol::{ClientMessage, CloseCode, ErrorCode, ServerMessage};
use serde_json::{Value, json};

use crate::support::socket::RawSocket;
use crate::support::{Daemon, PATIENCE, Viewer, comment, http};

/// The error, the `bye` and the close code that ended a connection.
#[derive(Debug, PartialEq)]
struct Ending {
    error: Option<(ErrorCode, String)>,
    reconnect_after_ms: Option<u64>,
    close: u16,
}

async fn ending(viewer: &mut Viewer) -> Ending {
    let mut ending = Ending { error: None, reconnect_after_ms: None, close: 0 };
    loop {
        match viewer.next().await {
            Ok(ServerMessage::Error { code, message, .. }) => {
                ending.error = Some((code, message));
            }
            Ok(ServerMessage::Bye { reconnect_after_ms, .. }) => {
                ending.reconnect_after_ms = reconnect_after_ms;
            }
            Ok(_) => {}
            Err(ViewerError::Closed(status)) => return Ending { close: status.number, ..ending },
            Err(error) => panic!("{error}"),
        }
    }
}

async fn post(daemon: &Daemon, path: &str, body: Value) -> Outcome {
    daemon.admin().post(path, &body).await.unwrap()
}

#[tokio::test]
async fn requiring_tokens_closes_anonymous_viewers() {
    let daemon = Daemon::start("");
    let mut anonymous = daemon.watch().await;
    let mut ann = daemon.join(42, "ann").await;
    let mut late = daemon.watch().await;
    late.send(&ClientMessage::Auth { token: daemon.token(43, "bob") }).await;
    late.until(|message| matches!(message, ServerMessage::Welcome { .. }).then_some(())).await;
    let started = Instant::now();
    post(&daemon, "/v1/streams/1", json!({"anonymous": false})).await;
    let end = ending(&mut anonymous).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let (code, text) = end.error.unwrap();
    assert_eq!((code, end.reconnect_after_ms), (ErrorCode::TokenRequired, None));
    assert_eq!(end.close, CloseCode::AuthTimeout.number());
    assert!(text.contains("token"), "{text}");
    let (_, seq) = ann.comment("those with a token stay").await;
    late.until_seq(seq).await;
    let (status, _) = http(&daemon, "GET", "/api/streams/1/comments", &[], None).await;
    assert_eq!(status, 401, "the history is closed to them too");
}

#[tokio::test]
async fn an_ended_stream_says_so_behind_its_last_comments() {
    let daemon = Daemon::start("");
    let mut viewer = daemon.watch().await;
    let mut ann = daemon.join(42, "ann").await;
    ann.send(&comment("the last word", "r")).await;
    ann.until(|message| matches!(message, ServerMessage::Ack { .. }).then_some(())).await;
    post(&daemon, "/v1/streams/1", json!({"state": "ended"})).await;
    let end = ending(&mut viewer).await;
    assert_eq!(end.error.map(|(code, _)| code), Some(ErrorCode::StreamEnded));
    assert_eq!((end.reconnect_after_ms, end.close), (None, CloseCode::StreamEnded.number()));
    assert_eq!(viewer.texts(), ["the last word"]);
    match ViewerConnection::join(&daemon.options()).await.map(|_| ()).unwrap_err() {
        ConnectError::NotWelcome { error: ViewerError::Refused { code, .. }, .. } => {
            assert_eq!(code, ErrorCode::StreamEnded);
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_banned_viewer_is_told_why_and_for_how_long() {
    let daemon = Daemon::start("");
    for (user_id, duration_ms) in [(42, None), (43, Some(3_600_000))] {
        let mut viewer = daemon.join(user_id, "troll").await;
        let user = UserRef(user_id.to_string());
        let reason = Some("for spam".into());
        let request = SanctionRequest { user, stream_id: None, reason, note: None, duration_ms };
        let _: Outcome = daemon.admin().post("/v1/ban", &request).await.unwrap();
        let end = ending(&mut viewer).await;
        let (code, text) = end.error.unwrap();
        assert_eq!((code, end.close), (ErrorCode::Banned, CloseCode::Banned.number()));
        assert!(text.contains("banned"), "{text}");
        assert_eq!(end.reconnect_after_ms.is_some(), duration_ms.is_some());
        assert!(end.reconnect_after_ms.is_none_or(|wait| wait > 3_500_000));
        let token = Some(daemon.token(user_id, "troll").into());
        let again = ViewerOptions { token, ..daemon.options() };
        match ViewerConnection::join(&again).await.map(|_| ()).unwrap_err() {
            ConnectError::NotWelcome {
                error: ViewerError::Refused { code, retry_after_ms, .. },
                ..
            } => {
                assert_eq!(code, ErrorCode::Banned);
                assert_eq!(retry_after_ms.is_some(), duration_ms.is_some());
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn dead_connections_free_their_places_for_their_user() {
    let daemon =
        Daemon::start("gateway.max_connections_per_user = 3\ngateway.pong_timeout = \"1s\"");
    let query = format!("?token={}", daemon.token(42, "ann"));
    let mut ghosts = Vec::new();
    for _ in 0..2 {
        let mut ghost = RawSocket::open(&daemon, &query, "lc.v1.json").await;
        ghost.until("welcome").await;
        ghosts.push(ghost);
    }
    let mut live = daemon.join(42, "ann").await;
    let live = tokio::spawn(async move {
        loop {
            match live.next().await.unwrap() {
                ServerMessage::Comments(batch) => return batch.comments[0].message.to_string(),
                message => assert!(!matches!(message, ServerMessage::Bye { .. })),
            }
        }
    });
    let token = Some(daemon.token(42, "ann").into());
    let options = ViewerOptions { token, ..daemon.options() };
    let started = Instant::now();
    let mut refusals = 0;
    let mut back = loop {
        let refused = match ViewerConnection::join(&options).await {
            Ok(_) => break Viewer::join(options).await,
            Err(ConnectError::NotWelcome { error, .. }) => error,
            Err(other) => panic!("{other}"),
        };
        let ViewerError::Refused { code, retry_after_ms: Some(wait_ms), .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!(code, ErrorCode::TooManyConnections);
        assert!(wait_ms <= 5_000, "it says when: {wait_ms}");
        assert!(started.elapsed() < PATIENCE, "the ghosts stay");
        refusals += 1;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    };
    assert!((1..=3).contains(&refusals), "{refusals}");
    for mut ghost in ghosts {
        let bye = ghost.until("bye").await;
        assert_eq!(bye["code"], CloseCode::IdleTimeout.as_str());
        assert!(bye["reconnect_after_ms"].is_u64());
    }
    back.comment("the live one is still there").await;
    assert_eq!(live.await.unwrap(), "the live one is still there");
}

#[tokio::test]
async fn a_draining_node_refuses_comments_and_says_where() {
    let daemon = Daemon::start("");
    let authorization = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", authorization.as_str())];
    post(&daemon, "/v1/drain", json!({})).await;
    let body = Some(r#"{"message":"hi"}"#);
    let (status, answer) = http(&daemon, "POST", "/api/streams/1/comments", &headers, body).await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("shutting_down")));
    assert!(answer["detail"].as_str().unwrap().contains("another node"), "{answer}");
    assert!(answer["retry_after_ms"].is_u64());
    post(&daemon, "/v1/drain", json!({"undo": true})).await;
    let (status, _) = http(&daemon, "POST", "/api/streams/1/comments", &headers, body).await;
    assert_eq!(status, 201);
}
