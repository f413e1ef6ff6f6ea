-- A ban or timeout holds on one stream or, with -1, on all, as those from before do. At most one of
-- a kind for each user and stream; what was before is in the audit log.
CREATE TABLE scoped_sanctions (
    user_id    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    stream_id  INTEGER NOT NULL,
    name       TEXT,
    reason     TEXT,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (user_id, kind, stream_id)
) WITHOUT ROWID;

INSERT INTO scoped_sanctions
    SELECT user_id, kind, -1, name, reason, created_by, created_at, expires_at FROM sanctions;

DROP TABLE sanctions;

ALTER TABLE scoped_sanctions RENAME TO sanctions;
