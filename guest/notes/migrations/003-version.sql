-- Counts the changes of a note. A client sends the count back with an edit, and learns if it
-- edited an older text.
ALTER TABLE notes ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
