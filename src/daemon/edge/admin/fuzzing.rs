//! The fuzz target of requests to the admin socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::access::Peer;
use super::{AdminParts, AdminState, Live, NodeFacts, TextTrials, routes};
use crate::daemon::base::config::{
    Config, IngestConfig, ModerationConfig, ModerationStage, RuleAction,
};
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::supervise::breaker::Breaker;
use crate::daemon::engines::registry::NodeIdentity;
use crate::daemon::engines::server_settings::BackendServers;
use crate::daemon::stages::control::Minter;
use crate::daemon::stages::control::fakes::World;
use crate::daemon::stages::moderation::{self, ModerationContext, ModerationContextParts};
use crate::protocol::admin::{ACTOR_HEADER, AdminRole};
use crate::protocol::error_code::{ErrorBody, ErrorCode, ProblemDetails};
use crate::protocol::{Identity, NodeId};

/// A request: the first line is method, path and query, the second the operator's name, the rest is
/// the body.
pub fn admin_request(data: &[u8]) {
    let Some(request) = read_request(data) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let world = World::new().await;
        world.comment(5, "bad");
        let before = world.state();
        let is_change = request.method() == "POST";
        let is_head = request.method() == "HEAD";
        let is_live = ["/v1/top", "/v1/tail", "/v1/events"]
            .iter()
            .any(|it| request.uri().path().starts_with(it));
        let stop = CancellationToken::new();
        let parts = parts_of(&world);
        let past = Arc::default();
        let throttle = Arc::default();
        let top = Arc::default();
        let changes = TaskTracker::new();
        let stopped = stop.clone();
        let state = AdminState { parts, past, throttle, top, changes, stop: stopped };
        let router = routes::router(state);
        let response = router.oneshot(request).await.expect("it is infallible");
        let status = response.status().as_u16();
        if is_head {
            stop.cancel();
            let body = response.into_body().collect().await.expect("an answer is whole");
            assert!(body.to_bytes().is_empty() && world.state() == before);
            return;
        }
        if status == 200 {
            assert!(is_change || world.state() == before, "reading changed something");
            stop.cancel();
            if !is_live {
                let body = response.into_body().collect().await.expect("an answer is whole");
                let answer = serde_json::from_slice::<serde_json::Value>(&body.to_bytes());
                assert!(answer.is_ok_and(|answer| answer.is_object()));
            }
            return;
        }
        let body = response.into_body().collect().await.expect("an answer is whole").to_bytes();
        let details: ProblemDetails = serde_json::from_slice(&body).expect("errors have details");
        let error = ErrorBody::from(details);
        assert_eq!(status, error.code.http_status());
        assert_ne!(error.code, ErrorCode::Internal, "{}", error.message);
        assert!(!error.message.is_empty() && !error.message.chars().any(char::is_control));
        assert_eq!(world.state(), before, "a refused request changes nothing");
    });
}

fn read_request(data: &[u8]) -> Option<Request<Body>> {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let [first, actor, body] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let (method, path) = std::str::from_utf8(first).ok()?.split_once(' ')?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(ACTOR_HEADER, actor)
        .body(Body::from(body.to_vec()))
        .ok()?;
    request.extensions_mut().insert(Peer { uid: 7 });
    Some(request)
}

/// Returns rules that reject `badword` and flag other links than `example.com`.
pub(super) fn trials(world: &World) -> TextTrials {
    let mut config =
        ModerationConfig { stages: vec![ModerationStage::Rules], ..ModerationConfig::default() };
    config.rules.blocked_words = vec!["badword".to_owned()];
    config.rules.link_action = RuleAction::Flag;
    config.rules.allowed_hosts = vec!["example.com".to_owned()];
    let pipeline = moderation::build_pipeline(&config, &StatusBoard::default(), None);
    let pipeline = pipeline.expect("the rules can be used");
    let context = ModerationContext::new(ModerationContextParts {
        metadata: world.metadata.clone(),
        metadata_breaker: Arc::new(Breaker::new("metadata")),
        clock: world.control.parts().clock.clone(),
        config: config.reputation,
    });
    TextTrials {
        pipeline: Arc::new(pipeline),
        context: Arc::new(context),
        limits: IngestConfig::default(),
    }
}

pub(super) fn parts_of(world: &World) -> Arc<AdminParts> {
    let mut config = Config::default();
    config.node.name = "a".to_owned();
    let engines = BTreeMap::from([("eventlog".to_owned(), "embedded".to_owned())]);
    let minter: Minter = Arc::new(|identity: &Identity, _, _| Ok(identity.name.to_string()));
    let identity = NodeIdentity {
        node: NodeId::new("a"),
        identity: "1".to_owned(),
        about: "process 1".to_owned(),
    };
    Arc::new(AdminParts {
        socket: "admin.sock".into(),
        about: NodeFacts::new(&config, &identity, "127.0.0.1:8080".to_owned(), engines),
        control: world.control.clone(),
        reactions: world.reactions.clone(),
        board: world.board.clone(),
        minter,
        admin_minter: Arc::new(|name: &str, role: AdminRole, _| format!("{role} {name}")),
        remote: None,
        certificate: Arc::new(|| None),
        announcements: None,
        timeline: None,
        servers: BackendServers::default(),
        trials: trials(world),
        live: Live::new(config.alerts.clone()),
    })
}
