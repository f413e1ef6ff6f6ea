//! One fault from beginning to end, and the account of it.

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

use crate::audience::{Seen, Spectator};
use crate::sender::{Sender, Tally};
use crate::support::cluster::{Cluster, Shape, stack};
use crate::support::history;

const STREAMS: u64 = 4;
const SENDERS: u64 = 8;
/// Of each sender; 400 a second together.
const PER_SECOND: u32 = 50;
/// Spectators of each stream on each edge.
const SPECTATORS: usize = 2;
/// Before anything breaks.
const WARM_UP: Duration = Duration::from_secs(3);
/// For what comes by itself: degrading, recovering, catching up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Offsets at the end of a partition that no consumer is handed: marks of transactions, and records of
/// one that was given up.
const MAX_INVISIBLE: u64 = 8;
const BANNED: u64 = 900;
const TO_BE_BANNED: u64 = 901;

/// What is broken is everybody's, so trials take turns.
static TURN: AsyncMutex<()> = AsyncMutex::const_new(());

pub(crate) struct Trial {
    _turn: MutexGuard<'static, ()>,
    name: &'static str,
    cluster: Cluster,
    senders: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
    seen: Vec<(StreamId, Arc<Mutex<Seen>>)>,
    enough: CancellationToken,
    stop: CancellationToken,
    broken_at: Instant,
    mended_at: Instant,
    figures: Vec<String>,
}

