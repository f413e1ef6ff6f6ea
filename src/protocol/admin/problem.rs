//! Problems of a node that last until they are solved, as status and node reports show them.

use serde::{Deserialize, Serialize};

/// The kinds of problems that a node reports. Each has a stable name for scripts and alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemCode {
    /// Writes fail because a disk is full, over its quota or read-only.
    DiskFull,
    /// A disk is almost full.
    DiskLow,
    /// A consumer passed over records of the log that it never read.
    RecordsSkipped,
    /// The comment store had lost rows, which were read again from the log.
    StoreRebuilt,
    /// The comment store lacks comments that the log no longer has.
    HistoryIncomplete,
    /// A store begins empty although the event log has records.
    StoreMissing,
    /// The file of the losses of earlier runs cannot be read.
    LossesUnreadable,
    /// Lines of the log were lost, because nothing takes them.
    LogLinesLost,
    /// The admin socket is no longer at its path.
    AdminSocketLost,
    /// A setting that must be equal on all nodes is not.
    SettingsDiffer,
    /// Another running node has the same name.
    NodeNameShared,
    /// A topic of the event log is missing, so nothing can be appended.
    TopicMissing,
    /// The topics of the event log were created again, or got other partitions.
    LogReplaced,
    /// Files of the event log were removed or replaced while the daemon runs.
    LogFilesMissing,
    /// The servers of the event log answer, but refuse records.
    AppendsRefused,
    /// Records of the event log are damaged.
    LogDamaged,
    /// Published comments are not checked, because moderation is down or far behind.
    ModerationDown,
    /// Comments of a stream are not checked in time before publication.
    ChecksLate,
    /// The servers of some partitions of the event log do not answer.
    PartitionsUnreachable,
    /// The service that reviews comments gives no valid answers.
    ReviewHookFailing,
    /// Files could not be read again, and those from before are still in force.
    ReloadFailed,
    /// The public keys of the issuer of tokens cannot be read.
    IssuerKeysFailing,
}

impl ProblemCode {
    /// The losses that are seen once, at a start or while the log is opened again. Nothing shows
    /// later that they are over, so they last until an operator acknowledges them.
    pub const LOSSES: [Self; 4] =
        [Self::LogReplaced, Self::HistoryIncomplete, Self::StoreMissing, Self::LossesUnreadable];

    /// Returns the loss with this name.
    pub fn loss(name: &str) -> Option<Self> {
        Self::LOSSES.into_iter().find(|loss| loss.as_str() == name)
    }

    /// Returns the sentence that says how long a loss is shown.
    pub fn acknowledge_hint(self) -> String {
        format!("Shown until somebody runs `lc acknowledge {}`", self.as_str())
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::DiskLow => "disk_low",
            Self::RecordsSkipped => "records_skipped",
            Self::StoreRebuilt => "store_rebuilt",
            Self::HistoryIncomplete => "history_incomplete",
            Self::StoreMissing => "store_missing",
            Self::LossesUnreadable => "losses_unreadable",
            Self::LogLinesLost => "log_lines_lost",
            Self::AdminSocketLost => "admin_socket_lost",
            Self::SettingsDiffer => "settings_differ",
            Self::NodeNameShared => "node_name_shared",
            Self::TopicMissing => "topic_missing",
            Self::LogReplaced => "log_replaced",
            Self::LogFilesMissing => "log_files_missing",
            Self::AppendsRefused => "appends_refused",
            Self::LogDamaged => "log_damaged",
            Self::ChecksLate => "checks_late",
            Self::ModerationDown => "moderation_down",
            Self::PartitionsUnreachable => "partitions_unreachable",
            Self::ReviewHookFailing => "review_hook_failing",
            Self::ReloadFailed => "reload_failed",
            Self::IssuerKeysFailing => "issuer_keys_failing",
        }
    }
}

/// One problem of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A [`ProblemCode`]; text, because later versions may send others.
    pub code: String,
    /// The affected part, such as a consumer group or a server.
    pub subject: String,
    /// A sentence for operators: what is wrong, and the next step.
    pub text: String,
    /// Milliseconds since the problem was first seen.
    pub since_ms: u64,
}
