//! The promises of the embedded engine: crashes, damage, full disks, retention.

mod contract;
mod crash;
mod damage;
mod faulty_disk;
mod files;
mod full_disk;
mod members;
mod retention;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;

use super::EmbeddedLog;
use crate::daemon::base::clock::SystemClock;
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::{LogError, LogTelemetry, SharedLog, Topic};
use crate::protocol::NodeId;

/// The name of the node that has the logs open.
const NODE: &str = "test";

/// Small segments, so that a test's records fill several.
fn small_segments() -> EventLogConfig {
    EventLogConfig { segment_bytes: ByteSize::kib(16), ..EventLogConfig::default() }
}

fn try_open(directory: &Path, config: &EventLogConfig) -> Result<EmbeddedLog, LogError> {
    let telemetry = LogTelemetry::default();
    telemetry.set_node(NodeId::new(NODE));
    EmbeddedLog::open(directory, config, Arc::new(SystemClock), telemetry)
}

fn open(directory: &Path, config: &EventLogConfig) -> SharedLog {
    Arc::new(try_open(directory, config).expect("a log that opens"))
}

/// Returns the segment files of the comments, oldest first.
fn segment_files(directory: &Path) -> Vec<PathBuf> {
    let topic = directory.join(Topic::CommentEvents.name());
    let mut paths: Vec<_> = std::fs::read_dir(topic)
        .expect("the topic's directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| super::segment::base_in_name(path).is_some())
        .collect();
    paths.sort();
    paths
}

/// Returns a command that runs an ignored test of this program, given by its path below this
/// module.
fn child(test: &str) -> Command {
    let program = std::env::current_exe().expect("a test program");
    let (_, module) = module_path!().split_once("::").expect("a module of the crate");
    let mut command = Command::new(program);
    command.arg(format!("{module}::{test}"));
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

/// Waits for something that another thread does soon.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}
