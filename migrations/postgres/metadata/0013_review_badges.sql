-- The badges of the author when the comment was accepted: 1 moderator, 2 broadcaster, 4 admin,
-- 8 subscriber, added up.
ALTER TABLE reviews ADD COLUMN badges BIGINT NOT NULL DEFAULT 0;
