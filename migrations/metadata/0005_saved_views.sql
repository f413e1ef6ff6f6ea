-- Views of lc top that operators share.
CREATE TABLE saved_views (
    name     TEXT    PRIMARY KEY,
    -- JSON.
    settings TEXT    NOT NULL,
    saved_by TEXT    NOT NULL,
    -- Milliseconds since the Unix epoch.
    saved_at INTEGER NOT NULL
);
