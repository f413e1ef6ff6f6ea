-- Users whose new comments only they see, on one stream or, with -1, on all. At most one of each;
-- what was before is in the audit log.
CREATE TABLE shadows (
    user_id    BIGINT NOT NULL,
    stream_id  BIGINT NOT NULL,
    name       TEXT,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (user_id, stream_id)
);
