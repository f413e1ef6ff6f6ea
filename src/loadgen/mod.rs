//! The load generator: real viewers, real comments, an exact account of who received what.
//!
//! In: a [`LoadPlan`]. Out: a [`Report`]. Always holds: latency counts from the intended send time,
//! for rates and recordings by the same loop, and every acked comment is accounted for at every
//! viewer. When full: a run holds as many connections as descriptors allow and reports how many
//! viewers did not fit. Comments in flight are bounded per sender. Beyond the bound the schedule
//! slips, and the report says whether the server or the generator caused it.
//!
//! Parts: [`plan`] is the interface; [`run`] directs a run; [`schedule`] says when each comment is
//! due; [`sender`] submits comments and [`submissions`] counts the answers; [`pool`] holds viewers
//! and [`pools`] spreads them over [`worker_process`]es; [`ledger`] accounts for deliveries;
//! [`generator`] monitors the generator; [`summary`] builds the [`report`], and [`threshold`]
//! checks it. [`million`] writes the report of `scripts/million`.

mod ack_feed;
mod capacity;
mod clock;
mod comment_text;
mod counts;
mod generator;
mod histogram;
mod ledger;
mod million;
mod plan;
mod pool;
mod pools;
mod progress;
pub mod recording;
mod report;
mod run;
mod schedule;
mod sender;
mod submissions;
mod summary;
mod threshold;
mod usage;
pub mod worker_process;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

pub use counts::CountsByKind;
pub use histogram::Percentiles;
pub use million::MillionRun;
pub use plan::{LoadPlan, PreparedLoad};
pub use pool::WireForm;
pub use progress::{NoProgress, ProgressSink};
pub use report::{GeneratorReport, Report, StormReport};
pub use schedule::Workload;
pub use threshold::Threshold;

pub(crate) use clock::RunClock;
pub(crate) use progress::show_while;
pub(crate) use sender::{OutgoingComment, OutgoingMessage, QUEUE_COMMENTS, Sender};
pub(crate) use submissions::{AckListener, Submissions};
