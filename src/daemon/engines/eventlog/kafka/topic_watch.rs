//! Watches the topics of an open log: whether each exists, is the one that was opened, and has its
//! partitions. `seq` is an offset in the topic of the comments, so another topic under its name
//! gives numbers to comments that viewers have seen on other comments.
//!
//! A topic that is missing is created again, [`CREATE_AFTER`] later, so that an operator who
//! creates it by hand comes first. Once the topic of the comments is another one, the log must be
//! opened again: it gets a new epoch. Every node waits [`SETTLE_TIME`] before that, in which it
//! refuses appends and reads, so that no node still uses the old epoch when the first one uses the
//! new one. If the topic only got more partitions, its records keep their numbers until then, so
//! consumers first have [`READ_TIME`] to read what is left, under the old epoch. Another topic that
//! was created again is taken into use at once: nothing in it is numbered, and viewers notice
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::metadata::Metadata;
use tokio::runtime::Handle;
use tracing::{debug, info};

use super::appender::Appender;
use super::check::{ProbeClient, create_topics, epoch_of};
use super::client::{ClientSettings, is_outage_code};
use super::health::{Health, Probe, TOPICS_INTERVAL};
use super::limits;
use super::topics::{ChangedTopic, Topics};
use crate::daemon::base::config::{EventLogConfig, KafkaConfig};
use crate::daemon::base::status::EVENT_LOG;
use crate::daemon::engines::eventlog::{LogError, LogTelemetry, Topic};
use crate::protocol::admin::ProblemCode;

/// Timeout of one comparison. Longer than a pause of a busy broker.
const DESCRIBE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time from the first comparison without a topic to its creation.
const CREATE_AFTER: Duration = Duration::from_secs(2);
/// Time in which every node has compared the topics at least once.
const SETTLE_TIME: Duration = TOPICS_INTERVAL.saturating_add(Duration::from_millis(800));
/// Time in which consumers read the rest of a topic that got more partitions. Nothing is appended
/// to it meanwhile. It is over on every node before the first one appends under the new epoch.
const READ_TIME: Duration = Duration::from_millis(1500);
/// The topic that is the log: its offsets are the sequence of viewers.
const LOG: Topic = Topic::CommentEvents;

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
    /// The missing topics that have been told.
    missing: Vec<Topic>,
    missing_since: Option<Instant>,
    replaced_since: Option<Instant>,
    /// The reason why a missing topic could not be created.
    not_created: Option<String>,
    /// True if the limits of a topic let no records in.
    is_refusing: bool,
}

impl Probe for TopicWatch {
    fn reach(&self) -> Result<(), LogError> {
        self.appender.probe(self.topics.name(LOG))
    }

