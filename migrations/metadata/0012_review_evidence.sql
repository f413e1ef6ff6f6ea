-- Whether only the sender sees the comment, and what it was flagged by, in JSON: the stage, its
-- score, all scores and the version of the model. NULL for items of earlier versions.
ALTER TABLE reviews ADD COLUMN shadowed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE reviews ADD COLUMN evidence TEXT;
