//! Each setting that is wrong, one after the other, on servers that are otherwise well.

use super::*;
use crate::daemon::engines::eventlog::Topic;
use crate::daemon::engines::server_settings::{
    AskedKeyspace, AskedTopic, CassandraSettings, CommentsTable, KafkaSettings, OutputLimit,
    PostgresSettings, RedisSettings, TopicSettings, Unread,
};
use crate::protocol::admin::CheckResult;

const DAY_MS: u64 = 24 * 3_600_000;

fn figures() -> NodeFigures {
    NodeFigures {
        viewers: 34_900,
        all_viewers: 137_000,
        nodes: 12,
        comments_per_second: 620.0,
        received: [("10.0.3.12:6379".to_owned(), 1_000_000.0)].into(),
    }
}

fn redis() -> RedisSettings {
    RedisSettings {
        address: "10.0.3.12:6379".to_owned(),
        version: Some("7.2.4".to_owned()),
        used_memory: Some(300_000_000),
        total_system_memory: Some(16_000_000_000),
        maxmemory: Some(8_000_000_000),
        maxmemory_policy: Some("noeviction".to_owned()),
        connected_clients: Some(41),
        pubsub_limit: Some(OutputLimit { hard_bytes: 128 << 20, soft_bytes: 32 << 20, soft_s: 60 }),
        tcp_backlog: Some(511),
        timeout_s: Some(0),
        unread: Vec::new(),
    }
}

fn kafka() -> KafkaSettings {
    let topic = |topic: Topic, partitions| TopicSettings {
        topic: topic.name(),
        name: format!("lc.{}", topic.name()),
        partitions,
        replicas: 3,
        min_insync_replicas: Some(2),
        retention_ms: Some(7 * DAY_MS as i64),
        retention_bytes: Some(-1),
        cleanup_policy: Some("delete".to_owned()),
        message_timestamp_type: Some("CreateTime".to_owned()),
        max_message_bytes: Some(2 << 20),
        asked: AskedTopic {
            partitions,
            replicas: 3,
            min_insync_replicas: 2,
            retention_ms: 7 * DAY_MS,
            max_message_bytes: 2 << 20,
            largest_record_bytes: (1 << 20) + 4_096,
        },
    };
    KafkaSettings {
        bootstrap: "10.0.1.1:9092".to_owned(),
        brokers: 3,
        topics: vec![topic(Topic::CommentEvents, 100), topic(Topic::DeadLetters, 1)],
        unread: Vec::new(),
    }
}

fn cassandra() -> CassandraSettings {
    CassandraSettings {
        keyspace: "live_comments".to_owned(),
        strategy: "NetworkTopologyStrategy".to_owned(),
        datacenter: Some("dc1".to_owned()),
        copies: Some(3),
        servers: 6,
        datacenters: 1,
        schema_agrees: Some(true),
        comments: Some(CommentsTable {
            compaction: "TimeWindowCompactionStrategy".to_owned(),
            gc_grace_s: 864_000,
        }),
        asked: AskedKeyspace {
            copies: 3,
            retention_s: 7 * 24 * 3_600,
            compaction: Some("{'class': 'TimeWindowCompactionStrategy'}".to_owned()),
        },
        unread: Vec::new(),
    }
}

fn postgres() -> PostgresSettings {
    PostgresSettings {
        version: "17.4".to_owned(),
        max_connections: 200,
        reserved_connections: 3,
        user_limit: None,
        connections: 41,
        pool: 8,
        synchronous_commit: "on".to_owned(),
        synchronous_standby_names: "s1".to_owned(),
        fsync: true,
    }
}

fn judged(server: &str, settings: ServerSettings) -> Vec<DoctorFinding> {
    judge(&ReadServer { server: server.to_owned(), settings: Ok(settings) }, &figures())
}

fn shown(findings: &[DoctorFinding]) -> String {
    let shown = findings.iter().map(|finding| {
        let DoctorFinding { check, result, what, why, mend } = finding;
        match result {
            CheckResult::Well => format!("{check} is well: {what}\n"),
            CheckResult::NotChecked => format!("{check} is not checked: {what}\n- {why}\n"),
            _ => format!("{check}: {what}\n- {why}\n> {mend}\n"),
        }
    });
    shown.collect()
}

