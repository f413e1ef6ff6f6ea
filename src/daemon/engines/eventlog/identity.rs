//! The identity of a log: what nodes that share it must agree on.

use std::fmt;

use crate::protocol::Epoch;
use crate::protocol::quantity::counted;

/// The identity of a log. Nodes with different identities number the same stream differently.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    /// The name of the engine in the configuration.
    pub engine: &'static str,
    /// The name of the topic of comments on the servers, with its prefix.
    pub topic: String,
    /// The id that the servers gave this topic, in hex. `None` if the engine has no such ids.
    pub topic_id: Option<String>,
    /// Number of partitions of this topic.
    pub partitions: u32,
    pub epoch: Epoch,
}

/// An earlier epoch of a log. Up to some offset it has the records that the log has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlierEpoch {
    pub epoch: Epoch,
    /// In each partition, the first offset that may have another record now.
    pub until: u64,
}

impl fmt::Display for LogIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, topic, partitions, epoch, topic_id } = self;
        let partitions = counted(u64::from(*partitions), "partition");
        write!(f, "{engine}: {topic}, {partitions}, epoch {epoch}")?;
        topic_id.as_ref().map_or(Ok(()), |id| write!(f, ", topic id {id}"))
    }
}
