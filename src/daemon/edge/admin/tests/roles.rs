//! Roles: each path has one, and the daemon enforces it.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::*;
use crate::daemon::base::config::AuthConfig;
use crate::daemon::edge::admin::access::{AccessRules, ClientCertificate, RefusalLog, RemotePeer};
use crate::daemon::edge::admin::fuzzing::parts_of;
use crate::daemon::stages::auth::Verifier;
use crate::daemon::stages::auth::fixtures::{NOW_MS, NOW_S, SECRET, StoppedClock, sign};

/// Returns the paths of the router, each with whether it can be posted to.
fn routes() -> Vec<(&'static str, bool)> {
    let routes = include_str!("../routes.rs").split(".route(").skip(1);
    routes
        .map(|route| {
            let mut parts = route.splitn(3, '"').skip(1);
            let path = parts.next().expect("a path in quotes");
            (path, parts.next().is_some_and(|methods| methods.contains("post(")))
        })
        .collect()
}

/// Returns the path with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "1").replace("{stream}", "1").replace("{user}", "42")
}

struct Remote {
    world: World,
    rules: Arc<AccessRules>,
    stop: CancellationToken,
}

impl Remote {
    async fn new() -> Self {
        let clock = Arc::new(StoppedClock);
        let verifier = Verifier::new(&AuthConfig::default(), Some(SECRET), clock.clone()).unwrap();
        let roles = AdminRole::ALL.map(|role| (role.to_string(), role)).into();
        let verifier = Arc::new(verifier);
        let refusals = RefusalLog::default();
        let rules = Arc::new(AccessRules { roles, verifier, clock, refusals });
        Self { world: World::new().await, rules, stop: CancellationToken::new() }
    }

    /// Sends a request over a connection with a certificate, if a name for it is given.
    async fn send(
        &self,
        certificate: Option<&str>,
        token: Option<&str>,
        (method, path, body): (&str, &str, &Value),
    ) -> axum::response::Response {
        let past = Arc::default();
        let throttle = Arc::default();
        let top = Arc::default();
        let stop = self.stop.clone();
        let parts = parts_of(&self.world);
        let changes = TaskTracker::new();
        let router = routes::router(AdminState { parts, past, throttle, top, changes, stop });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACTOR_HEADER, "root")
            .header("accept-encoding", "deflate");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        let certificate = certificate
            .map(|name| ClientCertificate { name: name.to_owned(), ends_at_ms: NOW_MS + 60_000 });
        let rules = self.rules.clone();
        let address = ([127, 0, 0, 1], 7443).into();
        request.extensions_mut().insert(RemotePeer { address, certificate, rules });
        router.oneshot(request).await.unwrap()
    }

    async fn post(&self, name: &str, path: &str, body: &Value) -> u16 {
        self.send(Some(name), None, ("POST", path, body)).await.status().as_u16()
    }
}

async fn code(response: axum::response::Response) -> ErrorCode {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice::<ProblemDetails>(&body).unwrap().code
}

#[test]
fn every_path_that_changes_something_has_a_role() {
    let routes = routes();
    assert!(routes.len() > 30, "only {} paths were found", routes.len());
    let posts = routes.iter().filter(|(_, is_post)| *is_post);
    let without: Vec<_> = posts.filter(|(path, _)| listed_role(path).is_none()).collect();
    assert!(without.is_empty(), "add to POSTS of protocol/admin/session.rs: {without:?}");
}

