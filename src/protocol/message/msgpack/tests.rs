//! Round trips, every legal form, and the errors of wrong bytes.

use proptest::prelude::*;

use super::client::check_encoding;
use super::*;
use crate::protocol::comment::SequencedComment;
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::message::{ClientMessage, json};
use crate::protocol::room::tests::rules;
use crate::protocol::stream::{StreamNotice, StreamState};
use crate::protocol::{Badges, ErrorCode, PinnedComment, PollState, RoomPoll};

fn comment() -> impl Strategy<Value = SequencedComment> {
    (0_u64..1 << 55, 0_u16..4, 1_u64..1 << 62, ".{0,40}", 0_u64..1 << 40, 0_u64..1000).prop_map(
        |(ticks, node, user, text, created_at, seq)| SequencedComment {
            comment_id: CommentId::from_unix_ticks(ticks, node, [node as u8; 6]),
            user_id: UserId(user),
            name: format!("u{user}").into(),
            message: text.into(),
            created_at,
            seq,
            badges: Badges::from_bits((seq % 16) as u8),
            parent_id: (seq % 3 == 0).then(|| CommentId::from_unix_ticks(ticks / 2, 9, [1; 6])),
        },
    )
}

fn message() -> impl Strategy<Value = ServerMessage> {
    let batch = (proptest::collection::vec(comment(), 0..8), 0_u32..=100, any::<bool>());
    prop_oneof![
        batch.prop_map(|(mut comments, percent, echo)| {
            comments.sort_by_key(|comment| comment.seq);
            ServerMessage::Comments(CommentsBatch {
                epoch: Epoch(9),
                from_seq: 0,
                to_seq: 1000,
                sample_rate: SampleRate::from_share(f64::from(percent) / 100.0).unwrap(),
                comments,
                echo,
            })
        }),
        comment().prop_map(|comment| ServerMessage::Ack {
            client_ref: Some(comment.message.clone()),
            comment_id: comment.comment_id,
            seq: comment.seq,
        }),
        rules().prop_map(ServerMessage::Room),
        proptest::option::of(comment()).prop_map(|comment| ServerMessage::Pinned {
            comment: comment.map(|comment| pinned(&comment).into()),
        }),
        (any::<u32>(), ".{0,20}", rules(), comment()).prop_map(|(seq, text, room, comment)| {
            ServerMessage::Welcome {
                stream_id: StreamId(1),
                user: Some(Identity {
                    user_id: UserId(7),
                    name: text.into(),
                    role: Role::Viewer,
                    everywhere: Role::Viewer,
                    avatar: None,
                    comments_per_minute: None,
                    standing: Standing::default(),
                }),
                epoch: Epoch(seq),
                seq: u64::from(seq),
                sample_rate: SampleRate::ALL,
                viewers: 3,
                room,
                reactions: (0..seq % 3).map(|number| format!("kind{number}").into()).collect(),
                state: if seq % 2 == 0 { StreamState::Live } else { StreamState::Scheduled },
                starts_at: (seq % 3 == 1).then_some(u64::from(seq)),
                pinned: (seq % 2 == 0).then(|| pinned(&comment).into()),
                poll: (seq % 3 == 0).then(|| poll(&comment).into()),
            }
        }),
        comment().prop_map(|comment| ServerMessage::Poll(poll(&comment).into())),
        comment().prop_map(|comment| ServerMessage::PollVotes {
            poll_id: comment.seq,
            votes: vec![comment.created_at, 0],
        }),
        (".{0,20}", proptest::option::of(0..=MAX_SAFE_INTEGER)).prop_map(|(text, starts_at)| {
            ServerMessage::Stream(StreamNotice {
                state: StreamState::Scheduled,
                title: text.as_str().into(),
                description: text.as_str().into(),
                starts_at,
                started_at: None,
            })
        }),
        (0..=MAX_SAFE_INTEGER, 0..=MAX_SAFE_INTEGER).prop_map(|(from_seq, to_seq)| {
            let history = (from_seq % 2 == 0).then(|| "api/streams/1/comments".into());
            ServerMessage::Gap { from_seq, to_seq, history }
        }),
        (".{0,20}", proptest::option::of(0..=MAX_SAFE_INTEGER)).prop_map(|(text, message_id)| {
            let from_user = message_id.filter(|id| id % 2 == 0).map(UserId);
            let message = text.as_str().into();
            ServerMessage::Direct { from: "ann".into(), message, message_id, from_user }
        }),
        ".{0,20}".prop_map(|text| ServerMessage::Error {
            code: ErrorCode::RateLimited,
            message: text,
            retry_after_ms: Some(5),
            client_ref: None,
        }),
        comment().prop_map(|comment| ServerMessage::CommentDeleted(Deletion {
            comment_id: comment.comment_id,
            reason: comment.message,
            timestamp: comment.created_at,
        })),
    ]
}

