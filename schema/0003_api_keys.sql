-- What a server goes by when somebody shows an API key. The events are the truth about keys;
-- docs/format.md, section 13, says what each table holds.

-- The events that create and revoke API keys, written with them: whoever decides about a key finds
-- them at once, however far the read tables are.
CREATE TABLE api_key_events (
  seq INTEGER PRIMARY KEY
) STRICT;

CREATE TRIGGER api_key_events_stay BEFORE DELETE ON api_key_events
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: what became of a key is never taken back');
END;

CREATE TRIGGER api_key_events_never_change BEFORE UPDATE ON api_key_events
BEGIN
  SELECT RAISE(ABORT, 'the log is append-only: what became of a key never changes');
END;

-- When each key was last used, to the minute or so. Nothing else follows from it.
CREATE TABLE api_key_uses (
  key          TEXT PRIMARY KEY, -- id of the key
  last_used_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
