-- What proofs and checkpoints are made from, and who was told of them. None of it is evidence by
-- itself: docs/format.md, sections 10 and 11, say what each table holds.

-- Hashes of the Merkle tree, so that a proof need not read the whole log. Level 0 holds full tiles
-- alone; the leaves after the last of them are hashed from the log when they are needed.
CREATE TABLE tiles (
  level  INTEGER NOT NULL, -- 0 holds hashes of leaves, level n + 1 the roots of the full tiles of level n
  tile   INTEGER NOT NULL, -- place within the level, from 0
  hashes BLOB NOT NULL, -- at most 256 hashes of 32 bytes; on level 0 always 256
  PRIMARY KEY (level, tile)
) STRICT, WITHOUT ROWID;

-- The checkpoints that were signed, with the cosignatures that witnesses gave to them.
CREATE TABLE checkpoints (
  size    INTEGER PRIMARY KEY, -- events that it covers
  note    TEXT NOT NULL, -- the signed note
  made_at INTEGER NOT NULL -- microseconds since 1970, by the signer's clock
) STRICT;

-- How far each anchor is: what keeps checkpoints outside this file.
CREATE TABLE anchors (
  name         TEXT PRIMARY KEY,
  size         INTEGER, -- of the last checkpoint that it took
  anchored_at  INTEGER, -- when, microseconds since 1970
  failed_since INTEGER, -- when it began to fail; NULL while it works
  error        TEXT -- why it failed last
) STRICT, WITHOUT ROWID;

-- What an anchor gave for a checkpoint and cannot be a line of the note: time-stamp tokens.
CREATE TABLE anchor_receipts (
  name    TEXT NOT NULL,
  size    INTEGER NOT NULL,
  receipt BLOB NOT NULL,
  PRIMARY KEY (name, size)
) STRICT, WITHOUT ROWID;
