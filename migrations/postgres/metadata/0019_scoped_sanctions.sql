-- A ban or timeout holds on one stream or, with -1, on all, as those from before do. At most one of
-- a kind for each user and stream; what was before is in the audit log.
ALTER TABLE sanctions ADD COLUMN stream_id BIGINT NOT NULL DEFAULT -1;

ALTER TABLE sanctions DROP CONSTRAINT sanctions_pkey;

ALTER TABLE sanctions ADD PRIMARY KEY (user_id, kind, stream_id);
