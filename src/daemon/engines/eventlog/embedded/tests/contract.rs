//! The conformance suite, with segments of two sizes, and the promises of opening.

use bytesize::ByteSize;
use tempfile::TempDir;

use super::{NODE, open, small_segments, try_open};
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::conformance::{Harness, append, eventlog_suite, numbered};
use crate::daemon::engines::eventlog::{LogError, SharedLog};
use crate::protocol::NodeId;

struct EmbeddedHarness {
    directory: TempDir,
    config: EventLogConfig,
    log: SharedLog,
}

impl EmbeddedHarness {
    fn start(config: EventLogConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), &config);
        Self { directory, config, log }
    }
}

impl Harness for EmbeddedHarness {
    async fn start_another(&self) -> Self {
        Self::start(self.config.clone())
    }

    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    fn node(&self) -> Option<NodeId> {
        Some(NodeId::new(NODE))
    }

    async fn restart(&mut self) {
        self.log.close().await.unwrap();
        self.log = open(self.directory.path(), &self.config);
    }
}

async fn with_segments_of(segment_bytes: ByteSize) -> (EmbeddedHarness, ()) {
    (EmbeddedHarness::start(EventLogConfig { segment_bytes, ..EventLogConfig::default() }), ())
}

mod large_segments {
    use super::*;

    eventlog_suite!(with_segments_of(ByteSize::mib(64)));
}

mod tiny_segments {
    use super::*;

    eventlog_suite!(with_segments_of(ByteSize::b(300)));
}

#[tokio::test]
async fn offsets_begin_at_1_and_are_dense() {
    let harness = EmbeddedHarness::start(small_segments());
    let offsets = |positions: Vec<crate::daemon::engines::eventlog::Position>| -> Vec<u64> {
        positions.iter().map(|position| position.offset).collect()
    };
    assert_eq!(offsets(append(&harness.log, numbered(1, 0, 3)).await), [1, 2, 3]);
    assert_eq!(offsets(append(&harness.log, numbered(2, 0, 2)).await), [4, 5]);
    let page = harness.log.read(super::Topic::CommentEvents, 2, 0, 10).await.unwrap();
    assert_eq!((page.records.len(), page.next_offset), (2, 6), "0 is before the first");
}

#[tokio::test]
async fn second_open_fails_until_the_first_is_closed() {
    let harness = EmbeddedHarness::start(small_segments());
    let directory = harness.directory.path();
    let error = try_open(directory, &harness.config).unwrap_err();
    assert!(
        matches!(&error, LogError::Unavailable(text) if text.contains("in use by another lcd"))
    );
    append(&harness.log, numbered(1, 0, 1)).await;
    harness.log.close().await.unwrap();
    open(directory, &harness.config);
}

#[tokio::test]
async fn append_over_the_bound_is_refused_at_once() {
    let config =
        EventLogConfig { max_pending_bytes: ByteSize::kib(4), ..EventLogConfig::default() };
    let harness = EmbeddedHarness::start(config);
    let topic = super::Topic::CommentEvents;
    let calls: Vec<_> =
        (0..5000).map(|number| harness.log.append(topic, numbered(1, number, 1))).collect();
    let mut stored = Vec::new();
    let mut refused = 0;
    for (number, outcome) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        match outcome {
            Ok(_) => stored.push(format!("1:{number}")),
            Err(LogError::Unavailable(text)) => {
                assert!(text.contains("eventlog.max_pending_bytes"), "{text}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0 && stored.len() >= 4096 / 64);
    let records =
        crate::daemon::engines::eventlog::conformance::read_key(&harness.log, 1, 10_000).await;
    assert_eq!(crate::daemon::engines::eventlog::conformance::texts(&records), stored);
    append(&harness.log, numbered(1, 5000, 1)).await;
}
