//! Judges a Kafka cluster: whether its topics keep what lcd relies on, and what a broker that is
//! away takes along.

use super::figures::NodeFigures;
use super::judgement::{Flaw, Judgement};
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::server_settings::{KafkaSettings, TopicSettings};
use crate::protocol::admin::DoctorFinding;
use crate::protocol::quantity::{
    counted, show_bytes, show_count, show_counted, show_duration, show_rate,
};

/// The replicas that are advised where the brokers are there: one may be away while another one is
/// restarted.
const ADVISED_REPLICAS: u32 = 3;

pub(super) fn judge(
    server: &str,
    found: &KafkaSettings,
    figures: &NodeFigures,
) -> Vec<DoctorFinding> {
    let mut judgement = Judgement::new("kafka", server);
    judgement.well(counted(found.brokers.into(), "broker"));
    for topic in &found.topics {
        let judged = JudgedTopic { cluster: found, topic, figures };
        let flaws = judged.flaws();
        if flaws.is_empty() {
            judgement.well(summary(topic));
        }
        flaws.into_iter().for_each(|flaw| judgement.flaw(flaw));
    }
    judgement.finish(&found.unread)
}

/// Writes `comment_events 100 × 3 for 7d`.
fn summary(topic: &TopicSettings) -> String {
    let TopicSettings { name, partitions, replicas, retention_ms, .. } = topic;
    let kept = match retention_ms.map(u64::try_from) {
        None => String::new(),
        Some(Ok(ms)) => format!(" for {}", show_duration(ms)),
        Some(Err(_)) => " forever".to_owned(),
    };
    format!("{name} {partitions} × {replicas}{kept}")
}

struct JudgedTopic<'a> {
    cluster: &'a KafkaSettings,
    topic: &'a TopicSettings,
    figures: &'a NodeFigures,
}

