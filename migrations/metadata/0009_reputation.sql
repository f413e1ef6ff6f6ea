-- When the account of a user was created, by the claim of its tokens, in milliseconds since the
-- Unix epoch; NULL if no token said so.
ALTER TABLE users ADD COLUMN account_created INTEGER;

-- The points of users as of `at`, from when on they decay. Users without points have no row.
CREATE TABLE reputations (
    user_id INTEGER PRIMARY KEY,
    points  REAL    NOT NULL,
    at      INTEGER NOT NULL,
    -- NULL without points.
    since   INTEGER,
    -- The keys of removed texts in JSON, latest first.
    texts   TEXT    NOT NULL
);

CREATE INDEX reputations_at ON reputations (at);

-- The causes of points, so that each counts once and can be taken back. They are swept away once
-- hardly anything is left of them.
CREATE TABLE reputation_causes (
    user_id  INTEGER NOT NULL,
    -- `comment ID`, or `entry NUMBER` of the audit log.
    cause    TEXT    NOT NULL,
    points   REAL    NOT NULL,
    at       INTEGER NOT NULL,
    -- The key of the removed text; NULL if there is none.
    text_key INTEGER,
    PRIMARY KEY (user_id, cause)
) WITHOUT ROWID;

CREATE INDEX reputation_causes_at ON reputation_causes (at);
