-- Every accepted comment. `sort_key` is the comment id with its time in front, so the primary key is
-- the order in which pages are read, and a busy stream appends at the end of its part of the tree.
-- Neither table has a second index on the comment id: it would cost every write, and looking one
-- comment up by id (an operator's delete) can afford one seek per stream instead.
CREATE TABLE comments (
    stream_id  INTEGER NOT NULL,
    sort_key   BLOB    NOT NULL,
    user_id    INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    shadow     INTEGER NOT NULL,
    PRIMARY KEY (stream_id, sort_key)
) WITHOUT ROWID;

-- What must not be shown. Apart from the comments, because a deletion may come before its comment
-- and must not depend on it.
CREATE TABLE tombstones (
    stream_id  INTEGER NOT NULL,
    sort_key   BLOB    NOT NULL,
    reason     TEXT    NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (stream_id, sort_key)
) WITHOUT ROWID;

CREATE INDEX tombstones_by_time ON tombstones (deleted_at);
