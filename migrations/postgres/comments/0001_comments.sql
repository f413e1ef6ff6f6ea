-- Every accepted comment. `sort_key` is the comment id with its time in front: bytes that compare as
-- creation times do. Both tables are cut into one partition a day (UTC) by it, named
-- `comments_YYYYMMDD` and `tombstones_YYYYMMDD`, which the daemon makes ahead and on demand; what
-- is past the retention goes by dropping whole days. There is no default partition: it would have to
-- be searched under a lock whenever a day is added.
--
-- The primary key is the order in which pages are read: the days of a page newest first, and in each
-- of them one range of the key. Neither table has a second index on the comment id: its time says
-- which day it is in, and there one seek a stream finds it.
CREATE TABLE comments (
    stream_id  BIGINT  NOT NULL,
    user_id    BIGINT  NOT NULL,
    -- Milliseconds since the Unix epoch.
    created_at BIGINT  NOT NULL,
    seq        BIGINT  NOT NULL,
    shadow     BOOLEAN NOT NULL,
    sort_key   BYTEA   NOT NULL,
    name       TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    PRIMARY KEY (stream_id, sort_key)
) PARTITION BY RANGE (sort_key);

-- What must not be shown. Apart from the comments, because a deletion may come before its comment
-- and must not depend on it.
CREATE TABLE tombstones (
    stream_id  BIGINT NOT NULL,
    deleted_at BIGINT NOT NULL,
    sort_key   BYTEA  NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (stream_id, sort_key)
) PARTITION BY RANGE (sort_key);

CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
