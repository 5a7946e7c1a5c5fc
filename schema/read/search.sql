-- What there is to find, and an index over its words. The texts themselves stand in the log alone. A row is
-- never changed; it goes when its event is redacted.

CREATE TABLE search_documents (
  seq        INTEGER PRIMARY KEY,
  session_id TEXT,
  kind       TEXT NOT NULL,
  subject_id TEXT,
  text       TEXT GENERATED ALWAYS AS (NULL) VIRTUAL -- FTS5 reads it where a query names the column
) STRICT;

CREATE VIRTUAL TABLE search USING fts5(text, content="search_documents", content_rowid="seq", tokenize='unicode61 remove_diacritics 2');

-- Each transaction makes a segment of the index. FTS5 would merge them within one of these, all at once, while
-- others wait to append; instead they are merged in small steps of their own.
INSERT INTO search (search, rank) VALUES ('automerge', 0);

-- Segments of one size that are merged into one. Each merge writes their words again; a search looks into
-- every segment that is left.
INSERT INTO search (search, rank) VALUES ('usermerge', 16);

-- Segments of one size at which FTS5 merges them all the same: more than there ever are while steps keep up.
INSERT INTO search (search, rank) VALUES ('crisismerge', 64);
