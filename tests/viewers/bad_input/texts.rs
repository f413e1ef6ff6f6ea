//! Texts that are invisible, that have a normal form, or that would be code elsewhere.

use live_comments::client::admin::AdminError;
use live_comments::protocol::{Role, ServerMessage};
use tokio::time::timeout;

use super::{JSON, text};
use crate::support::socket::RawSocket;
use crate::support::{self, Daemon, http};

/// Texts in which nothing is visible.
const INVISIBLE: [&str; 7] =
    ["\u{3164}", "\u{200B}", "\u{2800}", "\u{FFFA}", "\u{301}", "\u{2068}\u{2069}", " \u{FE0F}"];

/// A text as it is sent, and its normal form.
const NORMAL_FORMS: [(&str, &str); 6] = [
    ("ann ", "ann"),
    ("ann\u{200B}", "ann"),
    ("\u{2068}ann\u{2069}", "ann"),
    ("\u{202E}ann", "ann"),
    ("cafe\u{301}", "caf\u{E9}"),
    ("👩🏽‍🚀 ❤️ 1️⃣", "👩🏽‍🚀 ❤️ 1️⃣"),
];

#[tokio::test]
async fn an_invisible_text_is_refused_at_every_door() {
    let daemon = Daemon::start("");
    let (_, _) = daemon.join(42, "ann").await.comment("hello").await;
    let admin = daemon.admin();
    let token = daemon.token_of(7, "boss", Role::Admin);
    let bearer = format!("Bearer {token}");
    let auth = [("authorization", &*bearer)];
    for text in INVISIBLE {
        let viewer =
            RawSocket::open(&daemon, &format!("?token={}", daemon.token(9, text)), JSON).await;
        assert_eq!(viewer.answer_to(&[], true).await, ("token_claims".to_owned(), Some(4501)));
        let message = serde_json::json!({"message": text});
        let viewer = RawSocket::open(&daemon, &format!("?token={token}"), JSON).await;
        let sent = serde_json::json!({"type": "comment", "message": text}).to_string();
        let (code, _) = viewer.answer_to(&self::text(&sent), false).await;
        assert_eq!(code, "comment_empty", "{text:?} over WebSocket");
        let body = message.to_string();
        let (status, answer) =
            http(&daemon, "POST", "/api/streams/1/comments", &auth, Some(&body)).await;
        assert_eq!((status, answer["code"].as_str()), (422, Some("comment_empty")));
        for (path, body) in [
            ("/v1/announce", serde_json::json!({"stream_id": 1, "message": text})),
            ("/v1/dm", serde_json::json!({"user": "42", "message": text})),
            ("/v1/ban", serde_json::json!({"user": "42", "reason": text})),
            ("/v1/kick", serde_json::json!({"user": "42", "note": text})),
            ("/v1/tokens", serde_json::json!({"user_id": 1, "name": text})),
        ] {
            match admin.post::<_, serde_json::Value>(path, &body).await {
                Err(AdminError::Refused(error)) => {
                    assert_eq!(error.code.as_str(), "bad_message", "{path} {body}");
                    assert!(error.message.contains("no visible character"), "{}", error.message);
                }
                other => panic!("{path} {body}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_text_has_one_normal_form_at_every_door() {
    let daemon = Daemon::start("");
    let admin = daemon.admin();
    let mut viewer = daemon.watch().await;
    let announced = |message: &ServerMessage| match message {
        ServerMessage::Announcement { message, .. } => Some(message.to_string()),
        _ => None,
    };
    for (user_id, (sent, normal)) in (50..).zip(NORMAL_FORMS) {
        let (_, seq) = daemon.join(user_id, sent).await.comment(sent).await;
        viewer.until_seq(seq).await;
        let shown = viewer.comments.last().unwrap();
        assert_eq!((&*shown.name, &*shown.message), (normal, normal), "{sent:?}");
        let body = serde_json::json!({"stream_id": 1, "message": sent});
        let _: serde_json::Value = admin.post("/v1/announce", &body).await.unwrap();
        assert_eq!(viewer.until(announced).await, normal, "{sent:?}");
        let body = serde_json::json!({"title": sent});
        let _: serde_json::Value = admin.post("/v1/streams/1", &body).await.unwrap();
        let (_, streams) = http(&daemon, "GET", "/api/streams", &[], None).await;
        assert!(streams.to_string().contains(&format!("\"title\":\"{normal}\"")), "{streams}");
    }
}

#[tokio::test]
async fn a_name_with_a_space_is_no_other_name() {
    let daemon = Daemon::start("");
    let (_, _) = daemon.join(1, "ann").await.comment("one").await;
    let (_, _) = daemon.join(2, "ann ").await.comment("two").await;
    let (_, _) = daemon.join(3, "bob\u{200B}").await.comment("three").await;
    let admin = daemon.admin();
    for user_id in 1..=3 {
        let named = async {
            loop {
                let who: serde_json::Value =
                    admin.get(&format!("/v1/who/{user_id}")).await.unwrap();
                if who["name"].is_string() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        timeout(support::PATIENCE, named).await.expect("the name is stored");
    }
    for user in ["ann", "ann ", "ann\u{2800}"] {
        let body = serde_json::json!({"user": user});
        match admin.post::<_, serde_json::Value>("/v1/ban", &body).await {
            Err(AdminError::Refused(error)) => {
                assert!(error.message.contains("2 users: id:2, id:1"), "{}", error.message);
            }
            other => panic!("{user:?}: {other:?}"),
        }
    }
    let body = serde_json::json!({"user": "bob "});
    let banned: serde_json::Value = admin.post("/v1/ban", &body).await.unwrap();
    assert_eq!(banned["user_id"].to_string().trim_matches('"'), "3");
}

/// Markup and SQL are texts like others; every door shows them as they are.
#[tokio::test]
async fn markup_and_sql_in_titles_are_texts() {
    let daemon = Daemon::start("");
    let title = "<script>alert(1)</script>'; DROP TABLE streams; --";
    let description = "\"><img src=x onerror=alert(1)> ${7*7} {{7*7}} %s %n";
    let body = serde_json::json!({"title": title, "description": description});
    let made: serde_json::Value = daemon.admin().post("/v1/streams", &body).await.unwrap();
    let stream = &made["stream"];
    assert_eq!((&stream["title"], &stream["description"]), (&body["title"], &body["description"]));
    let path = format!("/api/streams/{}", stream["stream_id"].as_str().unwrap());
    let (status, shown) = http(&daemon, "GET", &path, &[], None).await;
    assert_eq!(status, 200);
    assert_eq!((&shown["title"], &shown["description"]), (&body["title"], &body["description"]));
    let (_, all) = http(&daemon, "GET", "/api/streams", &[], None).await;
    assert_eq!(all["streams"].as_array().unwrap().len(), 2, "{all}");
}
