CREATE TABLE streams (
    stream_id         INTEGER PRIMARY KEY,
    title             TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    anonymous         INTEGER NOT NULL,
    moderation        TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    ended_at          INTEGER,
    -- A share of 0.0 to 1.0 that an operator fixed; NULL while the throttle decides.
    throttle_override REAL
);

CREATE TABLE users (
    user_id INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL,
    seen_at INTEGER NOT NULL
);

CREATE INDEX users_by_name ON users (name, seen_at DESC);

-- At most one of a kind for each user; what was before is in the audit log.
CREATE TABLE sanctions (
    user_id    INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    name       TEXT,
    reason     TEXT,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (user_id, kind)
) WITHOUT ROWID;

-- Decided items stay: a repeated request to queue one must not bring it back.
CREATE TABLE reviews (
    sort_key   BLOB    NOT NULL PRIMARY KEY,
    stream_id  INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,
    name       TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    flagged_at INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    decision   TEXT,
    decided_at INTEGER,
    decided_by TEXT
) WITHOUT ROWID;

CREATE INDEX reviews_waiting ON reviews (flagged_at, sort_key) WHERE decision IS NULL;

-- AUTOINCREMENT: the number of an entry is never given again.
CREATE TABLE audit (
    audit_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    detail   TEXT    NOT NULL
);
