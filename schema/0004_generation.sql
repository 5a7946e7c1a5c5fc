-- Which run of its write-ahead log the file belongs to: docs/format.md, section 1, says how it is used.
CREATE TABLE generation (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  id       BLOB NOT NULL, -- 16 random bytes, new with each run of the write-ahead log
  previous BLOB NOT NULL, -- the id before; 16 zero bytes where there was none
  is_open  INTEGER NOT NULL, -- 1 from the first append until the log is closed
  machine  TEXT NOT NULL -- tells the machine that appends from others; empty where it is not known
) STRICT;

INSERT INTO generation (one, id, previous, is_open, machine) VALUES (1, randomblob(16), zeroblob(16), 0, '');
