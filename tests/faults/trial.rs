//! One fault from beginning to end, and its report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::protocol::admin::{
    BreakerState, Outcome, SanctionRequest, TopSnapshot, UserRef,
};
use live_comments::protocol::stream::NewStream;
use live_comments::protocol::{CommentId, StreamId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::cluster::{Cluster, Shape, stack};
use crate::support::history;
use crate::support::recorder::{RecordingViewer, Seen};
use crate::support::sender::{Refusals, Sender, SenderResults};

const STREAMS: u64 = 4;
const SENDERS: u64 = 8;
/// Rate of one sender; 400/s together.
const PER_SECOND: u32 = 50;
/// RecordingViewers of each stream on each edge.
const VIEWERS: usize = 2;
/// Comments acknowledged before the fault.
const WARM_UP_COMMENTS: usize = 400;
/// Time with senders and viewers after a fault.
const SETTLING: Duration = Duration::from_secs(3);
/// Time that deletions get to reach viewers who may have left before them.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// Timeout of degrading, recovering, catching up and storing. What is lost stays lost, so it may be
/// long: servers that have just started are slow.
const PATIENCE: Duration = Duration::from_secs(120);
/// Offsets at the end of a partition that consumers never receive: transaction markers, and records
/// of an aborted transaction.
const MAX_INVISIBLE: u64 = 8;
const BANNED: u64 = 900;
const TO_BE_BANNED: u64 = 901;

/// Trials share the servers, so they run one at a time.
static TURN: AsyncMutex<()> = AsyncMutex::const_new(());

/// A comment that a viewer should have been shown.
#[derive(Debug)]
#[allow(dead_code, reason = "printed by assertions")]
struct MissingComment {
    stream_id: StreamId,
    id: CommentId,
    text: String,
}

pub(crate) struct Trial {
    _turn: MutexGuard<'static, ()>,
    name: &'static str,
    cluster: Cluster,
    senders: JoinSet<()>,
    tally: Arc<Mutex<SenderResults>>,
    seen: Vec<(StreamId, Arc<Mutex<Seen>>)>,
    stop_sending: CancellationToken,
    stop: CancellationToken,
    fault_at: Instant,
    /// When the command that causes the fault was done. It takes a while on a busy machine.
    fault_done_at: Instant,
    recovered_at: Instant,
    figures: Vec<String>,
}

/// Returns whether the breaker of a dependency is open; the empty name means any.
pub(crate) fn breaker_is_open(top: &TopSnapshot, dependency: &str) -> bool {
    top.breakers.iter().any(|breaker| {
        breaker.state == BreakerState::Open
            && (dependency.is_empty() || breaker.dependency == dependency)
    })
}

pub(crate) fn is_unreachable(top: &TopSnapshot, node: &str) -> bool {
    top.unreachable.iter().any(|unreachable| unreachable.as_str() == node)
}

fn is_well(top: &TopSnapshot, nodes: usize) -> bool {
    let closed = |breaker: &live_comments::protocol::admin::BreakerStatus| {
        breaker.state == BreakerState::Closed
    };
    top.breakers.iter().all(closed) && top.unreachable.is_empty() && top.nodes.len() == nodes
}

impl Trial {
    pub(crate) async fn start(name: &'static str, shape: Shape) -> Self {
        let turn = TURN.lock().await;
        // A failed trial may have left a server down.
        tokio::task::block_in_place(|| stack(&["up"]));
        let cluster = Cluster::start(name, shape);
        for stream in 2..=STREAMS {
            let new = NewStream {
                stream_id: Some(StreamId(stream)),
                title: format!("stream {stream}"),
                anonymous: true,
                ..NewStream::default()
            };
            let _: Outcome = cluster.admin("edge-1").post("/v1/streams", &new).await.unwrap();
        }
        let nodes = cluster.names().count();
        cluster.until_top("edge-1", "all is well", PATIENCE, |top| is_well(top, nodes)).await;
        let mut trial = Self {
            _turn: turn,
            name,
            cluster,
            senders: JoinSet::new(),
            tally: Arc::default(),
            seen: Vec::new(),
            stop_sending: CancellationToken::new(),
            stop: CancellationToken::new(),
            fault_at: Instant::now(),
            fault_done_at: Instant::now(),
            recovered_at: Instant::now(),
            figures: Vec::new(),
        };
        trial.ban(BANNED).await.unwrap();
        trial.start_clients().await;
        let warm = async {
            while trial.tally.lock().acked.len() < WARM_UP_COMMENTS {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, warm).await.expect("comments are acknowledged before the fault");
        trial
    }

    /// Starts the viewers, waits until all have joined, and starts the senders.
    async fn start_clients(&mut self) {
        let edges: Vec<_> =
            ["edge-1", "edge-2"].iter().map(|edge| self.cluster.node(edge).address).collect();
        for stream in 1..=STREAMS {
            let stream_id = StreamId(stream);
            for edge in (0..edges.len()).flat_map(|edge| [edge; VIEWERS]) {
                let seen = Arc::new(Mutex::new(Seen::default()));
                self.seen.push((stream_id, seen.clone()));
                let edges = edges.clone();
                let stop = self.stop.clone();
                tokio::spawn(RecordingViewer { stream_id, edges, edge, seen, stop }.run());
            }
        }
        let watching = async {
            while self.seen.iter().any(|(_, seen)| !seen.lock().is_watching()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, watching).await.expect("every viewer joins");
        for user_id in 1..=SENDERS {
            let token = self.token(user_id).into();
            let sender = Sender {
                user_id,
                stream_id: StreamId(1 + user_id % STREAMS),
                token,
                edges: edges.clone(),
                per_second: PER_SECOND,
                tally: self.tally.clone(),
                stop_sending: self.stop_sending.clone(),
            };
            self.senders.spawn(sender.run());
        }
    }

    fn token(&self, user_id: u64) -> String {
        self.cluster.token(user_id, &format!("user {user_id}"))
    }

    async fn ban(&self, user_id: u64) -> Result<Outcome, String> {
        let request = SanctionRequest {
            stream_id: None,
            user: UserRef(user_id.to_string()),
            reason: Some("test".to_owned()),
            note: None,
            duration_ms: None,
        };
        let banned = self.cluster.admin("edge-1").post("/v1/ban", &request).await;
        banned.map_err(|error| error.to_string())
    }

    pub(crate) async fn cause_fault(&mut self, act: impl FnOnce(&mut Cluster)) {
        println!("{}: causing the fault", self.name);
        self.fault_at = Instant::now();
        tokio::task::block_in_place(|| act(&mut self.cluster));
        self.fault_done_at = Instant::now();
    }

    /// Waits until `lc top` on the first edge shows it.
    pub(crate) async fn wait_for_sign(&mut self, what: &str, sign: impl Fn(&TopSnapshot) -> bool) {
        self.cluster.until_top("edge-1", what, PATIENCE, sign).await;
        let after = self.fault_at.elapsed();
        self.figures.push(format!("lc top shows it after {:.1} s", after.as_secs_f64()));
        self.banned_user_stays_out().await;
    }

    /// Waits until the overview of the console on the first edge, as one line, shows it. Returns
    /// the time since the fault.
    pub(crate) async fn wait_for_overview(&mut self, sign: impl Fn(&str) -> bool) -> Duration {
        let data_dir = self.cluster.node("edge-1").data_dir();
        let overview = async {
            loop {
                let mut lc = std::process::Command::new(env!("CARGO_BIN_EXE_lc"));
                // The load of workers is a difference, for which a frame waits one interval.
                lc.args(["top", "--once", "--interval", "100ms", "--data-dir"]).arg(&data_dir);
                let shown = tokio::task::block_in_place(|| lc.output()).expect("lc runs").stdout;
                let shown = String::from_utf8(shown).expect("text");
                // Texts are broken into lines.
                if sign(&shown.split_whitespace().collect::<Vec<_>>().join(" ")) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, overview).await.expect("the overview names it");
        let after = self.fault_done_at.elapsed();
        let figure = format!("the overview names it after {:.2} s", after.as_secs_f64());
        println!("{}: {figure}", self.name);
        self.figures.push(figure);
        after
    }

    async fn banned_user_stays_out(&self) {
        for edge in self.cluster.names().filter(|name| name.starts_with("edge")) {
            let token = Some(self.token(BANNED).into());
            let options = ViewerOptions { token, ..self.cluster.node(edge).options() };
            let joined = timeout(PATIENCE, ViewerConnection::join(&options)).await.unwrap();
            let error = joined.err().unwrap_or_else(|| panic!("{edge} let a banned user in"));
            assert!(error.to_string().contains("ban"), "{error}");
        }
    }

    /// A ban made during the fault closes the user's connection on the other edge.
    pub(crate) async fn check_ban_during_fault(&mut self) {
        let mut viewer = self.cluster.node("edge-2").join(TO_BE_BANNED, "to be banned").await;
        let started = Instant::now();
        let outcome = self.ban(TO_BE_BANNED).await.unwrap();
        let code = timeout(PATIENCE, viewer.until_closed()).await.expect("closed in time");
        assert_eq!(code, 4503, "banned");
        let after = started.elapsed();
        self.figures.push(format!(
            "a ban closed a connection on another edge after {} ms (nodes unreachable: {:?})",
            after.as_millis(),
            outcome.unreachable
        ));
    }

    /// Terminates and restarts one node after another.
    pub(crate) async fn restart_gracefully(&mut self, nodes: &[&'static str]) {
        self.fault_at = Instant::now();
        for node in nodes {
            let started = Instant::now();
            tokio::task::block_in_place(|| {
                self.cluster.terminate(node);
                self.cluster.restart(node);
            });
            let took = started.elapsed().as_secs_f64();
            self.figures.push(format!("{node} drained and was back after {took:.1} s"));
            tokio::time::sleep(SETTLING).await;
        }
        self.end_fault(|_| ()).await;
    }

    /// Kills and restarts random nodes, then waits until everything is well.
    pub(crate) async fn kill_repeatedly(&mut self, times: usize, nodes: &[&'static str]) {
        let mut random = StdRng::seed_from_u64(7);
        self.fault_at = Instant::now();
        for _ in 0..times {
            let node = nodes[random.random_range(0..nodes.len())];
            let pause = Duration::from_millis(random.random_range(100..1000));
            tokio::time::sleep(pause).await;
            tokio::task::block_in_place(|| {
                self.cluster.kill(node);
                std::thread::sleep(pause / 2);
                self.cluster.restart(node);
            });
        }
        self.figures.push(format!("killed {times} times"));
        self.end_fault(|_| ()).await;
    }

    pub(crate) async fn wait_until_after_fault(&mut self, outage: Duration) {
        tokio::time::sleep_until(self.fault_at + outage).await;
    }

    /// Ends the fault and waits until everything is well again.
    pub(crate) async fn end_fault(&mut self, act: impl FnOnce(&mut Cluster)) {
        let before = self.tally.lock().acked.len();
        tokio::task::block_in_place(|| act(&mut self.cluster));
        self.recovered_at = Instant::now();
        let nodes = self.cluster.names().count();
        let well = |top: &TopSnapshot| is_well(top, nodes);
        self.cluster.until_top("edge-1", "all is well again", PATIENCE, well).await;
        let after = self.recovered_at.elapsed();
        self.figures.push(format!(
            "well {:.1} s after the end of the fault; {before} acknowledged until then",
            after.as_secs_f64()
        ));
        tokio::time::sleep(SETTLING).await;
    }

    /// Stops the senders, waits until everything is stored, and checks the promises.
    pub(crate) async fn verify(mut self) {
        self.stop_sending.cancel();
        let home = async {
            while let Some(sender) = self.senders.join_next().await {
                sender.expect("no sender is refused for good");
            }
        };
        timeout(PATIENCE, home).await.expect("every comment is acknowledged in the end");
        let idle = |top: &TopSnapshot| {
            let groups = ["archiver", "moderator", "coordinator"];
            groups.iter().all(|group| {
                let mut lags = top.lag.iter().filter(|lag| lag.group.ends_with(group)).peekable();
                lags.peek().is_some() && lags.all(|lag| lag.lag <= MAX_INVISIBLE)
            })
        };
        self.cluster.until_top("edge-1", "consumers catch up", PATIENCE, idle).await;
        let tally = std::mem::take(&mut *self.tally.lock());
        self.wait_until_all_shown(&tally).await;
        self.stop.cancel();
        let kept = self.check_history(&tally).await;
        self.check_viewers(&tally);
        self.report(&tally, kept);
    }

    /// Waits until every viewer was shown every acknowledged comment or its deletion, and every
    /// deletion of what it was shown.
    async fn wait_until_all_shown(&self, tally: &SenderResults) {
        let started = Instant::now();
        loop {
            let missing = self.missing(tally);
            let is_late = started.elapsed() >= LAST_RECORDS;
            if missing.is_empty() && (is_late || self.undeleted(tally).is_empty()) {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{} comments were never shown, such as {:?}",
                missing.len(),
                missing.first()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Returns the acknowledged comments that a viewer without a gap was not shown, as comment or
    /// deletion.
    fn missing(&self, tally: &SenderResults) -> Vec<MissingComment> {
        let mut missing = Vec::new();
        for (stream_id, seen) in &self.seen {
            let seen = seen.lock();
            let shown: HashSet<_> = seen.comments.iter().map(|shown| shown.id).collect();
            if !seen.gaps.is_empty() {
                continue;
            }
            for acked in tally.acked.iter().filter(|acked| acked.stream_id == *stream_id) {
                let id = acked.comment_id;
                if !shown.contains(&id) && !seen.deleted.contains(&id) {
                    missing.push(MissingComment {
                        stream_id: *stream_id,
                        id,
                        text: acked.text.clone(),
                    });
                }
            }
        }
        missing
    }

    /// Checks that history has every acknowledged comment once, and no deleted one.
    async fn check_history(&self, tally: &SenderResults) -> usize {
        let started = Instant::now();
        loop {
            let mut kept: HashMap<CommentId, String> = HashMap::new();
            for stream in 1..=STREAMS {
                for comment in history(self.cluster.node("edge-1"), StreamId(stream)).await {
                    let before = kept.insert(comment.comment_id, comment.message.to_string());
                    assert!(before.is_none(), "twice in history: {}", comment.comment_id);
                }
            }
            let deleted = kept.values().find(|text| text.contains("forbiddenword"));
            let expected = tally.acked.iter().filter(|acked| !acked.text.contains("forbiddenword"));
            let missing: Vec<_> =
                expected.clone().filter(|acked| !kept.contains_key(&acked.comment_id)).collect();
            if deleted.is_none() && missing.is_empty() {
                return kept.len();
            }
            if started.elapsed() >= PATIENCE {
                let top = self.cluster.top("edge-1").await;
                panic!(
                    "of {} acknowledged comments {} are not in history, such as {:?} and {:?}; \
                     deleted and still in history: {deleted:?}; lag: {:?}",
                    tally.acked.len(),
                    missing.len(),
                    missing.first(),
                    missing.last(),
                    top.lag
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn check_viewers(&self, tally: &SenderResults) {
        for (stream_id, seen) in &self.seen {
            let seen = seen.lock();
            assert_eq!(seen.violations, Vec::<String>::new(), "a viewer of {stream_id}");
            assert_eq!(seen.joined.len(), 1, "one epoch: {:?}", seen.joined);
        }
        assert_eq!(self.undeleted(tally), Vec::new(), "were never deleted");
    }

    /// Returns the comments that viewers were shown and that should have been deleted since.
    fn undeleted(&self, tally: &SenderResults) -> Vec<CommentId> {
        let bad = tally.acked.iter().filter(|acked| acked.text.contains("forbiddenword"));
        let bad: HashSet<_> = bad.map(|acked| acked.comment_id).collect();
        let mut undeleted = Vec::new();
        for (_, seen) in &self.seen {
            let seen = seen.lock();
            let shown = seen.comments.iter().map(|shown| shown.id);
            undeleted.extend(shown.filter(|id| bad.contains(id) && !seen.deleted.contains(id)));
        }
        undeleted
    }

    fn report(&self, tally: &SenderResults, kept: usize) {
        let silence = self.seen.iter().map(|(_, seen)| longest_silence(&seen.lock()));
        let silence = silence.max().unwrap_or_default();
        let slowest = |from: Option<Instant>, to: Option<Instant>| {
            let phase = tally.acked.iter().filter(|acked| {
                from.is_none_or(|from| acked.sent_at >= from)
                    && to.is_none_or(|to| acked.sent_at < to)
            });
            phase.map(|acked| acked.latency).max().unwrap_or_default().as_secs_f64()
        };
        let fault_at = Some(self.fault_at);
        let recovered_at = Some(self.recovered_at);
        let reconnects: u64 = self.seen.iter().map(|(_, seen)| seen.lock().reconnects).sum();
        let gaps: usize = self.seen.iter().map(|(_, seen)| seen.lock().gaps.len()).sum();
        println!("{}:", self.name);
        for figure in &self.figures {
            println!("  {figure}");
        }
        println!(
            "  {} comments sent, {} acknowledged, {kept} in history (the rest was deleted)",
            tally.sent,
            tally.acked.len()
        );
        for (code, Refusals { count, first, last, .. }) in &tally.refused {
            println!(
                "  refused {count} times with {code}, from {:.1} s to {:.1} s after the fault",
                first.saturating_duration_since(self.fault_at).as_secs_f64(),
                last.saturating_duration_since(self.fault_at).as_secs_f64()
            );
        }
        println!(
            "  slowest ack from the first attempt: {:.2} s before the fault, {:.2} s during it, \
             {:.2} s after it",
            slowest(None, fault_at),
            slowest(fault_at, recovered_at),
            slowest(recovered_at, None)
        );
        println!(
            "  longest silence at a viewer {:.1} s, {reconnects} reconnects of viewers, {} of \
             senders, {gaps} gaps",
            silence.as_secs_f64(),
            tally.reconnects
        );
    }
}

/// Returns the longest time between two comments of a viewer.
fn longest_silence(seen: &Seen) -> Duration {
    let pairs = seen.comments.windows(2);
    pairs.map(|pair| pair[1].at.duration_since(pair[0].at)).max().unwrap_or_default()
}
