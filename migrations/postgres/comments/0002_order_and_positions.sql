-- The logs that comments came from, numbered in the order in which the store saw them. The log of
-- comments that an earlier version stored is not known; it has the number 0 and no epoch.
CREATE TABLE logs (
    log   BIGINT PRIMARY KEY,
    epoch BIGINT UNIQUE
);

INSERT INTO logs (log, epoch) SELECT 0, NULL WHERE EXISTS (SELECT FROM comments);

-- Pages are read in the order of the log. `sort_key` holds the time of a clock, which may be wrong.
ALTER TABLE comments ADD COLUMN log BIGINT NOT NULL DEFAULT 0;

CREATE INDEX comments_by_place ON comments (stream_id, log, seq);

-- The first and the last place, log and seq, of each stream in each day (`day` is the day's first
-- sort key). A page reads the days in the order of their last places, and stops where no other can
-- follow.
CREATE TABLE stream_days (
    stream_id   BIGINT   NOT NULL,
    day         BYTEA    NOT NULL,
    first_place BIGINT[] NOT NULL,
    last_place  BIGINT[] NOT NULL,
    PRIMARY KEY (stream_id, day)
);

INSERT INTO stream_days
SELECT stream_id, int8send(ticks - ticks % 864000000000), ARRAY[0, min(seq)], ARRAY[0, max(seq)]
FROM (SELECT stream_id, seq,
          ('x' || encode(substring(sort_key FROM 1 FOR 8), 'hex'))::bit(64)::bigint AS ticks
      FROM comments) AS kept
GROUP BY 1, 2;

-- How far the store has each partition of a log, written in the transaction of the rows. The newest
-- comment shows whether the rows are still there.
CREATE TABLE archive_positions (
    log           BIGINT NOT NULL,
    log_partition BIGINT NOT NULL,
    next_offset   BIGINT NOT NULL,
    stream_id     BIGINT,
    sort_key      BYTEA,
    PRIMARY KEY (log, log_partition)
);
