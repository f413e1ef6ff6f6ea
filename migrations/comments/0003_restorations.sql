-- A deletion can be taken back. Both columns hold a place in the log, its number and the sequence in
-- 8 bytes each, big end first, so that they compare as places do: that of the last deletion, and
-- that of the last restoration. The comment is hidden while the first is greater. 00 is no place at
-- all, and 0000 that of a deletion that an earlier version stored: it comes before every other.
ALTER TABLE tombstones ADD COLUMN deleted_place BLOB NOT NULL DEFAULT x'0000';
ALTER TABLE tombstones ADD COLUMN restored_place BLOB NOT NULL DEFAULT x'00';
