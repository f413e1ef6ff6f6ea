-- Times are milliseconds since the Unix epoch throughout.
CREATE TABLE streams (
    stream_id         BIGINT  PRIMARY KEY,
    title             TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    anonymous         BOOLEAN NOT NULL,
    moderation        TEXT    NOT NULL,
    created_at        BIGINT  NOT NULL,
    ended_at          BIGINT,
    -- A share of 0.0 to 1.0 that an operator fixed; NULL while the throttle decides.
    throttle_override DOUBLE PRECISION
);

CREATE TABLE users (
    user_id BIGINT PRIMARY KEY,
    name    TEXT   NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE INDEX users_by_name ON users (name, seen_at DESC);

-- At most one of a kind for each user; what was before is in the audit log.
CREATE TABLE sanctions (
    user_id    BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    name       TEXT,
    reason     TEXT,
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (user_id, kind)
);

CREATE INDEX sanctions_by_end ON sanctions (expires_at) WHERE expires_at IS NOT NULL;

-- `sort_key` is the comment id with its time in front. Decided items stay: a repeated request to
-- queue one must not bring it back.
CREATE TABLE reviews (
    sort_key   BYTEA   PRIMARY KEY,
    stream_id  BIGINT  NOT NULL,
    user_id    BIGINT  NOT NULL,
    name       TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    flagged_at BIGINT  NOT NULL,
    held       BOOLEAN NOT NULL,
    decision   TEXT,
    decided_at BIGINT,
    decided_by TEXT
);

CREATE INDEX reviews_waiting ON reviews (flagged_at, sort_key) WHERE decision IS NULL;

-- Appended to, never changed. Numbers are given in the order entries begin, not in which they are
-- committed, and a change that was undone leaves its number unused.
CREATE TABLE audit (
    audit_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       BIGINT NOT NULL,
    actor    TEXT   NOT NULL,
    action   TEXT   NOT NULL,
    target   TEXT   NOT NULL,
    -- JSON as it was written; JSONB would refuse some of what JSON can say.
    detail   JSON   NOT NULL
);
