-- A comment can be hidden from all but its author. The column holds the place in the log of the
-- last decision to do so, in the form of the other two; a later restoration takes it back as well.
ALTER TABLE tombstones ADD COLUMN hidden_place BYTEA NOT NULL DEFAULT '\x00';

-- Authors of comments that were hidden from others, at submission or later. Readers who are not in
-- it share their pages. Rows stay when the comments are shown again or expire: they only cost a
-- read.
CREATE TABLE hidden_authors (
    stream_id BIGINT NOT NULL,
    user_id   BIGINT NOT NULL,
    PRIMARY KEY (stream_id, user_id)
);
