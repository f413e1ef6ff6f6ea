-- Counts the changes of the blocked terms of a room: nodes read again only the terms of rooms whose
-- number is another one. 0 means that the room never had terms.
ALTER TABLE streams ADD COLUMN terms_version BIGINT NOT NULL DEFAULT 0;
UPDATE streams SET terms_version = 1 WHERE stream_id IN (SELECT stream_id FROM room_terms);