/// Whether a breaker is open; any, for the empty name.
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
        // A trial that failed may have left something broken.
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
            enough: CancellationToken::new(),
            stop: CancellationToken::new(),
            broken_at: Instant::now(),
            mended_at: Instant::now(),
            figures: Vec::new(),
        };
        trial.ban(BANNED).await.unwrap();
        trial.let_people_in().await;
        tokio::time::sleep(WARM_UP).await;
        let acked = trial.tally.lock().acked.len();
        assert!(acked > 100, "{acked} comments were acknowledged before anything broke");
        trial
    }

    /// Who watches is there before anybody says anything.
    async fn let_people_in(&mut self) {
        let edges: Vec<_> =
            ["edge-1", "edge-2"].iter().map(|edge| self.cluster.node(edge).address).collect();
        for stream in 1..=STREAMS {
            let stream_id = StreamId(stream);
            for edge in (0..edges.len()).flat_map(|edge| [edge; SPECTATORS]) {
                let seen = Arc::new(Mutex::new(Seen::default()));
                self.seen.push((stream_id, seen.clone()));
                let (edges, stop) = (edges.clone(), self.stop.clone());
                tokio::spawn(Spectator { stream_id, edges, edge, seen, stop }.run());
            }
        }
        let watching = async {
            while self.seen.iter().any(|(_, seen)| !seen.lock().is_watching()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, watching).await.expect("everybody is let in");
        for user_id in 1..=SENDERS {
            let token = self.token(user_id).into();
            let sender = Sender {
                user_id,
                stream_id: StreamId(1 + user_id % STREAMS),
                token,
                edges: edges.clone(),
                per_second: PER_SECOND,
                tally: self.tally.clone(),
                enough: self.enough.clone(),
            };
            self.senders.spawn(sender.run());
        }
    }

    fn token(&self, user_id: u64) -> String {
        self.cluster.token(user_id, &format!("user {user_id}"))
    }

    async fn ban(&self, user_id: u64) -> Result<Outcome, String> {
        let request = SanctionRequest {
            user: UserRef(user_id.to_string()),
            reason: Some("test".to_owned()),
            duration_ms: None,
        };
        let banned = self.cluster.admin("edge-1").post("/v1/ban", &request).await;
        banned.map_err(|error| error.to_string())
    }

    pub(crate) async fn break_it(&mut self, act: impl FnOnce(&mut Cluster)) {
        println!("{}: breaking it", self.name);
        self.broken_at = Instant::now();
        tokio::task::block_in_place(|| act(&mut self.cluster));
    }

    /// Waits until `lc top` on the first edge shows it.
    pub(crate) async fn degraded(&mut self, what: &str, sign: impl Fn(&TopSnapshot) -> bool) {
        self.cluster.until_top("edge-1", what, PATIENCE, sign).await;
        let after = self.broken_at.elapsed();
        self.figures.push(format!("lc top shows it after {:.1} s", after.as_secs_f64()));
        self.banned_user_stays_out().await;
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
    pub(crate) async fn ban_holds_now(&mut self) {
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

    /// SIGTERM, the drain, a new start: one node after the other.
    pub(crate) async fn restart_in_good_order(&mut self, nodes: &[&'static str]) {
        self.broken_at = Instant::now();
        for node in nodes {
            let started = Instant::now();
            tokio::task::block_in_place(|| {
                self.cluster.terminate(node);
                self.cluster.restart(node);
            });
            let took = started.elapsed().as_secs_f64();
            self.figures.push(format!("{node} drained and was back after {took:.1} s"));
            tokio::time::sleep(WARM_UP).await;
        }
        self.mend_it(|_| ()).await;
    }

    /// Kills one of the nodes at random, starts it again, and so on; everything is well at the end.
    pub(crate) async fn kill_again_and_again(&mut self, times: usize, nodes: &[&'static str]) {
        let mut random = StdRng::seed_from_u64(7);
        self.broken_at = Instant::now();
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
        self.mend_it(|_| ()).await;
    }

    pub(crate) async fn for_the_rest_of(&mut self, outage: Duration) {
        tokio::time::sleep_until(self.broken_at + outage).await;
    }

    /// Mends it and waits until all is well and comments go through again.
    pub(crate) async fn mend_it(&mut self, act: impl FnOnce(&mut Cluster)) {
        let before = self.tally.lock().acked.len();
        tokio::task::block_in_place(|| act(&mut self.cluster));
        self.mended_at = Instant::now();
        let nodes = self.cluster.names().count();
        let well = |top: &TopSnapshot| is_well(top, nodes);
        self.cluster.until_top("edge-1", "all is well again", PATIENCE, well).await;
        let after = self.mended_at.elapsed();
        self.figures.push(format!(
            "well {:.1} s after it was mended; {before} acknowledged until then",
            after.as_secs_f64()
        ));
        tokio::time::sleep(WARM_UP).await;
    }

    /// Lets everything come to rest and counts.
    pub(crate) async fn verify(mut self) {
        self.enough.cancel();
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
        // What is counted below waits for the last of them.
        tokio::time::sleep(WARM_UP).await;
        let tally = std::mem::take(&mut *self.tally.lock());
        self.everything_was_shown(&tally).await;
        self.stop.cancel();
        let kept = self.check_history(&tally).await;
        self.check_spectators(&tally);
        self.report(&tally, kept);
    }

    /// Waits until every spectator has had, or was told of, every acknowledged comment.
    async fn everything_was_shown(&self, tally: &Tally) {
        let started = Instant::now();
        loop {
            let missing = self.missing(tally);
            if missing.is_empty() {
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

    /// Acknowledged comments that a spectator without a gap was shown neither as comment nor as
    /// deletion.
    fn missing(&self, tally: &Tally) -> Vec<(StreamId, CommentId, String)> {
        let mut missing = Vec::new();
        for (stream_id, seen) in &self.seen {
            let seen = seen.lock();
            let shown: HashSet<_> = seen.comments.iter().map(|(_, id, _)| *id).collect();
            if !seen.gaps.is_empty() {
                continue;
            }
            for acked in tally.acked.iter().filter(|acked| acked.stream_id == *stream_id) {
                let id = acked.comment_id;
                if !shown.contains(&id) && !seen.deleted.contains(&id) {
                    missing.push((*stream_id, id, acked.text.clone()));
                }
            }
        }
        missing
    }

    async fn check_history(&self, tally: &Tally) -> usize {
        let mut kept: HashMap<CommentId, String> = HashMap::new();
        for stream in 1..=STREAMS {
            for comment in history(self.cluster.node("edge-1"), StreamId(stream)).await {
                let text = comment.message.to_string();
                assert!(!text.contains("forbiddenword"), "deleted, and still in history: {text}");
                let before = kept.insert(comment.comment_id, text);
                assert!(before.is_none(), "twice in history: {}", comment.comment_id);
            }
        }
        for acked in tally.acked.iter().filter(|acked| !acked.text.contains("forbiddenword")) {
            assert!(
                kept.contains_key(&acked.comment_id),
                "acknowledged and not in history: {acked:?}"
            );
        }
        kept.len()
    }

    fn check_spectators(&self, tally: &Tally) {
        let bad: HashSet<_> = tally
            .acked
            .iter()
            .filter(|acked| acked.text.contains("forbiddenword"))
            .map(|acked| acked.comment_id)
            .collect();
        for (stream_id, seen) in &self.seen {
            let seen = seen.lock();
            assert_eq!(seen.wrongs, Vec::<String>::new(), "a viewer of {stream_id}");
            for (_, id, _) in seen.comments.iter().filter(|(_, id, _)| bad.contains(id)) {
                assert!(seen.deleted.contains(id), "{id} was shown and never deleted");
            }
        }
    }

    fn report(&self, tally: &Tally, kept: usize) {
        let silence = self.seen.iter().map(|(_, seen)| longest_silence(&seen.lock()));
        let silence = silence.max().unwrap_or_default();
        let slowest = |from: Option<Instant>, to: Option<Instant>| {
            let phase = tally.acked.iter().filter(|acked| {
                from.is_none_or(|from| acked.sent_at >= from)
                    && to.is_none_or(|to| acked.sent_at < to)
            });
            phase.map(|acked| acked.latency).max().unwrap_or_default().as_secs_f64()
        };
        let (broken, mended) = (Some(self.broken_at), Some(self.mended_at));
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
        for (code, (times, first, last)) in &tally.refused {
            println!(
                "  refused {times} times with {code}, from {:.1} s to {:.1} s after it broke",
                first.saturating_duration_since(self.broken_at).as_secs_f64(),
                last.saturating_duration_since(self.broken_at).as_secs_f64()
            );
        }
        println!(
            "  slowest ack from the first try on: {:.2} s sent before it broke, {:.2} s while it was \
             broken, {:.2} s after it was mended",
            slowest(None, broken),
            slowest(broken, mended),
            slowest(mended, None)
        );
        println!(
            "  longest silence at a viewer {:.1} s, {reconnects} reconnects of viewers, {} of \
             senders, {gaps} gaps told",
            silence.as_secs_f64(),
            tally.reconnects
        );
    }
}

/// Between two comments of a viewer.
fn longest_silence(seen: &Seen) -> Duration {
    let pairs = seen.comments.windows(2);
    pairs.map(|pair| pair[1].2.duration_since(pair[0].2)).max().unwrap_or_default()
}
