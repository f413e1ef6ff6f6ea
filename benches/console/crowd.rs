//! A cluster of many nodes, as its console sees it: the snapshots of a real daemon, once per
//! second, with its node many times in them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use live_comments::protocol::NodeId;
use live_comments::protocol::admin::TopSnapshot;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

const PERIOD: Duration = Duration::from_secs(1);

/// Serves the snapshots on an admin socket. Whatever else a console asks does not exist there.
#[derive(Debug)]
pub(super) struct Crowd {
    directory: TempDir,
    /// Serves until it is dropped.
    _runtime: Runtime,
}

impl Crowd {
    /// Starts it with one snapshot of a daemon.
    pub(super) fn start(snapshot: &str, nodes: usize) -> anyhow::Result<Self> {
        let mut snapshot: TopSnapshot = serde_json::from_str(snapshot).context("a snapshot")?;
        let node = snapshot.nodes.first().context("no node in the snapshot")?.clone();
        snapshot.nodes = (1..=nodes)
            .map(|number| {
                let mut node = node.clone();
                node.node = NodeId::new(&format!("edge-{number}"));
                node
            })
            .collect();
        let directory = tempfile::tempdir()?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(async { UnixListener::bind(socket(directory.path())) })?;
        let top = get(async move || {
            ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines(snapshot)))
                .into_response()
        });
        let router = Router::new().route("/v1/top", top);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { directory, _runtime: runtime })
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("admin.sock")
}

/// Returns a snapshot per second as a JSON line.
fn lines(first: TopSnapshot) -> impl futures_util::Stream<Item = Result<Bytes, serde_json::Error>> {
    let ticks = tokio::time::interval(PERIOD);
    stream::unfold((ticks, first), async |(mut ticks, mut snapshot)| {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        snapshot.taken_at = now.as_millis() as u64;
        snapshot.uptime_ms += PERIOD.as_millis() as u64;
        // So that each frame has other figures than the one before.
        for (number, stream) in snapshot.streams.iter_mut().enumerate() {
            stream.viewers = (stream.viewers + number as u64 * 7 + 1) % 50_000;
        }
        let line = serde_json::to_vec(&snapshot).map(|mut line| {
            line.push(b'\n');
            Bytes::from(line)
        });
        Some((line, (ticks, snapshot)))
    })
    .boxed()
}
