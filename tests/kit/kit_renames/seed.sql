CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE comment(note INTEGER NOT NULL REFERENCES note, body TEXT NOT NULL);
INSERT INTO note VALUES (1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO comment VALUES (1, 'first'), (1, 'second'), (3, 'third');
