//! Tests of users whose tokens name them by a text, and of roles on single streams.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::client::{RefusalCodes, Reply, open, request};
use super::rig::{PATIENCE, Rig, sign};
use crate::daemon::base::config::AuthConfig;
use crate::daemon::base::handoff::IssuerKeyId;
use crate::daemon::base::problems::Problems;
use crate::daemon::engines::metadata::{FIRST_SUBJECT_ID, MetadataStore as _};
use crate::daemon::engines::recent::RecentCache as _;
use crate::daemon::stages::auth::fixtures::issuer::{KEYS, TestIssuer};
use crate::daemon::stages::auth::fixtures::{self, NOW_S, StoppedClock, jwk};
use crate::daemon::stages::auth::{IssuerKeys, IssuerKeysEnds};
use crate::daemon::stages::control::Actor;
use crate::protocol::admin::{GrantRequest, RevokeRequest, SanctionKind, SanctionRequest, UserRef};
use crate::protocol::stream::Stream;
use crate::protocol::{CommentId, Identity, PinnedComment, Role, RoomPoll, StreamId, UserId};

const JSON: &str = "Content-Type: application/json";

fn token_of(sub: &str, more: &Value) -> String {
    let mut claims = json!({"sub": sub, "name": "ann", "exp": NOW_S + 60});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    sign(&claims)
}

/// Returns the identity with which delivery gets the viewer.
async fn connect(rig: &mut Rig, stream: u64, token: &str) -> Identity {
    open(rig.address, &format!("/ws/{stream}?token={token}"), &[]).await;
    let bearer = rig.viewer().await.bearer.expect("a token was sent");
    (*bearer.identity).clone()
}

