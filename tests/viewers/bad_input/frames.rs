//! Frames and messages over WebSocket, and too many of them.

use live_comments::protocol::Role;
use tokio::io::AsyncWriteExt as _;

use super::{JSON, MSGPACK, text};
use crate::support::Daemon;
use crate::support::socket::{RawSocket, frame};

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x82, payload)
}

/// Name, subprotocol, bytes, expected error code, close code if the connection must end.
type FrameCase = (&'static str, &'static str, Vec<u8>, &'static str, Option<u16>);

pub(super) async fn frames_and_messages(daemon: &Daemon, token: &str) -> usize {
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
