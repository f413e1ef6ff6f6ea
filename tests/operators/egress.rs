//! A node at its egress limit, as viewers and operators see it, over real sockets.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::time::Duration;

use live_comments::client::viewer::ViewerOptions;
use live_comments::protocol::admin::{
    Cluster, EgressLimit, NodeStatus, Outcome, Status, StreamStatus,
};
use live_comments::protocol::throttle::SampleRate;
use live_comments::protocol::{CommentId, Role, ServerMessage, StreamId};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{self, Daemon, STREAM, Viewer, archived, comment, history};

const QUIET: StreamId = StreamId(2);
const VIEWERS: usize = 20;
const LAST: &str = "the end";
/// A comment takes about 400 bytes per viewer, with its batch.
const TEXT_BYTES: usize = 200;

/// Sends comments and records which are shown.
struct Sender {
    viewer: Viewer,
    sent: HashSet<CommentId>,
    echoed: HashSet<CommentId>,
    told: Vec<SampleRate>,
}

impl Sender {
    async fn join(daemon: &Daemon) -> Self {
        let viewer = daemon.join(42, "ann").await;
        let sent = HashSet::new();
        let echoed = HashSet::new();
        Self { viewer, sent, echoed, told: Vec::new() }
    }

    async fn send(&mut self) {
        let name = format!("r{}", self.sent.len());
        let text = format!("{name:.<TEXT_BYTES$}");
        self.viewer.send(&comment(&text, &name)).await;
        let before = self.sent.len();
        while self.sent.len() == before {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        match self.viewer.next().await.unwrap() {
            ServerMessage::Ack { comment_id, .. } => {
                self.sent.insert(comment_id);
            }
            ServerMessage::Comments(batch) if batch.echo => {
                self.echoed.extend(batch.comments.iter().map(|comment| comment.comment_id));
            }
            ServerMessage::ThrottleNotification { sample_rate, .. } => self.told.push(sample_rate),
            ServerMessage::Error { code, message, .. } => panic!("{code}: {message}"),
            _ => {}
        }
    }

    /// Returns its own comments that came in a broadcast.
    fn shown(&self) -> HashSet<CommentId> {
        self.viewer.comments.iter().map(|comment| comment.comment_id).collect()
    }

    /// Sends comments, and keeps the quiet stream active, until `done`.
    async fn send_until(&mut self, quiet: &mut Viewer, done: impl Fn(&Self) -> bool) {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while !done(self) {
            pace.tick().await;
            self.send().await;
            if self.sent.len().is_multiple_of(50) {
                quiet.comment("calm here").await;
            }
            assert!(self.sent.len() < 10_000, "told so far: {:?}", self.told);
        }
    }
}

fn watch_until_the_end(mut viewer: Viewer, watchers: &mut JoinSet<Viewer>) {
    watchers.spawn(async move {
        while viewer.texts().last() != Some(&LAST) {
            viewer.next().await.unwrap();
        }
        viewer
    });
}

async fn on(daemon: &Daemon, stream: StreamId, token: Option<String>) -> Viewer {
    let token = token.map(Into::into);
    Viewer::join(ViewerOptions { stream, token, ..daemon.options() }).await
}

async fn stream(daemon: &Daemon, stream_id: StreamId) -> StreamStatus {
    let streams: Cluster<StreamStatus> = daemon.admin().get("/v1/streams").await.unwrap();
    streams.items.into_iter().find(|stream| stream.stream_id == stream_id).unwrap()
}

#[tokio::test]
async fn over_budget_the_hottest_stream_is_sampled() {
    let daemon = Daemon::start("[delivery]\negress_bytes_per_second = \"60 kB\"\n");
    let created = json!({"stream_id": QUIET, "title": "calm"});
    let _: Outcome = daemon.admin().post("/v1/streams", &created).await.unwrap();
    let mut quiet = on(&daemon, QUIET, Some(daemon.token(43, "bob"))).await;
    let mut watchers = JoinSet::new();
    for _ in 0..VIEWERS {
        watch_until_the_end(daemon.watch().await, &mut watchers);
    }
    let mut sender = Sender::join(&daemon).await;
    let told_half = |sender: &Sender| sender.told.last().is_some_and(|rate| rate.share() <= 0.5);
    sender.send_until(&mut quiet, told_half).await;
    let enough = sender.sent.len() + 200;
    sender.send_until(&mut quiet, |sender| sender.sent.len() >= enough).await;

    // Operators see the stream, the share and the limit.
    let hot = stream(&daemon, STREAM).await;
    assert!(hot.egress_share.share() <= 0.8 && hot.egress_sampled_out > 0, "{hot:?}");
    assert_eq!((hot.sample_rate, hot.sampled_out), (SampleRate::ALL, 0), "not the throttle");
    let calm = stream(&daemon, QUIET).await;
    assert_eq!((calm.egress_share, calm.egress_sampled_out), (SampleRate::ALL, 0));
    let nodes: Cluster<NodeStatus> = daemon.admin().get("/v1/nodes").await.unwrap();
    let egress = &nodes.items[0].egress;
    assert_eq!((egress.limited_by, egress.streams_lowered), (Some(EgressLimit::Budget), 1));
    let status: Status = daemon.admin().get("/v1/status").await.unwrap();
    assert!(status.warnings.iter().any(|text| text.contains("egress budget")), "{status:?}");
    let metrics = support::raw(&daemon, b"GET /metrics HTTP/1.0\r\n\r\n").await;
    let metrics = String::from_utf8(metrics).unwrap();
    let exported = "lcd_comments_egress_sampled_out_total ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(exported)).unwrap();
    assert!(count.parse::<u64>().unwrap() >= hot.egress_sampled_out);

    // A joining viewer is told the rate. The deletion of a comment that was not shown reaches
    // all.
    let mut newcomer = daemon.watch().await;
    assert!(newcomer.welcome.sample_rate.share() <= 0.8, "{:?}", newcomer.welcome);
    let left_out = sender.echoed.iter().next().copied().expect("an echo");
    let delete = json!({"comment_id": left_out});
    let _: Outcome = daemon.admin().post("/v1/delete", &delete).await.unwrap();
    let deleted = |message: &ServerMessage| match message {
        ServerMessage::CommentDeleted(deletion) => Some(deletion.comment_id),
        _ => None,
    };
    assert_eq!(newcomer.until(deleted).await, left_out);

    // Comments of staff are shown at any rate, so this one ends the watch.
    let token = Some(daemon.token_of(7, "mod", Role::Moderator));
    let (_, last) = on(&daemon, STREAM, token).await.comment(LAST).await;
    let watchers = watchers.join_all().await;
    assert!(watchers.len() == VIEWERS && watchers.iter().all(|viewer| viewer.gaps.is_empty()));
    assert!(
        watchers.iter().all(|viewer| viewer.comments == watchers[0].comments),
        "all see the same"
    );
    let seen = watchers[0].comments.len() - 1;
    let sent = sender.sent.len();
    assert!(seen < sent * 9 / 10, "{seen} of {sent} were shown");

    // The sender sees all of its own comments, and the history has them all.
    while sender.viewer.position.seq < last {
        sender.read().await;
    }
    while sender.shown().union(&sender.echoed).filter(|id| sender.sent.contains(id)).count() < sent
    {
        sender.read().await;
    }
    assert!(sender.shown().is_disjoint(&sender.echoed), "nothing twice");
    archived(&daemon).await;
    let kept: HashSet<_> = history(&daemon, STREAM).await.iter().map(|c| c.comment_id).collect();
    assert_eq!(sender.sent.difference(&kept).collect::<Vec<_>>(), [&left_out], "but the deleted");
    let (_, last) = quiet.comment(LAST).await;
    quiet.until_seq(last).await;
    archived(&daemon).await;
    let calm = history(&daemon, QUIET).await;
    assert_eq!(quiet.comments, calm, "the quiet stream was shown whole");
}

/// Reads a few messages per second, in small pieces.
fn read_slowly(mut viewer: Viewer, watchers: &mut JoinSet<()>) {
    watchers.spawn(async move {
        loop {
            viewer.next().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
}

#[tokio::test]
async fn full_sockets_lower_what_is_shown() {
    let daemon = Daemon::start("");
    let mut watchers = JoinSet::new();
    for _ in 0..VIEWERS {
        let window = Some(4096);
        let options =
            ViewerOptions { receive_window_bytes: window, buffer_bytes: 4096, ..daemon.options() };
        read_slowly(Viewer::join(options).await, &mut watchers);
    }
    let mut sender = daemon.join(42, "ann").await;
    let text = "\u{8a9e}".repeat(500);
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let told = async {
        loop {
            pace.tick().await;
            sender.comment(&text).await;
            let hot = stream(&daemon, STREAM).await;
            if !hot.egress_share.is_all() && hot.egress_sampled_out > 0 {
                return;
            }
        }
    };
    tokio::time::timeout(support::PATIENCE, told).await.expect("less is shown");
    let nodes: Cluster<NodeStatus> = daemon.admin().get("/v1/nodes").await.unwrap();
    assert_eq!(nodes.items[0].egress.limited_by, Some(EgressLimit::Sockets));
    let newcomer = daemon.watch().await;
    assert!(!newcomer.welcome.sample_rate.is_all());
}
