-- The badges of the author when the comment was accepted: 1 moderator, 2 broadcaster, 4 admin,
-- 8 subscriber, added up.
ALTER TABLE reviews ADD COLUMN badges BIGINT NOT NULL DEFAULT 0;

-- Since when an item waits for a decision: since it was queued or, if a decision was taken back,
-- since then. In milliseconds since the Unix epoch.
ALTER TABLE reviews ADD COLUMN waits_since BIGINT NOT NULL DEFAULT 0;
UPDATE reviews SET waits_since = flagged_at;
CREATE INDEX reviews_held ON reviews (waits_since, sort_key) WHERE decision IS NULL AND held;

-- The reason of the decision, if it is another one than that of the item.
ALTER TABLE reviews ADD COLUMN decided_reason TEXT;
