//! The event log is not what it was: records are removed before they are read, its topic is
//! deleted, created again or extended, or a broker is back with an empty disk. Daemons on real
//! servers, with senders and viewers. Operators are told within seconds, and every comment that is
//! acknowledged afterwards is shown and stored.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use live_comments::protocol::admin::{Cluster as Answer, ConsumerLag, TopSnapshot};
use live_comments::protocol::{CommentId, Epoch, Seq};
use parking_lot::Mutex;
use support::cluster::{Brokers, Cluster, NodeRoles, Shape};
use support::recorder::{RecordingViewer, Seen};
use support::sender::{Acked, Sender, SenderResults};
use support::topics::Topics;
use support::{Daemon, PATIENCE, STREAM, history};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The time within which an operator is told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const EDGES: [&str; 2] = ["edge-1", "edge-2"];
const SENDERS: u64 = 4;
/// Rate of one sender.
const PER_SECOND: u32 = 15;
const COMMENTS: &str = "comment_events";

/// The tests measure times, so they run one at a time.
static TURN: AsyncMutex<()> = AsyncMutex::const_new(());

fn shape() -> Shape {
    Shape { comments: "postgres", ..Shape::default() }
}

/// Runs a command of `lc` on a node. Returns its exit code and what it prints.
fn lc(cluster: &Cluster, node: &str, command: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lc"))
        .arg("--socket")
        .arg(cluster.node(node).socket())
        .arg(command)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Waits until `lc status` of a node says all of `words` and exits with the code for warnings, or
/// with that for a node that takes no comments.
async fn told(cluster: &Cluster, node: &str, words: &[&str], since: Instant) -> String {
    loop {
        let (code, text) = tokio::task::block_in_place(|| lc(cluster, node, "status"));
        let says_all = words.iter().all(|word| text.contains(word));
        if matches!(code, Some(3 | 4)) && says_all {
            println!(
                "{node} tells {words:?}, exit code {code:?}, after {:.1} s",
                since.elapsed().as_secs_f64()
            );
            return text;
        }
        let waited = since.elapsed();
        assert!(waited < TOLD_WITHIN, "{words:?} told by {node}: exit code {code:?}: {text}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until a node, which looks at the log on its own, tells records that were removed before a
/// group read them. Returns their number.
async fn expired_of(cluster: &Cluster, node: &str, since: Instant) -> u64 {
    loop {
        let lag: Answer<ConsumerLag> = cluster.admin(node).get("/v1/lag").await.unwrap();
        let expired = lag.items.iter().map(|lag| lag.expired).sum();
        if expired > 0 {
            return expired;
        }
        assert!(since.elapsed() < TOLD_WITHIN, "no removed records told by {node}: {lag:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn wait_until_well(cluster: &Cluster, node: &str) {
    let well = async {
        loop {
            let (code, text) = tokio::task::block_in_place(|| lc(cluster, node, "status"));
            if code == Some(0) {
                return;
            }
            println!("{node} is not well yet: {code:?} {text}");
            sleep(Duration::from_millis(300)).await;
        }
    };
    timeout(PATIENCE, well).await.expect("a node without warnings");
}

/// Senders and viewers on both edges of a cluster.
struct Audience {
    seen: Vec<Arc<Mutex<Seen>>>,
    tally: Arc<Mutex<SenderResults>>,
    senders: JoinSet<()>,
    stop_sending: CancellationToken,
    stop: CancellationToken,
}

impl Audience {
    async fn join(cluster: &Cluster) -> Self {
        let edges: Vec<_> = EDGES.iter().map(|edge| cluster.node(edge).address).collect();
        let mut audience = Self {
            seen: Vec::new(),
            tally: Arc::default(),
            senders: JoinSet::new(),
            stop_sending: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        for edge in [0, 0, 1, 1] {
            let seen = Arc::new(Mutex::new(Seen::default()));
            audience.seen.push(seen.clone());
            let edges = edges.clone();
            let stop = audience.stop.clone();
            tokio::spawn(RecordingViewer { stream_id: STREAM, edges, edge, seen, stop }.run());
        }
        until("every viewer joins", || audience.seen.iter().all(|seen| seen.lock().is_watching()))
            .await;
        for user_id in 1..=SENDERS {
            let sender = Sender {
                user_id,
                stream_id: STREAM,
                token: cluster.token(user_id, &format!("user {user_id}")).into(),
                edges: edges.clone(),
                per_second: PER_SECOND,
                tally: audience.tally.clone(),
                stop_sending: audience.stop_sending.clone(),
            };
            audience.senders.spawn(sender.run());
        }
        let acked = || audience.tally.lock().acked.len();
        until("comments are acknowledged", || acked() >= 100).await;
        audience
    }

    /// Waits until comments are acknowledged in an epoch that is not among `before`, and shown to
    /// every viewer. Returns the epoch.
    async fn new_epoch(&self, before: &[Epoch]) -> Epoch {
        let started = Instant::now();
        let newest = || {
            let tally = self.tally.lock();
            let epoch = tally.acked.last().map(|acked| acked.position.epoch)?;
            (!before.contains(&epoch)).then_some(epoch)
        };
        until("comments are acknowledged in a new epoch", || newest().is_some()).await;
        let epoch = newest().unwrap();
        let shows =
            |seen: &Arc<Mutex<Seen>>| seen.lock().comments.iter().any(|shown| shown.epoch == epoch);
        until("every viewer is shown comments again", || self.seen.iter().all(shows)).await;
        println!("epoch {epoch} after {:.1} s", started.elapsed().as_secs_f64());
        epoch
    }

    fn epochs(&self) -> Vec<Epoch> {
        self.seen[0].lock().joined.iter().map(|joined| joined.epoch).collect()
    }

    /// Stops sending, waits until everything is stored, and checks the comments acknowledged after
    /// each of the faults.
    async fn verify(mut self, cluster: &Cluster, losses: &[Loss]) {
        // Some more comments, after everything.
        let acked = self.tally.lock().acked.len();
        until("senders go on", || self.tally.lock().acked.len() > acked + 100).await;
        self.stop_sending.cancel();
        let home = async {
            while let Some(sender) = self.senders.join_next().await {
                sender.expect("no sender is refused for good");
            }
        };
        timeout(PATIENCE, home).await.expect("every comment is acknowledged in the end");
        let tally = std::mem::take(&mut *self.tally.lock());
        let kept: Vec<&Acked> = tally
            .acked
            .iter()
            .filter(|acked| !acked.text.contains("forbiddenword"))
            .filter(|acked| !losses.iter().any(|loss| loss.may_have_lost(acked)))
            .collect();
        let stored = wait_until_stored(cluster.node("edge-1"), &kept).await;
        let are_hidden = || self.seen.iter().any(|seen| !hidden(&seen.lock(), &kept).is_empty());
        let deadline = Instant::now() + PATIENCE;
        while are_hidden() && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
        }
        for seen in &self.seen {
            let seen = seen.lock();
            let hidden = hidden(&seen, &kept);
            assert!(
                hidden.is_empty(),
                "{} hidden comments, such as {:?} and {:?}; joined {:?}, gaps {:?}, violations {:?}",
                hidden.len(),
                hidden.first(),
                hidden.last(),
                seen.joined,
                seen.gaps,
                seen.violations
            );
        }
        self.stop.cancel();
        let epochs = self.epochs();
        for seen in &self.seen {
            let seen = seen.lock();
            assert_eq!(seen.violations, Vec::<String>::new());
            let joined: Vec<_> = seen.joined.iter().map(|joined| joined.epoch).collect();
            assert_eq!(joined, epochs, "every viewer goes through the same epochs");
        }
        self.check_epochs(&epochs);
        for (code, refused) in &tally.refused {
            println!("refused {} times with {code}: {:?}", refused.count, refused.messages);
            let is_right = ["log_unavailable", "shutting_down"].contains(&code.as_str());
            assert!(is_right, "the reason of a refusal: {code}: {:?}", refused.messages);
        }
        let reconnects: u64 = self.seen.iter().map(|seen| seen.lock().reconnects).sum();
        println!(
            "{} acknowledged, {} stored, {reconnects} reconnects of viewers, {} of senders",
            tally.acked.len(),
            stored,
            tally.reconnects
        );
    }

    /// No viewer is shown a comment of an epoch after another was shown one of the next.
    fn check_epochs(&self, epochs: &[Epoch]) {
        let shown = |epoch: Epoch| {
            let times = self.seen.iter().flat_map(move |seen| {
                let seen = seen.lock();
                let of_epoch = seen.comments.iter().filter(|shown| shown.epoch == epoch);
                of_epoch.map(|shown| shown.at).collect::<Vec<_>>()
            });
            times.collect::<Vec<_>>()
        };
        for pair in epochs.windows(2) {
            let last = shown(pair[0]).into_iter().max();
            let first = shown(pair[1]).into_iter().min();
            assert!(last < first, "one epoch at any time: {pair:?}");
        }
    }
}

/// The comments that an epoch may have lost with its topic. They are told.
struct Loss {
    epoch: Epoch,
    /// Comments acknowledged until then may be lost, and those sent until then whose
    /// acknowledgement is still on its way.
    deleted_at: Instant,
    /// The highest number acknowledged until then.
    last_seq: Seq,
    /// Brokers answer a deletion before they carry it out. Until it is told they may take comments
    /// into the old topic, numbered on.
    told_at: Instant,
}

impl Loss {
    /// A topic was deleted just now, or its broker was killed.
    fn begin(audience: &Audience, epoch: Epoch) -> Self {
        let now = Instant::now();
        let tally = audience.tally.lock();
        let of_epoch = tally.acked.iter().filter(|acked| acked.position.epoch == epoch);
        let last_seq = of_epoch.map(|acked| acked.position.seq).max().expect("comments before it");
        Self { epoch, deleted_at: now, last_seq, told_at: now }
    }

    fn told(self) -> Self {
        Self { told_at: Instant::now(), ..self }
    }

    fn may_have_lost(&self, acked: &Acked) -> bool {
        let at = acked.sent_at + acked.latency;
        let is_numbered_on = acked.position.seq > self.last_seq;
        let was_on_its_way = acked.sent_at < self.deleted_at;
        acked.position.epoch == self.epoch
            && (at < self.deleted_at || at < self.told_at && (is_numbered_on || was_on_its_way))
    }
}

/// Waits until history has every comment of `kept`. Returns how many comments it has.
async fn wait_until_stored(daemon: &Daemon, kept: &[&Acked]) -> usize {
    let started = Instant::now();
    loop {
        let stored: HashSet<_> =
            history(daemon, STREAM).await.into_iter().map(|comment| comment.comment_id).collect();
        let missing: Vec<_> = kept.iter().filter(|it| !stored.contains(&it.comment_id)).collect();
        if missing.is_empty() {
            return stored.len();
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{} of {} comments are not in history, such as {:?}",
            missing.len(),
            kept.len(),
            missing[0]
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Returns the comments that a viewer was not shown, and does not find in the history that the
/// protocol sends it to: before the position at which it joined the epoch.
fn hidden<'a>(seen: &Seen, acked: &[&'a Acked]) -> Vec<&'a Acked> {
    let shown: HashSet<CommentId> = seen.comments.iter().map(|shown| shown.id).collect();
    // An append that waited in a node while its topic was created again is acknowledged on a
    // connection of the old epoch, with its number in the new topic.
    let is_before_joining = |acked: &Acked| {
        let of_epoch = |epoch| seen.joined.iter().position(|joined| joined.epoch == epoch);
        let joined = of_epoch(acked.position.epoch).map(|from| seen.joined[from..].iter().take(2));
        joined.into_iter().flatten().any(|joined| acked.position.seq <= joined.seq)
    };
    let is_hidden =
        |acked: &&Acked| !shown.contains(&acked.comment_id) && !is_before_joining(acked);
    acked.iter().copied().filter(is_hidden).collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"));
}

/// Waits until the history has a comment.
async fn until_stored(cluster: &Cluster, id: CommentId) {
    let edge = cluster.node("edge-1");
    let stored = async {
        while !history(edge, STREAM).await.iter().any(|comment| comment.comment_id == id) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, stored).await.expect("a comment in the history");
}

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn records_removed_before_the_archiver_are_told() {
    let _turn = turn().await;
    let nodes: [NodeRoles; 3] = [
        ("edge-1", &["edge"]),
        ("worker", &["coordinator", "moderator"]),
        ("archiver-1", &["archiver"]),
    ];
    let mut cluster = Cluster::start_nodes("unread", shape(), &nodes);
    let mut sender = cluster.node("edge-1").join(7, "ann").await;
    let first = sender.comment("first").await.0;
    until_stored(&cluster, first).await;
    wait_until_well(&cluster, "edge-1").await;
    tokio::task::block_in_place(|| cluster.terminate("archiver-1"));
    for number in 0..20 {
        sender.comment(&format!("lost {number}")).await;
    }
    Topics::of(&cluster).remove_records(COMMENTS).await;
    let removed_at = Instant::now();
    // The archiver is away: the others say what it will not find.
    told(&cluster, "edge-1", &["archiver", "removed from the log"], removed_at).await;
    let expired = expired_of(&cluster, "worker", removed_at).await;
    assert!(expired >= 20, "{expired} records were removed before they were read");
    let (_, text) = tokio::task::block_in_place(|| lc(&cluster, "worker", "lag"));
    assert!(text.contains(&expired.to_string()), "{expired} in lc lag: {text}");

    tokio::task::block_in_place(|| cluster.restart("archiver-1"));
    let back_at = Instant::now();
    let topic = cluster.topic(COMMENTS);
    let range = format!("archiver did not read {expired} records of the log: {topic} partition");
    told(&cluster, "edge-1", &[&range, "offsets", "in no history"], back_at).await;
    told(&cluster, "archiver-1", &[&range], back_at).await;
    let after = sender.comment("after").await.0;
    until_stored(&cluster, after).await;
    let stored: Vec<_> = history(cluster.node("edge-1"), STREAM).await;
    let stored: Vec<_> = stored.iter().map(|comment| comment.comment_id).collect();
    assert_eq!(stored, [first, after], "what was removed is lost, as told; nothing else");

    // Frozen instead of stopped: its process keeps its position in memory. The broker answers the
    // one fetch that is under way with the first of the records; the others are not fetched.
    const WHILE_FROZEN: u64 = 40;
    cluster.node("archiver-1").signal(nix::sys::signal::Signal::SIGSTOP);
    let filler = "filler ".repeat(40);
    for number in 0..WHILE_FROZEN {
        sender.comment(&format!("lost again {number} {filler}")).await;
    }
    Topics::of(&cluster).remove_records(COMMENTS).await;
    cluster.node("archiver-1").signal(nix::sys::signal::Signal::SIGCONT);
    let thawed_at = Instant::now();
    let last = sender.comment("last").await.0;
    until_stored(&cluster, last).await;
    let stored = history(cluster.node("edge-1"), STREAM).await.len() as u64;
    let fetched = stored - 3;
    assert!(fetched < WHILE_FROZEN, "the test must lose records");
    println!("{fetched} of {WHILE_FROZEN} records were fetched before the archiver froze");
    // Each record is either stored or told.
    let lost = expired + WHILE_FROZEN - fetched;
    told(&cluster, "edge-1", &[&format!("archiver did not read {lost} records")], thawed_at).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn another_topic_is_a_new_epoch_for_all() {
    let _turn = turn().await;
    let nodes: [NodeRoles; 3] = [
        ("edge-1", &["edge"]),
        ("edge-2", &["edge"]),
        ("worker", &["coordinator", "archiver", "moderator"]),
    ];
    let mut cluster = Cluster::start_nodes("replaced", shape(), &nodes);
    let audience = Audience::join(&cluster).await;
    wait_until_well(&cluster, "edge-1").await;
    let mut epochs = audience.epochs();
    let mut losses = Vec::new();

    println!("--- deleted, and created again by hand");
    let topics = Topics::of(&cluster);
    topics.delete(COMMENTS).await;
    let loss = Loss::begin(&audience, epochs[0]);
    topics.create(COMMENTS, 1).await;
    let at = Instant::now();
    for node in ["edge-1", "edge-2", "worker"] {
        told(&cluster, node, &[COMMENTS, "deleted and created again"], at).await;
    }
    losses.push(loss.told());
    epochs.push(audience.new_epoch(&epochs).await);

    println!("--- deleted");
    topics.delete(COMMENTS).await;
    let loss = Loss::begin(&audience, epochs[1]);
    for node in EDGES {
        told(&cluster, node, &[COMMENTS, "is missing"], loss.deleted_at).await;
    }
    losses.push(loss.told());
    epochs.push(audience.new_epoch(&epochs).await);
    assert_eq!(topics.partitions(COMMENTS), 12, "created with the settings");

    println!("--- extended");
    topics.extend(COMMENTS, 24).await;
    let at = Instant::now();
    told(&cluster, "edge-1", &["had 12 partitions and has 24 now"], at).await;
    epochs.push(audience.new_epoch(&epochs).await);
    for node in ["edge-1", "worker", "edge-2"] {
        tokio::task::block_in_place(|| {
            cluster.terminate(node);
            cluster.restart(node);
        });
    }
    assert_eq!(audience.epochs(), epochs, "a restart changes nothing");
    let nodes = |top: &TopSnapshot| top.nodes.len() == 3 && top.unreachable.is_empty();
    cluster.until_top("edge-1", "all nodes are there", PATIENCE, nodes).await;
    audience.verify(&cluster, &losses).await;
}

/// Offsets of the listeners' ports from the first port of a stack.
const WRONG: u16 = 21;
const USERS: u16 = 22;

/// A listener that advertises an address where nobody listens, and one for users, of which `lcd`
/// has no right at all.
fn more_listeners(first_port: u16) -> String {
    let broker = first_port + 20;
    let controller = first_port + 30;
    let wrong = first_port + WRONG;
    let users = first_port + USERS;
    format!(
        r#"
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},WRONG://127.0.0.1:{wrong},USERS://127.0.0.1:{users}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},WRONG://127.0.0.1:1,USERS://127.0.0.1:{users}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,WRONG:PLAINTEXT,USERS:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.users.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_lcd="secret";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"#
    )
}

/// `lcd check` and the start name the address that the broker advertises, and the missing right.
fn check_names_the_fault_of_a_listener(brokers: &Brokers) {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let sasl = format!(
        "sasl = {{ mechanism = \"PLAIN\", username = \"lcd\", password_file = {password:?} }}"
    );
    for (listener, more, words) in [
        (WRONG, "", ["`advertised.listeners`", "127.0.0.1:1,"]),
        (USERS, &*sasl, ["cannot create topic", "allow the user in `kafka.sasl` to create topics"]),
    ] {
        let port = brokers.first_port() + listener;
        let config = format!(
            "engines.eventlog = \"kafka\"\n[kafka]\nbrokers = [\"127.0.0.1:{port}\"]\n{more}\n"
        );
        for command in [&["check"][..], &[]] {
            let data_dir = directory.path().join("data");
            let run = support::lcd::lcd(&config, &data_dir, "127.0.0.1:0", command);
            assert_ne!(run.code, Some(0), "{}", run.text);
            for word in words {
                assert!(run.text.contains(word), "{word} in lcd {command:?}: {}", run.text);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn broker_with_an_empty_disk_is_told_and_filled_again() {
    let _turn = turn().await;
    let brokers = tokio::task::block_in_place(|| Brokers::start_with(1, more_listeners));
    tokio::task::block_in_place(|| check_names_the_fault_of_a_listener(&brokers));
    let shape = Shape { brokers: brokers.addresses(), ..shape() };
    let nodes: [NodeRoles; 3] = [
        ("edge-1", &["edge"]),
        ("edge-2", &["edge"]),
        ("worker", &["coordinator", "archiver", "moderator"]),
    ];
    let mut cluster = Cluster::start_nodes("emptied", shape, &nodes);
    let audience = Audience::join(&cluster).await;
    wait_until_well(&cluster, "edge-1").await;
    let mut epochs = audience.epochs();
    tokio::task::block_in_place(|| brokers.stack(&["kill", "kafka-1"]));
    let loss = Loss::begin(&audience, epochs[0]);
    for node in EDGES {
        told(&cluster, node, &["event log"], loss.deleted_at).await;
    }
    let losses = [loss.told()];
    tokio::task::block_in_place(|| {
        brokers.stack(&["down", "--wipe", "kafka-1"]);
        brokers.stack(&["start", "kafka-1"]);
    });
    let back_at = Instant::now();
    told(&cluster, "edge-1", &[COMMENTS, "lost its disk"], back_at).await;
    // In the middle of it.
    tokio::task::block_in_place(|| {
        cluster.kill("edge-2");
        cluster.restart("edge-2");
    });
    epochs.push(audience.new_epoch(&epochs).await);
    for node in ["edge-1", "worker"] {
        told(&cluster, node, &["opened again with a new epoch"], Instant::now()).await;
    }
    assert_eq!(audience.epochs(), epochs);
    audience.verify(&cluster, &losses).await;
}