/// Judges a server that is well, and then with each change; returns what is well at first, and what
/// each change made wrong.
fn judge_changes<T: Clone>(
    good: &T,
    changes: &[fn(&mut T)],
    judge: impl Fn(T) -> Vec<DoctorFinding>,
) -> String {
    let well = judge(good.clone());
    assert!(well.iter().all(|finding| finding.result == CheckResult::Well), "{well:?}");
    let mut text = shown(&well);
    for (number, change) in changes.iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        let mut findings = judge(changed);
        findings.retain(|finding| finding.result != CheckResult::Well);
        assert!(!findings.is_empty(), "change {number} makes nothing wrong");
        text.push_str(&shown(&findings));
    }
    text
}

#[test]
fn redis_settings_are_judged_by_the_figures() {
    let changes: [fn(&mut RedisSettings); 10] = [
        |redis| redis.version = Some("6.0.16".to_owned()),
        |redis| {
            let limit = OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 };
            redis.pubsub_limit = Some(limit);
        },
        |redis| {
            let limit = OutputLimit { hard_bytes: 0, soft_bytes: 8 << 20, soft_s: 10 };
            redis.pubsub_limit = Some(limit);
        },
        |redis| redis.used_memory = Some(7_000_000_000),
        |redis| {
            redis.used_memory = Some(7_000_000_000);
            redis.total_system_memory = Some(8_500_000_000);
        },
        |redis| {
            redis.maxmemory = Some(0);
            redis.used_memory = Some(14_000_000_000);
        },
        |redis| redis.maxmemory_policy = Some("allkeys-lru".to_owned()),
        |redis| redis.tcp_backlog = Some(16),
        |redis| redis.timeout_s = Some(30),
        |redis| {
            redis.pubsub_limit = None;
            redis.unread.push(Unread {
                settings: "client-output-buffer-limit".to_owned(),
                reason: "CONFIG GET: NOPERM".to_owned(),
            });
        },
    ];
    let judge = |settings| judged("Redis 10.0.3.12:6379", ServerSettings::Redis(settings));
    insta::assert_snapshot!(judge_changes(&redis(), &changes, judge), @r"
    redis is well: Redis 10.0.3.12:6379 (7.2.4, client-output-buffer-limit pubsub 134MB or 34MB for 1m, 300MB of 8GB used, noeviction, tcp-backlog 511, timeout 0)
    redis version: Redis 10.0.3.12:6379 is 6.0.16
    - lcd uses commands of 6.2: what fails goes through the log
    > an upgrade to 6.2 or later
    redis pubsub limit: Redis 10.0.3.12:6379 client-output-buffer-limit pubsub 34MB or 8.4MB for 1m
    - at 1MB/s a node that stops for 33s is cut off; 35k viewers on it then wait until it has read again what it missed
    > redis-cli -h 10.0.3.12 -p 6379 CONFIG SET client-output-buffer-limit 'pubsub 128mb 32mb 60'
    redis pubsub limit: Redis 10.0.3.12:6379 client-output-buffer-limit pubsub without limit or 8.4MB for 10s
    - at 1MB/s a node that stops for 18s is cut off; 35k viewers on it then wait until it has read again what it missed
    > redis-cli -h 10.0.3.12 -p 6379 CONFIG SET client-output-buffer-limit 'pubsub 128mb 32mb 60'
    redis memory: Redis 10.0.3.12:6379 uses 7GB of 8GB
    - at maxmemory it refuses writes: 137k viewers are served through the log, and reactions wait
    > redis-cli -h 10.0.3.12 -p 6379 CONFIG SET maxmemory 12207mb
    redis memory: Redis 10.0.3.12:6379 uses 7GB of 8GB
    - at maxmemory it refuses writes: 137k viewers are served through the log, and reactions wait
    > more memory on its machine; then maxmemory at 80 % of it
    redis memory: Redis 10.0.3.12:6379 uses 14GB of 16GB
    - it has no maxmemory and grows until the kernel ends it: 137k viewers then get comments through the log
    > more memory on its machine; then maxmemory at 80 % of it
    redis eviction: Redis 10.0.3.12:6379 maxmemory-policy allkeys-lru
    - at maxmemory it drops what nodes keep on it: deleted comments may be shown again to viewers that reconnect, and a ban may miss some of 137k connections
    > redis-cli -h 10.0.3.12 -p 6379 CONFIG SET maxmemory-policy noeviction
    redis backlog: Redis 10.0.3.12:6379 tcp-backlog 16
    - 41 connections come back at once after a restart; 16 fit
    > tcp-backlog 64 in redis.conf, sysctl -w net.core.somaxconn=64, and a restart
    redis timeout: Redis 10.0.3.12:6379 timeout 30
    - a connection that is idle for 30s is closed; the next call on it fails
    > redis-cli -h 10.0.3.12 -p 6379 CONFIG SET timeout 0
    redis is not checked: Redis 10.0.3.12:6379 client-output-buffer-limit
    - CONFIG GET: NOPERM
    ");
}

