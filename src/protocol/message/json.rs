//! The JSON encoding: one object per message, with the kind of message in `type`.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{BadMessage, ClientMessage, ServerMessage};
use crate::protocol::room::RoomPatch;
use crate::protocol::{ErrorCode, ModerationAct, json};

pub fn encode(message: &ServerMessage) -> Vec<u8> {
    json::to_vec(message).expect("a server message has string keys only, and memory does not fail")
}

pub fn encode_client(message: &ClientMessage) -> Vec<u8> {
    json::to_vec(message).expect("a client message has string keys only, and memory does not fail")
}

/// Decodes a message from the server. Further fields are ignored.
///
/// # Errors
/// It is no message, or one of a type that is not known; see [`is_unknown_type`].
pub fn decode_server(payload: &[u8]) -> Result<ServerMessage, serde_json::Error> {
    serde_json::from_slice(payload)
}

/// Returns whether a message from the server could not be decoded because this version does not
/// know its type. A client ignores it.
pub fn is_unknown_type(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    // The list of words tells the type from a field that has a word.
    error.is_data() && text.starts_with("unknown variant") && text.contains("of `welcome`, ")
}

/// Decodes a message from a viewer. `payload` must be UTF-8; the framing layer checks that.
pub fn decode_client(payload: &[u8]) -> Result<ClientMessage, BadMessage> {
    let read = serde_json::from_slice(payload).and_then(|message| {
        // serde takes arrays for structures.
        if payload.contains(&b'[') {
            refuse_arrays(&message, payload)?;
        }
        Ok(message)
    });
    match read {
        Ok(message) => message.checked(),
        Err(error) => Err(to_bad_message(&error).with_ref(client_ref(payload))),
    }
}

/// Refuses a message that has arrays in the place of objects, field by field in the order of the
/// code.
fn refuse_arrays(message: &ClientMessage, payload: &[u8]) -> serde_json::Result<()> {
    let mut fields: Value = serde_json::from_slice(payload)?;
    if fields.is_array() {
        return Err(serde_json::Error::custom("an array is not an object"));
    }
    match message {
        ClientMessage::Room { .. } => {
            json::read_object::<RoomPatch>("patch", fields["patch"].take()).map(drop)
        }
        ClientMessage::Moderate { .. } => {
            json::read_object::<ModerationAct>("act", fields["act"].take()).map(drop)
        }
        _ => Ok(()),
    }
}

/// Returns the `ref` of a message that cannot be decoded as a whole.
fn client_ref(payload: &[u8]) -> Option<String> {
    let mut found = None;
    // An error ends the search; a `ref` before it has been found.
    let _ = serde_json::Deserializer::from_slice(payload).deserialize_map(RefFinder(&mut found));
    found
}

