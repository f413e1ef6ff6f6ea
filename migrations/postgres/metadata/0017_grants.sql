-- Roles of users on single streams, which operators gave them. At most one of each; what was before
-- is in the audit log.
CREATE TABLE grants (
    user_id    BIGINT NOT NULL,
    stream_id  BIGINT NOT NULL,
    role       TEXT NOT NULL,
    name       TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, stream_id)
);
