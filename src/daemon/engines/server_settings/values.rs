//! The values that servers tell. A field is `None` if the server did not tell it.

/// The settings of one server or cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerSettings {
    Redis(RedisSettings),
    Kafka(KafkaSettings),
    Cassandra(CassandraSettings),
    Postgres(PostgresSettings),
}

/// Settings that the server did not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Their names, as the server writes them.
    pub settings: String,
    pub reason: String,
}

/// One Redis node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RedisSettings {
    /// Host and port.
    pub address: String,
    pub version: Option<String>,
    /// Bytes in use.
    pub used_memory: Option<u64>,
    /// Bytes of the machine.
    pub total_system_memory: Option<u64>,
    /// Bytes; 0 means no limit.
    pub maxmemory: Option<u64>,
    /// How keys are evicted at that limit, such as `noeviction`.
    pub maxmemory_policy: Option<String>,
    pub connected_clients: Option<u64>,
    /// `client-output-buffer-limit` of subscribers.
    pub pubsub_limit: Option<OutputLimit>,
    pub tcp_backlog: Option<u64>,
    /// Seconds after which an idle connection is closed; 0 means never.
    pub timeout_s: Option<u64>,
    pub unread: Vec<Unread>,
}

/// The output that may wait for a client before it is cut off. A 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    /// It is cut off at once at this many bytes.
    pub hard_bytes: u64,
    /// It is cut off if more than this many bytes wait for `soft_s`.
    pub soft_bytes: u64,
    pub soft_s: u64,
}

/// A Kafka cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct KafkaSettings {
    /// The first of `kafka.brokers`, for commands.
    pub bootstrap: String,
    pub brokers: u32,
    pub topics: Vec<TopicSettings>,
    pub unread: Vec<Unread>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// The name without `kafka.prefix`.
    pub topic: &'static str,
    /// The name on the cluster.
    pub name: String,
    pub partitions: u32,
    /// The replicas of the partition that has the fewest.
    pub replicas: u32,
    pub min_insync_replicas: Option<u32>,
    /// -1 means forever.
    pub retention_ms: Option<i64>,
    /// Per partition; -1 means no limit.
    pub retention_bytes: Option<i64>,
    pub cleanup_policy: Option<String>,
    pub message_timestamp_type: Option<String>,
    pub max_message_bytes: Option<u64>,
    pub asked: AskedTopic,
}

/// The settings with which lcd creates a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedTopic {
    pub partitions: u32,
    pub replicas: u32,
    pub min_insync_replicas: u32,
    pub retention_ms: u64,
    pub max_message_bytes: u64,
    /// The largest record that lcd writes.
    pub largest_record_bytes: u64,
}

/// The keyspace of the comments on Cassandra or ScyllaDB.
#[derive(Debug, Clone, PartialEq)]
pub struct CassandraSettings {
    pub keyspace: String,
    /// The replication strategy, without its package.
    pub strategy: String,
    /// The data centre that is queried, if it is known.
    pub datacenter: Option<String>,
    /// The copies of each row in that data centre; with `SimpleStrategy`, in all of them.
    pub copies: Option<u32>,
    /// Servers in that data centre.
    pub servers: u32,
    pub datacenters: u32,
    /// Whether all servers that answer have the same schema.
    pub schema_agrees: Option<bool>,
    /// Settings of the table `comments`.
    pub comments: Option<CommentsTable>,
    pub asked: AskedKeyspace,
    pub unread: Vec<Unread>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentsTable {
    /// The compaction strategy, without its package.
    pub compaction: String,
    pub gc_grace_s: u64,
}

/// The settings with which lcd creates the keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedKeyspace {
    pub copies: u32,
    /// 0 means forever.
    pub retention_s: u64,
    /// The compaction of the tables in CQL; `None` if comments are kept forever.
    pub compaction: Option<String>,
}

/// A PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    pub version: String,
    pub max_connections: u64,
    /// Of these, the ones kept for superusers and others with a privilege.
    pub reserved_connections: u64,
    /// The limit of the role or of the database, if they have one.
    pub user_limit: Option<u64>,
    /// Connections to the server now.
    pub connections: u64,
    /// `postgres.max_connections` of this node.
    pub pool: u64,
    pub synchronous_commit: String,
    pub synchronous_standby_names: String,
    pub fsync: bool,
}
