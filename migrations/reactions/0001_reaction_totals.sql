-- Running totals; they only grow.
CREATE TABLE reaction_totals (
    stream_id INTEGER NOT NULL,
    reaction  TEXT    NOT NULL,
    total     INTEGER NOT NULL,
    PRIMARY KEY (stream_id, reaction)
) WITHOUT ROWID;
