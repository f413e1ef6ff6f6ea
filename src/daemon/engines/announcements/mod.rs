//! Announcements: a second place where nodes meet. Nodes with different Redis servers or another
//! `redis.prefix` never see each other in the registry, although they serve the same streams.
//!
//! In: one announcement per node every [`INTERVAL`]. Out: the announcements of the other running
//! processes, with the digests of their settings. Engine: [`postgres`], where the metadata of the
//! cluster is. A single node needs none.
//!
//! Always holds: a process that has not announced itself for [`ALIVE_FOR`] is not returned. One
//! clock, that of the server, decides this. Nothing is queued here.

#[cfg(feature = "engines")]
pub mod postgres;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::daemon::engines::StoreError;
use crate::protocol::NodeId;

/// The time between two announcements of a process.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// Two announcements may be late or lost.
pub const ALIVE_FOR: Duration = Duration::from_secs(6);

/// The description of a process by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub node: NodeId,
    /// Unique to the process.
    pub run: String,
    /// A description for operators: address, host, process.
    pub about: String,
    /// A digest of each setting that must be equal on all nodes, by its key.
    pub settings: BTreeMap<String, String>,
}

/// Another running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProcess {
    pub announcement: Announcement,
    /// It has announced itself after this process first did: both run at the same time. The
    /// previous run of a node that was killed and restarted never has.
    pub overlaps: bool,
}

/// The contract.
#[async_trait]
pub trait Announcements: Send + Sync + std::fmt::Debug + 'static {
    /// Announces this process and returns the others.
    async fn announce(&self, own: &Announcement) -> Result<Vec<OtherProcess>, StoreError>;

    /// Removes the announcement of this process before an orderly shutdown.
    async fn leave(&self, run: &str) -> Result<(), StoreError>;
}

pub type SharedAnnouncements = Arc<dyn Announcements>;
