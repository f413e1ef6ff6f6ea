-- The actor that looks at an item, until a time in milliseconds since the Unix epoch. `text_key` is
-- equal for texts that are alike; NULL for items that were queued before there were keys.
ALTER TABLE reviews
    ADD COLUMN claimed_by       TEXT,
    ADD COLUMN claim_expires_at BIGINT,
    ADD COLUMN text_key         BIGINT;

CREATE INDEX reviews_alike ON reviews (text_key) WHERE decision IS NULL;
CREATE INDEX reviews_decided ON reviews (decided_at) WHERE decision IS NOT NULL;
