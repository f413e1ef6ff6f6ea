//! Tokens of an identity provider that publishes its keys: discovery, rotation, an outage, users
//! named by texts, and roles that operators give them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use live_comments::client::viewer::{ConnectError, ViewerConnection, ViewerError, ViewerOptions};
use live_comments::protocol::admin::{Cluster, Grant, Outcome, Status};
use live_comments::protocol::{CloseCode, ErrorCode, Identity, Role};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{Daemon, PATIENCE, Viewer};

const ED25519: &str = include_str!("../../src/daemon/stages/auth/fixtures/ed25519_private.pem");
const P256: &str = include_str!("../../src/daemon/stages/auth/fixtures/p256_private.pem");
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// An issuer on this machine. Requests of paths without an answer are closed, as if it were away.
struct Issuer {
    address: SocketAddr,
    answers: Arc<Mutex<BTreeMap<String, String>>>,
}

fn ed25519(kid: &str) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid,
           "x": "LmxV2MfqmUuXbv4iqKlTFdD2Wg8Vm6QCqyqp1bcn84U"})
}

fn p256(kid: &str) -> Value {
    json!({"kty": "EC", "crv": "P-256", "kid": kid,
           "x": "I9SEtd_XOgTLfY3J2Wh4MUCeLa3hAw3ItLnj_skqvC4",
           "y": "5MFg92N-4MgpDZuYDtYjzW3dVCnmLuqwKWF1RRjgzDs"})
}

