-- The settings of the room in JSON; NULL if nothing is set.
ALTER TABLE streams ADD COLUMN room TEXT;
