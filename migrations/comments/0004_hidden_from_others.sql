-- A comment can be hidden from all but its author. The column holds the place in the log of the
-- last decision to do so, in the form of the other two; a later restoration takes it back as well.
ALTER TABLE tombstones ADD COLUMN hidden_place BLOB NOT NULL DEFAULT x'00';

-- Authors of comments that were hidden from others, at submission or later. Readers who are not in
-- it share their pages. Rows stay when the comments are shown again or expire: they only cost a
-- read.
CREATE TABLE hidden_authors (
    stream_id INTEGER NOT NULL,
    user_id   INTEGER NOT NULL,
    PRIMARY KEY (stream_id, user_id)
) WITHOUT ROWID;
