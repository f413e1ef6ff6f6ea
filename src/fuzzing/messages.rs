//! Messages of the viewer protocol, in both encodings.

use crate::protocol::ErrorCode;
use crate::protocol::message::{
    BadMessage, ClientMessage, MAX_REF_CHARS, ServerMessage, json as as_json, msgpack as as_msgpack,
};

/// The most bytes that an error text adds to what it quotes.
const MAX_TEXT_BYTES: usize = 400;

/// A JSON message from a viewer, and the same bytes as one from the server.
pub fn json(data: &[u8]) {
    check_client(as_json::decode_client(data), data);
    if let Ok(message) = as_json::decode_server(data) {
        check_server(&message);
    }
}

/// A MessagePack message from a viewer, and the same bytes as one from the server.
pub fn msgpack(data: &[u8]) {
    let decoded = as_msgpack::decode_client(data);
    if decoded.is_ok() {
        let longer = as_msgpack::decode_client(&[data, &[0xC0]].concat());
        assert!(longer.is_err(), "bytes after a message are refused");
    }
    check_client(decoded, data);
    if let Ok(message) = as_msgpack::decode_server(data) {
        check_server(&message);
    }
}

fn check_client(decoded: Result<ClientMessage, BadMessage>, data: &[u8]) {
    match decoded {
        Ok(message) => {
            if let ClientMessage::Comment { client_ref: Some(client_ref), .. } = &message {
                assert!((1..=MAX_REF_CHARS).contains(&client_ref.chars().count()));
            }
            let json = as_json::decode_client(&as_json::encode_client(&message));
            assert_eq!(json.as_ref(), Ok(&message), "JSON carries it");
            let msgpack = as_msgpack::decode_client(&as_msgpack::encode_client(&message));
            assert_eq!(msgpack.as_ref(), Ok(&message), "MessagePack carries it");
        }
        Err(BadMessage { code, message, .. }) => {
            use ErrorCode::{BadJson, BadMessage, BadMsgpack, UnknownType};
            assert!(matches!(code, BadJson | BadMsgpack | BadMessage | UnknownType), "{code}");
            assert!(!code.retry() && code.close_code().is_none(), "the connection stays open");
            // A character of the input may be quoted as an escape of up to ten bytes.
            let bound = MAX_TEXT_BYTES + data.len() * 10;
            assert!((1..=bound).contains(&message.len()), "{message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }
}

fn check_server(message: &ServerMessage) {
    let json = as_json::encode(message);
    let shown = as_json::decode_server(&json).expect("JSON carries it");
    assert_eq!(as_json::encode(&shown), json, "it is read as it was written");
    if serde_json::to_vec(message).is_ok_and(|unbounded| unbounded == json) {
        assert_eq!(&shown, message, "without an integer beyond 53 bits nothing is changed");
    }
    if let ServerMessage::Comments(batch) = message {
        // MessagePack has differences, which are never negative: a batch is in order.
        let seqs = batch.comments.iter().map(|comment| comment.seq);
        let ordered = std::iter::once(batch.from_seq).chain(seqs).is_sorted();
        if !ordered {
            return;
        }
    }
    let msgpack = as_msgpack::decode_server(&as_msgpack::encode(message));
    assert_eq!(msgpack.as_ref().ok(), Some(&without_rate(message)), "MessagePack carries it");
}

/// Returns a message without the fields that MessagePack does not have.
fn without_rate(message: &ServerMessage) -> ServerMessage {
    let mut message = message.clone();
    if let ServerMessage::Welcome { user: Some(user), .. } = &mut message {
        user.comments_per_minute = None;
        user.standing = Default::default();
    }
    message
}