fn pinned(comment: &SequencedComment) -> PinnedComment {
    PinnedComment {
        comment_id: comment.comment_id,
        user_id: comment.user_id,
        name: comment.name.clone(),
        message: comment.message.clone(),
        created_at: comment.created_at,
        badges: comment.badges,
        pinned_at: comment.created_at + 1,
    }
}

fn poll(comment: &SequencedComment) -> PollState {
    let poll = RoomPoll {
        poll_id: comment.seq,
        question: comment.message.clone(),
        options: vec![comment.name.clone(), "no".into()],
        opened_at: comment.created_at,
        closes_at: comment.created_at + 10_000,
    };
    PollState::at(poll, &[comment.seq], comment.created_at + comment.seq * 20)
}

fn with_id(comment_id: CommentId) -> SequencedComment {
    let user_id = UserId(7);
    let created_at = comment_id.unix_ms();
    SequencedComment {
        comment_id,
        user_id,
        name: "u".into(),
        message: "m".into(),
        created_at,
        seq: 1,
        badges: Default::default(),
        parent_id: None,
    }
}

fn batch(comments: Vec<SequencedComment>) -> ServerMessage {
    ServerMessage::Comments(CommentsBatch {
        epoch: Epoch(9),
        from_seq: 0,
        to_seq: 1000,
        sample_rate: SampleRate::ALL,
        comments,
        echo: false,
    })
}

proptest! {
    #[test]
    fn both_encodings_carry_the_same_content(message in message()) {
        prop_assert_eq!(&decode_server(&encode(&message)).unwrap(), &message);
        prop_assert_eq!(&json::decode_server(&json::encode(&message)).unwrap(), &message);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes: Vec<u8>) {
        crate::fuzzing::msgpack(&bytes);
        crate::fuzzing::json(&bytes);
    }

    /// Bytes that are taken for a message are one: written again, they are read as the same.
    #[test]
    fn accepted_bytes_are_a_message(
        kind in 0_u8..10,
        fields in proptest::collection::vec(
            prop_oneof![
                Just(vec![0xC0]),
                Just(vec![0xC3]),
                "[a-z]{0,9}".prop_map(|text| rmp_serde::to_vec(&text).unwrap()),
                any::<u16>().prop_map(|number| rmp_serde::to_vec(&number).unwrap()),
                proptest::collection::vec(any::<u8>(), 0..3),
            ],
            0..4,
        ),
    ) {
        let mut bytes = vec![0x91 + fields.len() as u8, kind];
        fields.iter().for_each(|field| bytes.extend_from_slice(field));
        match decode_client(&bytes) {
            Ok(message) => {
                prop_assert!(kind <= 8);
                prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message));
            }
            Err(bad) => {
                let well_formed = check_encoding(&bytes).is_ok();
                prop_assert_eq!(bad.code == ErrorCode::BadMsgpack, !well_formed, "{}", bad);
                prop_assert_eq!(bad.code == ErrorCode::UnknownType, well_formed && kind > 8);
            }
        }
    }

    /// A server message that can be read is the same after it was written and read again.
    #[test]
    fn damaged_server_messages_are_errors_or_others(
        message in message(),
        at: proptest::sample::Index,
        byte: u8,
    ) {
        let mut bytes = encode(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = decode_server(&bytes) {
            // Sequences that overflow or go back cannot be written as differences.
            let in_order = |batch: &CommentsBatch| {
                let first = batch.comments.first().is_none_or(|c| c.seq >= batch.from_seq);
                first && batch.comments.is_sorted_by_key(|comment| comment.seq)
            };
            prop_assert!(!matches!(&read, ServerMessage::Comments(batch) if !in_order(batch)));
            prop_assert_eq!(decode_server(&encode(&read)).unwrap(), read);
        }
    }

    /// Ids that no node of ours made, and ids that a previous one nearly gives, come through as
    /// well.
    #[test]
    fn any_ids_come_through(
        first: [u8; 16],
        changes in proptest::collection::vec((0_usize..16, any::<u8>()), 0..8),
    ) {
        let mut bytes = first;
        let ids = std::iter::once(first).chain(changes.into_iter().map(|(at, byte)| {
            bytes[at] = byte;
            bytes
        }));
        let comments = ids.map(|id| with_id(CommentId(Uuid::from_bytes(id)))).collect();
        let message = batch(comments);
        prop_assert_eq!(decode_server(&encode(&message)).unwrap(), message);
    }

    #[test]
    fn votes_round_trip(poll_id in 0..=MAX_SAFE_INTEGER, option: u16, with_ref: bool) {
        let client_ref = with_ref.then(|| "a".to_owned());
        let message = ClientMessage::Vote { poll_id, option: option.into(), client_ref };
        prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message.clone()));
        prop_assert_eq!(json::decode_client(&json::encode_client(&message)), Ok(message));
    }

    #[test]
    fn client_messages_round_trip(text in ".{1,30}", with_ref: bool, with_parent: bool) {
        let client_ref = with_ref.then(|| text.clone());
        let parent_id = with_parent.then(|| CommentId::from_unix_ticks(9_000, 1, [3; 6]));
        let message = ClientMessage::Comment { message: text, client_ref, parent_id };
        prop_assert_eq!(decode_client(&encode_client(&message)), Ok(message.clone()));
        prop_assert_eq!(json::decode_client(&json::encode_client(&message)), Ok(message));
    }
}

