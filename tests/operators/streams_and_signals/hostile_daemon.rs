//! A daemon that answers every request of `lc` with texts that would control a terminal.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse as _;
use axum::{Json, Router};
use live_comments::protocol::admin::{BusNode, TailItem};
use live_comments::protocol::{CommentId, SequencedComment, StreamId, UserId};
use serde_json::{Value, json};

use super::{HOSTILE, LC};

/// A daemon whose every text is hostile.
pub(super) struct HostileDaemon {
    directory: tempfile::TempDir,
}

fn comment(number: u64) -> SequencedComment {
    let ticks = 17_952_544_080_000_000 + number * 10_000_000;
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(ticks, 7, [1; 6]),
        user_id: UserId(40 + number % 2),
        name: HOSTILE.into(),
        message: HOSTILE.into(),
        created_at: ticks / 10_000,
        seq: 100 + number,
        badges: Default::default(),
        parent_id: None,
    }
}

fn egress() -> Value {
    serde_json::to_value(live_comments::protocol::admin::Egress::default()).unwrap()
}

fn alert() -> Value {
    json!({"id": HOSTILE, "rule": HOSTILE, "subject": HOSTILE, "severity": "warning",
        "since_ms": 5, "nodes": [HOSTILE], "viewers": 1, "effect": HOSTILE, "next": HOSTILE,
        "acked_by": HOSTILE})
}

