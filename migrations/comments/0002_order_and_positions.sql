-- The logs that comments came from, numbered in the order in which the store saw them. The log of
-- comments that an earlier version stored is not known; it has the number 0 and no epoch.
CREATE TABLE logs (
    log   INTEGER PRIMARY KEY,
    epoch INTEGER UNIQUE
);

INSERT INTO logs (log, epoch) SELECT 0, NULL WHERE EXISTS (SELECT 1 FROM comments);

-- Pages are read in the order of the log. `sort_key` holds the time of a clock, which may be wrong.
ALTER TABLE comments ADD COLUMN log INTEGER NOT NULL DEFAULT 0;

CREATE INDEX comments_by_place ON comments (stream_id, log, seq);

-- How far the store has each partition of a log, written in the transaction of the rows. The newest
-- comment shows whether the rows are still there.
CREATE TABLE archive_positions (
    log           INTEGER NOT NULL,
    log_partition INTEGER NOT NULL,
    next_offset   INTEGER NOT NULL,
    stream_id     INTEGER,
    sort_key      BLOB,
    PRIMARY KEY (log, log_partition)
) WITHOUT ROWID;
