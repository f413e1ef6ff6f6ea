//! Stores that are lost, replaced, or no longer writable while the daemon and its log are well. In
//! each case `lc status` says so within five seconds, in words and by its exit code, and no
//! acknowledged comment is lost.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use support::cluster::first_port;
use support::{Daemon, PATIENCE, STREAM, archived, history_becomes, history_texts, http};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Time in which an operator must see what is wrong.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const DEGRADED: i32 = 3;

fn lc(daemon: &Daemon, arguments: &[&str]) -> Output {
    let socket = daemon.socket();
    Command::new(env!("CARGO_BIN_EXE_lc"))
        .args(["--socket", socket.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let out = &output.stdout;
    let err = &output.stderr;
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Waits until `lc status` has this exit code and its text contains all of `parts`.
async fn status_within(daemon: &Daemon, limit: Duration, code: i32, parts: &[&str]) {
    let deadline = Instant::now() + limit;
    loop {
        let status = tokio::task::block_in_place(|| lc(daemon, &["status"]));
        let said = text(&status);
        if status.status.code() == Some(code) && parts.iter().all(|part| said.contains(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "exit code {:?}:\n{said}", status.status.code());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn is_told(daemon: &Daemon, parts: &[&str]) {
    status_within(daemon, TOLD_WITHIN, DEGRADED, parts).await;
}

/// Sends comments as a user of its own per prefix, because each viewer begins with the same refs.
/// Returns their texts once all are acknowledged.
async fn send(daemon: &Daemon, prefix: &str, count: usize) -> Vec<String> {
    let mut viewer = daemon.join(7 + prefix.len() as u64, prefix).await;
    let mut sent = Vec::new();
    for number in 0..count {
        let text = format!("{prefix} {number}");
        viewer.comment(&text).await;
        sent.push(text);
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_store_lost_while_stopped_comes_back() {
    let daemon = Daemon::start("");
    let sent = send(&daemon, "before", 30).await;
    archived(&daemon).await;
    status_within(&daemon, TOLD_WITHIN, 0, &[]).await;
    let stopped = daemon.terminate();
    for suffix in ["", "-wal", "-shm"] {
        let file = stopped.data_dir().join(format!("comments.db{suffix}"));
        // The files beside the database are removed by a regular stop.
        assert!(std::fs::remove_file(file).is_ok() || !suffix.is_empty());
    }
    let daemon = stopped.restart();
    is_told(&daemon, &["the comment store had lost the records of partition"]).await;
    history_becomes(&daemon, &sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_store_files_are_told_and_not_written() {
    let daemon = Daemon::start("");
    let mut sent = send(&daemon, "before", 10).await;
    archived(&daemon).await;
    let banned = tokio::task::block_in_place(|| lc(&daemon, &["ban", "42"]));
    assert!(banned.status.success(), "{}", text(&banned));
    let comments = daemon.data_dir().join("comments.db");
    std::fs::remove_file(&comments).unwrap();
    is_told(&daemon, &["comment store", "comments.db was deleted or replaced"]).await;
    // Accepted, because the log keeps them.
    sent.extend(send(&daemon, "after", 10).await);
    let metadata = daemon.data_dir().join("metadata.db");
    std::fs::rename(&metadata, daemon.data_dir().join("metadata.saved")).unwrap();
    is_told(&daemon, &["metadata store", "metadata.db was deleted or replaced"]).await;
    let refused = tokio::task::block_in_place(|| lc(&daemon, &["ban", "43"]));
    assert!(!refused.status.success(), "{}", text(&refused));
    assert!(text(&refused).contains("deleted or replaced"), "{}", text(&refused));
    let daemon = daemon.kill_and_restart();
    is_told(&daemon, &["metadata.db was missing at"]).await;
    history_becomes(&daemon, &sent).await;

    // The loss is found once, and told until somebody knows of it.
    let daemon = daemon.kill_and_restart();
    is_told(&daemon, &["metadata.db was missing", "lc acknowledge store_missing", "(began "]).await;
    let acknowledged =
        tokio::task::block_in_place(|| lc(&daemon, &["acknowledge", "store_missing"]));
    assert!(acknowledged.status.success(), "{}", text(&acknowledged));
    status_within(&daemon, TOLD_WITHIN, 0, &[]).await;
    let daemon = daemon.kill_and_restart();
    status_within(&daemon, TOLD_WITHIN, 0, &[]).await;
}

/// A TCP proxy in front of a server of the stack: outages that only one test sees.
struct Proxy {
    address: SocketAddr,
    server: SocketAddr,
    forwarding: JoinHandle<()>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, server, forwarding: tokio::spawn(forward(listener, server)) }
    }

    /// Ends all connections and refuses new ones.
    async fn cut(&mut self) {
        self.forwarding.abort();
        let _ = (&mut self.forwarding).await;
    }

    async fn restore(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.forwarding = tokio::spawn(forward(listener, self.server));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(listener: TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(server).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A name that no other test of any run has.
fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("stores_{:x}_{:x}", std::process::id(), now.as_nanos() & 0xff_ffff_ffff)
}

fn server(port_offset: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], first_port() + port_offset))
}

async fn cql(statement: &str) {
    let node = server(40).to_string();
    let builder = scylla::client::session_builder::SessionBuilder::new().known_node(node);
    let session = builder.fetch_schema_metadata(false).build().await.unwrap();
    session.query_unpaged(statement, ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn cassandra_that_is_away_or_emptied_is_told() {
    let mut proxy = Proxy::start(server(40)).await;
    let keyspace = unique();
    let node = proxy.address;
    let daemon = Daemon::start(&format!(
        "[engines]\ncomments = \"cassandra\"\n\
         [cassandra]\nnodes = [\"{node}\"]\nkeyspace = \"{keyspace}\"\nreplication_factor = 1\n\
         timeout = \"10s\"\n"
    ));
    let mut sent = send(&daemon, "before", 20).await;
    history_becomes(&daemon, &sent).await;
    assert!(!daemon.log().contains("WARN"), "a start without noise: {}", daemon.log());
    proxy.cut().await;
    is_told(&daemon, &["comment store", "comment store (history)"]).await;
    let page = format!("/api/streams/{STREAM}/comments");
    assert_eq!(http(&daemon, "GET", &page, &[], None).await.0, 503);
    sent.extend(send(&daemon, "away", 5).await);
    proxy.restore().await;
    history_becomes(&daemon, &sent).await;
    status_within(&daemon, PATIENCE, 0, &[]).await;
    let stopped = daemon.terminate();
    cql(&format!("DROP KEYSPACE \"{keyspace}\"")).await;
    let daemon = stopped.restart();
    is_told(&daemon, &["the comment store had lost the records of partition"]).await;
    history_becomes(&daemon, &sent).await;
    // Beside a daemon that runs, while comments arrive.
    sent.extend(send(&daemon, "before that", 20).await);
    history_becomes(&daemon, &sent).await;
    let dropping = format!("DROP KEYSPACE \"{keyspace}\"");
    let arriving = send(&daemon, "meanwhile", 200);
    sent.extend(tokio::join!(arriving, cql(&dropping)).0);
    history_becomes(&daemon, &sent).await;
    drop(daemon);
    cql(&format!("DROP KEYSPACE \"{keyspace}\"")).await;
}

/// Runs statements as the owner of the stack's database.
async fn sql(statements: &[String]) {
    let url = format!("postgres://lcd@{}/lcd", server(10));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs scripts/stack up"]
async fn postgres_that_is_read_only_or_emptied_is_told() {
    // A role of its own, which a server that was failed over treats like this one.
    let name = unique();
    let end_connections =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'");
    sql(&[
        format!("CREATE ROLE {name} LOGIN"),
        format!("CREATE SCHEMA {name} AUTHORIZATION {name}"),
    ])
    .await;
    let daemon = Daemon::start(&format!(
        "[engines]\ncomments = \"postgres\"\nmetadata = \"postgres\"\n\
         [postgres]\nurl = \"postgres://{name}@{}/lcd\"\nschema = \"{name}\"\n",
        server(10)
    ));
    let sent = send(&daemon, "before", 20).await;
    history_becomes(&daemon, &sent).await;
    status_within(&daemon, TOLD_WITHIN, 0, &[]).await;

    sql(&[format!("TRUNCATE {name}.comments")]).await;
    is_told(&daemon, &["the comment store had lost the records of partition"]).await;
    history_becomes(&daemon, &sent).await;

    let read_only = format!("ALTER ROLE {name} SET default_transaction_read_only = on");
    sql(&[read_only, end_connections.clone()]).await;
    is_told(&daemon, &["metadata store", "comment store", "is read-only"]).await;
    let refused = tokio::task::block_in_place(|| lc(&daemon, &["ban", "42"]));
    assert!(!refused.status.success(), "{}", text(&refused));
    assert_eq!(history_texts(&daemon).await, sent, "reads are answered");
    // A daemon also starts there.
    let daemon = daemon.kill_and_restart();
    is_told(&daemon, &["metadata store", "is read-only"]).await;
    let writable = format!("ALTER ROLE {name} RESET default_transaction_read_only");
    sql(&[writable, end_connections]).await;
    status_within(&daemon, PATIENCE, 0, &[]).await;
    let banned = tokio::task::block_in_place(|| lc(&daemon, &["ban", "42"]));
    assert!(banned.status.success(), "{}", text(&banned));
    drop(daemon);
    sql(&[format!("DROP OWNED BY {name} CASCADE"), format!("DROP ROLE {name}")]).await;
}