impl Issuer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::<Mutex<BTreeMap<String, String>>>::default();
        let served = answers.clone();
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                let first = lines.next().and_then(Result::ok).unwrap_or_default();
                while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or_default();
                let answer = served.lock().get(path).cloned();
                if let Some(answer) = answer {
                    let _ = socket.write_all(answer.as_bytes());
                }
            }
        });
        let issuer = Self { address, answers };
        let document =
            json!({"issuer": issuer.name(), "jwks_uri": format!("{}/keys", issuer.name())});
        issuer.answer(DISCOVERY, &document);
        issuer
    }

    fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    fn answer(&self, path: &str, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        self.answer_raw(
            path,
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ),
        );
    }

    fn answer_raw(&self, path: &str, answer: String) {
        self.answers.lock().insert(path.to_owned(), answer);
    }

    fn publish(&self, keys: &[Value]) {
        self.answer(KEYS, &json!({ "keys": keys }));
    }

    fn go_away(&self) {
        self.answers.lock().clear();
    }

    fn config(&self) -> String {
        format!(
            "[auth]\noidc_issuer = \"{}\"\naudience = \"chat\"\n[auth.claims]\n\
             role = \"realm_access.roles\"\n",
            self.name()
        )
    }

    /// A token of the key with this `kid`: `one` is the Ed25519 key, `two` that of P-256.
    fn token(&self, kid: &str, sub: &str) -> String {
        let (algorithm, key) = match kid {
            "one" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap()),
            _ => (Algorithm::ES256, EncodingKey::from_ec_pem(P256.as_bytes()).unwrap()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "iss": self.name(), "aud": "chat", "sub": sub, "name": "ann", "exp": now + 600,
            "realm_access": {"roles": ["offline_access", "viewer"]},
            "picture": "https://img.example/ann.png",
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": format!("{algorithm:?}"), "kid": kid});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

fn with(daemon: &Daemon, token: String) -> ViewerOptions {
    ViewerOptions { token: Some(token.into()), ..daemon.options() }
}

async fn identity(daemon: &Daemon, token: String) -> Identity {
    let viewer = Viewer::join(with(daemon, token)).await;
    viewer.welcome.user.clone().unwrap()
}

fn code(error: ConnectError) -> ErrorCode {
    match error {
        ConnectError::NotWelcome { error: ViewerError::Refused { code, .. }, .. } => code,
        other => panic!("{other}"),
    }
}

async fn refusal(daemon: &Daemon, token: String) -> ErrorCode {
    code(ViewerConnection::join(&with(daemon, token)).await.map(|_| ()).unwrap_err())
}

/// Returns the identity of a token whose key was just published. The daemon may have read the keys
/// a moment ago: until it does again, the token is refused for now.
async fn rotated_identity(daemon: &Daemon, token: &str) -> Identity {
    let options = with(daemon, token.to_owned());
    let admitted = async {
        while let Err(error) = ViewerConnection::join(&options).await.map(|_| ()) {
            assert_eq!(code(error), ErrorCode::IdentityUnavailable);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, admitted).await.expect("the new key is read");
    identity(daemon, token.to_owned()).await
}

#[tokio::test]
async fn keys_are_found_rotated_and_kept() {
    let issuer = Issuer::start();
    issuer.publish(&[ed25519("one")]);
    let daemon = Daemon::start(&issuer.config());
    let ann = identity(&daemon, issuer.token("one", "auth0|ann")).await;
    assert!(ann.user_id.0 >= 1 << 62 && ann.role == Role::Viewer, "{ann:?}");
    assert_eq!(ann.avatar.as_deref(), Some("https://img.example/ann.png"));
    let bob = identity(&daemon, issuer.token("one", "5f7c8ec7-c33c-6c00-4bba-fe825f7c8ec7")).await;
    assert_ne!(bob.user_id, ann.user_id);
    issuer.publish(&[p256("two")]);
    let rotated = rotated_identity(&daemon, &issuer.token("two", "auth0|ann")).await;
    assert_eq!(rotated.user_id, ann.user_id, "the key is another one, and the user the same");
    let withdrawn = refusal(&daemon, issuer.token("one", "auth0|ann")).await;
    assert_eq!(withdrawn, ErrorCode::TokenAlgorithm);
    issuer.go_away();
    let kept = daemon.data_dir().join("issuer-keys.json");
    let is_kept = async {
        while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("P-256")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_kept).await.expect("the keys are kept");
    let daemon = daemon.kill_and_restart();
    let kept = identity(&daemon, issuer.token("two", "auth0|ann")).await;
    assert_eq!(kept.user_id, ann.user_id, "keys and ids outlive the process");
    let unknown = refusal(&daemon, issuer.token("one", "auth0|ann")).await;
    assert_eq!(unknown, ErrorCode::IdentityUnavailable);
}

/// Waits until the problem of the keys says this, or is over.
async fn problem(daemon: &Daemon, told: Option<&str>) {
    let told_or_over = async {
        loop {
            let status: Status = daemon.admin().get("/v1/status").await.unwrap();
            let problem = status.problems.iter().find(|it| it.code == "issuer_keys_failing");
            let is_so = match (problem, told) {
                (Some(problem), Some(told)) => problem.text.contains(told),
                (problem, told) => problem.is_none() && told.is_none(),
            };
            if is_so {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, told_or_over).await;
    waited.unwrap_or_else(|_| panic!("never: {told:?}"));
}

#[tokio::test]
async fn a_bad_issuer_is_told_and_changes_nothing() {
    let issuer = Issuer::start();
    issuer.publish(&[ed25519("one")]);
    let quick = "jwks_refresh = \"10s\"\n[auth.claims]";
    let daemon = Daemon::start(&issuer.config().replace("[auth.claims]", quick));
    let token = issuer.token("one", "auth0|ann");
    let mut viewer = Viewer::join(with(&daemon, token.clone())).await;
    let mut private = p256("two");
    private["d"] = json!("AQAB");
    issuer.publish(&[private]);
    problem(&daemon, Some("private key")).await;
    let moved = format!("HTTP/1.1 302 Found\r\nLocation: {}/other\r\n\r\n", issuer.name());
    issuer.answer_raw(KEYS, moved);
    problem(&daemon, Some("status 302")).await;
    let other = json!({"issuer": "https://other.example", "jwks_uri": "https://other.example/k"});
    issuer.answer(DISCOVERY, &other);
    problem(&daemon, Some("another issuer")).await;
    issuer.publish(&[p256("two")]);
    assert_eq!(identity(&daemon, token.clone()).await.role, Role::Viewer);
    let unknown = refusal(&daemon, issuer.token("two", "auth0|ann")).await;
    assert_eq!(unknown, ErrorCode::IdentityUnavailable);
    viewer.comment("the last good keys stay").await;
    let document = json!({"issuer": issuer.name(), "jwks_uri": format!("{}/keys", issuer.name())});
    issuer.answer(DISCOVERY, &document);
    problem(&daemon, None).await;
    assert_eq!(viewer.until_closed().await, CloseCode::TokenExpired.number(), "its key is gone");
    assert_eq!(refusal(&daemon, token).await, ErrorCode::TokenAlgorithm);
}

#[tokio::test]
async fn a_given_role_reaches_a_connected_user() {
    let issuer = Issuer::start();
    issuer.publish(&[ed25519("one")]);
    let daemon = Daemon::start(&issuer.config());
    let mut viewer = Viewer::join(with(&daemon, issuer.token("one", "auth0|ann"))).await;
    let ann = viewer.welcome.user.clone().unwrap().user_id;
    let user = format!("id:{ann}");
    let request = json!({"user": user, "role": "moderator", "stream_id": "1"});
    let given: Outcome = daemon.admin().post("/v1/grant", &request).await.unwrap();
    assert_eq!((given.user_id, given.connections), (Some(ann), Some(1)));
    assert_eq!(viewer.until_closed().await, CloseCode::Kicked.number());
    let moderator = identity(&daemon, issuer.token("one", "auth0|ann")).await;
    assert_eq!(moderator.role, Role::Moderator);
    let daemon = daemon.kill_and_restart();
    assert_eq!(identity(&daemon, issuer.token("one", "auth0|ann")).await.role, Role::Moderator);
    let grants: Cluster<Grant> = daemon.admin().get("/v1/grants").await.unwrap();
    assert_eq!((grants.items.len(), grants.items[0].user_id), (1, ann));
    let request = json!({"audit_id": given.audit_id});
    let _: Outcome = daemon.admin().post("/v1/undo", &request).await.unwrap();
    assert_eq!(identity(&daemon, issuer.token("one", "auth0|ann")).await.role, Role::Viewer);
}
