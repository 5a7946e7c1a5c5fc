-- The API keys that were ever created. Times called created_at and revoked_at are the writer's.

CREATE TABLE api_keys (
  id             TEXT NOT NULL PRIMARY KEY, -- of the event that created it; the principal of what it submits
  name           TEXT NOT NULL,
  scopes         TEXT NOT NULL, -- JSON list of emit, read, verify, admin
  secret_hash    TEXT NOT NULL, -- says that a key is this one; it is not the key
  expires_at     TEXT,
  created_at     TEXT NOT NULL,
  created_by     TEXT NOT NULL,
  reason         TEXT,
  revoked_at     TEXT,
  revoked_by     TEXT,
  revoked_reason TEXT,
  first_seq      INTEGER NOT NULL,
  last_seq       INTEGER NOT NULL
) STRICT;
