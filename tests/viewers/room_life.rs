//! The life of a room: replies, the pinned comment, polls and kept messages, over real sockets and
//! HTTP.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::Outcome;
use live_comments::protocol::{
    ClientMessage, CommentId, ErrorCode, ModerationAct, PinnedComment, PollState, Role,
    SequencedComment, ServerMessage,
};
use serde_json::{Value, json};

use crate::support::{Daemon, STREAM, Viewer, archived, history, http, msgpack};

fn reply(text: &str, parent_id: CommentId) -> ClientMessage {
    let client_ref = Some(text.to_owned());
    ClientMessage::Comment { message: text.to_owned(), client_ref, parent_id: Some(parent_id) }
}

async fn received(viewer: &mut Viewer, text: &str) -> SequencedComment {
    let named = |message: &ServerMessage| match message {
        ServerMessage::Comments(batch) => {
            batch.comments.iter().find(|comment| &*comment.message == text).cloned()
        }
        _ => None,
    };
    viewer.until(named).await
}

async fn replies(daemon: &Daemon, parent: CommentId, query: &str) -> Value {
    let path = format!("/api/streams/1/comments/{parent}/replies{query}");
    let (status, body) = http(daemon, "GET", &path, &[], None).await;
    assert_eq!(status, 200, "{body}");
    body
}

