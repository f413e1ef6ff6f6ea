-- The blocked terms of rooms, in normal form. What a change replaced is in the audit log.
CREATE TABLE room_terms (
    stream_id INTEGER NOT NULL,
    term      TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    PRIMARY KEY (stream_id, term)
) WITHOUT ROWID;
