-- The log, and what its readers keep beside it. docs/format.md specifies `log` and `redactions`;
-- the read tables are in schema/read, because each has a version of its own.

-- One row an event. A row never changes, but for its payload, which may become NULL when a
-- recorded redaction names it.
CREATE TABLE log (
  seq      INTEGER PRIMARY KEY, -- 1, 2, 3 … without gaps
  event_id BLOB NOT NULL UNIQUE, -- 16 bytes: the idempotency key
  entry    BLOB NOT NULL, -- what is chained
  payload  BLOB, -- salt (16 bytes), then payload bytes; NULL once redacted
  hash     BLOB NOT NULL -- 32 bytes: the link
) STRICT;

-- The events that a payload.redacted event names, written with it: what the trigger below can read.
CREATE TABLE redactions (
  seq INTEGER PRIMARY KEY
) STRICT;

-- Guard rails against accidents; the chain is the evidence.
CREATE TRIGGER log_rows_stay BEFORE DELETE ON log
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: rows are never deleted');
END;

CREATE TRIGGER log_rows_never_change BEFORE UPDATE ON log
WHEN NEW.payload IS NOT NULL
  OR NEW.seq <> OLD.seq
  OR NEW.event_id <> OLD.event_id
  OR NEW.entry <> OLD.entry
  OR NEW.hash <> OLD.hash
  OR NOT EXISTS (SELECT 1 FROM redactions WHERE seq = OLD.seq)
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: rows never change, but for the payload of a redacted event');
END;

CREATE TRIGGER redactions_stay BEFORE DELETE ON redactions
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: redactions are never taken back');
END;

CREATE TRIGGER redactions_never_change BEFORE UPDATE ON redactions
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: redactions never change');
END;

-- Where each projection is. A row with stage 'building' is a rebuild under way: its tables stand
-- beside the live ones until it has caught up and takes their place.
CREATE TABLE projections (
  name       TEXT NOT NULL,
  stage      TEXT NOT NULL CHECK (stage IN ('live', 'building')),
  version    INTEGER NOT NULL, -- of the fold and its tables
  generation INTEGER NOT NULL, -- counts rebuilds: part of the names of indexes
  position   INTEGER NOT NULL, -- seq of the last event folded
  stopped_at INTEGER, -- seq of the event that cannot be applied
  error      TEXT, -- why not
  PRIMARY KEY (name, stage)
) STRICT, WITHOUT ROWID;

-- The events that a projection.skipped event names, written with it.
CREATE TABLE projection_skips (
  projection TEXT NOT NULL,
  version    INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  PRIMARY KEY (projection, version, seq)
) STRICT, WITHOUT ROWID;
