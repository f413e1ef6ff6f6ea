-- When the fixed share ends, in milliseconds since the Unix epoch; NULL if it does not end.
ALTER TABLE streams ADD COLUMN throttle_until INTEGER;
