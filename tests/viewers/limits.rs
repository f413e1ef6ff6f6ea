//! No limit forbids what another allows: every allowed comment fits in every legal encoding, and
//! every id survives every reader.

#![allow(clippy::print_stderr, reason = "the log of a failed daemon is shown")]
#![allow(clippy::unwrap_used)]

use live_comments::protocol::ServerMessage;
use live_comments::protocol::message::msgpack;
use serde_json::{Value, json};

use crate::support::socket::{RawSocket, frame};
use crate::support::{Daemon, archived, http};

/// Returns a JSON string with every UTF-16 unit escaped, as the strictest encoders write it.
fn escaped(text: &str) -> String {
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

/// The same message, decomposed (NFD).
fn decomposed(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    text.nfd().collect()
}

/// Texts at the limits of characters and bytes.
fn allowed_texts() -> Vec<(&'static str, String)> {
    vec![
        ("ASCII", "x".repeat(500)),
        ("two bytes", "ж".repeat(500)),
        ("three bytes", "語".repeat(500)),
        ("emoji", "😀".repeat(400)),
        ("as many bytes as allowed", "😀".repeat(500)),
        ("Hangul, three jamo each", "각".repeat(500)),
        ("letters with three marks each", "\u{1F82}".repeat(500)),
        ("graphemes of several characters", "👩‍👩‍👧‍👦".repeat(71)),
        ("quotes and backslashes", "\"\\".repeat(250)),
    ]
}

#[tokio::test]
async fn every_allowed_comment_fits_in_every_encoding() {
    let daemon = Daemon::start("");
    let token = daemon.token(42, "ann");
    let query = format!("?token={token}");
    let mut as_json = RawSocket::open(&daemon, &query, "lc.v1.json").await;
    let mut as_msgpack = RawSocket::open(&daemon, &query, "lc.v1.msgpack").await;
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str())];
    let client_ref = "😀".repeat(64);
    for (name, text) in allowed_texts() {
        let nfd = decomposed(&text);
        for (form, text) in [("NFC", &text), ("NFD", &nfd)] {
            for (escapes, message) in
                [("plain", serde_json::to_string(text).unwrap()), ("escaped", escaped(text))]
            {
                let what = format!("{name}, {form}, {escapes}");
                let client_ref = escaped(&client_ref);
                let payload = format!(
                    r#"{{"type":"comment","message":{message},"ref":{client_ref},"more":[1,2,3]}}"#
                );
                as_json.send(&frame(0x81, payload.as_bytes())).await;
                loop {
                    let answer =
                        as_json.message().await.unwrap_or_else(|| panic!("{what}: closed"));
                    match answer["type"].as_str().unwrap() {
                        "ack" => break,
                        "error" => panic!("{what}: {answer}"),
                        _ => {}
                    }
                }
                let body = format!(r#"{{"message":{message},"more":{{"a":"b"}}}}"#);
                let (status, answer) =
                    http(&daemon, "POST", "/api/streams/1/comments", &headers, Some(&body)).await;
                assert_eq!(status, 201, "{what} over HTTP: {answer}");
            }
            let payload = rmp_serde::to_vec(&(1, text, &client_ref, None::<()>, "more")).unwrap();
            as_msgpack.send(&frame(0x82, &payload)).await;
            loop {
                let (_, payload) = as_msgpack.frame().await.unwrap();
                match msgpack::decode_server(&payload) {
                    Ok(ServerMessage::Ack { .. }) => break,
                    Ok(ServerMessage::Error { code, message, .. }) => {
                        panic!("{name}, {form} in MessagePack: {code}: {message}")
                    }
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn refused_messages_are_named_by_their_ref() {
    let daemon = Daemon::start("");
    let query = format!("?token={}", daemon.token(42, "ann"));
    let mut socket = RawSocket::open(&daemon, &query, "lc.v1.json").await;
    socket.until("welcome").await;
    for (payload, code) in [
        (r#"{"type":"comment","message":"cut \ud83d!","ref":"r1"}"#, "bad_json"),
        (r#"{"type":"comment","message":["x"],"ref":"r1"}"#, "bad_message"),
        (r#"{"type":"coment","message":"x","ref":"r1"}"#, "unknown_type"),
        (r#"{"type":"comment","message":" ","ref":"r1"}"#, "comment_empty"),
    ] {
        socket.send(&frame(0x81, payload.as_bytes())).await;
        let error = socket.until("error").await;
        assert_eq!((error["code"].as_str(), error["ref"].as_str()), (Some(code), Some("r1")));
    }
    let more = r#"{"type":"comment","message":"hi","ref":"r2","reply_to":"x"}"#;
    socket.send(&frame(0x81, more.as_bytes())).await;
    assert_eq!(socket.until("ack").await["ref"], "r2");
}

/// Returns JSON as a reader with 53 bits sees it.
fn rounded(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.iter().map(rounded).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), rounded(field))).collect()
        }
        other => other.clone(),
    }
}

fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.as_u64().is_none_or(|number| number < 1 << 53)
                && number.as_i64().is_none_or(|number| number.unsigned_abs() < 1 << 53)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

#[tokio::test]
async fn ids_of_64_bits_reach_readers_with_53() {
    const IDS: [u64; 2] = [175_928_847_299_117_063, 175_928_847_299_117_064];
    const STREAM: u64 = i64::MAX as u64;
    let daemon = Daemon::start("");
    let admin = daemon.admin();
    let new = json!({"stream_id": STREAM.to_string(), "title": "far"});
    let created: Value = admin.post("/v1/streams", &new).await.unwrap();
    assert_eq!(created["stream"]["stream_id"], STREAM.to_string());
    let mut seen = Vec::new();
    for id in IDS {
        let query = format!("?token={}", daemon.token(id, &format!("user {id}")));
        let mut socket = RawSocket::open(&daemon, &query, "lc.v1.json").await;
        let welcome = rounded(&socket.until("welcome").await);
        assert_eq!(welcome["user"]["user_id"], id.to_string());
        assert_eq!(welcome["stream_id"], "1");
        socket.send(&frame(0x81, br#"{"type":"comment","message":"hi","ref":"a"}"#)).await;
        let batch = rounded(&socket.until("comments").await);
        let own = batch["comments"].as_array().unwrap().last().unwrap();
        assert_eq!(own["user_id"], welcome["user"]["user_id"], "the page marks it as its own");
        seen.push(own["user_id"].as_str().unwrap().to_owned());
    }
    assert_ne!(seen[0], seen[1]);
    archived(&daemon).await;
    let (_, page) = http(&daemon, "GET", "/api/streams/1/comments", &[], None).await;
    let ids: Vec<_> = rounded(&page)["comments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["user_id"].clone())
        .collect();
    assert_eq!(ids, [json!(seen[1]), json!(seen[0])]);
    let ban = json!({"user": seen[1], "reason": "spam"});
    let banned: Value = admin.post("/v1/ban", &ban).await.unwrap();
    assert_eq!(banned["user_id"], seen[1], "a ban by copy hits the right person");
    let far = format!("/api/streams/{STREAM}");
    let (_, stream) = http(&daemon, "GET", &far, &[], None).await;
    assert_eq!(stream["stream_id"], STREAM.to_string());
    for path in ["/v1/status", "/v1/streams", "/v1/bans", "/v1/audit?limit=50", "/v1/history/1"] {
        let answer: Value = admin.get(path).await.unwrap();
        assert!(is_exact(&answer), "{path}: {answer}");
    }
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lc"))
        .args(["--json", "bans"])
        .arg("--socket")
        .arg(daemon.socket())
        .output()
        .unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rounded(&line)["user_id"], seen[1], "{output:?}");
}
