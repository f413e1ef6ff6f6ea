//! The JSON encoding: one object per message, with the kind of message in `type`.

use super::{BadMessage, ClientMessage, ServerMessage};
use crate::protocol::ErrorCode;

pub fn encode(message: &ServerMessage) -> Vec<u8> {
    serde_json::to_vec(message)
        .expect("a server message has string keys only, and memory does not fail")
}

pub fn encode_client(message: &ClientMessage) -> Vec<u8> {
    serde_json::to_vec(message)
        .expect("a client message has string keys only, and memory does not fail")
}

pub fn decode_server(payload: &[u8]) -> Result<ServerMessage, serde_json::Error> {
    serde_json::from_slice(payload)
}

/// Decodes a message from a viewer. `payload` must be UTF-8; the framing layer checks that.
pub fn decode_client(payload: &[u8]) -> Result<ClientMessage, BadMessage> {
    match serde_json::from_slice::<ClientMessage>(payload) {
        Ok(message) => message.checked(),
        Err(error) => Err(to_bad_message(&error)),
    }
}

fn to_bad_message(error: &serde_json::Error) -> BadMessage {
    let text = error.to_string();
    if !error.is_data() {
        return BadMessage::new(ErrorCode::BadJson, format!("not JSON: {text}"));
    }
    if text.starts_with("unknown variant") {
        let expected = ClientMessage::TYPES;
        return BadMessage::new(
            ErrorCode::UnknownType,
            format!("unknown `type`: expected {expected}"),
        );
    }
    BadMessage::new(ErrorCode::BadMessage, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_messages_have_the_right_code() {
        for (payload, code) in [
            ("", ErrorCode::BadJson),
            ("{", ErrorCode::BadJson),
            ("[1]", ErrorCode::BadMessage),
            ("{}", ErrorCode::BadMessage),
            (r#"{"type":1}"#, ErrorCode::BadMessage),
            (r#"{"type":"shout"}"#, ErrorCode::UnknownType),
            (r#"{"type":"comment"}"#, ErrorCode::BadMessage),
            (r#"{"type":"comment","message":7}"#, ErrorCode::BadMessage),
            (r#"{"type":"comment","message":"x","colour":"red"}"#, ErrorCode::BadMessage),
            (r#"{"type":"comment","message":"x","ref":""}"#, ErrorCode::BadMessage),
        ] {
            assert_eq!(decode_client(payload.as_bytes()).unwrap_err().code, code, "{payload}");
        }
    }

    #[test]
    fn documented_messages_are_decoded() {
        let comment = br#"{"type":"comment","message":"hi","ref":"a"}"#;
        let expected =
            ClientMessage::Comment { message: "hi".into(), client_ref: Some("a".into()) };
        assert_eq!(decode_client(comment), Ok(expected));
        assert_eq!(decode_client(br#"{"type":"pause"}"#), Ok(ClientMessage::Pause));
    }
}
