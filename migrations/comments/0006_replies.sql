-- The comment that a reply answers, as the sort key of its id; NULL for a comment that is no reply.
-- The parent need not be in the table.
ALTER TABLE comments ADD COLUMN parent_key BLOB;

-- The replies to a comment in the order of pages. Comments that are no replies cost it nothing.
CREATE INDEX comments_by_parent ON comments (stream_id, parent_key, log, seq)
    WHERE parent_key IS NOT NULL;
