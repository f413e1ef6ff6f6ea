//! Tests of the admin socket over a real Unix socket.

mod bad_requests;
mod dead_letters;
mod doctor;
mod previews;
mod roles;
mod talkers;
mod telemetry;
mod text_trials;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::daemon::base::config::Config;
use crate::daemon::base::metrics::count;
use crate::daemon::base::status::StreamGauges;
use crate::daemon::engines::comments::ArchivedComment;
use crate::daemon::engines::comments::conformance::WriteRows as _;
use crate::daemon::engines::eventlog::{ConsumerGroup, Topic};
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::reactions::ReactionTotals as _;
use crate::daemon::engines::registry::NodeIdentity;
use crate::daemon::engines::registry::conformance::report;
use crate::daemon::engines::server_settings::SharedSettingsReader;
use crate::daemon::stages::control::Actor;
use crate::daemon::stages::control::fakes::{World, comment_id, submitted};
use crate::protocol::admin::*;
use crate::protocol::error_code::ProblemDetails;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{ErrorCode, Identity, NodeId, StreamId, UserId};

/// A daemon's admin socket over a [`World`], served until it is dropped.
struct Served {
    world: World,
    path: PathBuf,
    /// Watches the cluster when a test says so.
    reporter: Reporter,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AdminError>>,
    _directory: TempDir,
}

impl Served {
    async fn new() -> Self {
        Self::with(None, Vec::new()).await
    }

    async fn with_timeline(timeline: SharedTimelineBlocks) -> Self {
        Self::with(Some(timeline), Vec::new()).await
    }

    async fn with_servers(servers: Vec<SharedSettingsReader>) -> Self {
        Self::with(None, servers).await
    }