impl JudgedTopic<'_> {
    fn flaws(&self) -> Vec<Flaw> {
        [
            self.replicas(),
            self.in_sync(),
            self.retention(),
            self.retained_bytes(),
            self.cleanup(),
            self.timestamps(),
            self.record_size(),
            self.partitions(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn flaw(&self, check: &'static str, setting: &str, why: String, mend: String) -> Flaw {
        Flaw { check, what: format!("Kafka {} {setting}", self.topic.name), why, mend }
    }

    /// Returns the command that changes a setting of the topic.
    fn set(&self, name: &str, value: impl std::fmt::Display) -> String {
        let KafkaSettings { bootstrap, .. } = self.cluster;
        format!(
            "kafka-configs.sh --bootstrap-server {bootstrap} --alter --topic {} --add-config \
             {name}={value}",
            self.topic.name
        )
    }

    /// Returns the command that gives each partition so many replicas.
    fn replicate(&self, replicas: u32) -> String {
        let KafkaSettings { bootstrap, brokers, .. } = self.cluster;
        let first = if replicas > *brokers { "more brokers; then " } else { "" };
        format!(
            "{first}kafka-reassign-partitions.sh --bootstrap-server {bootstrap} --execute, with \
             {replicas} replicas for each partition of {}",
            self.topic.name
        )
    }

    fn has_comments(&self) -> bool {
        self.topic.topic == Topic::CommentEvents.name()
    }

    fn replicas(&self) -> Option<Flaw> {
        let TopicSettings { partitions, replicas, asked, .. } = self.topic;
        let KafkaSettings { brokers, .. } = self.cluster;
        let is_single = *replicas == 1 && *brokers > 1;
        if *replicas >= asked.replicas && !is_single {
            return None;
        }
        let why = match (*replicas, *brokers) {
            (0 | 1, 0 | 1) => {
                "the only broker has the only copy: no record is accepted while it is \
                               away, and all are lost with its disk"
                    .to_owned()
            }
            (0 | 1, brokers) => format!(
                "while one of {brokers} brokers is away, about {} of {partitions} partitions accept \
                 no record{}; its disk has the only copy of them",
                partitions.div_ceil(brokers),
                self.viewers_of_one_broker()
            ),
            _ => format!("lcd asks for {}: a broker less may be away", asked.replicas),
        };
        let wanted = asked.replicas.max(ADVISED_REPLICAS.min(*brokers));
        let setting = format!("has {}", counted((*replicas).into(), "replica"));
        Some(self.flaw("kafka replicas", &setting, why, self.replicate(wanted)))
    }

    /// Returns a clause about the viewers whose streams are on one broker.
    fn viewers_of_one_broker(&self) -> String {
        let all = self.figures.all_viewers;
        if !self.has_comments() || all == 0 {
            return String::new();
        }
        let part = all.div_ceil(self.cluster.brokers.max(1).into());
        format!(
            ", and about {} of {} viewers see no new comment",
            show_count(part),
            show_count(all)
        )
    }

    fn in_sync(&self) -> Option<Flaw> {
        let TopicSettings { partitions, replicas, asked, .. } = self.topic;
        let KafkaSettings { brokers, .. } = self.cluster;
        let found = self.topic.min_insync_replicas?;
        let flaw = |why: String, mend: String| {
            let setting = format!("min.insync.replicas {found}");
            Some(self.flaw("kafka in-sync replicas", &setting, why, mend))
        };
        if found > *replicas {
            let replicas = counted((*replicas).into(), "replica");
            let why = format!("it has {replicas}: brokers before Kafka 4 accept no record");
            let is_asked = found <= asked.min_insync_replicas;
            let mend = if is_asked {
                self.replicate(asked.replicas.max(found))
            } else {
                self.set_in_sync()
            };
            return flaw(why, mend);
        }
        if found < asked.min_insync_replicas {
            let what = if self.has_comments() { "comment" } else { "record" };
            let why = format!(
                "lcd asks for {}: an acknowledged {what} may be on {} only, and is lost with its disk",
                asked.min_insync_replicas,
                counted(found.into(), "broker")
            );
            return flaw(why, self.set_in_sync());
        }
        // Too few replicas are a flaw of their own.
        if *replicas == 1 || *replicas < asked.replicas || found < *replicas {
            return None;
        }
        let stopped = (u64::from(*partitions) * u64::from(*replicas))
            .div_ceil((*brokers).max(1).into())
            .min((*partitions).into());
        let why = format!(
            "every replica must be in sync: while a broker is away, about {stopped} of {partitions} \
             partitions accept no record"
        );
        let has_room = *replicas < ADVISED_REPLICAS && *replicas < *brokers;
        // A lower setting must not be one that is too low.
        if has_room || found <= asked.min_insync_replicas {
            return flaw(why, self.replicate(replicas + 1));
        }
        flaw(why, self.set("min.insync.replicas", replicas - 1))
    }

    /// Returns the command that sets what lcd asks for. With fewer replicas than that, brokers
    /// would accept no record, so the replicas come first.
    fn set_in_sync(&self) -> String {
        let TopicSettings { replicas, asked, .. } = self.topic;
        let wanted = asked.min_insync_replicas;
        let set = self.set("min.insync.replicas", wanted);
        if wanted <= *replicas {
            return set;
        }
        format!("{}; then {set}", self.replicate(asked.replicas.max(wanted)))
    }

    fn retention(&self) -> Option<Flaw> {
        let asked_ms = self.topic.asked.retention_ms;
        // -1 keeps records forever.
        let kept_ms = u64::try_from(self.topic.retention_ms?).ok()?;
        if kept_ms >= asked_ms {
            return None;
        }
        let asked = show_duration(asked_ms);
        let kept = show_duration(kept_ms);
        let why = if self.has_comments() {
            let rate = self.figures.comments_per_second;
            let lost = if rate >= 1.0 {
                format!("{} comments/s", show_rate(rate))
            } else {
                "comments".to_owned()
            };
            format!(
                "lcd asks for {asked}: an archiver that is down for {kept} loses nothing, after that \
                 it loses {lost}"
            )
        } else {
            format!("lcd asks for {asked}: records are gone after {kept}")
        };
        let mend = self.set("retention.ms", asked_ms);
        Some(self.flaw("kafka retention", &format!("retention.ms {kept}"), why, mend))
    }

    fn retained_bytes(&self) -> Option<Flaw> {
        let bytes = u64::try_from(self.topic.retention_bytes?).ok()?;
        let setting = format!("retention.bytes {}", show_bytes(bytes));
        let why = "a partition of that size drops its oldest records, however young they are";
        Some(self.flaw(
            "kafka retention",
            &setting,
            why.to_owned(),
            self.set("retention.bytes", -1),
        ))
    }

    fn cleanup(&self) -> Option<Flaw> {
        let policy = self.topic.cleanup_policy.as_deref()?;
        if !policy.contains("compact") {
            return None;
        }
        let kept = if self.has_comments() { "comment of a stream" } else { "record of a key" };
        let why =
            format!("only the latest {kept} is kept: readers that come later miss the others");
        let mend = self.set("cleanup.policy", "delete");
        Some(self.flaw("kafka cleanup", &format!("cleanup.policy {policy}"), why, mend))
    }

    fn timestamps(&self) -> Option<Flaw> {
        let kind = self.topic.message_timestamp_type.as_deref()?;
        if kind == "CreateTime" {
            return None;
        }
        let why = "records have the time of a broker instead of that of their node: brokers whose \
                   clocks differ by a minute let a comment that was sent twice appear twice";
        let setting = format!("message.timestamp.type {kind}");
        let mend = self.set("message.timestamp.type", "CreateTime");
        Some(self.flaw("kafka timestamps", &setting, why.to_owned(), mend))
    }

    fn record_size(&self) -> Option<Flaw> {
        let most = self.topic.max_message_bytes?;
        let largest = self.topic.asked.largest_record_bytes;
        if most >= largest {
            return None;
        }
        let why = format!(
            "larger records are refused, and those of lcd have up to {}",
            show_bytes(largest)
        );
        let mend = self.set("max.message.bytes", self.topic.asked.max_message_bytes);
        Some(self.flaw(
            "kafka record size",
            &format!("max.message.bytes {}", show_bytes(most)),
            why,
            mend,
        ))
    }

    fn partitions(&self) -> Option<Flaw> {
        let TopicSettings { name, partitions, asked, .. } = self.topic;
        if *partitions >= asked.partitions {
            return None;
        }
        let nodes = show_counted((*partitions).into(), "node");
        let why =
            format!("lcd asks for {}: at most {nodes} of a role share its work", asked.partitions);
        let reconnect = if self.has_comments() { " (every viewer reconnects)" } else { "" };
        let mend = format!(
            "kafka-topics.sh --bootstrap-server {} --alter --topic {name} --partitions {}{reconnect}",
            self.cluster.bootstrap, asked.partitions
        );
        let setting = format!("has {}", counted((*partitions).into(), "partition"));
        Some(self.flaw("kafka partitions", &setting, why, mend))
    }
}
