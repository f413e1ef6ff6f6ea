-- Held comments that no stage has checked, which moderation decides by itself, and the pending
-- events of a stream, which come before its next one.
CREATE INDEX reviews_unchecked ON reviews (sort_key)
    WHERE decision IS NULL AND reason = 'unchecked';
CREATE INDEX pending_events_by_stream ON pending_events (stream_id);
