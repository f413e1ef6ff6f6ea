//! The process of a node and the machine it runs on.

use serde::{Deserialize, Serialize};

/// Figures of a process. What is absent is unknown. Read once per second, the disk once in ten.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ProcessStatus {
    /// Milliseconds since the Unix epoch, on the clock of the node. Identifies a run of the node:
    /// counters of two runs must not be compared. 0 if the node does not report it.
    pub started_at: u64,
    /// Processors in use: 1.5 is one and a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Processors that the process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u64>,
    /// Resident memory of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes: Option<u64>,
    /// Memory of the machine, or the limit of the process's control group if that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Open files, sockets included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The most files that the process may open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_max: Option<u64>,
    /// Space that the process may still use on the disk of its data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// The clock of the node minus that of the first Redis node that answers, in milliseconds;
    /// accurate to half the time of a call. Absent without Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<i64>,
    /// Milliseconds since the Unix epoch at which the certificate expires that viewers are shown.
    /// Absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_expires_at: Option<u64>,
}

impl ProcessStatus {
    /// Returns the processors in use as a share of those that the process may use.
    pub fn cpu_share(&self) -> Option<f64> {
        self.cpu.zip(self.cores).map(|(cpu, cores)| cpu / cores.max(1) as f64)
    }
}

/// Rates of one node over the last second, for tables of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct NodeRates {
    pub connections_opened: f64,
    pub connections_closed: f64,
    /// Comments written to viewers.
    pub delivered: f64,
    /// Of these, the ones that came late.
    pub late: f64,
    /// Comments that slow viewers skipped.
    pub skipped: f64,
    pub bytes_out: f64,
}

impl From<&super::CounterRates> for NodeRates {
    fn from(rates: &super::CounterRates) -> Self {
        Self {
            connections_opened: rates.connections_opened,
            connections_closed: rates.connections_closed,
            delivered: rates.delivered,
            late: rates.late,
            skipped: rates.skipped,
            bytes_out: rates.bytes_out,
        }
    }
}