#[test]
fn redis_without_a_limit_or_traffic_is_well() {
    let is_well = |change: fn(&mut RedisSettings), figures: NodeFigures| {
        let mut settings = redis();
        change(&mut settings);
        let settings = Ok(ServerSettings::Redis(settings));
        let findings = judge(&ReadServer { server: "Redis".to_owned(), settings }, &figures);
        findings.iter().all(|finding| finding.result == CheckResult::Well)
    };
    let small = |redis: &mut RedisSettings| {
        redis.pubsub_limit = Some(OutputLimit { hard_bytes: 1, soft_bytes: 1, soft_s: 1 });
    };
    assert!(is_well(small, NodeFigures::default()), "nothing is received");
    assert!(!is_well(small, figures()));
    let without_limits = |redis: &mut RedisSettings| {
        redis.pubsub_limit = Some(OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_s: 0 });
        redis.maxmemory = Some(0);
        redis.maxmemory_policy = Some("allkeys-lru".to_owned());
        redis.timeout_s = Some(60);
    };
    assert!(is_well(without_limits, figures()), "without a limit nothing is evicted");
    let silent = |redis: &mut RedisSettings| *redis = RedisSettings::default();
    assert!(is_well(silent, figures()), "what is not told is not judged");
}

#[test]
fn topics_are_judged_by_what_lcd_asks_for() {
    let changes: [fn(&mut KafkaSettings); 19] = [
        |kafka| kafka.topics[0].replicas = 2,
        |kafka| kafka.topics[0].replicas = 1,
        |kafka| {
            kafka.brokers = 1;
            kafka.topics[1].replicas = 1;
        },
        |kafka| kafka.topics[0].min_insync_replicas = Some(1),
        |kafka| kafka.topics[1].min_insync_replicas = Some(1),
        |kafka| {
            kafka.topics[1].replicas = 1;
            kafka.topics[1].min_insync_replicas = Some(1);
        },
        |kafka| {
            kafka.brokers = 2;
            kafka.topics[1].replicas = 2;
            kafka.topics[1].asked.replicas = 2;
        },
        |kafka| kafka.topics[0].min_insync_replicas = Some(3),
        |kafka| kafka.topics[0].min_insync_replicas = Some(4),
        |kafka| {
            kafka.topics[0].replicas = 2;
            kafka.topics[0].asked.replicas = 2;
        },
        |kafka| kafka.topics[0].retention_ms = Some(DAY_MS as i64),
        |kafka| kafka.topics[1].retention_ms = Some(DAY_MS as i64),
        |kafka| kafka.topics[0].retention_bytes = Some(1_000_000_000),
        |kafka| kafka.topics[0].cleanup_policy = Some("compact,delete".to_owned()),
        |kafka| kafka.topics[1].cleanup_policy = Some("compact".to_owned()),
        |kafka| kafka.topics[0].message_timestamp_type = Some("LogAppendTime".to_owned()),
        |kafka| kafka.topics[0].max_message_bytes = Some(1_048_588),
        |kafka| kafka.topics[0].partitions = 12,
        |kafka| {
            kafka.unread.push(Unread {
                settings: "the settings of topics".to_owned(),
                reason: "Topic authorization failed".to_owned(),
            });
        },
    ];
    let judge = |settings| judged("Kafka 10.0.1.1:9092", ServerSettings::Kafka(settings));
    insta::assert_snapshot!(judge_changes(&kafka(), &changes, judge), @r"
    kafka is well: Kafka 10.0.1.1:9092 (3 brokers, lc.comment_events 100 × 3 for 7d, lc.dead_letters 1 × 3 for 7d)
    kafka replicas: Kafka lc.comment_events has 2 replicas
    - lcd asks for 3: a broker less may be away
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.comment_events
    kafka replicas: Kafka lc.comment_events has 1 replica
    - while one of 3 brokers is away, about 34 of 100 partitions accept no record, and about 46k of 137k viewers see no new comment; its disk has the only copy of them
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.comment_events
    kafka in-sync replicas: Kafka lc.comment_events min.insync.replicas 2
    - it has 1 replica: brokers before Kafka 4 accept no record
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.comment_events
    kafka replicas: Kafka lc.dead_letters has 1 replica
    - the only broker has the only copy: no record is accepted while it is away, and all are lost with its disk
    > more brokers; then kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.dead_letters
    kafka in-sync replicas: Kafka lc.dead_letters min.insync.replicas 2
    - it has 1 replica: brokers before Kafka 4 accept no record
    > more brokers; then kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.dead_letters
    kafka in-sync replicas: Kafka lc.comment_events min.insync.replicas 1
    - lcd asks for 2: an acknowledged comment may be on 1 broker only, and is lost with its disk
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config min.insync.replicas=2
    kafka in-sync replicas: Kafka lc.dead_letters min.insync.replicas 1
    - lcd asks for 2: an acknowledged record may be on 1 broker only, and is lost with its disk
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.dead_letters --add-config min.insync.replicas=2
    kafka replicas: Kafka lc.dead_letters has 1 replica
    - while one of 3 brokers is away, about 1 of 1 partitions accept no record; its disk has the only copy of them
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.dead_letters
    kafka in-sync replicas: Kafka lc.dead_letters min.insync.replicas 1
    - lcd asks for 2: an acknowledged record may be on 1 broker only, and is lost with its disk
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.dead_letters; then kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.dead_letters --add-config min.insync.replicas=2
    kafka in-sync replicas: Kafka lc.dead_letters min.insync.replicas 2
    - every replica must be in sync: while a broker is away, about 1 of 1 partitions accept no record
    > more brokers; then kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.dead_letters
    kafka in-sync replicas: Kafka lc.comment_events min.insync.replicas 3
    - every replica must be in sync: while a broker is away, about 100 of 100 partitions accept no record
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config min.insync.replicas=2
    kafka in-sync replicas: Kafka lc.comment_events min.insync.replicas 4
    - it has 3 replicas: brokers before Kafka 4 accept no record
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config min.insync.replicas=2
    kafka in-sync replicas: Kafka lc.comment_events min.insync.replicas 2
    - every replica must be in sync: while a broker is away, about 67 of 100 partitions accept no record
    > kafka-reassign-partitions.sh --bootstrap-server 10.0.1.1:9092 --execute, with 3 replicas for each partition of lc.comment_events
    kafka retention: Kafka lc.comment_events retention.ms 1d
    - lcd asks for 7d: an archiver that is down for 1d loses nothing, after that it loses 620 comments/s
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config retention.ms=604800000
    kafka retention: Kafka lc.dead_letters retention.ms 1d
    - lcd asks for 7d: records are gone after 1d
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.dead_letters --add-config retention.ms=604800000
    kafka retention: Kafka lc.comment_events retention.bytes 1GB
    - a partition of that size drops its oldest records, however young they are
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config retention.bytes=-1
    kafka cleanup: Kafka lc.comment_events cleanup.policy compact,delete
    - only the latest comment of a stream is kept: readers that come later miss the others
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config cleanup.policy=delete
    kafka cleanup: Kafka lc.dead_letters cleanup.policy compact
    - only the latest record of a key is kept: readers that come later miss the others
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.dead_letters --add-config cleanup.policy=delete
    kafka timestamps: Kafka lc.comment_events message.timestamp.type LogAppendTime
    - records have the time of a broker instead of that of their node: brokers whose clocks differ by a minute let a comment that was sent twice appear twice
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config message.timestamp.type=CreateTime
    kafka record size: Kafka lc.comment_events max.message.bytes 1MB
    - larger records are refused, and those of lcd have up to 1.1MB
    > kafka-configs.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --add-config max.message.bytes=2097152
    kafka partitions: Kafka lc.comment_events has 12 partitions
    - lcd asks for 100: at most 12 nodes of a role share its work
    > kafka-topics.sh --bootstrap-server 10.0.1.1:9092 --alter --topic lc.comment_events --partitions 100 (every viewer reconnects)
    kafka is not checked: Kafka 10.0.1.1:9092 the settings of topics
    - Topic authorization failed
    ");
}

#[test]
fn a_topic_that_keeps_more_than_asked_is_well() {
    let mut settings = kafka();
    settings.topics[0].retention_ms = Some(-1);
    settings.topics[0].partitions = 200;
    settings.topics[1] = TopicSettings {
        min_insync_replicas: None,
        retention_ms: None,
        retention_bytes: None,
        cleanup_policy: None,
        message_timestamp_type: None,
        max_message_bytes: None,
        ..settings.topics[1].clone()
    };
    let findings = judged("Kafka 10.0.1.1:9092", ServerSettings::Kafka(settings));
    insta::assert_snapshot!(shown(&findings), @r"
    kafka is well: Kafka 10.0.1.1:9092 (3 brokers, lc.comment_events 200 × 3 forever, lc.dead_letters 1 × 3)
    ");
    let mut single = kafka();
    single.brokers = 1;
    for topic in &mut single.topics {
        topic.replicas = 1;
        topic.min_insync_replicas = Some(1);
        topic.asked = AskedTopic { replicas: 1, min_insync_replicas: 1, ..topic.asked };
    }
    let findings = judged("Kafka 10.0.1.1:9092", ServerSettings::Kafka(single));
    assert!(findings.iter().all(|finding| finding.result == CheckResult::Well), "{findings:?}");
}

#[test]
fn the_keyspace_is_judged_by_local_quorum() {
    let changes: [fn(&mut CassandraSettings); 11] = [
        |cassandra| {
            cassandra.strategy = "SimpleStrategy".to_owned();
            cassandra.datacenters = 2;
        },
        |cassandra| {
            cassandra.strategy = "SimpleStrategy".to_owned();
            cassandra.datacenters = 2;
            cassandra.datacenter = None;
        },
        |cassandra| cassandra.copies = Some(0),
        |cassandra| cassandra.copies = Some(1),
        |cassandra| cassandra.copies = Some(2),
        |cassandra| cassandra.servers = 1,
        |cassandra| cassandra.asked.copies = 5,
        |cassandra| cassandra.schema_agrees = Some(false),
        |cassandra| {
            let comments = cassandra.comments.as_mut().unwrap();
            comments.compaction = "SizeTieredCompactionStrategy".to_owned();
        },
        |cassandra| cassandra.comments.as_mut().unwrap().gc_grace_s = 600,
        |cassandra| {
            cassandra.schema_agrees = None;
            cassandra.unread.push(Unread {
                settings: "schema agreement".to_owned(),
                reason: "timeout".to_owned(),
            });
        },
    ];
    let judge = |settings| judged("Cassandra 10.0.4.2:9042", ServerSettings::Cassandra(settings));
    insta::assert_snapshot!(judge_changes(&cassandra(), &changes, judge), @r#"
    cassandra is well: Cassandra 10.0.4.2:9042 (live_comments on 6 servers in dc1, NetworkTopologyStrategy, LOCAL_QUORUM 2 of 3, one schema, TimeWindowCompactionStrategy, gc_grace_seconds 10d)
    cassandra replication: Cassandra live_comments SimpleStrategy
    - copies are in any of 2 data centres: where dc1 has too few, LOCAL_QUORUM is not reached, nothing is archived, and 620 comments/s wait in the log
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3, …}; then nodetool repair --full live_comments
    cassandra replication: Cassandra live_comments SimpleStrategy
    - copies are in any of 2 data centres: where the cluster has too few, LOCAL_QUORUM is not reached, nothing is archived, and 620 comments/s wait in the log
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', '…': 3, …}; then nodetool repair --full live_comments
    cassandra replication: Cassandra live_comments replication factor 0 in dc1
    - LOCAL_QUORUM is never reached on 6 servers in dc1: nothing is archived, and 620 comments/s wait in the log
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}; then nodetool repair --full live_comments
    cassandra replication: Cassandra live_comments replication factor 1 in dc1
    - LOCAL_QUORUM is 1 of 1: while one of 6 servers is away, the archiver waits, and 620 comments/s wait in the log
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}; then nodetool repair --full live_comments
    cassandra replication: Cassandra live_comments replication factor 2 in dc1
    - LOCAL_QUORUM is 2 of 2: while one of 6 servers is away, the archiver waits, and 620 comments/s wait in the log
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}; then nodetool repair --full live_comments
    cassandra replication: Cassandra live_comments replication factor 3 in dc1
    - LOCAL_QUORUM is never reached on 1 server in dc1: nothing is archived, and 620 comments/s wait in the log
    > more servers in dc1
    cassandra replication: Cassandra live_comments replication factor 3 in dc1
    - lcd asks for 5: one server less may be lost
    > in cqlsh: ALTER KEYSPACE "live_comments" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 5}; then nodetool repair --full live_comments
    cassandra schema: Cassandra live_comments servers have different schemas
    - calls that need the newer tables fail on the servers that lack them
    > nodetool describecluster names the servers; restart those that differ
    cassandra compaction: Cassandra live_comments comments has SizeTieredCompactionStrategy
    - comments expire after 7d, and their files are merged again and again instead of being dropped whole: the disk holds expired ones as well
    > in cqlsh: ALTER TABLE "live_comments".comments WITH compaction = {'class': 'TimeWindowCompactionStrategy'}
    cassandra hints: Cassandra live_comments comments gc_grace_seconds 10m
    - a server that was away for longer than 10m does not get what it missed: viewers do not see it on pages of history from there until a repair
    > in cqlsh: ALTER TABLE "live_comments".comments WITH gc_grace_seconds = 864000
    cassandra is not checked: Cassandra 10.0.4.2:9042 schema agreement
    - timeout
    "#);
}

