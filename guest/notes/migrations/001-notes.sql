-- AUTOINCREMENT, so that the address of a deleted note never comes to mean another one.
CREATE TABLE notes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    title   TEXT NOT NULL CHECK (title <> ''),
    body    TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- The order in which notes are listed.
CREATE INDEX notes_by_update ON notes (updated DESC, id DESC);
