//! Whether every burial is known, node by node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::link::Link;
use crate::daemon::engines::StoreError;

/// Longer than any reading back takes; then it has to begin anew.
const READING_LIFETIME: Duration = Duration::from_secs(3600);

/// By node: whether this process was told `false` there and every burial since was taken. Only then
/// may it say that the node is complete.
#[derive(Debug)]
pub(super) struct Completeness(Box<[AtomicBool]>);

impl Completeness {
    pub(super) fn new(nodes: usize) -> Self {
        Self((0..nodes).map(|_| AtomicBool::new(false)).collect())
    }

    /// A burial did not reach the node.
    pub(super) fn lost(&self, node: usize) {
        self.0[node].store(false, Ordering::SeqCst);
    }

    /// `false` as soon as one node says so: what can be read back should be, though others are away.
    pub(super) async fn ask(&self, link: &Link) -> Result<bool, StoreError> {
        let mut all = Ok(true);
        for (reading, answer) in self.0.iter().zip(join_all(self.each(link)).await) {
            match answer {
                Ok(true) => {}
                Ok(false) => {
                    reading.store(true, Ordering::SeqCst);
                    all = Ok(false);
                }
                Err(error) if matches!(all, Ok(true)) => all = Err(error),
                Err(_) => {}
            }
        }
        all
    }

    fn each(
        &self,
        link: &Link,
    ) -> impl Iterator<Item = impl Future<Output = Result<bool, StoreError>>> {
        (0..self.0.len()).map(|node| ask_node(link, node))
    }

    /// Marks every node that it may; an error if one of them is incomplete still.
    pub(super) async fn mark(&self, link: &Link) -> Result<(), StoreError> {
        let marks = self.0.iter().enumerate().map(|(node, reading)| async move {
            let complete = match reading.load(Ordering::SeqCst) {
                true => mark_node(link, node).await?,
                false => ask_node(link, node).await?,
            };
            if !complete {
                let address = link.nodes.address(node);
                return Err(StoreError::Incomplete(format!(
                    "Redis {address} has lost deletions since they were read back"
                )));
            }
            reading.store(false, Ordering::SeqCst);
            Ok(())
        });
        join_all(marks).await.into_iter().collect()
    }

    pub(super) async fn unmark(&self, link: &Link) -> Result<(), StoreError> {
        let marks = self.0.iter().enumerate().map(|(node, reading)| async move {
            reading.store(false, Ordering::SeqCst);
            let mut call = link.scripts.mark_incomplete.prepare_invoke();
            call.key(&link.keys.complete).key(&link.keys.losses);
            link.call::<()>(node, &call).await
        });
        join_all(marks).await.into_iter().collect()
    }
}

async fn ask_node(link: &Link, node: usize) -> Result<bool, StoreError> {
    let mut call = link.scripts.is_complete.prepare_invoke();
    call.key(&link.keys.complete).key(&link.keys.reading).key(&link.keys.losses);
    call.arg(READING_LIFETIME.as_millis() as u64);
    link.call(node, &call).await
}

async fn mark_node(link: &Link, node: usize) -> Result<bool, StoreError> {
    let mut call = link.scripts.mark_complete.prepare_invoke();
    call.key(&link.keys.complete).key(&link.keys.reading).key(&link.keys.losses);
    link.call(node, &call).await
}
