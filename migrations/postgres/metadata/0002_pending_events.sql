-- Events that a change decided on and that the log does not have yet, such as the deletion of a
-- comment. They are stored in the transaction of the audit entry with this number.
CREATE TABLE pending_events (
    number     BIGINT PRIMARY KEY,
    stream_id  BIGINT NOT NULL,
    payload    BYTEA  NOT NULL,
    -- When a node last tried to append it, in milliseconds since the Unix epoch.
    claimed_at BIGINT NOT NULL
);