    async fn with(
        timeline: Option<SharedTimelineBlocks>,
        servers: Vec<SharedSettingsReader>,
    ) -> Self {
        let world = World::new().await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let mut config = Config::default();
        config.node.name = "a".to_owned();
        config.cluster.name = "prod-eu".to_owned();
        config.cluster.colour = Some(ClusterColour::Red);
        config.alerts.lag_growing = Duration::from_secs(7);
        let identity = NodeIdentity {
            node: NodeId::new("a"),
            identity: "1".to_owned(),
            about: "process 1".to_owned(),
        };
        let engines = BTreeMap::from([("eventlog".to_owned(), "embedded".to_owned())]);
        let minter: Minter = Arc::new(|identity: &Identity, _, _| Ok(identity.name.to_string()));
        let admin = Admin::bind(AdminParts {
            socket: path.clone(),
            about: NodeFacts::new(&config, &identity, "127.0.0.1:8080".to_owned(), engines),
            control: world.control.clone(),
            reactions: world.reactions.clone(),
            board: world.board.clone(),
            minter,
            admin_minter: Arc::new(|name: &str, role: AdminRole, _| format!("{role} {name}")),
            remote: None,
            certificate: Arc::new(|| None),
            announcements: None,
            timeline,
            servers: BackendServers::new(servers),
            trials: fuzzing::trials(&world),
            live: Live::new(config.alerts.clone()),
        })
        .unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let reporter = admin.reporter();
        let task = tokio::spawn(async move { admin.run(until).await });
        Self { world, path, reporter, stop, task, _directory: directory }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Response {
        let stream = UnixStream::connect(&self.path).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lcd")
            .header(ACTOR_HEADER, "ann")
            .body(Full::new(body.into()))
            .unwrap();
        Response { inner: sender.send_request(request).await.unwrap(), read: Vec::new() }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.send("GET", path, "").await.whole().await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Outcome {
        let (status, body) = self.send("POST", path, body.to_string()).await.whole().await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

struct Response {
    inner: hyper::Response<Incoming>,
    read: Vec<u8>,
}

impl Response {
    async fn whole(self) -> (u16, Bytes) {
        let status = self.inner.status().as_u16();
        (status, self.inner.into_body().collect().await.unwrap().to_bytes())
    }

    /// Returns the next line of a live answer, or `None` at its end.
    async fn line<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.inner.body_mut().frame().await?.unwrap();
            self.read.extend_from_slice(frame.data_ref().unwrap());
        }
    }
}

fn uid() -> u32 {
    nix::unistd::getuid().as_raw()
}

/// Returns the integers in JSON, as a reader without a limit of bits sees them.
fn integers(json: &Value) -> Vec<i128> {
    match json {
        Value::Number(number) => number.as_i128().into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(integers).collect(),
        Value::Object(fields) => fields.values().flat_map(integers).collect(),
        _ => Vec::new(),
    }
}

/// A cluster sends 2^53 bytes within days. Readers such as JavaScript round beyond that.
#[tokio::test]
async fn counters_beyond_53_bits_are_shown_as_the_bound() {
    let served = Served::new().await;
    let metrics = served.world.board.metrics();
    metrics.comments_received.inc_by(u64::MAX);
    metrics.comments_accepted.inc_by((1 << 53) - 1);
    let bound = (1_i128 << 53) - 1;
    let first: Value = served.send("GET", "/v1/top", "").await.line().await.unwrap();
    let nodes: Value = served.get("/v1/nodes").await;
    let status: Value = served.get("/v1/status").await;
    for answer in [&first, &nodes, &status] {
        assert!(integers(answer).into_iter().all(|number| number.abs() <= bound), "{answer}");
    }
    assert!(integers(&first).contains(&bound), "the counters are in it: {first}");
}

#[tokio::test]
async fn a_ban_over_the_socket_takes_effect_and_is_recorded() {
    let served = Served::new().await;
    served.world.registry.place(42, "b").await;
    let outcome = served.post("/v1/ban", &json!({"user": "ann", "reason": "spam"})).await;
    assert_eq!((outcome.user_id, outcome.connections), (Some(UserId(42)), Some(1)));
    let bans: Cluster<Sanction> = served.get("/v1/bans").await;
    assert_eq!(bans.items[0].user_id, UserId(42));
    let audit: Cluster<AuditEntry> = served.get("/v1/audit?limit=1").await;
    let entry = &audit.items[0];
    assert_eq!(entry.audit_id, outcome.audit_id);
    assert_eq!(entry.actor, format!("ann (uid {})", uid()));
    assert_eq!(
        entry.detail,
        json!({"user": "ann", "reason": "spam", "note": null, "duration_ms": null})
    );
    let who: Who = served.get("/v1/who/ann").await;
    assert_eq!((who.connections.len(), who.sanctions.len()), (1, 1));
    let mode = std::fs::metadata(&served.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[tokio::test]
async fn every_change_has_a_path() {
    let served = Served::new().await;
    served.world.comment(5, "bad");
    served.world.comment(6, "bad again");
    let changes = json!([{"action": "ban", "user": "7"}, {"action": "kick", "user": "8"}]);
    let batch = json!({"changes": changes, "disconnect_after_ms": 10_000});
    for (path, body) in [
        ("/v1/timeout", json!({"user": "42", "duration_ms": 5000})),
        ("/v1/ban", json!({"user": "42"})),
        ("/v1/unban", json!({"user": "42"})),
        ("/v1/kick", json!({"user": "42", "note": "calm down"})),
        ("/v1/dm", json!({"user": "42", "message": "hello"})),
        ("/v1/announce", json!({"stream_id": 1, "message": "hello"})),
        ("/v1/delete", json!({"comment_id": comment_id(5)})),
        ("/v1/delete_of_user", json!({"user": "42", "last_ms": 60_000})),
        ("/v1/batch", batch),
        ("/v1/throttle", json!({"stream_id": 1, "sample_rate": 0.5, "for_ms": 60_000})),
        ("/v1/drain", json!({"undo": true})),
        ("/v1/streams", json!({"title": "two"})),
        ("/v1/streams/1", json!({"state": "ended"})),
    ] {
        let outcome = served.post(path, &body).await;
        let entries = served.world.metadata.audits().len() as u64;
        assert_eq!(outcome.audit_id, entries, "{path}");
    }
    let (status, _) = served.send("POST", "/v1/drain", "").await.whole().await;
    assert_eq!(status, 200, "no body is the default request");
    assert!(served.world.board.is_draining());
    let request = json!({"user_id": 5, "name": "v", "count": 2});
    let (_, body) = served.send("POST", "/v1/tokens", request.to_string()).await.whole().await;
    let tokens: Tokens = serde_json::from_slice(&body).unwrap();
    assert_eq!(tokens.tokens, ["v5", "v6"]);
}

#[tokio::test]
async fn a_snapshot_shows_the_stages_measurements() {
    let served = Served::new().await;
    served.world.comment(1, "one");
    served.world.comment(2, "two");
    served.world.log.set_committed(Topic::CommentEvents, ConsumerGroup::Archiver, 0);
    let board = &served.world.board;
    board.set_ready(true);
    let worker = board.add_worker();
    worker.connections.store(7, std::sync::atomic::Ordering::Relaxed);
    worker.slow_viewers.store(2, std::sync::atomic::Ordering::Relaxed);
    board.metrics().comments_accepted.inc_by(9);
    count(&board.metrics().comments_refused, "banned");
    count(&board.metrics().moderation_decisions, "reject");
    board.add_breaker("comment store");
    let gauges = StreamGauges {
        comments_per_second: 2.0,
        sample_rate: SampleRate::ALL,
        throttle_level: 0,
        throttle_override: None,
        throttle_until_ms: None,
        received: 2,
        broadcast: 2,
        sampled_out: 0,
        deleted: 0,
    };
    // In the partition whose position is set above.
    board.set_stream(StreamId(2), gauges);
    let fire = BTreeMap::from([("fire".into(), 3)]);
    served.world.reactions.add(&[(StreamId(1), fire)]).await.unwrap();

    let mut top = served.send("GET", "/v1/top?interval_ms=50", "").await;
    let first: TopSnapshot = top.line().await.unwrap();
    assert_eq!((first.connections, first.slow_viewers, first.workers.len()), (7, 2, 1));
    assert_eq!((first.counters.accepted, first.counters.refused["banned"]), (9, 1));
    assert_eq!((first.moderation.rejected, first.lag[0].lag), (1, 2));
    assert_eq!((first.streams[0].viewers, first.streams[0].reactions["fire"]), (12, 3));
    assert_eq!(first.breakers[0].dependency, "comment store");
    assert_eq!(first.unreachable.len(), 2, "b and c sent no report");
    let second: TopSnapshot = top.line().await.unwrap();
    assert!(second.uptime_ms >= first.uptime_ms + 40);

    let status: Status = served.get("/v1/status").await;
    assert!(status.ready);
    let warnings = ["no report from node b", "no report from node c"];
    assert_eq!(status.warnings, warnings);
    assert_eq!((status.live_streams, &*status.engines["eventlog"]), (1, "embedded"));
    let nodes: Cluster<NodeStatus> = served.get("/v1/nodes").await;
    assert_eq!((nodes.items[0].connections, nodes.items[0].roles.len()), (7, 4));
    let streams: Cluster<StreamStatus> = served.get("/v1/streams").await;
    assert_eq!(streams.items[0].title, "one");
    let workers: Cluster<WorkerStatus> = served.get("/v1/workers").await;
    assert_eq!(workers.items[0].connections, 7);
    let lag: Cluster<ConsumerLag> = served.get("/v1/lag").await;
    assert_eq!(lag.items[0].group, "archiver");
    assert_eq!(lag.items[0].streams, [StreamId(2)]);
    assert!(lag.items[0].oldest_ms.is_some());
    let queue: Cluster<ReviewItem> = served.get("/v1/mod/queue").await;
    assert!(queue.items.is_empty());
}

fn flagged(number: u64) -> ReviewItem {
    ReviewItem {
        comment_id: comment_id(number),
        stream_id: StreamId(1),
        user_id: UserId(42),
        name: "ann".to_owned(),
        message: "cheap followers".to_owned(),
        reason: "link".to_owned(),
        flagged_at: 1,
        held: false,
        shadowed: false,
        badges: Default::default(),
        parent_id: None,
        evidence: Default::default(),
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

#[tokio::test]
async fn a_claim_over_the_socket_is_seen_by_others() {
    let served = Served::new().await;
    for number in [1, 2] {
        served.world.metadata.queue_review(flagged(number), 7).await.unwrap();
    }
    let body = json!({"comment_id": comment_id(1)}).to_string();
    let (status, claimed) = served.send("POST", "/v1/mod/claim", body.clone()).await.whole().await;
    assert_eq!(status, 200);
    let claimed: ReviewItem = serde_json::from_slice(&claimed).unwrap();
    let actor = format!("ann (uid {})", uid());
    assert_eq!(claimed.claimed_by.as_deref(), Some(actor.as_str()));
    let queue: Cluster<ReviewItem> = served.get("/v1/mod/queue").await;
    let shown: Vec<_> = queue.items.iter().map(|item| (item.claimed_by_you, item.alike)).collect();
    assert_eq!(shown, [(true, 1), (false, 1)]);

    let bob = Actor::operator(Some("bob"), 1001);
    let request = ReviewRequest { comment_id: comment_id(1), reason: None, note: None };
    let refused = served.world.control.reject(&bob, &request).await.unwrap_err().body();
    assert_eq!(refused.code, ErrorCode::ReviewClaimed);
    served.post("/v1/mod/reject", &json!({"comment_id": comment_id(1)})).await;
    let (status, again) = served.send("POST", "/v1/mod/reject", body).await.whole().await;
    let again: ProblemDetails = serde_json::from_slice(&again).unwrap();
    assert_eq!((status, again.code), (409, ErrorCode::ReviewDecided));
    let decisions: Cluster<ModerationDecision> = served.get("/v1/mod/decisions?limit=1").await;
    let made = &decisions.items[0];
    assert_eq!((&made.decided_by, made.message.as_deref()), (&actor, Some("cheap followers")));
    let path = format!("/v1/mod/decisions?before={}", made.decided_at);
    let earlier: Cluster<ModerationDecision> = served.get(&path).await;
    assert!(earlier.items.is_empty(), "{earlier:?}");
    let offenders: Cluster<Offender> = served.get("/v1/mod/offenders").await;
    assert_eq!((offenders.items[0].user_id, offenders.items[0].removed), (UserId(42), 1));
}

#[tokio::test]
async fn silent_nodes_and_senders_are_told() {
    let served = Served::new().await;
    let board = &served.world.board;
    board.set_ready(true);
    let worker = board.add_worker();
    worker.connections.store(35, std::sync::atomic::Ordering::Relaxed);
    worker.senders.store(5, std::sync::atomic::Ordering::Relaxed);
    let meter = board.telemetry().stage(StageName::Broadcast);
    meter.follow_assignment(0..50, &[]);
    served.world.registry.set_report("b", report(&NodeId::new("b")));
    served.world.registry.set_silence("b", Duration::from_millis(3_200));
    served.world.registry.set_silence("c", Duration::from_secs(41));
    let nodes: Cluster<NodeStatus> = served.get("/v1/nodes").await;
    let [own, other] = &nodes.items[..] else { panic!("{nodes:?}") };
    assert_eq!((own.viewers(), own.senders, own.partitions["coordinator"]), (30, 5, 50));
    assert_eq!((other.seen_ms, other.state()), (3_200, "silent"));
    let top: TopSnapshot = served.send("GET", "/v1/top", "").await.line().await.unwrap();
    assert_eq!(top.silent, [SilentNode { node: NodeId::new("c"), seen_ms: 41_000 }]);
    assert_eq!((top.connections, top.senders, top.viewers()), (42, 6, 36));
    let status: Status = served.get("/v1/status").await;
    assert_eq!(status.viewers, 36);
}

#[tokio::test]
async fn refused_viewers_are_a_warning_for_a_minute() {
    let served = Served::new().await;
    let board = &served.world.board;
    let clock = &served.world.control.parts().clock;
    let warned = async || {
        let status: Status = served.get("/v1/status").await;
        let about = |warning: &&String| warning.contains("gateway.connections_per_second");
        status.warnings.iter().find(about).cloned()
    };
    assert_eq!(warned().await, None);
    (0..3).for_each(|_| count(&board.metrics().connections_refused, "connection_rate"));
    board.record_rate_refusal(clock.now_ms());
    assert!(warned().await.unwrap().contains(": 3 were told"));
    board.record_rate_refusal(clock.now_ms() - 60_000);
    assert_eq!(warned().await, None);
}

#[tokio::test]
async fn a_dependency_that_is_down_is_a_warning() {
    let served = Served::new().await;
    served.world.metadata.set_down(true);
    served.world.registry.set_down(true);
    let status: Status = served.get("/v1/status").await;
    assert!(status.warnings.iter().any(|w| w.contains("switched off")), "{:?}", status.warnings);
    let mut top = served.send("GET", "/v1/top", "").await;
    let snapshot: TopSnapshot = top.line().await.unwrap();
    assert_eq!(snapshot.streams.len(), 1);
}

#[tokio::test]
async fn a_tail_shows_comments_and_decisions_as_they_happen() {
    let served = Served::new().await;
    served.world.comment(1, "too early");
    let mut tail = served.send("GET", "/v1/tail/1", "").await;
    served.world.comment(2, "hello");
    let Some(TailItem::Comment(item)) = tail.line().await else { panic!("no comment") };
    let TailComment { comment, shadow } = item;
    assert!(!shadow);
    assert_eq!((&*comment.message, comment.seq), ("hello", 1));
    served.post("/v1/delete", &json!({"comment_id": comment_id(2), "reason": "spam"})).await;
    let Some(TailItem::Moderated { reason, decided_by, .. }) = tail.line().await else {
        panic!("no decision")
    };
    assert_eq!((&*reason, decided_by), ("spam", format!("ann (uid {})", uid())));
}

#[tokio::test]
async fn every_tail_is_told_of_the_throttle() {
    let served = Served::new().await;
    let show = |sample_rate, throttle_override| {
        let gauges = StreamGauges {
            comments_per_second: 1.0,
            sample_rate,
            throttle_level: 0,
            throttle_override,
            throttle_until_ms: None,
            received: 0,
            broadcast: 0,
            sampled_out: 0,
            deleted: 0,
        };
        served.world.board.set_stream(StreamId(1), gauges);
    };
    show(SampleRate::ALL, None);
    let mut tails = Vec::new();
    for _ in 0..3 {
        tails.push(served.send("GET", "/v1/tail/1", "").await);
    }
    let quarter = SampleRate::from_share(0.25).unwrap();
    for (expected, throttle_override) in [(quarter, Some(quarter)), (SampleRate::ALL, None)] {
        show(expected, throttle_override);
        for tail in &mut tails {
            let Some(TailItem::Throttle { sample_rate, fixed, .. }) = tail.line().await else {
                panic!("no change")
            };
            assert_eq!((sample_rate, fixed), (expected, throttle_override.is_some()));
        }
    }
}

#[tokio::test]
async fn stopping_ends_live_answers_and_removes_the_socket() {
    let served = Served::new().await;
    let mut top = served.send("GET", "/v1/top?interval_ms=60000", "").await;
    let mut tail = served.send("GET", "/v1/tail/1", "").await;
    assert!(top.line::<TopSnapshot>().await.is_some());
    served.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        assert!(top.line::<TopSnapshot>().await.is_none());
        assert!(tail.line::<TailItem>().await.is_none());
        served.task.await.unwrap().unwrap();
    });
    ended.await.expect("a reader that waits must not hold up the shutdown");
    assert!(!served.path.exists());
}

#[tokio::test]
async fn history_is_paged_newest_first() {
    let served = Served::new().await;
    for number in 1..=4 {
        let comment = submitted(StreamId(1), number, "x").comment;
        let row = ArchivedComment { comment, seq: number, shadow: false };
        served.world.comments.write_rows(&[row], &[]).await.unwrap();
    }
    let first: HistoryPage = served.get("/v1/history/1?limit=2").await;
    let seqs: Vec<_> = first.comments.iter().map(|comment| comment.seq).collect();
    assert_eq!((seqs, first.next_before), (vec![4, 3], Some(comment_id(3))));
    let path = format!("/v1/history/1?limit=2&before={}", comment_id(3));
    let last: HistoryPage = served.get(&path).await;
    assert_eq!((last.comments.len(), last.next_before), (2, None), "a full page may be the last");
}

#[tokio::test]
async fn clients_beyond_the_limit_wait() {
    let served = Served::new().await;
    let mut idle = Vec::new();
    for _ in 0..128 {
        idle.push(UnixStream::connect(&served.path).await.unwrap());
    }
    let waiting = served.get::<Status>("/v1/status");
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(200), waiting.as_mut()).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(idle);
    waiting.await;
}