    fn compare_topics(&mut self, health: &Health, is_suspected: bool) {
        self.telemetry.expire();
        if is_suspected || self.state.is_refusing {
            self.find_refusal();
        }
        let described = self.client.describe(&self.topics.names(), DESCRIBE_TIMEOUT);
        let changes = match described {
            Ok(described) => self.topics.compare(&described),
            Err(code) => {
                debug!(%code, "topics cannot be described");
                if is_outage_code(code) && self.topics.id(LOG).is_some() {
                    health.suspect("the brokers did not say which topics exist");
                }
                return;
            }
        };
        let mut replaced = None;
        for changed in changes.changed {
            if changed.topic == LOG {
                replaced = Some(changed);
            } else {
                self.adopt(&changed);
            }
        }
        self.restore(&changes.missing, health);
        if self.state.missing.contains(&LOG) {
            return;
        }
        match replaced {
            Some(changed) => self.replace(&changed, health),
            None => self.accept(health),
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
                self.telemetry.problems().raise(ProblemCode::AppendsRefused, EVENT_LOG, text);
            }
            None => self.telemetry.problems().clear(ProblemCode::AppendsRefused, EVENT_LOG),
        }
    }

    /// Records that the topic of the comments is the one that was opened.
    fn accept(&mut self, health: &Health) {
        self.state.replaced_since = None;
        health.accept(LOG);
    }

    /// Tells which topics are missing, refuses appends to them, or all appends if that of the
    /// comments is among them, and creates them after a while.
    fn restore(&mut self, missing: &[Topic], health: &Health) {
        let is_found = |topic: &&Topic| !missing.contains(topic);
        for topic in self.state.missing.iter().filter(is_found) {
            self.telemetry.problems().clear(ProblemCode::TopicMissing, self.subject(*topic));
            // That of the comments is compared with the one that was opened first.
            if *topic != LOG {
                health.accept(*topic);
            }
        }
        for topic in missing {
            let name = self.topics.name(*topic);
            let reason = "is missing on the cluster (deleted, or a broker lost its disk)";
            health.refuse(*topic, format!("topic {name} {reason}"), false);
        }
        self.state.missing = missing.to_vec();
        if missing.is_empty() {
            self.state.missing_since = None;
            self.state.not_created = None;
            return;
        }
        // Told before the creation, which may take a while.
        missing.iter().for_each(|topic| self.tell_missing(*topic));
        let since = *self.state.missing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= CREATE_AFTER {
            let creating = create_topics(missing, &self.clients, &self.kafka, &self.config);
            self.state.not_created = self.runtime.block_on(creating).err().map(|e| e.to_string());
            missing.iter().for_each(|topic| self.tell_missing(*topic));
        }
    }

    /// Returns the subject of the problems of a topic.
    fn subject(&self, topic: Topic) -> &str {
        if topic == LOG { EVENT_LOG } else { self.topics.name(topic) }
    }

    fn tell_missing(&self, topic: Topic) {
        let name = self.topics.name(topic);
        let effect = match topic {
            Topic::CommentEvents => "Comments are refused",
            Topic::ModerationEvents => "Moderation waits for it; comments are taken and shown",
            Topic::WsMessages => {
                "While it is missing, nodes do not reach each other without Redis; comments are \
                 taken and shown"
            }
            Topic::DeadLetters => "Comments are taken and shown",
        };
        let next = match (&self.state.not_created, topic) {
            (Some(reason), _) => format!("it cannot be created again: {reason}"),
            (None, LOG) => "it is created again in a moment, with a new epoch".to_owned(),
            (None, _) => "it is created again in a moment".to_owned(),
        };
        let text = format!(
            "topic {name} is missing on the Kafka cluster: deleted, or a broker lost its disk. \
             {effect}; {next}"
        );
        self.telemetry.problems().raise(ProblemCode::TopicMissing, self.subject(topic), text);
    }

    /// Takes another topic than that of the comments into use.
    fn adopt(&self, changed: &ChangedTopic) {
        let ChangedTopic { topic, now, text } = changed;
        let name = self.topics.name(*topic);
        let is_other = self.topics.identity(*topic).id != now.id;
        if let Err(error) = self.appender.adopt(*topic, name) {
            debug!(%error, name, "a topic that changed cannot be used yet");
            return;
        }
        self.topics.adopt(*topic, *now);
        if is_other {
            let text =
                format!("{text}. What it held is lost; the new one is in use, and viewers stay");
            self.telemetry.report_replaced(name, epoch_of(now), &text);
        } else {
            info!(text, "taking the new partitions of a topic into use");
        }
    }

    /// Refuses appends, and reports that the log must be opened again, as soon as it can be.
    fn replace(&mut self, changed: &ChangedTopic, health: &Health) {
        let ChangedTopic { now, text, .. } = changed;
        let since = *self.state.replaced_since.get_or_insert_with(Instant::now);
        let is_extended = now.id.is_some() && now.id == self.topics.id(LOG);
        let may_read = is_extended && since.elapsed() < READ_TIME;
        let reason = format!("{text}; the log is opened again with a new epoch");
        health.refuse(LOG, reason, may_read);
        let settle_time = if is_extended { READ_TIME + SETTLE_TIME } else { SETTLE_TIME };
        let text = format!(
            "{text}. The log is opened again with a new epoch, and viewers reconnect. Comments that \
             were acknowledged before and not yet archived may be lost: compare the history with \
             `lc lag` of before"
        );
        self.telemetry.report_replaced(EVENT_LOG, epoch_of(now), &text);
        let are_ready = |metadata: &Metadata| Topics::find(metadata, &self.clients).is_ok();
        if since.elapsed() >= settle_time
            && self.client.metadata(DESCRIBE_TIMEOUT).is_ok_and(|metadata| are_ready(&metadata))
        {
            health.report_replaced();
        }
    }
}
