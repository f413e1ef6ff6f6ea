//! Watches the topics of an open log: whether each exists, is the one that was opened, and has its
//! partitions. `seq` is an offset, so another topic under the same name gives numbers to comments
//! that viewers have seen on other comments.
//!
//! A topic that is missing is created again, [`CREATE_AFTER`] later, so that an operator who
//! creates it by hand comes first. Once all topics exist and one of them is another one, the log
//! must be opened again: it gets a new epoch. Every node waits [`SETTLE_TIME`] before that, in
//! which it refuses appends and reads, so that no node still uses the old epoch when the first one
//! uses the new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::metadata::Metadata;
use tokio::runtime::Handle;
use tracing::debug;

use super::appender::Appender;
use super::check::{ProbeClient, create_topics};
use super::client::{ClientSettings, is_outage_code};
use super::health::{Health, Probe, TOPICS_INTERVAL};
use super::limits;
use super::topics::{TopicChange, Topics};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::engines::eventlog::{LogError, LogTelemetry, Topic};
use crate::protocol::admin::ProblemCode;

/// Timeout of one comparison. Longer than a pause of a busy broker.
const DESCRIBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time from the first comparison without a topic to its creation.
const CREATE_AFTER: Duration = Duration::from_secs(2);
/// Time in which every node has compared the topics at least once.
const SETTLE_TIME: Duration = TOPICS_INTERVAL.saturating_add(Duration::from_millis(800));
/// The subject of the problems.
const SUBJECT: &str = "event log";

pub(super) struct TopicWatch {
    pub(super) clients: ClientSettings,
    pub(super) kafka: KafkaConfig,
    pub(super) config: EventLogConfig,
    pub(super) topics: Arc<Topics>,
    /// The largest batch that this process sends.
    pub(super) batch_bytes: usize,
    pub(super) client: ProbeClient,
    pub(super) appender: Appender,
    pub(super) telemetry: LogTelemetry,
    pub(super) runtime: Handle,
    pub(super) state: WatchState,
}

/// The findings of earlier comparisons.
#[derive(Debug, Default)]
pub(super) struct WatchState {
    missing_since: Option<Instant>,
    replaced_since: Option<Instant>,
    /// The reason why a missing topic could not be created.
    not_created: Option<String>,
    /// True if the limits of a topic let no records in.
    is_refusing: bool,
}

impl Probe for TopicWatch {
    fn reach(&self) -> Result<(), LogError> {
        self.appender.probe(self.topics.name(Topic::CommentEvents))
    }

    fn compare_topics(&mut self, health: &Health, is_suspected: bool) {
        self.telemetry.expire();
        if is_suspected || self.state.is_refusing {
            self.find_refusal();
        }
        let described = self.client.describe(&self.topics.names(), DESCRIBE_TIMEOUT);
        let change = match described {
            Ok(described) => self.topics.compare(&described),
            Err(code) => {
                debug!(%code, "topics cannot be described");
                if is_outage_code(code) && self.topics.id(Topic::CommentEvents).is_some() {
                    health.suspect("the brokers did not say which topics exist");
                }
                return;
            }
        };
        match change {
            TopicChange::None => self.accept(health),
            TopicChange::Missing(missing) => self.restore(&missing, health),
            TopicChange::Replaced(text) => self.replace(&text, health),
        }
    }
}

impl TopicWatch {
    /// Looks for a limit of a topic that makes the brokers refuse records. Keeps the problem while
    /// the cluster does not answer.
    pub(super) fn find_refusal(&mut self) {
        let Ok(metadata) = self.client.metadata(DESCRIBE_TIMEOUT) else { return };
        let Ok(limits) = self.runtime.block_on(limits::find(&self.clients, &metadata)) else {
            return;
        };
        let refusal = limits.refusal(self.batch_bytes);
        self.state.is_refusing = refusal.is_some();
        match refusal {
            Some(text) => {
                self.telemetry.problems().raise(ProblemCode::AppendsRefused, SUBJECT, text);
            }
            None => self.telemetry.problems().clear(ProblemCode::AppendsRefused, SUBJECT),
        }
    }

    /// Records that the topics are those that were opened.
    fn accept(&mut self, health: &Health) {
        let is_new = self.state.missing_since.is_some() || self.state.replaced_since.is_some();
        if is_new {
            let is_refusing = self.state.is_refusing;
            self.state = WatchState { is_refusing, ..WatchState::default() };
            self.telemetry.problems().clear(ProblemCode::TopicMissing, SUBJECT);
            health.set_topics(None);
        }
    }

    /// Refuses appends while a topic is missing, and creates it after a while.
    fn restore(&mut self, missing: &[Topic], health: &Health) {
        let since = *self.state.missing_since.get_or_insert_with(Instant::now);
        let names: Vec<_> = missing.iter().map(|topic| self.topics.name(*topic)).collect();
        let names = names.join(", ");
        health.set_topics(Some(format!(
            "topic {names} is missing on the cluster (deleted, or a broker lost its disk)"
        )));
        if since.elapsed() >= CREATE_AFTER {
            let creating = create_topics(missing, &self.clients, &self.kafka, &self.config);
            self.state.not_created = self.runtime.block_on(creating).err().map(|e| e.to_string());
        }
        let next = match &self.state.not_created {
            None => "it is created again in a moment, with a new epoch".to_owned(),
            Some(reason) => format!("it cannot be created again: {reason}"),
        };
        let text = format!(
            "topic {names} is missing on the Kafka cluster: deleted, or a broker lost its disk. \
             Comments are refused; {next}"
        );
        self.telemetry.problems().raise(ProblemCode::TopicMissing, SUBJECT, text);
    }

    /// Refuses appends, and reports that the log must be opened again, as soon as it can be.
    fn replace(&mut self, text: &str, health: &Health) {
        let since = *self.state.replaced_since.get_or_insert_with(Instant::now);
        self.telemetry.problems().clear(ProblemCode::TopicMissing, SUBJECT);
        health.set_topics(Some(format!("{text}; the log is opened again with a new epoch")));
        self.telemetry.report_replaced(&format!(
            "{text}. The log is opened again with a new epoch, and viewers reconnect. Comments that \
             were acknowledged before and not yet archived may be lost: compare the history with \
             `lc lag` of before"
        ));
        let are_ready = |metadata: &Metadata| Topics::find(metadata, &self.clients).is_ok();
        if since.elapsed() >= SETTLE_TIME
            && self.client.metadata(DESCRIBE_TIMEOUT).is_ok_and(|metadata| are_ready(&metadata))
        {
            health.report_replaced();
        }
    }
}