fn texts(page: &Value) -> Vec<&str> {
    let comments = page["comments"].as_array().unwrap();
    comments.iter().map(|comment| comment["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn replies_are_told_listed_and_counted() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    let mut ann = daemon.join(42, "ann").await;
    let mut bob = Viewer::join(ViewerOptions {
        token: Some(daemon.token(43, "bob").into()),
        ..msgpack(daemon.options())
    })
    .await;
    let (parent, _) = ann.comment("who wins?").await;
    for (sender, text) in [(&mut ann, "the red ones"), (&mut bob, "the blue ones")] {
        sender.send(&reply(text, parent)).await;
        for viewer in [&mut plain, &mut packed] {
            assert_eq!(received(viewer, text).await.parent_id, Some(parent), "{text}");
        }
    }
    let token = format!("Bearer {}", daemon.token(44, "cid"));
    let headers = [("authorization", &*token)];
    let body = json!({"message": "nobody", "parent_id": parent}).to_string();
    let (status, posted) =
        http(&daemon, "POST", "/api/streams/1/comments", &headers, Some(&body)).await;
    assert_eq!(status, 201, "{posted}");
    assert_eq!(received(&mut plain, "nobody").await.parent_id, Some(parent));
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    let parents: Vec<_> = stored.iter().map(|comment| comment.parent_id).collect();
    assert_eq!(parents, [None, Some(parent), Some(parent), Some(parent)]);

    let all = replies(&daemon, parent, "").await;
    assert_eq!((all["count"].as_u64(), texts(&all).len()), (Some(3), 3));
    assert_eq!(texts(&all)[0], "nobody");
    assert_eq!(all.get("next_before"), None);
    let first = replies(&daemon, parent, "?limit=2").await;
    assert_eq!(texts(&first), texts(&all)[..2]);
    let before = first["next_before"].as_str().unwrap();
    let second = replies(&daemon, parent, &format!("?limit=2&before={before}")).await;
    assert_eq!((second["count"].as_u64(), texts(&second)), (Some(3), vec![texts(&all)[2]]));
    assert_eq!(replies(&daemon, stored[1].comment_id, "").await["count"], 0);

    let delete = json!({ "comment_id": posted["comment_id"] });
    let _: Outcome = daemon.admin().post("/v1/delete", &delete).await.unwrap();
    archived(&daemon).await;
    assert_eq!(replies(&daemon, parent, "").await["count"], 2, "a deleted reply does not count");

    let daemon = daemon.kill_and_restart();
    assert_eq!(replies(&daemon, parent, "").await["count"], 2);
}

#[tokio::test]
async fn a_bad_parent_is_refused_by_name() {
    let daemon = Daemon::start("");
    let token = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", &*token)];
    let future = CommentId::from_unix_ticks(1 << 57, 1, [3; 6]);
    for parent in [
        json!(7),
        json!("seven"),
        json!("936da01f-9abd-4d9d-80c7-02af85c822a8"),
        json!(["2f5e1c80-c6e5-11f0-8000-0242ac120002"]),
        json!(future),
    ] {
        let body = json!({"message": "hi", "parent_id": parent}).to_string();
        let (status, told) =
            http(&daemon, "POST", "/api/streams/1/comments", &headers, Some(&body)).await;
        assert_eq!((status, &told["code"]), (400, &json!("bad_message")), "{parent}");
        let named = told["detail"].as_str().unwrap().matches("`parent_id`").count();
        assert_eq!(named, 1, "{told}");
    }
    for path in ["seven/replies", "2f5e1c80-c6e5-11f0-8000-0242ac120002/replies?limit=0"] {
        let path = format!("/api/streams/1/comments/{path}");
        let (status, told) = http(&daemon, "GET", &path, &[], None).await;
        assert_eq!((status, &told["code"]), (400, &json!("bad_request")), "{path}");
    }
    let elsewhere = "/api/streams/9/comments/2f5e1c80-c6e5-11f0-8000-0242ac120002/replies";
    let (status, _) = http(&daemon, "GET", elsewhere, &[], None).await;
    assert_eq!(status, 404);
    let mut ann = daemon.join(42, "ann").await;
    ann.comment("no reply").await;
    archived(&daemon).await;
    let stored = history(&daemon, STREAM).await;
    assert_eq!(stored.len(), 1, "the refused ones are not in it: {stored:?}");
}

async fn told_pin(viewer: &mut Viewer) -> Option<Arc<PinnedComment>> {
    let pinned = |message: &ServerMessage| match message {
        ServerMessage::Pinned { comment } => Some(comment.clone()),
        _ => None,
    };
    viewer.until(pinned).await
}

async fn act(moderator: &mut Viewer, name: &str, fields: Value) {
    let act = ModerationAct::named(name, fields).unwrap().into();
    moderator.send(&ClientMessage::Moderate { act, client_ref: Some(name.to_owned()) }).await;
    let acked = |message: &ServerMessage| match message {
        ServerMessage::ModerateAck { client_ref } => Some(client_ref.clone()),
        ServerMessage::Error { code, message, .. } => panic!("{code}: {message}"),
        _ => None,
    };
    assert_eq!(moderator.until(acked).await.as_deref(), Some(name));
}

#[tokio::test]
async fn everybody_is_told_what_is_pinned() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let mut packed = Viewer::join(msgpack(daemon.options())).await;
    let mut ann = daemon.join(42, "ann").await;
    let (first, _) = ann.comment("<b>the rules</b>").await;
    let (second, _) = ann.comment("the score").await;
    archived(&daemon).await;
    let token = daemon.token_of(7, "mod", Role::Moderator);
    let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
    let mut moderator = Viewer::join(options).await;
    act(&mut moderator, "pin", json!({ "comment_id": first })).await;
    for viewer in [&mut plain, &mut packed] {
        let told = told_pin(viewer).await.expect("it is pinned");
        assert_eq!((told.comment_id, &*told.message), (first, "<b>the rules</b>"));
    }
    let token = format!("Bearer {}", daemon.token_of(7, "mod", Role::Moderator));
    let headers = [("authorization", &*token)];
    let body = json!({ "comment_id": second }).to_string();
    let path = "/api/streams/1/moderation/pin";
    let (status, done) = http(&daemon, "POST", path, &headers, Some(&body)).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(told_pin(&mut plain).await.unwrap().comment_id, second, "in place of the first");

    let daemon = daemon.kill_and_restart();
    let plain = daemon.watch().await;
    let packed = Viewer::join(msgpack(daemon.options())).await;
    for viewer in [plain, packed] {
        assert_eq!(viewer.welcome.pinned.unwrap().comment_id, second);
    }
    let (_, poll) = http(&daemon, "GET", "/api/streams/1/comments/poll", &[], None).await;
    assert_eq!(poll["messages"][0]["pinned"]["comment_id"], json!(second));

    let mut plain = daemon.watch().await;
    let delete = json!({ "comment_id": second });
    let _: Outcome = daemon.admin().post("/v1/delete", &delete).await.unwrap();
    assert_eq!(told_pin(&mut plain).await, None, "it is gone with its comment");
    assert_eq!(daemon.watch().await.welcome.pinned, None);
    let (_, stream) = http(&daemon, "GET", "/api/streams/1", &[], None).await;
    assert_eq!(stream.get("pinned"), None);
    let token = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", &*token)];
    let (status, _) = http(&daemon, "POST", path, &headers, Some(&body)).await;
    assert_eq!(status, 403, "viewers pin nothing");
}

#[tokio::test]
async fn a_comment_that_moderation_deletes_is_unpinned() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let mut ann = daemon.join(42, "ann").await;
    let (id, _) = ann.comment("hello").await;
    archived(&daemon).await;
    let pin = json!({ "comment_id": id });
    let pinned: Outcome = daemon.admin().post("/v1/streams/1/pin", &pin).await.unwrap();
    assert_eq!(pinned.stream.unwrap().pinned.unwrap().comment_id, id);
    assert!(told_pin(&mut plain).await.is_some());
    let shadow = json!({ "comment_id": id }).to_string();
    let token = format!("Bearer {}", daemon.token_of(7, "mod", Role::Moderator));
    let headers = [("authorization", &*token)];
    let path = "/api/streams/1/moderation/shadow";
    let (status, done) = http(&daemon, "POST", path, &headers, Some(&shadow)).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(told_pin(&mut plain).await, None);
    let unpin = daemon.admin().post::<_, Outcome>("/v1/streams/1/unpin", &json!({})).await;
    assert!(unpin.unwrap_err().to_string().contains("no comment is pinned"));
}

