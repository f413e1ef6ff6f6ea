//! The prepared statements. All are idempotent, so the driver may resend one to another server;
//! none is ever sent to two servers at once.

use scylla::client::session::Session;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

use super::unavailable;
use crate::daemon::engines::StoreError;

#[derive(Debug)]
pub(super) struct Statements {
    pub(super) insert_comment: PreparedStatement,
    pub(super) mark_deleted: PreparedStatement,
    pub(super) put_deleted_place: PreparedStatement,
    pub(super) put_hidden_place: PreparedStatement,
    pub(super) put_restored_place: PreparedStatement,
    pub(super) insert_hidden_author: PreparedStatement,
    pub(super) hidden_authors: PreparedStatement,
    pub(super) insert_tombstone: PreparedStatement,
    pub(super) insert_slot: PreparedStatement,
    pub(super) insert_period: PreparedStatement,
    pub(super) insert_bucket: PreparedStatement,
    pub(super) insert_bucket_stream: PreparedStatement,
    pub(super) insert_order: PreparedStatement,
    pub(super) insert_order_part: PreparedStatement,
    pub(super) insert_reply: PreparedStatement,
    pub(super) insert_reply_part: PreparedStatement,
    pub(super) replies: PreparedStatement,
    pub(super) reply_parts: PreparedStatement,
    pub(super) insert_log: PreparedStatement,
    pub(super) insert_position: PreparedStatement,
    pub(super) insert_newest: PreparedStatement,
    pub(super) logs: PreparedStatement,
    pub(super) positions: PreparedStatement,
    pub(super) archived_logs: PreparedStatement,
    pub(super) order: PreparedStatement,
    pub(super) order_parts: PreparedStatement,
    pub(super) comments: PreparedStatement,
    pub(super) periods: PreparedStatement,
    pub(super) buckets: PreparedStatement,
    pub(super) bucket_streams: PreparedStatement,
    pub(super) page: PreparedStatement,
    pub(super) periods_since: PreparedStatement,
    pub(super) buckets_since: PreparedStatement,
    pub(super) comments_since: PreparedStatement,
    pub(super) comment: PreparedStatement,
    pub(super) written_comment: PreparedStatement,
    pub(super) slots: PreparedStatement,
    pub(super) tombstones: PreparedStatement,
    pub(super) first_deletions: PreparedStatement,
    pub(super) ping: PreparedStatement,
}