#[test]
fn a_single_server_with_one_copy_is_well() {
    let settings = CassandraSettings {
        strategy: "SimpleStrategy".to_owned(),
        copies: Some(1),
        servers: 1,
        comments: Some(CommentsTable { compaction: "Any".to_owned(), gc_grace_s: 0 }),
        asked: AskedKeyspace { copies: 1, retention_s: 0, compaction: None },
        ..cassandra()
    };
    let findings = judged("Cassandra 10.0.4.2:9042", ServerSettings::Cassandra(settings));
    assert!(findings.iter().all(|finding| finding.result == CheckResult::Well), "{findings:?}");
}

#[test]
fn connections_are_judged_by_the_pools_of_all_nodes() {
    let changes: [fn(&mut PostgresSettings); 5] = [
        |postgres| postgres.max_connections = 98,
        |postgres| postgres.max_connections = 10,
        |postgres| postgres.user_limit = Some(50),
        |postgres| postgres.synchronous_commit = "local".to_owned(),
        |postgres| postgres.fsync = false,
    ];
    let judge = |settings| judged("PostgreSQL 10.0.5.1:5432", ServerSettings::Postgres(settings));
    insta::assert_snapshot!(judge_changes(&postgres(), &changes, judge), @r"
    postgresql is well: PostgreSQL 10.0.5.1:5432 (17.4, 41 of 200 connections, synchronous_commit on, fsync on)
    postgresql connections: PostgreSQL 10.0.5.1:5432 max_connections 98
    - 12 nodes with postgres.max_connections = 8 open up to 96, and 95 are for them: bans, history and the review queue then fail on some nodes
    > in psql: ALTER SYSTEM SET max_connections = 99; then a restart, or postgres.max_connections = 7
    postgresql connections: PostgreSQL 10.0.5.1:5432 max_connections 10
    - 12 nodes with postgres.max_connections = 8 open up to 96, and 7 are for them: bans, history and the review queue then fail on some nodes
    > in psql: ALTER SYSTEM SET max_connections = 99; then a restart
    postgresql connections: PostgreSQL 10.0.5.1:5432 CONNECTION LIMIT 50
    - 12 nodes with postgres.max_connections = 8 open up to 96, and 50 are for them: bans, history and the review queue then fail on some nodes
    > in psql: ALTER ROLE or ALTER DATABASE … CONNECTION LIMIT 96, or postgres.max_connections = 4
    postgresql commits: PostgreSQL 10.0.5.1:5432 synchronous_commit local
    - commits do not wait for the standby s1: a fail-over loses the latest bans and deletions
    > in psql: ALTER SYSTEM SET synchronous_commit = on; SELECT pg_reload_conf()
    postgresql fsync: PostgreSQL 10.0.5.1:5432 fsync off
    - a power failure may damage the database: streams, bans and the audit log
    > in psql: ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()
    ");
    let fitting = PostgresSettings {
        max_connections: 99,
        user_limit: Some(96),
        synchronous_commit: "local".to_owned(),
        synchronous_standby_names: String::new(),
        ..postgres()
    };
    let findings = judge(fitting);
    assert!(findings.iter().all(|finding| finding.result == CheckResult::Well), "{findings:?}");
}

#[test]
fn a_server_that_does_not_answer_is_not_checked() {
    let settings = Err("no answer within 2 s".to_owned());
    let read = ReadServer { server: "Redis 10.0.3.12:6379".to_owned(), settings };
    let findings = judge(&read, &figures());
    insta::assert_snapshot!(shown(&findings), @r"
    server is not checked: Redis 10.0.3.12:6379
    - no answer within 2 s
    ");
}