/// The ticks of the second id are later and its node is the same, but its version is another: it is
/// not the first one some ticks later.
#[test]
fn an_id_of_another_version_comes_through() {
    let first = CommentId::from_unix_ticks(9_000, 1, [3; 6]);
    let mut bytes = *CommentId::from_unix_ticks(8_000, 1, [3; 6]).0.as_bytes();
    bytes[6] = 0xF3;
    let message = batch(vec![with_id(first), with_id(CommentId(Uuid::from_bytes(bytes)))]);
    assert_eq!(decode_server(&encode(&message)).unwrap(), message);
}

#[test]
fn bad_messages_have_the_right_code() {
    for (payload, code) in [
        (&b""[..], ErrorCode::BadMsgpack),
        (&[0xC1], ErrorCode::BadMsgpack),
        (&[0x92, 1], ErrorCode::BadMsgpack),
        (&[0x80], ErrorCode::BadMessage),
        (&[0x01], ErrorCode::BadMessage),
        (&[0x91, 99], ErrorCode::UnknownType),
        (&[0x91, 1], ErrorCode::BadMessage),
        (&[0x91, 3, 0xC0], ErrorCode::BadMsgpack),
        (&[0x93, 1, 7, 0xC0], ErrorCode::BadMessage),
        (&[0x90], ErrorCode::BadMessage),
        (&[0x91, 3, 0], ErrorCode::BadMsgpack),
        (&[0x92, 4, 7], ErrorCode::BadMessage),
    ] {
        assert_eq!(decode_client(payload).unwrap_err().code, code, "{payload:?}");
    }
}