async fn send(rig: &Rig, line: &str, token: &str, body: &Value) -> Reply {
    let bearer = format!("Authorization: Bearer {token}");
    request(rig.address, line, &[JSON, &bearer], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn a_user_named_by_a_text_keeps_its_id() {
    let mut rig = Rig::start().await;
    let token = token_of("auth0|5f7c", &json!({"picture": "https://img.example/a.png"}));
    let first = connect(&mut rig, 1, &token).await;
    assert!(first.user_id.0 >= FIRST_SUBJECT_ID && first.user_id.is_valid(), "{first:?}");
    assert_eq!(first.avatar.as_deref(), Some("https://img.example/a.png"));
    assert_eq!(connect(&mut rig, 2, &token).await.user_id, first.user_id);
    let other = connect(&mut rig, 1, &token_of("auth0|5f7d", &json!({}))).await;
    assert_ne!(other.user_id, first.user_id);
    let number = connect(&mut rig, 1, &token_of("42", &json!({}))).await;
    assert_eq!(number.user_id.0, 42, "a number is the id");
    rig.sanction(first.user_id.0, SanctionKind::Ban).await;
    let banned = send(&rig, "GET /api/streams", &token, &json!({})).await;
    assert_eq!((banned.status, banned.code().as_str()), (403, "banned"));
}

#[tokio::test]
async fn new_users_wait_while_the_store_is_away() {
    let mut rig = Rig::start().await;
    let known = token_of("known", &json!({}));
    let id = connect(&mut rig, 1, &known).await.user_id;
    rig.metadata.set_down(true);
    assert_eq!(connect(&mut rig, 1, &known).await.user_id, id);
    assert_eq!(connect(&mut rig, 1, &token_of("42", &json!({}))).await.user_id.0, 42);
    let new = token_of("new", &json!({}));
    let refusal = open(rig.address, &format!("/ws/1?token={new}"), &[]).await.refusal().await;
    let expected = RefusalCodes {
        error: "identity_unavailable".to_owned(),
        bye: "identity_unavailable".to_owned(),
        close: 4007,
        reconnect_after_ms: Some(5_000),
    };
    assert_eq!(refusal, expected);
    let refused = send(&rig, "POST /api/streams/1/comments", &new, &json!({"message": "hi"})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(rig.no_viewer());
    rig.metadata.set_down(false);
    assert_ne!(connect(&mut rig, 1, &new).await.user_id, id);
}

#[tokio::test]
async fn a_role_on_a_stream_counts_there_only() {
    let mut rig = Rig::start().await;
    let moderator = token_of("7", &json!({"streams": {"1": "moderator"}}));
    assert_eq!(connect(&mut rig, 1, &moderator).await.role, Role::Moderator);
    assert_eq!(connect(&mut rig, 2, &moderator).await.role, Role::Viewer);
    let slow = json!({"slow_ms": 30_000});
    let user = json!({"user": "id:42"});
    for (stream, status) in [(1, 200), (2, 403), (4, 403)] {
        for (line, body) in [
            (format!("PATCH /api/streams/{stream}/room"), &slow),
            (format!("POST /api/streams/{stream}/moderation/timeout"), &user),
            (format!("GET /api/streams/{stream}/moderation/queue"), &json!({})),
            (format!("GET /api/streams/{stream}/room/terms"), &json!({})),
            (format!("GET /api/streams/{stream}/users/42/comments"), &json!({})),
        ] {
            let reply = send(&rig, &line, &moderator, body).await;
            assert_eq!(reply.status, status, "{line}: {reply:?}");
        }
    }
    let title = json!({"title": "new"});
    let refused = send(&rig, "PATCH /api/streams/1", &moderator, &title).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
}

#[tokio::test]
async fn a_broadcaster_of_a_stream_changes_only_it() {
    let rig = Rig::start().await;
    let owner = token_of("8", &json!({"streams": {"2": "broadcaster"}, "role": "moderator"}));
    let title = json!({"title": "new"});
    let changed = send(&rig, "PATCH /api/streams/2", &owner, &title).await;
    assert_eq!((changed.status, changed.json()["title"].as_str()), (200, Some("new")));
    let audits = rig.metadata.audits().len();
    for line in ["PATCH /api/streams/1", "PATCH /api/streams/4", "POST /api/streams"] {
        let refused = send(&rig, line, &owner, &title).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"), "{line}");
    }
    assert_eq!(rig.metadata.audits().len(), audits);
    let titles: Vec<_> = rig.streams.all().iter().map(|stream| stream.title.clone()).collect();
    assert_eq!(titles, ["stream 1", "new", "stream 3", "stream 4"]);
}

#[tokio::test]
async fn settings_of_a_room_are_shown_to_its_staff() {
    let rig = Rig::start().await;
    let moderator = token_of("7", &json!({"streams": {"1": "moderator"}}));
    for stream in [1, 2] {
        let admin = token_of("9", &json!({"role": "admin"}));
        let shield = json!({"shield": true, "timeouts_ms": [60_000]});
        send(&rig, &format!("PATCH /api/streams/{stream}/room"), &admin, &shield).await;
    }
    let listed = send(&rig, "GET /api/streams", &moderator, &json!({})).await.json();
    let settings = |index: usize| &listed["streams"][index]["room"]["timeouts_ms"];
    assert_eq!(settings(0), &json!([60_000]), "{listed}");
    assert_eq!(settings(1), &Value::Null, "{listed}");
}

/// Stream 1 is open to everybody, stream 2 to those with a token.
#[tokio::test]
async fn a_closed_stream_shows_no_pin_and_poll() {
    let rig = Rig::start().await;
    let pinned = PinnedComment {
        comment_id: CommentId::from_unix_ticks(9_000, 1, [3; 6]),
        user_id: UserId(42),
        name: "ann".into(),
        message: "secret".into(),
        created_at: 1,
        badges: Default::default(),
        pinned_at: 2,
    };
    let options = vec!["a".into(), "b".into()];
    let poll = RoomPoll {
        poll_id: 5,
        question: "secret?".into(),
        options,
        opened_at: 1,
        closes_at: NOW_S * 2000,
    };
    for id in [1, 2] {
        let stream = rig.metadata.stream(StreamId(id)).await.unwrap().unwrap();
        let pinned = Some(pinned.clone().into());
        rig.metadata.put_stream(Stream { pinned, poll: Some(poll.clone().into()), ..stream });
    }
    rig.streams.reload().await.unwrap();
    let nobody = async |path: &str| request(rig.address, path, &[], &[]).await.json();
    let shown = |stream: &Value| [&stream["pinned"], &stream["poll"]].map(|field| !field.is_null());
    let listed = nobody("GET /api/streams").await;
    let listed = listed["streams"].as_array().unwrap().clone();
    assert_eq!(listed[..2].iter().map(shown).collect::<Vec<_>>(), [[true; 2], [false; 2]]);
    assert_eq!(shown(&nobody("GET /api/streams/1").await), [true; 2]);
    assert_eq!(shown(&nobody("GET /api/streams/2").await), [false; 2]);
    let viewer = token_of("7", &json!({}));
    let known = async |path: &str| send(&rig, path, &viewer, &json!({})).await.json();
    assert_eq!(shown(&known("GET /api/streams/2").await), [true; 2]);
    assert_eq!(shown(&known("GET /api/streams").await["streams"][1]), [true; 2]);
    let ban = SanctionRequest {
        user: UserRef("id:7".to_owned()),
        stream_id: Some(StreamId(2)),
        reason: None,
        note: None,
        duration_ms: None,
    };
    rig.control.ban(&Actor::operator(Some("op"), 0), &ban).await.unwrap();
    assert_eq!(shown(&known("GET /api/streams").await["streams"][1]), [false; 2]);

    let stream = rig.metadata.stream(StreamId(1)).await.unwrap().unwrap();
    let closed = RoomPoll { closes_at: 2, ..poll.clone() };
    rig.metadata.put_stream(Stream { poll: Some(closed.into()), ..stream.clone() });
    rig.streams.reload().await.unwrap();
    assert_eq!(shown(&nobody("GET /api/streams/1").await), [true, false], "a closed poll");
    assert_eq!(shown(&nobody("GET /api/streams").await["streams"][0]), [true, false]);
    rig.metadata.put_stream(stream);
    rig.streams.reload().await.unwrap();

    // Nobody has unpinned it yet.
    rig.recent.add_tombstone(StreamId(1), pinned.comment_id, 6).await.unwrap();
    assert_eq!(shown(&nobody("GET /api/streams/1").await), [false, true]);
    assert_eq!(shown(&nobody("GET /api/streams").await["streams"][0]), [false, true]);
    rig.recent.set_down(true);
    assert_eq!(shown(&nobody("GET /api/streams/1").await), [true; 2]);
}

#[tokio::test]
async fn a_given_role_counts_beside_the_token() {
    let mut rig = Rig::start().await;
    let ann = token_of("auth0|ann", &json!({}));
    let id = connect(&mut rig, 1, &ann).await.user_id;
    let operator = Actor::operator(Some("op"), 0);
    let stream_id = StreamId(1);
    let user = UserRef(format!("id:{id}"));
    let grant = GrantRequest { user: user.clone(), role: Role::Moderator, stream_id, note: None };
    rig.control.grant(&operator, &grant).await.unwrap();
    assert_eq!(connect(&mut rig, 1, &ann).await.role, Role::Moderator);
    assert_eq!(connect(&mut rig, 2, &ann).await.role, Role::Viewer);
    let higher = token_of("auth0|ann", &json!({"streams": {"1": "broadcaster"}}));
    assert_eq!(connect(&mut rig, 1, &higher).await.role, Role::Broadcaster);
    let slow = json!({"slow_ms": 30_000});
    let patch = async |rig: &Rig, stream: u64| {
        send(rig, &format!("PATCH /api/streams/{stream}/room"), &ann, &slow).await.status
    };
    assert_eq!((patch(&rig, 1).await, patch(&rig, 2).await), (200, 403));
    let revoke = RevokeRequest { user, stream_id, note: None };
    rig.control.revoke(&operator, &revoke).await.unwrap();
    assert_eq!(patch(&rig, 1).await, 403, "at once");
    assert_eq!(connect(&mut rig, 1, &ann).await.role, Role::Viewer);
}

/// The hook that the rig calls while a viewer is attached waits, which needs a second thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_withdrawn_during_admission_admits_nobody() {
    let issuer = Arc::new(TestIssuer::start(&json!([jwk::rsa("old")])).await);
    let config = AuthConfig {
        jwks_url: issuer.url(KEYS),
        jwks_refresh: Duration::from_millis(10),
        ..AuthConfig::default()
    };
    let data_dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StoppedClock);
    let ends = IssuerKeys::load(&config, data_dir.path(), Problems::default(), clock);
    let IssuerKeysEnds { keys, task } = ends.unwrap().unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone();
    let (withdrawn, reading) = std::sync::mpsc::channel();
    tokio::spawn(async move {
        let close = move |keys: Arc<[IssuerKeyId]>| -> BoxFuture<'static, u64> {
            let _ = withdrawn.send(keys);
            Box::pin(std::future::ready(0))
        };
        task.run(&close, until).await;
    });
    let mut rig = Rig::start_trusting(keys).await;
    let claims = json!({"sub": "42", "name": "ann", "exp": NOW_S + 60});
    let token = fixtures::sign("RS256", Some("old"), &claims);
    let first = IssuerKeyId(NonZeroU32::MIN);
    connect(&mut rig, 1, &token).await;
    assert!(rig.sink.closed_keys.lock().is_empty());
    *rig.sink.during_attach.lock() = Some(Box::new(move || {
        issuer.publish(&json!([jwk::other_rsa("new")]));
        assert_eq!(*reading.recv_timeout(PATIENCE).unwrap(), [first]);
    }));
    connect(&mut rig, 1, &token).await;
    let closed = async {
        while rig.sink.closed_keys.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the viewer is closed");
    assert_eq!(*rig.sink.closed_keys.lock(), [first]);
    stop.cancel();
}
