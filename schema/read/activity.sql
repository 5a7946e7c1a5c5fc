-- What stands for itself: one row an event, by its place in the log; a span may have several artifacts.

CREATE TABLE reviews (
  seq          INTEGER PRIMARY KEY,
  id           TEXT NOT NULL,
  session_id   TEXT,
  actor        TEXT NOT NULL,
  subject_kind TEXT NOT NULL, -- session, step, decision, finding, action
  subject_id   TEXT,
  verdict      TEXT NOT NULL, -- approved, rejected, overridden, escalated, modified
  reason       TEXT,
  role         TEXT, -- of the reviewer
  authority    TEXT,
  identified_by TEXT, -- sso, key …
  evidence_seen TEXT, -- JSON list of texts
  approved_digest TEXT, -- BLAKE3 of what was approved
  expires_at   TEXT,
  reviewed_at  TEXT,
  attributes   TEXT, -- JSON object
  recorded_at  TEXT NOT NULL
) STRICT;

CREATE INDEX reviews_by_session ON reviews (session_id);
CREATE INDEX reviews_by_subject ON reviews (subject_kind, subject_id);

CREATE TABLE artifacts (
  seq         INTEGER NOT NULL,
  item        INTEGER NOT NULL, -- place among the artifacts of one event, from 0
  id          TEXT NOT NULL, -- BLAKE3 of the content, which is kept elsewhere
  session_id  TEXT,
  step_id     TEXT,
  label       TEXT,
  position    INTEGER,
  media_type  TEXT,
  size        INTEGER, -- bytes
  attached_at TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL,
  PRIMARY KEY (seq, item)
) STRICT;

CREATE INDEX artifacts_by_session ON artifacts (session_id);
CREATE INDEX artifacts_by_id ON artifacts (id);

CREATE TABLE metrics (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT,
  name        TEXT NOT NULL,
  value       REAL NOT NULL,
  unit        TEXT,
  labels      TEXT, -- JSON object: name to text
  measured_at TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX metrics_by_name ON metrics (name, measured_at);
CREATE INDEX metrics_by_session ON metrics (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE notes (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT,
  step_id     TEXT,
  level       TEXT,
  message     TEXT NOT NULL,
  data        TEXT, -- JSON
  logged_at   TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX notes_by_session ON notes (session_id);

CREATE TABLE actions (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT,
  actor_id    TEXT NOT NULL,
  actor_kind  TEXT,
  action      TEXT NOT NULL,
  entity_type TEXT,
  entity_id   TEXT,
  outcome     TEXT, -- success, denied, failed
  reason      TEXT,
  before      TEXT, -- JSON
  after       TEXT, -- JSON
  ip          TEXT,
  user_agent  TEXT,
  request_id  TEXT,
  tenant      TEXT,
  on_behalf_of TEXT, -- JSON list of principals, from the nearest outwards
  basis       TEXT, -- observed, claimed; NULL where it is not stated
  acted_at    TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX actions_by_action ON actions (action, acted_at);
CREATE INDEX actions_by_entity ON actions (entity_type, entity_id);
CREATE INDEX actions_by_actor ON actions (actor_id, acted_at);
CREATE INDEX actions_by_session ON actions (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE policy_decisions (
  seq            INTEGER PRIMARY KEY,
  session_id     TEXT,
  step_id        TEXT,
  subject_kind   TEXT, -- session, step, decision, finding, action
  subject_id     TEXT,
  policy         TEXT NOT NULL,
  policy_version TEXT,
  rule           TEXT,
  effect         TEXT NOT NULL, -- allow, deny, escalate
  reason         TEXT,
  actor          TEXT, -- the policy engine
  input          TEXT, -- JSON
  decided_at     TEXT,
  attributes     TEXT, -- JSON object
  recorded_at    TEXT NOT NULL
) STRICT;

CREATE INDEX policy_decisions_by_policy ON policy_decisions (policy, effect);
CREATE INDEX policy_decisions_by_subject ON policy_decisions (subject_kind, subject_id) WHERE subject_id IS NOT NULL;
CREATE INDEX policy_decisions_by_session ON policy_decisions (session_id) WHERE session_id IS NOT NULL;

CREATE TABLE coverage_declarations (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT NOT NULL,
  source      TEXT NOT NULL, -- the program that records
  instance    TEXT, -- the run of the program: each counts from 0
  records     TEXT, -- JSON list of texts: what it records
  omits       TEXT, -- JSON list of texts: what it does not record
  announced   TEXT, -- JSON object: kind of event to the number that this run has sent in the session before
  declared_at TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX coverage_declarations_by_session ON coverage_declarations (session_id);

CREATE TABLE custom_events (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT,
  name        TEXT NOT NULL,
  data        TEXT, -- JSON
  occurred_at TEXT,
  attributes  TEXT, -- JSON object
  recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX custom_events_by_name ON custom_events (name, seq);
CREATE INDEX custom_events_by_session ON custom_events (session_id) WHERE session_id IS NOT NULL;
