//! Records node by node that every tombstone is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::calls::RecentCalls;
use crate::daemon::engines::StoreError;

/// Longest time that a restoration may take. After it the restoration must start again.
const RESTORE_LIFETIME: Duration = Duration::from_secs(3600);

/// Per node, whether this process is restoring it: it saw that the node is incomplete, and the node
/// accepted every tombstone since. Only then may this process mark the node complete.
#[derive(Debug)]
pub(super) struct Completeness(Box<[AtomicBool]>);

impl Completeness {
    pub(super) fn new(nodes: usize) -> Self {
        Self((0..nodes).map(|_| AtomicBool::new(false)).collect())
    }

    /// Records that a tombstone did not reach the node.
    pub(super) fn tombstone_lost(&self, node: usize) {
        self.0[node].store(false, Ordering::SeqCst);
    }

    /// Returns `false` as soon as one node is incomplete, even if others are away: a restoration
    /// should begin on the nodes that answer.
    pub(super) async fn check(&self, calls: &RecentCalls) -> Result<bool, StoreError> {
        let answers = join_all((0..self.0.len()).map(|node| is_complete(calls, node))).await;
        let mut all = Ok(true);
        for (restoring, answer) in self.0.iter().zip(answers) {
            match answer {
                Ok(true) => {}
                Ok(false) => {
                    restoring.store(true, Ordering::SeqCst);
                    all = Ok(false);
                }
                Err(error) if matches!(all, Ok(true)) => all = Err(error),
                Err(_) => {}
            }
        }
        all
    }

    /// Marks every node complete that this process has restored. Fails if a node is still
    /// incomplete.
    pub(super) async fn mark(&self, calls: &RecentCalls) -> Result<(), StoreError> {
        let marks = self.0.iter().enumerate().map(|(node, restoring)| async move {
            let complete = if restoring.load(Ordering::SeqCst) {
                mark_complete(calls, node).await?
            } else {
                is_complete(calls, node).await?
            };
            if !complete {
                let address = calls.nodes.address(node);
                return Err(StoreError::Incomplete(format!(
                    "Redis {address} lost deletions after they were restored"
                )));
            }
            restoring.store(false, Ordering::SeqCst);
            Ok(())
        });
        join_all(marks).await.into_iter().collect()
    }

    pub(super) async fn unmark(&self, calls: &RecentCalls) -> Result<(), StoreError> {
        let unmarks = self.0.iter().enumerate().map(|(node, restoring)| async move {
            restoring.store(false, Ordering::SeqCst);
            let mut call = calls.scripts.mark_incomplete.prepare_invoke();
            call.key(&calls.keys.complete).key(&calls.keys.losses);
            calls.run::<()>(node, &call).await
        });
        join_all(unmarks).await.into_iter().collect()
    }
}

async fn is_complete(calls: &RecentCalls, node: usize) -> Result<bool, StoreError> {
    let mut call = calls.scripts.is_complete.prepare_invoke();
    call.key(&calls.keys.complete).key(&calls.keys.restoring).key(&calls.keys.losses);
    call.arg(RESTORE_LIFETIME.as_millis() as u64);
    calls.run(node, &call).await
}

async fn mark_complete(calls: &RecentCalls, node: usize) -> Result<bool, StoreError> {
    let mut call = calls.scripts.mark_complete.prepare_invoke();
    call.key(&calls.keys.complete).key(&calls.keys.restoring).key(&calls.keys.losses);
    calls.run(node, &call).await
}