/// Returns the answer to every request of `lc`.
fn answer(path: &str) -> Value {
    let cluster = |item: Value| json!({"items": [item], "unreachable": [HOSTILE]});
    let breaker =
        json!({"dependency": HOSTILE, "state": "open", "last_error": HOSTILE, "since_ms": 5});
    let sanction = json!({"user_id": 42, "kind": "ban", "name": HOSTILE, "reason": HOSTILE,
        "created_by": HOSTILE, "created_at": 1, "expires_at": null});
    let id = comment(1).comment_id;
    match path {
        "/v1/status" => json!({"node": HOSTILE, "version": HOSTILE, "uptime_ms": 1, "ready": true,
            "draining": false, "listen": HOSTILE, "data_dir": HOSTILE, "engines": {HOSTILE: HOSTILE},
            "connections": 1, "live_streams": 1, "breakers": [breaker], "warnings": [HOSTILE],
            "health": "degraded", "unwell_ms": 5, "viewers": 1, "alerts": [alert()],
            "working": [HOSTILE]}),
        "/v1/alerts" => cluster(alert()),
        "/v1/events" => cluster(json!({"id": 1, "at": 1, "node": HOSTILE, "kind": "breaker",
            "subject": HOSTILE, "text": HOSTILE, "audit_id": 1})),
        "/v1/bus" => cluster(serde_json::to_value(BusNode::new(HOSTILE.to_owned())).unwrap()),
        "/v1/preview" => json!({"effect": HOSTILE, "users": 1, "connections": 1,
            "unknown": [HOSTILE]}),
        "/v1/nodes" => cluster(json!({"node": HOSTILE, "roles": [HOSTILE], "version": HOSTILE,
            "listen": HOSTILE, "uptime_ms": 1, "connections": 1, "max_connections": 1,
            "draining": false, "egress": egress()})),
        "/v1/workers" => cluster(json!({"node": HOSTILE, "worker": 0, "connections": 1,
            "slow_viewers": 0, "busy_us": 1, "wall_us": 1, "frames": 1, "delivered": 1,
            "bytes_out": 1})),
        "/v1/lag" => cluster(json!({"group": HOSTILE, "topic": HOSTILE, "partition": 0,
            "position": 1, "end": 2, "lag": 1, "oldest_ms": 5, "owner": HOSTILE})),
        "/v1/stores" => cluster(json!({"contract": HOSTILE, "engine": HOSTILE, "address": HOSTILE,
            "nodes": 1, "calls": 1, "failed": 1, "calls_per_second": 1.0,
            "failed_per_second": 1.0, "breaker": breaker})),
        "/v1/doctor" => cluster(json!({"check": HOSTILE, "result": "degraded", "what": HOSTILE,
            "why": HOSTILE, "mend": HOSTILE})),
        "/v1/dead-letters" => cluster(json!({"id": HOSTILE, "at": 1, "state": "open",
            "group": HOSTILE, "reason": HOSTILE, "topic": HOSTILE, "partition": 0, "offset": 1,
            "stream_id": 1, "bytes": 1, "message": HOSTILE})),
        "/v1/dead-letters/ack" => json!({"audit_ids": [1], "done": [HOSTILE], "left": 0}),
        "/v1/streams/1/talkers" => json!({"stream_id": 1, "window_ms": 300_000, "said": 9,
            "talkers": [{"user_id": 42, "name": HOSTILE, "said": 9, "error": 0, "refused": 1,
                "removed": 1, "text": 7}],
            "texts": [{"id": 7, "text": HOSTILE, "users": 2, "said": 9, "error": 0, "new": 1}],
            "unreachable": [HOSTILE]}),
        "/v1/bans" => cluster(sanction),
        "/v1/shadows" => cluster(json!({"user_id": 42, "stream_id": 1, "name": HOSTILE,
            "created_by": HOSTILE, "created_at": 1, "expires_at": 9_000_000_000_000_000_u64})),
        "/v1/grants" => cluster(json!({"user_id": 42, "stream_id": 1, "role": "moderator",
            "name": HOSTILE, "created_by": HOSTILE, "created_at": 1})),
        "/v1/streams/1/room" => json!({"stream_id": 1, "title": HOSTILE,
            "settings": {"shield": true}, "in_force": {"slow_ms": 30_000, "no_links": true}}),
        "/v1/streams/1/room/terms" => cluster(json!({"term": HOSTILE, "action": "flag"})),
        "/v1/streams/1/polls" => json!({"items": [{"poll_id": 1, "question": HOSTILE,
            "options": [HOSTILE, "b"], "opened_at": 1, "closes_at": 2, "closed": true,
            "votes": [1, 2]}], "unreachable": [HOSTILE], "audit_id": 1, "elapsed_us": 1}),
        "/v1/mod/queue" => cluster(json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "reason": HOSTILE, "flagged_at": 1, "held": true,
            "claimed_by": HOSTILE, "claim_expires_at": 9_000_000_000_000_000_u64})),
        "/v1/mod/claim" => json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "reason": HOSTILE, "flagged_at": 1, "held": true,
            "claimed_by": HOSTILE, "claim_expires_at": 1, "claimed_by_you": true}),
        "/v1/mod/decisions" => cluster(json!({"comment_id": id, "stream_id": 1, "user_id": 42,
            "name": HOSTILE, "message": HOSTILE, "decision": "reject", "reason": HOSTILE,
            "decided_by": HOSTILE, "decided_at": 1})),
        "/v1/mod/offenders" => cluster(json!({"user_id": 42, "name": HOSTILE, "removed": 1,
            "reason": HOSTILE, "last_at": 1})),
        "/v1/mod/test" => json!({"node": HOSTILE, "decision": "reject", "reason": HOSTILE,
            "stages": [{"stage": HOSTILE, "decision": "reject", "reason": HOSTILE, "decides": true,
                "note": HOSTILE, "rules": [{"rule": HOSTILE, "decision": "reject",
                    "setting": HOSTILE, "matched": HOSTILE}]}]}),
        "/v1/audit" => cluster(json!({"audit_id": 1, "at": 1, "actor": HOSTILE, "action": HOSTILE,
            "target": HOSTILE, "detail": {HOSTILE: HOSTILE}})),
        "/v1/who/ann" => json!({"user_id": 42, "name": HOSTILE, "connections": [
            {"node": HOSTILE, "stream_id": 1, "connected_at": 1}], "sanctions": [sanction],
            "unreachable": [HOSTILE]}),
        "/v1/users/ann" => json!({"user_id": 42, "name": HOSTILE, "connections": [],
            "sanctions": [], "since_ms": 1, "said": 1, "removed": 1, "comments": [
                {"comment_id": id, "stream_id": 1, "message": HOSTILE, "created_at": 1,
                 "removed": HOSTILE}], "audit": [answer("/v1/audit")["items"][0]]}),
        "/v1/history/1" => json!({"comments": [comment(1)], "next_before": id}),
        "/v1/tokens" => json!({"tokens": [HOSTILE]}),
        "/v1/streams" => json!({"items": [serde_json::to_value(stream_status()).unwrap()],
            "unreachable": [HOSTILE], "audit_id": 1, "elapsed_us": 1}),
        _ => json!({"audit_id": 1, "user_id": 42, "user_name": HOSTILE, "connections": 1,
            "losses": [HOSTILE], "unreachable": [HOSTILE], "elapsed_us": 1}),
    }
}

fn stream_status() -> live_comments::protocol::admin::StreamStatus {
    use live_comments::protocol::stream::{ModerationMode, StreamState};
    use live_comments::protocol::throttle::SampleRate;
    live_comments::protocol::admin::StreamStatus {
        stream_id: StreamId(1),
        title: HOSTILE.into(),
        description: HOSTILE.into(),
        state: StreamState::Live,
        starts_at: None,
        started_at: None,
        ended_at: None,
        anonymous: true,
        moderation: ModerationMode::Async,
        viewers: 1,
        comments_per_second: 1.0,
        sample_rate: SampleRate::ALL,
        throttle_level: 0,
        throttle_override: None,
        throttle_until_ms: None,
        egress_share: SampleRate::ALL,
        egress_sampled_out: 0,
        received: 1,
        broadcast: 1,
        sampled_out: 0,
        deleted: 0,
        reactions: [(HOSTILE.to_owned(), 1)].into(),
        room: Default::default(),
    }
}

