-- The undecided items of one stream, oldest first.
CREATE INDEX reviews_of_stream ON reviews (stream_id, flagged_at, sort_key)
    WHERE decision IS NULL;
