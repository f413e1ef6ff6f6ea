//! Presence: counts viewers per stream. The workers count their own, the registry adds up all
//! nodes, and viewers are told when the number has changed, at most once per interval. The same
//! timer releases idle compressors.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::deflate::Compressors;
use super::hub::HubRequest;
use super::worker::ViewerCounts;
use crate::daemon::base::status::StatusBoard;
use crate::daemon::base::ticker::ticker;
use crate::daemon::engines::registry::SharedRegistry;
use crate::protocol::{NodeId, StreamId};

#[derive(Debug)]
pub(super) struct Presence {
    pub(super) node: NodeId,
    pub(super) registry: SharedRegistry,
    pub(super) workers: Arc<[ViewerCounts]>,
    pub(super) hub: mpsc::UnboundedSender<HubRequest>,
    pub(super) board: StatusBoard,
    pub(super) interval: Duration,
    pub(super) compressors: Arc<Compressors>,
}

impl Presence {
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut sent: AHashMap<StreamId, u64> = AHashMap::new();
        let mut ticks = ticker(self.interval);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let local = self.count_local();
            self.compressors.release_idle();
            let viewers = self.count_all_nodes(&local).await;
            let changed: Vec<_> = viewers
                .iter()
                .filter(|(stream_id, count)| sent.get(stream_id) != Some(count))
                .map(|(stream_id, count)| (*stream_id, *count))
                .collect();
            self.board.set_viewers(viewers.clone());
            if !changed.is_empty() {
                // Fails only when the hub is gone, which ends the daemon.
                let _ = self.hub.send(HubRequest::Presence(changed));
            }
            sent = viewers;
        }
    }

    fn count_local(&self) -> AHashMap<StreamId, u64> {
        let mut sum = AHashMap::new();
        for counts in self.workers.iter() {
            for (stream_id, count) in counts.lock().iter() {
                *sum.entry(*stream_id).or_default() += count;
            }
        }
        sum
    }

    /// Counts the viewers on all nodes; only those of this node while the registry does not
    /// answer.
    async fn count_all_nodes(&self, local: &AHashMap<StreamId, u64>) -> AHashMap<StreamId, u64> {
        let report = local.iter().map(|(stream_id, count)| (*stream_id, *count)).collect();
        let reported = self.registry.report_viewers(&self.node, report).await;
        let viewers = match reported {
            Ok(()) => self.registry.viewers().await,
            Err(error) => Err(error),
        };
        match viewers {
            Ok(viewers) => viewers.into_iter().collect(),
            Err(error) => {
                warn!(%error, "registry unavailable; counting only the viewers of this node");
                local.clone()
            }
        }
    }
}