/// Stores the value of `ref` as soon as it is read. Other values need not be valid text.
struct RefFinder<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for RefFinder<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "ref" {
                *self.0 = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
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
    BadMessage::new(ErrorCode::BadMessage, json::misfit(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::msgpack;
    use proptest::prelude::*;

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
            (r#"{"type":"comment","message":"x","ref":""}"#, ErrorCode::BadMessage),
            (r#"{"type":"comment","message":"x","parent_id":7}"#, ErrorCode::BadMessage),
            (r#"{"type":"comment","message":"x","parent_id":"seven"}"#, ErrorCode::BadMessage),
            (
                r#"{"type":"comment","message":"x","parent_id":"936da01f-9abd-4d9d-80c7-02af85c822a8"}"#,
                ErrorCode::BadMessage,
            ),
            (r#"{"type":"room","patch":{}}"#, ErrorCode::BadMessage),
            (r#"{"type":"room","patch":{"slow":1}}"#, ErrorCode::BadMessage),
            (r#"{"type":"room","patch":{"slow_ms":1}}"#, ErrorCode::BadMessage),
            (r#"{"type":"room","patch":{"checks":{"late":"x"}}}"#, ErrorCode::BadMessage),
            (r#"{"type":"room","patch":[5000]}"#, ErrorCode::BadMessage),
            (r#"{"type":"moderate","act":{"unban":["id:42"]}}"#, ErrorCode::BadMessage),
            (r#"["ping"]"#, ErrorCode::BadMessage),
            (r#"{"type":"moderate","act":{"shout":{}}}"#, ErrorCode::BadMessage),
            (r#"{"type":"moderate","act":{"ban":{}}}"#, ErrorCode::BadMessage),
        ] {
            assert_eq!(decode_client(payload.as_bytes()).unwrap_err().code, code, "{payload}");
        }
    }

    #[test]
    fn errors_name_no_type_of_rust() {
        for (payload, told) in [
            ("7", "integer `7` is not an object"),
            (r#"{"type":1}"#, "integer `1` is not a word"),
            ("{}", "`type` is missing"),
            (r#"{"type":"comment"}"#, "`message` is missing"),
            (r#"{"type":"moderate"}"#, "`act` is missing"),
            (r#"{"type":"room","patch":null}"#, "`patch`: null is not an object"),
            (r#"{"type":"room","patch":[5000]}"#, "`patch`: an array is not an object"),
            (r#"["ping"]"#, "an array is not an object"),
            (
                r#"{"type":"room","patch":{"no_links":7}}"#,
                "`patch.no_links`: integer `7` is not a boolean",
            ),
            (r#"{"type":"comment","message":7}"#, "`message`: integer `7` is not a string"),
            (r#"{"type":"comment","message":"x","ref":7}"#, "`ref`: integer `7` is not a string"),
            (r#"{"type":"auth","token":null}"#, "`token`: null is not a string"),
            (r#"{"type":"reaction","reaction":[]}"#, "`reaction`: an array is not a string"),
            (r#"{"type":"resume","skip":1}"#, "`skip`: integer `1` is not a boolean"),
        ] {
            let bad = decode_client(payload.as_bytes()).unwrap_err();
            assert_eq!(bad.message, told, "{payload}");
        }
    }

    #[test]
    fn errors_carry_the_ref_wherever_it_can_be_read() {
        for (payload, client_ref) in [
            (r#"{"type":"comment","message":"cut \ud83d!","ref":"r1"}"#, Some("r1")),
            (r#"{"ref":"r1","type":"comment","message":"\udc00"}"#, Some("r1")),
            (r#"{"type":"comment","ref":"r1"}"#, Some("r1")),
            (r#"{"type":"comment","message":7,"ref":"r1"}"#, Some("r1")),
            (r#"{"type":"comment","message":{"a":[1,{}]},"ref":"r1"}"#, Some("r1")),
            (r#"{"type":"shout","message":"x","ref":"r1"}"#, Some("r1")),
            (r#"{"message":"x","ref":"r1"}"#, Some("r1")),
            (r#"{"ref":"r1","message":"cut off"#, Some("r1")),
            (r#"{"type":"comment","message":"x","ref":""}"#, Some("")),
            (r#"{"type":"comment","message":"cut off","#, None),
            (r#"{"type":"comment","ref":7}"#, None),
            (r#"{"type":"comment","inner":{"ref":"r1"}}"#, None),
            (r#"["ref","r1"]"#, None),
            ("", None),
        ] {
            let bad = decode_client(payload.as_bytes()).unwrap_err();
            assert_eq!(bad.client_ref.as_deref(), client_ref, "{payload}");
        }
        let long = "x".repeat(65);
        let payload = format!(r#"{{"type":"comment","message":"x","ref":"{long}"}}"#);
        let bad = decode_client(payload.as_bytes()).unwrap_err();
        assert_eq!((bad.code, bad.client_ref), (ErrorCode::BadMessage, Some(long)));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let known = decode_client(br#"{"type":"comment","message":"hi","ref":"a"}"#).unwrap();
        let more =
            br#"{"type":"comment","message":"hi","ref":"a","colour":"red","v":{"n":[1]},"_":null}"#;
        assert_eq!(decode_client(more), Ok(known));
        for (payload, expected) in [
            (&br#"{"type":"ping","id":1}"#[..], ClientMessage::Ping),
            (br#"{"at":1.5,"type":"pause"}"#, ClientMessage::Pause),
            (br#"{"type":"resume","from":1}"#, ClientMessage::Resume { skip: false }),
            (br#"{"type":"resume","skip":true}"#, ClientMessage::Resume { skip: true }),
        ] {
            assert_eq!(decode_client(payload), Ok(expected));
        }
    }

    proptest! {
        /// Bytes that are taken for a message are one: written again, they are read as the same.
        #[test]
        fn accepted_bytes_are_a_message(text in r#"\{("type":"(comment|ping|resume|auth)"|"(message|ref|token)":"[a-z\\u0-9]{0,9}"|,|"skip":(true|1)|[{}]){1,7}\}"#) {
            match decode_client(text.as_bytes()) {
                Ok(message) => {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
                    prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message));
                }
                Err(bad) => {
                    // A wrong field may be found before the place where it is not JSON.
                    let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                    prop_assert!(!is_json || bad.code != ErrorCode::BadJson, "{}", bad);
                }
            }
        }
    }

    #[test]
    fn documented_messages_are_decoded() {
        let comment = br#"{"type":"comment","message":"hi","ref":"a"}"#;
        let hi = |parent_id| ClientMessage::Comment {
            message: "hi".into(),
            client_ref: Some("a".into()),
            parent_id,
        };
        assert_eq!(decode_client(comment), Ok(hi(None)));
        let reply = br#"{"type":"comment","message":"hi","ref":"a",
            "parent_id":"2f5e1c80-c6e5-11f0-8000-0242ac120002"}"#;
        let parent = "2f5e1c80-c6e5-11f0-8000-0242ac120002".parse().unwrap();
        assert_eq!(decode_client(reply), Ok(hi(Some(parent))));
        assert_eq!(decode_client(br#"{"type":"pause"}"#), Ok(ClientMessage::Pause));
        let patch = RoomPatch { slow_ms: Some(None), shield: Some(true), ..RoomPatch::default() };
        let change = ClientMessage::Room { patch: patch.into(), client_ref: Some("a".into()) };
        let room = br#"{"type":"room","patch":{"slow_ms":null,"shield":true},"ref":"a"}"#;
        assert_eq!(decode_client(room), Ok(change.clone()));
        let packed = msgpack::encode_client(&change);
        assert_eq!(msgpack::decode_client(&packed), Ok(change));
        let act = ModerationAct::named("unban", serde_json::json!({"user": "id:42"})).unwrap();
        let act = ClientMessage::Moderate { act: act.into(), client_ref: Some("a".into()) };
        let unban = br#"{"type":"moderate","act":{"unban":{"user":"id:42"}},"ref":"a"}"#;
        assert_eq!(decode_client(unban), Ok(act.clone()));
        let packed = msgpack::encode_client(&act);
        assert_eq!(msgpack::decode_client(&packed), Ok(act));
    }
}