#[tokio::test]
async fn each_path_is_open_from_its_role_on() {
    let remote = Remote::new().await;
    for (path, is_post) in routes() {
        for role in AdminRole::ALL {
            let request = (if is_post { "POST" } else { "GET" }, &*filled(path), &json!({}));
            let status = remote.send(Some(role.as_str()), None, request).await.status();
            let refused = is_post && role < needed_role(path);
            assert_eq!(status.as_u16() == 403, refused, "{role} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn a_path_without_a_route_opens_nothing() {
    let remote = Remote::new().await;
    for (name, expected) in [("viewer", 403), ("moderator", 403), ("operator", 404)] {
        assert_eq!(remote.post(name, "/v1/nowhere", &json!({})).await, expected, "{name}");
    }
}

#[tokio::test]
async fn an_undo_needs_the_role_of_what_it_undoes() {
    let remote = Remote::new().await;
    let throttle = json!({"stream_id": 1, "sample_rate": 0.5});
    assert_eq!(remote.post("operator", "/v1/throttle", &throttle).await, 200);
    assert_eq!(remote.post("moderator", "/v1/ban", &json!({"user": "42"})).await, 200);
    let log = remote.world.control.audit_log(10).await.unwrap();
    let id = |action: &str| log.iter().find(|entry| entry.action == action).unwrap().audit_id;
    let undo = |action| json!({"audit_id": id(action)});
    assert_eq!(log[0].actor, "moderator (certificate)", "the claimed name counts for nothing");
    assert_eq!(remote.post("moderator", "/v1/undo", &undo("throttle")).await, 403);
    assert_eq!(remote.post("viewer", "/v1/undo", &undo("ban")).await, 403);
    assert_eq!(remote.post("moderator", "/v1/undo", &undo("ban")).await, 200);
    assert_eq!(remote.post("operator", "/v1/undo", &undo("throttle")).await, 200);
}

/// It searches the log, which a viewer of the console must not start.
#[tokio::test]
async fn a_preview_of_deletions_needs_their_role() {
    let remote = Remote::new().await;
    let deletion = json!({"action": "delete_of_user", "user": "42", "last_ms": 60_000});
    assert_eq!(remote.post("viewer", "/v1/preview", &deletion).await, 403);
    // The moderator's search finds no comment.
    assert_eq!(remote.post("moderator", "/v1/preview", &deletion).await, 404);
    let kick = json!({"action": "kick", "users": ["42"]});
    assert_eq!(remote.post("viewer", "/v1/preview", &kick).await, 200);
}

#[tokio::test]
async fn callers_are_known_by_token_or_certificate() {
    let remote = Remote::new().await;
    let claims = |role: &str, exp: u64| {
        let claims = json!({"sub": "ann", "aud": ADMIN_AUDIENCE, "role": role, "exp": exp});
        sign("HS256", None, &claims)
    };
    let session = ("GET", "/v1/session", &json!({}));
    let response = remote.send(None, Some(&claims("viewer", NOW_S + 60)), session).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let found: Session = serde_json::from_slice(&body).unwrap();
    assert_eq!((found.node.as_str(), found.role), ("a", AdminRole::Viewer));
    assert_eq!(found.actor, "ann (token)");

    let viewers = json!({"sub": "42", "name": "ann", "role": "admin", "exp": NOW_S + 60});
    let viewers = sign("HS256", None, &viewers);
    for (certificate, token, expected) in [
        (None, None, ErrorCode::NotAuthenticated),
        (Some("stranger"), None, ErrorCode::Forbidden),
        (None, Some("nonsense"), ErrorCode::TokenMalformed),
        (None, Some(&*viewers), ErrorCode::TokenAudience),
        // A token decides, whatever the certificate is.
        (Some("operator"), Some(&*claims("operator", NOW_S - 60)), ErrorCode::TokenExpired),
    ] {
        for request in [session, ("GET", "/v1/nowhere", &json!({}))] {
            let response = remote.send(certificate, token, request).await;
            let headers: HeaderMap = response.headers().clone();
            let closes = headers.get("connection").is_some_and(|value| value == "close");
            assert_eq!(closes, response.status() == 401, "{certificate:?} {token:?}");
            assert_eq!(code(response).await, expected, "{certificate:?} {token:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_answer_ends_with_its_token() {
    let remote = Remote::new().await;
    let claims = json!({
        "sub": "ann", "aud": ADMIN_AUDIENCE, "role": "viewer", "exp": NOW_S + 5,
    });
    let token = sign("HS256", None, &claims);
    let follow = ("GET", "/v1/events?follow=true", &json!({}));
    let started = tokio::time::Instant::now();
    let response = remote.send(None, Some(&token), follow).await;
    assert_eq!(response.status(), 200);
    // It ends by itself; nothing happens that would end it otherwise.
    response.into_body().collect().await.unwrap();
    let leeway = AuthConfig::default().leeway;
    assert_eq!(started.elapsed().as_secs(), 5 + leeway.as_secs());
}

#[tokio::test]
async fn live_answers_over_the_network_are_deflated() {
    let remote = Remote::new().await;
    let coding = async |path| {
        let response = remote.send(Some("viewer"), None, ("GET", path, &json!({}))).await;
        assert_eq!(response.status(), 200, "{path}");
        response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(coding("/v1/top").await.as_deref(), Some("deflate"));
    assert_eq!(coding("/v1/session").await, None, "it is short");
}

#[tokio::test]
async fn the_admin_socket_is_an_operator() {
    let served = Served::new().await;
    let session: Session = served.get("/v1/session").await;
    assert_eq!(session.role, AdminRole::Operator);
    assert_eq!(session.actor, format!("ann (uid {})", uid()));
    assert_eq!(session.cluster.as_deref(), Some("prod-eu"));
    let status: Status = served.get("/v1/status").await;
    let named = (session.colour, status.cluster, status.colour);
    let red = Some(ClusterColour::Red);
    assert_eq!(named, (red, session.cluster, red), "both tell the cluster");
    let request = json!({"name": " ann ", "role": "moderator", "ttl_ms": 60_000});
    let (status, body) =
        served.send("POST", "/v1/tokens/admin", request.to_string()).await.whole().await;
    let tokens: Tokens = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, tokens.tokens), (200, vec!["moderator ann".to_owned()]));
    let audit: Cluster<AuditEntry> = served.get("/v1/audit?limit=1").await;
    assert_eq!(audit.items[0].action, "admin_token");
    assert_eq!(audit.items[0].target, "moderator ann");
}