/// Returns the live lines of a tail: a comment, a decision, and a mark that all before it was read.
fn tail_lines() -> String {
    let moderated = TailItem::Moderated {
        comment_id: comment(9).comment_id,
        user_id: UserId(42),
        decision: live_comments::protocol::events::Decision::Flag,
        reason: HOSTILE.into(),
        decided_by: HOSTILE.into(),
        timestamp: 1,
    };
    let restored = TailItem::Restored {
        comment_id: comment(9).comment_id,
        user_id: UserId(42),
        restored_by: HOSTILE.into(),
        timestamp: 1,
    };
    let items = [
        TailItem::Comment(comment(1).into()),
        TailItem::Comment(comment(2).into()),
        moderated,
        restored,
        TailItem::Missed { items: 3 },
    ];
    items.iter().map(|item| serde_json::to_string(item).unwrap() + "\n").collect()
}

fn event_line() -> String {
    format!("{}\n", answer("/v1/events")["items"][0])
}

fn top_line() -> String {
    use live_comments::protocol::NodeId;
    let node: live_comments::protocol::admin::NodeStatus =
        serde_json::from_value(answer("/v1/nodes")["items"][0].clone()).unwrap();
    let worker = serde_json::from_value(answer("/v1/workers")["items"][0].clone()).unwrap();
    let lag = serde_json::from_value(answer("/v1/lag")["items"][0].clone()).unwrap();
    let breaker = serde_json::from_value(answer("/v1/status")["breakers"][0].clone()).unwrap();
    let snapshot = live_comments::protocol::admin::TopSnapshot {
        taken_at: 1,
        node: NodeId::new(HOSTILE),
        version: HOSTILE.into(),
        uptime_ms: 1,
        draining: false,
        connections: 1,
        slow_viewers: 0,
        counters: Default::default(),
        senders: 0,
        rates: Default::default(),
        stages: Vec::new(),
        end_to_end: Default::default(),
        bus: Vec::new(),
        stores: Vec::new(),
        streams: vec![stream_status()],
        workers: vec![worker],
        lag: vec![lag],
        moderation: live_comments::protocol::admin::ModerationCounts {
            reasons: [(HOSTILE.to_owned(), 1)].into(),
            ..Default::default()
        },
        breakers: vec![breaker],
        nodes: vec![node],
        unreachable: vec![NodeId::new(HOSTILE)],
        silent: Vec::new(),
        problems: vec![HOSTILE.to_owned()],
        thresholds: Default::default(),
    };
    serde_json::to_string(&snapshot).unwrap() + "\n"
}

/// Answers a live request: its lines, once or for ever, and then nothing until it is closed.
fn live(lines: String, for_ever: bool) -> axum::response::Response {
    let lines = bytes::Bytes::from(lines);
    let stream = futures_util::stream::unfold(0_u64, move |sent| {
        let lines = lines.clone();
        async move {
            if sent > 0 && !for_ever {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(lines), sent + 1))
        }
    });
    Body::from_stream(stream).into_response()
}

impl HostileDaemon {
    /// Starts it; `flood` makes its live answers endless.
    pub(super) fn start(flood: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        // The file of `lc ctx`, which others may have written.
        let contexts = json!({"daemons": {HOSTILE: {"socket": HOSTILE}}}).to_string();
        std::fs::create_dir(directory.path().join("lc")).unwrap();
        std::fs::write(directory.path().join("lc/contexts.json"), contexts).unwrap();
        let routes = Router::new().fallback(async move |request: Request| {
            let path = request.uri().path().to_owned();
            let answered = ["/v1/preview", "/v1/mod/claim", "/v1/mod/test", "/v1/dead-letters/ack"];
            let is_answered = path.starts_with("/v1/tokens") || answered.contains(&&*path);
            let is_change = request.method() == "POST" && !is_answered;
            let is_followed =
                request.uri().query().is_some_and(|query| query.contains("follow=true"));
            match path.as_str() {
                "/v1/events" if is_followed => live(event_line(), flood),
                "/v1/tail/1" => live(tail_lines(), flood),
                "/v1/top" => live(top_line().repeat(2), flood),
                _ if is_change => Json(answer("change")).into_response(),
                path => Json(answer(path)).into_response(),
            }
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { directory }
    }

    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(LC);
        command.args(line.split(' ')).arg("--socket").arg(self.directory.path().join("admin.sock"));
        command.env("XDG_CONFIG_HOME", self.directory.path()).stdin(Stdio::null());
        command
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
