-- What happened in each session. Column names are the field names of the events.
--
-- Times are UTC in SQLite's own text form. Those called started_at, ended_at and the like are the
-- producer's, NULL where it gave none; those called …recorded_at are the writer's. first_seq and
-- last_seq are the events that made the row and that last changed it.

CREATE TABLE sessions (
  id                TEXT NOT NULL PRIMARY KEY,
  conversation_id   TEXT,
  profile           TEXT,
  status            TEXT NOT NULL, -- queued, running, paused, completed, failed, cancelled, disconnected, erased
  started_at        TEXT,
  ended_at          TEXT,
  duration_us       INTEGER,
  input             TEXT,
  input_hash        TEXT,
  summary           TEXT,
  error             TEXT,
  risk_level        TEXT, -- critical, high, medium, low, info
  scores            TEXT, -- JSON object: name to number
  agent             TEXT,
  agent_version     TEXT,
  model             TEXT,
  source            TEXT,
  tenant            TEXT,
  labels            TEXT, -- JSON object: name to text
  parent_session_id TEXT,
  progress          REAL, -- 0 to 1
  message           TEXT,
  event_count       INTEGER NOT NULL,
  step_count        INTEGER NOT NULL,
  error_count       INTEGER NOT NULL, -- of steps that ended in error
  decision_count    INTEGER NOT NULL,
  finding_count     INTEGER NOT NULL,
  redacted_count    INTEGER NOT NULL, -- of events whose payload was erased
  start_count       INTEGER NOT NULL, -- events session.started
  erased_end_count  INTEGER NOT NULL, -- erased events that may have ended it
  stated_tokens_input  INTEGER, -- as the end of the session stated them
  stated_tokens_output INTEGER,
  stated_cost_usd      REAL,
  -- Each at its largest where it cannot be added up; the sums below are NULL then.
  steps_tokens_input   INTEGER, -- sums over the steps of kind llm
  steps_tokens_output  INTEGER,
  steps_cost_usd       REAL,
  tokens_input      INTEGER GENERATED ALWAYS AS (coalesce(stated_tokens_input, nullif(steps_tokens_input, 4611686018427387903))) VIRTUAL,
  tokens_output     INTEGER GENERATED ALWAYS AS (coalesce(stated_tokens_output, nullif(steps_tokens_output, 4611686018427387903))) VIRTUAL,
  tokens_used       INTEGER GENERATED ALWAYS AS (CASE WHEN (stated_tokens_input IS NULL AND steps_tokens_input = 4611686018427387903) OR (stated_tokens_output IS NULL AND steps_tokens_output = 4611686018427387903) THEN NULL ELSE coalesce(coalesce(stated_tokens_input, steps_tokens_input) + coalesce(stated_tokens_output, steps_tokens_output), stated_tokens_input, steps_tokens_input, stated_tokens_output, steps_tokens_output) END) VIRTUAL,
  cost_usd          REAL GENERATED ALWAYS AS (coalesce(stated_cost_usd, CASE WHEN steps_cost_usd < 1e300 THEN steps_cost_usd END)) VIRTUAL,
  attributes        TEXT, -- JSON object: fields that the events' kinds do not know
  claims            TEXT, -- from spans and log records: whose word each column is
  first_recorded_at TEXT NOT NULL,
  last_recorded_at  TEXT NOT NULL,
  first_seq         INTEGER NOT NULL,
  last_seq          INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_first_seq ON sessions (first_seq);
CREATE INDEX sessions_by_started_at ON sessions (started_at);
CREATE INDEX sessions_by_status ON sessions (status, first_seq);
CREATE INDEX sessions_by_profile ON sessions (profile, first_seq);
CREATE INDEX sessions_by_conversation ON sessions (conversation_id, first_seq) WHERE conversation_id IS NOT NULL;
CREATE INDEX sessions_by_input ON sessions (input_hash) WHERE input_hash IS NOT NULL;

CREATE TABLE steps (
  id                TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  parent_step_id    TEXT,
  module            TEXT,
  kind              TEXT, -- llm, tool, retrieval, agent, chain, guardrail, other
  model             TEXT,
  status            TEXT NOT NULL, -- running, ok, error
  started_at        TEXT,
  ended_at          TEXT,
  duration_us       INTEGER,
  input             TEXT,
  output            TEXT,
  input_hash        TEXT, -- BLAKE3 of the text
  output_hash       TEXT, -- BLAKE3 of the text
  input_summary     TEXT,
  output_summary    TEXT,
  confidence        REAL, -- 0 to 1
  tokens_input      INTEGER,
  tokens_output     INTEGER,
  tokens_used       INTEGER GENERATED ALWAYS AS (coalesce(tokens_input + tokens_output, tokens_input, tokens_output)) VIRTUAL,
  cost_usd          REAL,
  error             TEXT,
  attributes        TEXT, -- JSON object
  claims            TEXT, -- from spans and log records: whose word each column is
  first_recorded_at TEXT NOT NULL,
  last_recorded_at  TEXT NOT NULL,
  first_seq         INTEGER NOT NULL,
  last_seq          INTEGER NOT NULL,
  PRIMARY KEY (session_id, id)
) STRICT;

CREATE INDEX steps_by_session ON steps (session_id, first_seq);
CREATE INDEX steps_by_module ON steps (module, started_at);
CREATE INDEX steps_by_confidence ON steps (confidence) WHERE confidence IS NOT NULL;
CREATE INDEX steps_by_started_at ON steps (started_at) WHERE started_at IS NOT NULL;

CREATE TABLE decisions (
  id                 TEXT NOT NULL,
  step_id            TEXT,
  session_id         TEXT NOT NULL,
  decision_type      TEXT,
  options_considered TEXT, -- JSON list of objects with option, score and more
  chosen_option      TEXT, -- the one, or the best of several
  chosen_options     TEXT, -- JSON list of all that were chosen
  rationale          TEXT,
  confidence         REAL, -- 0 to 1
  actor              TEXT,
  decided_at         TEXT,
  attributes         TEXT, -- JSON object
  claims             TEXT, -- from spans and log records: whose word each column is
  first_recorded_at  TEXT NOT NULL,
  last_recorded_at   TEXT NOT NULL,
  first_seq          INTEGER NOT NULL,
  last_seq           INTEGER NOT NULL,
  PRIMARY KEY (session_id, id)
) STRICT;

CREATE INDEX decisions_by_session ON decisions (session_id, first_seq);
CREATE INDEX decisions_by_type ON decisions (decision_type);

CREATE TABLE findings (
  id                TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  step_id           TEXT,
  category          TEXT,
  pattern_type      TEXT,
  severity          TEXT, -- critical, high, medium, low, info
  outcome           TEXT, -- pass, fail, warning, skip, error
  status            TEXT NOT NULL, -- open, confirmed, dismissed, applied, rejected, reverted
  confidence        REAL, -- 0 to 1
  title             TEXT,
  description       TEXT,
  plain_english     TEXT,
  suggestion        TEXT,
  legal_source      TEXT,
  evidence          TEXT, -- JSON
  scope             TEXT,
  rule_version      TEXT,
  raised_at         TEXT,
  updated_at        TEXT,
  updated_by        TEXT,
  attributes        TEXT, -- JSON object
  claims            TEXT, -- from spans and log records: whose word each column is
  first_recorded_at TEXT NOT NULL,
  last_recorded_at  TEXT NOT NULL,
  first_seq         INTEGER NOT NULL,
  last_seq          INTEGER NOT NULL,
  PRIMARY KEY (session_id, id)
) STRICT;

CREATE INDEX findings_by_session ON findings (session_id, first_seq);
CREATE INDEX findings_by_severity ON findings (severity, status);
CREATE INDEX findings_by_category ON findings (category, pattern_type);

-- The history of each finding: one row an update.
CREATE TABLE finding_updates (
  seq             INTEGER PRIMARY KEY,
  session_id      TEXT NOT NULL,
  finding_id      TEXT NOT NULL,
  previous_status TEXT,
  status          TEXT NOT NULL,
  actor           TEXT,
  reason          TEXT,
  original        TEXT,
  corrected       TEXT,
  strategy        TEXT,
  updated_at      TEXT,
  attributes      TEXT, -- JSON object
  recorded_at     TEXT NOT NULL
) STRICT;

CREATE INDEX finding_updates_by_finding ON finding_updates (session_id, finding_id);

-- Every event of the log, in order: what replay follows.
CREATE TABLE timeline (
  seq         INTEGER PRIMARY KEY,
  session_id  TEXT,
  kind        TEXT NOT NULL,
  subject_id  TEXT, -- the step, decision, finding … that it is about
  occurred_at TEXT,
  recorded_at TEXT NOT NULL,
  redacted    INTEGER NOT NULL -- 1 where the payload was erased
) STRICT;

CREATE INDEX timeline_by_session ON timeline (session_id, seq);
CREATE INDEX timeline_by_kind ON timeline (kind, seq);