async fn told_poll(viewer: &mut Viewer) -> PollState {
    let poll = |message: &ServerMessage| match message {
        ServerMessage::Poll(state) => Some(PollState::clone(state)),
        _ => None,
    };
    viewer.until(poll).await
}

async fn told_votes(viewer: &mut Viewer, expected: &[u64]) {
    let votes = |message: &ServerMessage| match message {
        ServerMessage::PollVotes { votes, .. } => (votes == expected).then_some(()),
        _ => None,
    };
    viewer.until(votes).await;
}

/// Votes over a connection. Returns the code of the refusal, if there is one.
async fn vote(viewer: &mut Viewer, poll_id: u64, option: u64) -> Option<ErrorCode> {
    let client_ref = Some("vote".to_owned());
    viewer.send(&ClientMessage::Vote { poll_id, option, client_ref }).await;
    let answer = |message: &ServerMessage| match message {
        ServerMessage::VoteAck { client_ref } => Some((client_ref.clone(), None)),
        ServerMessage::Error { code, client_ref, .. } => Some((client_ref.clone(), Some(*code))),
        _ => None,
    };
    let (client_ref, refused) = viewer.until(answer).await;
    assert_eq!(client_ref.as_deref(), Some("vote"));
    refused
}

#[tokio::test]
async fn a_poll_is_told_voted_in_and_closed() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let mut packed = Viewer::join(ViewerOptions {
        token: Some(daemon.token(43, "bob").into()),
        ..msgpack(daemon.options())
    })
    .await;
    let mut ann = daemon.join(42, "ann").await;
    let token = daemon.token_of(7, "mod", Role::Moderator);
    let options = ViewerOptions { token: Some(token.into()), ..daemon.options() };
    let mut moderator = Viewer::join(options).await;
    let hostile = "<script>alert(1)</script>'; DROP TABLE polls; --";
    let poll = json!({"question": hostile, "options": ["red", "blue"], "duration_ms": 60_000});
    act(&mut moderator, "open_poll", poll.clone()).await;
    let opened = told_poll(&mut plain).await;
    let poll_id = opened.poll.poll_id;
    assert_eq!((&*opened.poll.question, opened.closed), (hostile, false));
    assert_eq!((told_poll(&mut packed).await, opened.votes.len()), (opened, 2));

    assert_eq!(vote(&mut ann, poll_id, 1).await, None);
    assert_eq!(vote(&mut ann, poll_id, 0).await, Some(ErrorCode::AlreadyVoted));
    assert_eq!(vote(&mut packed, poll_id, 2).await, Some(ErrorCode::UnknownOption));
    assert_eq!(vote(&mut packed, poll_id + 1, 0).await, Some(ErrorCode::PollClosed));
    assert_eq!(vote(&mut packed, poll_id, 1).await, None);
    assert_eq!(vote(&mut plain, poll_id, 1).await, Some(ErrorCode::NotAuthenticated));
    let cast = async |user: u64, poll_id: u64, body: Value| {
        let token = format!("Bearer {}", daemon.token(user, "cid"));
        let headers = [("authorization", &*token)];
        let path = format!("/api/streams/1/polls/{poll_id}/votes");
        let body = body.to_string();
        let (status, told) = http(&daemon, "POST", &path, &headers, Some(&body)).await;
        (status, told["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(cast(44, poll_id, json!({"option": 0})).await, (204, String::new()));
    assert_eq!(cast(44, poll_id, json!({"option": 0})).await, (204, String::new()), "a repetition");
    assert_eq!(cast(44, poll_id, json!({"option": 1})).await.1, "already_voted");
    assert_eq!(cast(45, poll_id, json!({"option": -1})).await, (400, "bad_message".to_owned()));
    assert_eq!(cast(45, poll_id, json!({"option": 9})).await, (422, "unknown_option".to_owned()));
    told_votes(&mut plain, &[1, 2]).await;
    told_votes(&mut packed, &[1, 2]).await;

    let daemon = daemon.kill_and_restart();
    let (_, begun) = http(&daemon, "GET", "/api/streams/1/comments/poll", &[], None).await;
    assert_eq!(begun["messages"][0]["poll"]["poll_id"], json!(poll_id), "a restart closes nothing");
    let mut plain = daemon.watch().await;
    assert_eq!(plain.welcome.poll.as_ref().map(|state| state.poll.poll_id), Some(poll_id));
    let mut ann = daemon.join(42, "ann").await;
    assert_eq!(vote(&mut ann, poll_id, 0).await, Some(ErrorCode::AlreadyVoted));
    let again = daemon.admin().post::<_, Outcome>("/v1/streams/1/polls", &poll).await;
    assert!(again.unwrap_err().to_string().contains("is open in stream 1 already"));
    let close = json!({});
    let _: Outcome = daemon.admin().post("/v1/streams/1/polls/close", &close).await.unwrap();
    let closed = told_poll(&mut plain).await;
    assert_eq!((closed.closed, &*closed.votes), (true, &[1, 2][..]));
    assert_eq!(vote(&mut ann, poll_id, 1).await, None, "a repetition");
    assert_eq!(vote(&mut ann, poll_id, 0).await, Some(ErrorCode::AlreadyVoted));
    let mut cid = daemon.join(45, "cid").await;
    assert_eq!(vote(&mut cid, poll_id, 0).await, Some(ErrorCode::PollClosed));
    let (status, listed) = http(&daemon, "GET", "/api/streams/1/polls", &[], None).await;
    assert_eq!((status, &listed["polls"][0]["votes"]), (200, &json!([1, 2])));
}

/// All that a request of this file could have changed.
async fn state(daemon: &Daemon) -> Value {
    let (_, stream) = http(daemon, "GET", "/api/streams/1", &[], None).await;
    let (_, polls) = http(daemon, "GET", "/api/streams/1/polls", &[], None).await;
    let token = format!("Bearer {}", daemon.token(42, "ann"));
    let headers = [("authorization", &*token)];
    let (_, messages) = http(daemon, "GET", "/api/streams/1/messages", &headers, None).await;
    let audit: Value = daemon.admin().get("/v1/audit").await.unwrap();
    json!([stream, polls, messages, audit])
}

#[tokio::test]
async fn bad_acts_and_votes_change_nothing() {
    let daemon = Daemon::start("");
    let mut ann = daemon.join(42, "ann").await;
    let (pinned, _) = ann.comment("the rules").await;
    archived(&daemon).await;
    let second = json!({"stream_id": 2, "title": "another"});
    let admin = format!("Bearer {}", daemon.token_of(9, "adm", Role::Admin));
    let headers = [("authorization", &*admin)];
    let made = http(&daemon, "POST", "/api/streams", &headers, Some(&second.to_string())).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let poll = json!({"question": "?", "options": ["a", "b"], "duration_ms": 60_000});
    let opened: Outcome = daemon.admin().post("/v1/streams/1/polls", &poll).await.unwrap();
    let poll_id = opened.audit_id;
    let pin = json!({ "comment_id": pinned });
    let _: Outcome = daemon.admin().post("/v1/streams/1/pin", &pin).await.unwrap();
    let before = state(&daemon).await;
    assert!(before[1]["polls"].is_array() && before[3] != Value::Null, "{before}");

    let votes = |poll: &str| format!("/api/streams/1/polls/{poll}/votes");
    let act = |name: &str| format!("/api/streams/1/moderation/{name}");
    let open = votes(&poll_id.to_string());
    let unknown = "2f5e1c80-c6e5-11f0-8000-0242ac120002";
    let zero = r#"{"option":0}"#;
    let rows = [
        (votes("x"), zero.to_owned(), 400, "bad_request"),
        (votes("-1"), zero.to_owned(), 400, "bad_request"),
        (votes("1.5"), zero.to_owned(), 400, "bad_request"),
        (votes("99999999999999999999"), zero.to_owned(), 400, "bad_request"),
        (votes(&(poll_id + 1).to_string()), zero.to_owned(), 409, "poll_closed"),
        (open.replace("/streams/1/", "/streams/2/"), zero.to_owned(), 409, "poll_closed"),
        (open.replace("/streams/1/", "/streams/9/"), zero.to_owned(), 404, "unknown_stream"),
        (open.clone(), r#"{"option":2}"#.to_owned(), 422, "unknown_option"),
        (open.clone(), r#"{"option":256}"#.to_owned(), 422, "unknown_option"),
        (open.clone(), r#"{"option":-1}"#.to_owned(), 400, "bad_message"),
        (open.clone(), r#"{"option":"0"}"#.to_owned(), 400, "bad_message"),
        (open.clone(), r#"{"option":null}"#.to_owned(), 400, "bad_message"),
        (open.clone(), r#"{"option":[0]}"#.to_owned(), 400, "bad_message"),
        (open.clone(), "{}".to_owned(), 400, "bad_message"),
        (open, "{".to_owned(), 400, "bad_json"),
        (act("open_poll"), "{}".to_owned(), 400, "bad_message"),
        (act("open_poll"), poll.to_string(), 409, "poll_open"),
        (act("open_poll"), poll.to_string().replace("60000", "-1"), 400, "bad_message"),
        (act("open_poll"), poll.to_string().replace("\"?\"", "7"), 400, "bad_message"),
        (act("open_poll"), poll.to_string().replace("\"b\"", "\"a\""), 400, "bad_message"),
        (act("pin"), "{}".to_owned(), 400, "bad_message"),
        (act("pin"), r#"{"comment_id":"seven"}"#.to_owned(), 400, "bad_message"),
        (act("pin"), r#"{"comment_id":7}"#.to_owned(), 400, "bad_message"),
        (act("pin"), json!({ "comment_id": unknown }).to_string(), 404, "not_found"),
        (act("pin").replace("/streams/1/", "/streams/2/"), pin.to_string(), 404, "not_found"),
        (act("message"), "{}".to_owned(), 400, "bad_message"),
        (act("message"), r#"{"user":"id:42"}"#.to_owned(), 400, "bad_message"),
        (act("message"), r#"{"user":"id:42","message":""}"#.to_owned(), 400, "bad_message"),
        (act("message"), r#"{"user":"id:42","message":7}"#.to_owned(), 400, "bad_message"),
        (act("message"), r#"{"user":"nobody","message":"hi"}"#.to_owned(), 404, "not_found"),
    ];
    let moderator = format!("Bearer {}", daemon.token_of(7, "mod", Role::Moderator));
    let headers = [("authorization", &*moderator)];
    for (at, (path, body, status, code)) in rows.iter().enumerate() {
        if at % 5 == 4 {
            // As many votes as that may be sent per second.
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        let (told, answer) = http(&daemon, "POST", path, &headers, Some(body)).await;
        assert_eq!((told, &answer["code"]), (*status, &json!(code)), "{path} {body}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer}");
    }
    assert_eq!(state(&daemon).await, before);
    let viewer = format!("Bearer {}", daemon.token(43, "bob"));
    for (path, body) in [
        (act("open_poll"), poll.to_string()),
        (act("close_poll"), "{}".to_owned()),
        (act("pin"), pin.to_string()),
        (act("unpin"), "{}".to_owned()),
        (act("message"), r#"{"user":"id:42","message":"hi"}"#.to_owned()),
    ] {
        for (headers, status) in [(&[("authorization", &*viewer)][..], 403), (&[][..], 401)] {
            let (told, answer) = http(&daemon, "POST", &path, headers, Some(&body)).await;
            assert_eq!(told, status, "{path}: {answer}");
        }
    }
    assert_eq!(state(&daemon).await, before);
}

#[tokio::test]
async fn a_poll_closes_by_itself() {
    let daemon = Daemon::start("");
    let mut plain = daemon.watch().await;
    let poll = json!({"question": "?", "options": ["a", "b"], "duration_ms": 10_000});
    let _: Outcome = daemon.admin().post("/v1/streams/1/polls", &poll).await.unwrap();
    assert!(!told_poll(&mut plain).await.closed);
    assert!(told_poll(&mut plain).await.closed);
    for bad in [
        json!({"question": "?", "options": ["a"], "duration_ms": 10_000}),
        json!({"question": "?", "options": ["a", "b"], "duration_ms": 1}),
        json!({"question": "x".repeat(201), "options": ["a", "b"], "duration_ms": 10_000}),
        json!({"question": "?", "options": ["a", "\u{1b}[2J"], "duration_ms": 10_000}),
        json!({"question": "?", "options": "ab", "duration_ms": 10_000}),
    ] {
        let token = format!("Bearer {}", daemon.token_of(7, "mod", Role::Moderator));
        let headers = [("authorization", &*token)];
        let path = "/api/streams/1/moderation/open_poll";
        let body = bad.to_string();
        let (status, told) = http(&daemon, "POST", path, &headers, Some(&body)).await;
        assert_eq!((status, &told["code"]), (400, &json!("bad_message")), "{bad}");
    }
    let (_, listed) = http(&daemon, "GET", "/api/streams/1/polls", &[], None).await;
    assert_eq!(listed["polls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_waits_for_a_user_that_is_away() {
    let daemon = Daemon::start("");
    let direct = json!({"user": "id:42", "message": "<b>come back</b>"});
    let sent: Outcome = daemon.admin().post("/v1/dm", &direct).await.unwrap();
    assert_eq!((sent.connections, sent.kept), (Some(0), true));
    let token = format!("Bearer {}", daemon.token_of(7, "mod", Role::Moderator));
    let headers = [("authorization", &*token)];
    let path = "/api/streams/1/moderation/message";
    let body = json!({"user": "id:42", "message": "read the rules"}).to_string();
    let (status, done) = http(&daemon, "POST", path, &headers, Some(&body)).await;
    assert_eq!((status, &done["kept"]), (200, &json!(true)), "{done}");
    let (status, told) =
        http(&daemon, "POST", path, &headers, Some(r#"{"user":"id:42","message":" "}"#)).await;
    assert_eq!((status, &told["code"]), (400, &json!("bad_message")));

    let daemon = daemon.kill_and_restart();
    let kept = async |user: u64| {
        let token = format!("Bearer {}", daemon.token(user, "ann"));
        let headers = [("authorization", &*token)];
        let path = "/api/streams/1/messages";
        let (status, body) = http(&daemon, "GET", path, &headers, None).await;
        assert_eq!(status, 200, "{body}");
        body["messages"].as_array().unwrap().clone()
    };
    let messages = kept(42).await;
    let told: Vec<_> = messages.iter().map(|it| (&it["from"], &it["message"])).collect();
    let first = (&json!("moderator"), &json!("<b>come back</b>"));
    assert_eq!(told, [first, (&json!("mod"), &json!("read the rules"))]);
    assert!(kept(43).await.is_empty(), "they are of one user");
    let (status, _) = http(&daemon, "GET", "/api/streams/1/messages", &[], None).await;
    assert_eq!(status, 401);

    let acknowledge = async |up_to: Value| {
        let token = format!("Bearer {}", daemon.token(42, "ann"));
        let headers = [("authorization", &*token)];
        let path = "/api/streams/1/messages/acknowledged";
        let body = json!({ "up_to": up_to }).to_string();
        http(&daemon, "POST", path, &headers, Some(&body)).await.0
    };
    assert_eq!(acknowledge(json!("all")).await, 400);
    assert_eq!(kept(42).await.len(), 2, "nothing was read");
    assert_eq!(acknowledge(messages[0]["message_id"].clone()).await, 204);
    assert_eq!(kept(42).await, messages[1..]);
    let mut ann = daemon.join(42, "ann").await;
    let sent: Outcome = daemon.admin().post("/v1/dm", &direct).await.unwrap();
    assert_eq!((sent.connections, sent.kept), (Some(1), false));
    let direct = |message: &ServerMessage| match message {
        ServerMessage::Direct { message, .. } => Some(message.to_string()),
        _ => None,
    };
    assert_eq!(ann.until(direct).await, "<b>come back</b>");
    let messages = kept(42).await;
    assert_eq!(messages.len(), 2, "a connection may be dead: it is kept until it is acknowledged");
    assert_eq!(acknowledge(messages[1]["message_id"].clone()).await, 204);
    assert!(kept(42).await.is_empty());
}

#[tokio::test]
async fn users_send_each_other_messages_where_allowed() {
    let path = "/api/streams/1/messages";
    let send = async |daemon: &Daemon, sender: (u64, &str), user: &str, message: &str| {
        let token = format!("Bearer {}", daemon.token(sender.0, sender.1));
        let headers = [("authorization", &*token)];
        let body = json!({ "user": user, "message": message }).to_string();
        http(daemon, "POST", path, &headers, Some(&body)).await
    };
    let off = Daemon::start("");
    let mut ann = off.join_known(42, "ann").await;
    let (status, told) = send(&off, (43, "bob"), "ann", "hi").await;
    assert_eq!((status, &told["code"]), (403, &json!("messages_off")), "{told}");
    assert_eq!(told["title"], "Users send each other no messages on this server");
    ann.comment("still here").await;
    drop(off);

    let daemon = Daemon::start(
        "[messages]\nbetween_users = true\nper_minute = 12\n\
         [moderation.rules]\nblocked_words = [\"flumph\"]\n",
    );
    let mut ann = daemon.join_known(42, "ann").await;
    let bob = (43, "bob");
    let (status, sent) = send(&daemon, bob, "ann", " <b>hi</b>\u{200B} ").await;
    assert_eq!(status, 204, "{sent}");
    let direct = |message: &ServerMessage| match message {
        ServerMessage::Direct { from, message, message_id, from_user } => {
            Some((from.to_string(), message.to_string(), *message_id, *from_user))
        }
        _ => None,
    };
    let (from, message, message_id, from_user) = ann.until(direct).await;
    assert_eq!((&*from, &*message), ("bob", "<b>hi</b>"));
    assert!(message_id.is_some(), "it can be acknowledged");
    assert_eq!(json!(from_user), json!("43"));
    for (user, message, status, code) in [
        ("id:43", "hi", 400, "bad_request"),
        ("nobody", "hi", 404, "not_found"),
        ("id:777", "hi", 404, "not_found"),
        ("ann", "", 400, "bad_message"),
        ("ann", "you flumph", 422, "moderation_rejected"),
    ] {
        let told = send(&daemon, bob, user, message).await;
        assert_eq!((told.0, &told.1["code"]), (status, &json!(code)), "{user} {message}");
    }
    let kept = async |user: u64, name: &str| {
        let token = format!("Bearer {}", daemon.token(user, name));
        let headers = [("authorization", &*token)];
        let (status, body) = http(&daemon, "GET", path, &headers, None).await;
        assert_eq!(status, 200, "{body}");
        body["messages"].as_array().unwrap().clone()
    };
    let messages = kept(42, "ann").await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((&messages[0]["from"], &messages[0]["from_user"]), (&json!("bob"), &json!("43")));
    let mut sent = 0;
    let told = loop {
        let (status, told) = send(&daemon, bob, "ann", &format!("again {sent}")).await;
        if status != 204 {
            break told;
        }
        sent += 1;
    };
    assert_eq!(told["code"], "rate_limited", "{told}");
    // A new minute may have begun.
    assert!((6..=18).contains(&sent), "{sent} besides the six tries before");
    assert!(told["retry_after_ms"].as_u64().is_some_and(|wait| wait <= 60_000), "{told}");
    let timeout = json!({ "user": "id:44", "duration_ms": 60_000 });
    let _: Outcome = daemon.admin().post("/v1/timeout", &timeout).await.unwrap();
    let (status, told) = send(&daemon, (44, "cid"), "ann", "hi").await;
    assert_eq!((status, &told["code"]), (403, &json!("timed_out")), "{told}");
    // A shadowed user is told what everybody is told, and reaches nobody.
    let shadow = json!({ "user": "id:45" });
    let _: Outcome = daemon.admin().post("/v1/shadow", &shadow).await.unwrap();
    let (status, told) = send(&daemon, (45, "eve"), "ann", "hi").await;
    assert_eq!((status, told), (204, Value::Null));
    let messages = kept(42, "ann").await;
    assert_eq!(messages.len(), 5, "the newest of a sender");
    assert_eq!(messages[4]["message"], format!("again {}", sent - 1));
}
