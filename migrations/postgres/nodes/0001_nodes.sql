-- One row per running lcd process. The rows mean nothing after a crash of the server, so they need
-- no write-ahead log.
CREATE UNLOGGED TABLE nodes (
    run        TEXT        PRIMARY KEY,
    name       TEXT        NOT NULL,
    about      TEXT        NOT NULL,
    -- A digest of each shared setting, as JSON.
    settings   TEXT        NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    seen_at    TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
