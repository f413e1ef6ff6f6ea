-- Streams as events: a description, when a stream is to start, and when it did. Streams that were
-- live before count as started when they were created.
ALTER TABLE streams ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN starts_at INTEGER;
ALTER TABLE streams ADD COLUMN started_at INTEGER;
UPDATE streams SET started_at = created_at WHERE state <> 'scheduled';
-- A deleted stream keeps its row: its comments have its id, which no other stream may get.
ALTER TABLE streams ADD COLUMN deleted_at INTEGER;