#[test]
fn errors_name_the_field_and_no_type_of_rust() {
    let shout = r#"{"shout":{}}"#;
    let two = r#"{"ban":{"user":"x"},"unban":{}}"#;
    let wrong_type = r#"{"slow_ms":"x"}"#;
    for (field, kind, text, told) in [
        ("act", 7, "7", "integer `7` is not a word or an object"),
        ("act", 7, two, "the object must have exactly one field"),
        ("act", 7, r#"{"ban":{}}"#, "`user` is missing"),
        ("act", 7, shout, "`shout` is unknown; the words are `delete`, `clear_user`, "),
        ("patch", 6, "true", "boolean `true` is not an object"),
        ("patch.slow_ms", 6, wrong_type, "string \"x\" is not a whole number from 0"),
        ("patch", 6, r#"{"slow":1}"#, "there is no `slow` here; the fields are `"),
    ] {
        let bad = decode_client(&pack(&(kind, text))).unwrap_err();
        let expected = format!("wrong fields: `{field}`: {told}");
        assert!(bad.message.starts_with(&expected), "{text}: {}", bad.message);
        let written = if kind == 6 {
            format!("{{\"type\":\"room\",\"patch\":{text}}}")
        } else {
            format!("{{\"type\":\"moderate\",\"act\":{text}}}")
        };
        let bad = json::decode_client(written.as_bytes()).unwrap_err();
        let expected = format!("`{field}`: {told}");
        assert!(bad.message.starts_with(&expected), "{text}: {}", bad.message);
    }
    for (payload, told) in [
        (pack(&(7, "{")), "`act`: not JSON: EOF while parsing an object"),
        (pack(&(7, 7)), "`act`: integer `7` is not a string"),
        (pack(&(1, "hi", 7)), "`ref`: integer `7` is not a string"),
        (pack(&(4, 7)), "`skip`: integer `7` is not a boolean"),
        (pack(&(1,)), "`message` is missing"),
        (pack(&("x",)), "`kind`: the value has the wrong type"),
        (vec![0x80], "an object is not an array that starts with the kind of message"),
    ] {
        let bad = decode_client(&payload).unwrap_err();
        assert_eq!(bad.message, format!("wrong fields: {told}"));
    }
}

#[test]
fn every_legal_form_of_a_message_is_read() {
    let hi = ClientMessage::Comment { message: "hi".into(), client_ref: None, parent_id: None };
    for (payload, message) in [
        (&[0x91, 5][..], ClientMessage::Ping),
        (&[0x92, 5, 7], ClientMessage::Ping),
        (&[0x91, 0xCC, 5], ClientMessage::Ping),
        (&[0x91, 0xCD, 0, 5], ClientMessage::Ping),
        (&[0xDC, 0, 1, 5], ClientMessage::Ping),
        (&[0xDD, 0, 0, 0, 1, 5], ClientMessage::Ping),
        (&[0x91, 4], ClientMessage::Resume { skip: false }),
        (&[0x92, 4, 0xC0], ClientMessage::Resume { skip: false }),
        (&[0x92, 4, 0xC3], ClientMessage::Resume { skip: true }),
        (&[0x92, 1, 0xA2, b'h', b'i'], hi.clone()),
        (&[0x93, 1, 0xD9, 2, b'h', b'i', 0xC0], hi.clone()),
        (&[0x93, 1, 0xDB, 0, 0, 0, 2, b'h', b'i', 0xC0], hi.clone()),
        (&[0x96, 1, 0xA2, b'h', b'i', 0xC0, 0xC0, 0x81, 1, 2, 0x90], hi),
    ] {
        assert_eq!(decode_client(payload), Ok(message), "{payload:?}");
    }
}

/// A server of an earlier version sends neither the rules of the room nor the reactions.
#[test]
fn an_early_welcome_has_an_open_room() {
    let user: Option<CompactUser> = None;
    let payload = pack(&(0, 1, user, 9, 8, SampleRate::ALL, 3));
    let Ok(ServerMessage::Welcome { room, viewers, reactions, .. }) = decode_server(&payload)
    else {
        panic!("a welcome");
    };
    assert_eq!((room.is_open(), viewers, reactions.len()), (true, 3, 0));
}

#[test]
fn errors_carry_the_ref_wherever_it_can_be_read() {
    for (payload, client_ref) in [
        (&[0x93, 1, 7, 0xA1, b'r'][..], Some("r")),
        (&[0x93, 1, 0xA2, 0xC3, 0x28, 0xA1, b'r'], Some("r")),
        (&[0x93, 99, 0xC0, 0xA1, b'r'], Some("r")),
        (&[0x93, 0xA1, b'x', 0xC0, 0xA1, b'r'], Some("r")),
        (&[0x94, 8, 7, 0xA1, b'x', 0xA1, b'r'], Some("r")),
        (&[0x94, 8, 0xC0, 1, 0xA1, b'r'], Some("r")),
        (&[0x93, 8, 7, 0xA1, b'x'], None),
        (&[0x93, 1, 0xA1, b'x', 0xA0], Some("")),
        (&[0x93, 1, 7, 0xA1, b'r', 0], Some("r")),
        (&[0x93, 1, 7], None),
        (&[0x93, 1, 7, 8], None),
        (&[0x91, 1], None),
    ] {
        let bad = decode_client(payload).unwrap_err();
        assert_eq!(bad.client_ref.as_deref(), client_ref, "{payload:?}: {bad}");
    }
}

/// A later version adds elements at the end of arrays, and kinds of messages.
#[test]
fn further_elements_and_kinds_are_ignored() {
    let user = (7, "ann", Role::Viewer, Some("a.png"), "more");
    let poll = (5, "?", ["a", "b"], 1, 2, false, [3, 4], "more");
    let nothing: Option<u8> = None;
    let head = (0, 1, user, 9, 8, SampleRate::ALL, 3, nothing, ["fire"], nothing, nothing, poll);
    let mut payload = pack(&head);
    assert_eq!(payload[0], 0x9C);
    payload[0] += 2;
    payload.extend([0x92, 1, 2, 0xC0]);
    let Ok(ServerMessage::Welcome { user, poll, reactions, .. }) = decode_server(&payload) else {
        panic!("a welcome");
    };
    assert_eq!((user.unwrap().user_id, poll.unwrap().votes.clone()), (UserId(7), vec![3, 4]));
    assert_eq!(reactions.len(), 1);

    let id = CommentId::from_unix_ticks(9_000, 1, [3; 6]);
    let row = (bytes(id), 7, "ann", "hi", 1, 0, Badges::default(), Some(bytes(id)), "more");
    let payload = pack(&(1, 9, 0, 10, SampleRate::ALL, [row], "more"));
    let Ok(ServerMessage::Comments(batch)) = decode_server(&payload) else { panic!("a batch") };
    assert_eq!((batch.comments[0].comment_id, batch.comments[0].parent_id), (id, Some(id)));
    let told = decode_server(&pack(&(9, "hi", "more"))).unwrap();
    assert_eq!(told, ServerMessage::Announcement { message: "hi".into() });

    let later = pack(&(LAST_KIND + 1, "more"));
    assert!(!is_known(&later) && decode_server(&later).is_err());
    assert!(is_known(&payload) && is_known(b"no array"));
    assert!(decode_server(&pack(&(LAST_KIND, Some("a")))).is_ok());
}