const INSERT_COMMENT: &str = "INSERT INTO {}.comments
    (stream_id, bucket, comment_id, user_id, name, message, created_at, seq, shadow, log,
        badges, parent_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
/// Writes columns that no insert writes, so both orders of insert and deletion give the same row.
const MARK_DELETED: &str = "UPDATE {}.comments USING TIMESTAMP ? AND TTL ?
    SET is_deleted = true, delete_reason = ?, deleted_at = ?
    WHERE stream_id = ? AND bucket = ? AND comment_id = ?";
/// The time of the write is the place: no clock decides which deletion or restoration is the last.
const PUT_DELETED_PLACE: &str = "UPDATE {}.comments USING TIMESTAMP ? AND TTL ?
    SET deleted_place = ? WHERE stream_id = ? AND bucket = ? AND comment_id = ?";
const PUT_HIDDEN_PLACE: &str = "UPDATE {}.comments USING TIMESTAMP ? AND TTL ?
    SET hidden_place = ? WHERE stream_id = ? AND bucket = ? AND comment_id = ?";
const PUT_RESTORED_PLACE: &str = "UPDATE {}.comments USING TIMESTAMP ? AND TTL ?
    SET restored_place = ? WHERE stream_id = ? AND bucket = ? AND comment_id = ?";
const INSERT_HIDDEN_AUTHOR: &str =
    "INSERT INTO {}.hidden_authors (stream_id, user_id) VALUES (?, ?)";
const HIDDEN_AUTHORS: &str = "SELECT user_id FROM {}.hidden_authors WHERE stream_id = ?";
const INSERT_TOMBSTONE: &str = "INSERT INTO {}.tombstones
    (slot, deleted_at, stream_id, comment_id, reason) VALUES (?, ?, ?, ?, ?) USING TTL ?";
const INSERT_SLOT: &str = "INSERT INTO {}.tombstone_slots (part, slot) VALUES (0, ?) USING TTL ?";
const INSERT_PERIOD: &str =
    "INSERT INTO {}.stream_periods (stream_id, period) VALUES (?, ?) USING TTL ?";
const INSERT_BUCKET: &str =
    "INSERT INTO {}.stream_buckets (stream_id, period, bucket) VALUES (?, ?, ?) USING TTL ?";
const INSERT_BUCKET_STREAM: &str =
    "INSERT INTO {}.bucket_streams (bucket, stream_id) VALUES (?, ?) USING TTL ?";
const INSERT_ORDER: &str =
    "INSERT INTO {}.stream_order (stream_id, log, part, seq, comment_id) VALUES (?, ?, ?, ?, ?)
    USING TTL ?";
/// The time of the write grows with the time to live, so that the longest one wins.
const INSERT_ORDER_PART: &str =
    "INSERT INTO {}.stream_order_parts (stream_id, log, part) VALUES (?, ?, ?)
    USING TIMESTAMP ? AND TTL ?";
const INSERT_REPLY: &str = "INSERT INTO {}.comment_replies
    (stream_id, parent_id, log, part, seq, comment_id) VALUES (?, ?, ?, ?, ?, ?) USING TTL ?";
const INSERT_REPLY_PART: &str =
    "INSERT INTO {}.comment_reply_parts (stream_id, parent_id, log, part) VALUES (?, ?, ?, ?)
    USING TIMESTAMP ? AND TTL ?";
const REPLIES: &str = "SELECT seq, comment_id FROM {}.comment_replies
    WHERE stream_id = ? AND parent_id = ? AND log = ? AND part = ? AND seq < ?";
const REPLY_PARTS: &str = "SELECT log, part FROM {}.comment_reply_parts
    WHERE stream_id = ? AND parent_id = ? AND (log, part) <= (?, ?)";
const INSERT_LOG: &str = "INSERT INTO {}.logs (part, epoch, log) VALUES (0, ?, ?) IF NOT EXISTS";
/// The time of the write is the offset: no clock decides which position is the last.
const INSERT_POSITION: &str =
    "INSERT INTO {}.archive_positions (epoch, log_partition, rewinds, next_offset)
    VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const INSERT_NEWEST: &str =
    "INSERT INTO {}.archive_positions (epoch, log_partition, rewinds, stream_id, comment_id)
    VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
const LOGS: &str = "SELECT epoch, log FROM {}.logs WHERE part = 0";
const POSITIONS: &str = "SELECT log_partition, rewinds, next_offset, stream_id, comment_id
    FROM {}.archive_positions WHERE epoch = ?";
const ARCHIVED_LOGS: &str = "SELECT DISTINCT epoch FROM {}.archive_positions";
const ORDER: &str = "SELECT seq, comment_id FROM {}.stream_order
    WHERE stream_id = ? AND log = ? AND part = ? AND seq < ?";
const ORDER_PARTS: &str = "SELECT log, part FROM {}.stream_order_parts
    WHERE stream_id = ? AND (log, part) <= (?, ?)";
const COMMENTS: &str =
    "SELECT comment_id, user_id, name, message, created_at, seq, shadow, log, is_deleted,
        deleted_place, restored_place, hidden_place, badges, parent_id
    FROM {}.comments WHERE stream_id = ? AND bucket = ? AND comment_id IN ?";
const PERIODS: &str =
    "SELECT period FROM {}.stream_periods WHERE stream_id = ? AND period <= ? AND period >= ?";
const BUCKETS: &str = "SELECT bucket FROM {}.stream_buckets
    WHERE stream_id = ? AND period = ? AND bucket <= ? AND bucket >= ?";
const BUCKET_STREAMS: &str = "SELECT stream_id FROM {}.bucket_streams WHERE bucket = ?";
const PAGE: &str =
    "SELECT comment_id, user_id, name, message, created_at, seq, shadow, log, is_deleted,
        deleted_place, restored_place, hidden_place, badges, parent_id
    FROM {}.comments WHERE stream_id = ? AND bucket = ? AND comment_id <= ? AND comment_id >= ?";
const PERIODS_SINCE: &str = "SELECT period FROM {}.stream_periods
    WHERE stream_id = ? AND period <= ? AND period >= ? ORDER BY period ASC";
const BUCKETS_SINCE: &str = "SELECT bucket FROM {}.stream_buckets
    WHERE stream_id = ? AND period = ? AND bucket <= ? AND bucket >= ? ORDER BY bucket ASC";
const COMMENTS_SINCE: &str =
    "SELECT comment_id, user_id, name, message, created_at, seq, shadow, log, is_deleted,
        deleted_place, restored_place, hidden_place, badges, parent_id
    FROM {}.comments WHERE stream_id = ? AND bucket = ? AND comment_id >= ?
    ORDER BY comment_id ASC";
const COMMENT: &str =
    "SELECT comment_id, user_id, name, message, created_at, seq, shadow, log, is_deleted,
        deleted_place, restored_place, hidden_place, badges, parent_id
    FROM {}.comments WHERE stream_id = ? AND bucket = ? AND comment_id = ?";
const SLOTS: &str = "SELECT slot FROM {}.tombstone_slots WHERE part = 0 AND slot >= ?";
const TOMBSTONES: &str = "SELECT deleted_at, stream_id, comment_id, reason FROM {}.tombstones
    WHERE slot = ? AND deleted_at >= ?";
const FIRST_DELETIONS: &str =
    "SELECT comment_id, deleted_at, is_deleted, deleted_place, restored_place, hidden_place
    FROM {}.comments WHERE stream_id = ? AND bucket = ? AND comment_id IN ?";
/// A write that changes nothing: whether writes are accepted shows only in a write.
const PING: &str = "INSERT INTO {}.schema_versions (version) VALUES (?)";

impl Statements {
    /// Reads wait for one replica, writes for a quorum in the data centre.
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self, StoreError> {
        use Consistency::{LocalOne, LocalQuorum};
        let prepare = |cql, consistency| prepare(session, keyspace, cql, consistency);
        Ok(Self {
            insert_comment: prepare(INSERT_COMMENT, LocalQuorum).await?,
            mark_deleted: prepare(MARK_DELETED, LocalQuorum).await?,
            put_deleted_place: prepare(PUT_DELETED_PLACE, LocalQuorum).await?,
            put_hidden_place: prepare(PUT_HIDDEN_PLACE, LocalQuorum).await?,
            put_restored_place: prepare(PUT_RESTORED_PLACE, LocalQuorum).await?,
            insert_hidden_author: prepare(INSERT_HIDDEN_AUTHOR, LocalQuorum).await?,
            hidden_authors: prepare(HIDDEN_AUTHORS, LocalOne).await?,
            insert_tombstone: prepare(INSERT_TOMBSTONE, LocalQuorum).await?,
            insert_slot: prepare(INSERT_SLOT, LocalQuorum).await?,
            insert_period: prepare(INSERT_PERIOD, LocalQuorum).await?,
            insert_bucket: prepare(INSERT_BUCKET, LocalQuorum).await?,
            insert_bucket_stream: prepare(INSERT_BUCKET_STREAM, LocalQuorum).await?,
            insert_order: prepare(INSERT_ORDER, LocalQuorum).await?,
            insert_order_part: prepare(INSERT_ORDER_PART, LocalQuorum).await?,
            insert_reply: prepare(INSERT_REPLY, LocalQuorum).await?,
            insert_reply_part: prepare(INSERT_REPLY_PART, LocalQuorum).await?,
            replies: prepare(REPLIES, LocalOne).await?,
            reply_parts: prepare(REPLY_PARTS, LocalOne).await?,
            insert_log: prepare(INSERT_LOG, LocalQuorum).await?,
            insert_position: prepare(INSERT_POSITION, LocalQuorum).await?,
            insert_newest: prepare(INSERT_NEWEST, LocalQuorum).await?,
            // A position that is read too low is taken for a loss.
            logs: prepare(LOGS, LocalQuorum).await?,
            positions: prepare(POSITIONS, LocalQuorum).await?,
            archived_logs: prepare(ARCHIVED_LOGS, LocalQuorum).await?,
            written_comment: prepare(COMMENT, LocalQuorum).await?,
            order: prepare(ORDER, LocalOne).await?,
            order_parts: prepare(ORDER_PARTS, LocalOne).await?,
            comments: prepare(COMMENTS, LocalOne).await?,
            periods: prepare(PERIODS, LocalOne).await?,
            buckets: prepare(BUCKETS, LocalOne).await?,
            bucket_streams: prepare(BUCKET_STREAMS, LocalOne).await?,
            page: prepare(PAGE, LocalOne).await?,
            periods_since: prepare(PERIODS_SINCE, LocalOne).await?,
            buckets_since: prepare(BUCKETS_SINCE, LocalOne).await?,
            comments_since: prepare(COMMENTS_SINCE, LocalOne).await?,
            comment: prepare(COMMENT, LocalOne).await?,
            slots: prepare(SLOTS, LocalOne).await?,
            tombstones: prepare(TOMBSTONES, LocalOne).await?,
            first_deletions: prepare(FIRST_DELETIONS, LocalOne).await?,
            ping: prepare(PING, LocalQuorum).await?,
        })
    }
}

async fn prepare(
    session: &Session,
    keyspace: &str,
    cql: &str,
    consistency: Consistency,
) -> Result<PreparedStatement, StoreError> {
    let cql = cql.replace("{}", &format!("\"{keyspace}\""));
    let mut statement = session.prepare(cql).await.map_err(|error| {
        unavailable(format!("the keyspace {keyspace} (`cassandra.keyspace`): {error}"))
    })?;
    statement.set_consistency(consistency);
    statement.set_is_idempotent(true);
    Ok(statement)
}
