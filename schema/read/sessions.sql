-- What happened in each session. Column names are the field names of the events.
--
-- Times are UTC in SQLite's own text form. Those called started_at, ended_at and the like are the
-- producer's, NULL where it gave none; those called …recorded_at are the writer's. first_seq and
-- last_seq are the events that made the row and that last changed it.
--
-- A long text is not stored again: the row says in which payload of the log it stands, and where. The views
-- show it whole. No row that Annals writes has so many pieces that a view would not read them.

CREATE TABLE annals_sessions (
  id                TEXT NOT NULL PRIMARY KEY,
  conversation_id   TEXT,
  profile           TEXT,
  own_status        TEXT NOT NULL, -- queued, running, paused, completed, failed, cancelled, disconnected, erased
  -- The span of a whole session may report success although the run of an agent within it failed.
  status            TEXT GENERATED ALWAYS AS (CASE WHEN own_status = 'completed' AND run_error IS NOT NULL THEN 'failed' ELSE own_status END) VIRTUAL,
  started_at        TEXT,
  ended_at          TEXT,
  duration_us       INTEGER,
  input_text        TEXT, -- the text; or, where it is long, the payload that has it
  input_seq         INTEGER,
  input_offset      INTEGER,
  input_length      INTEGER,
  input_pieces      TEXT,
  input_summary_text TEXT, -- the beginning of a long one, for lists
  input_hash        TEXT,
  summary_text      TEXT,
  summary_seq       INTEGER,
  summary_offset    INTEGER,
  summary_length    INTEGER,
  summary_pieces    TEXT,
  own_error         TEXT,
  run_error         TEXT, -- why the last run of an agent within the session failed; empty where it states no reason
  error             TEXT GENERATED ALWAYS AS (coalesce(own_error, CASE WHEN own_status = 'completed' THEN nullif(run_error, '') END)) VIRTUAL,
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
  steps_tokens_input   INTEGER, -- sums over the steps, each call once
  steps_tokens_output  INTEGER,
  steps_cost_usd       REAL,
  below_count          INTEGER NOT NULL, -- its rows in annals_below
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

CREATE INDEX sessions_by_first_seq ON annals_sessions (first_seq);
CREATE INDEX sessions_by_started_at ON annals_sessions (started_at);
CREATE INDEX sessions_by_status ON annals_sessions (status, first_seq);
CREATE INDEX sessions_by_profile ON annals_sessions (profile, first_seq);
CREATE INDEX sessions_by_conversation ON annals_sessions (conversation_id, first_seq) WHERE conversation_id IS NOT NULL;
CREATE INDEX sessions_by_input ON annals_sessions (input_hash) WHERE input_hash IS NOT NULL;

CREATE VIEW sessions AS SELECT
  id, conversation_id, profile, status, started_at, ended_at, duration_us,
  CASE
    WHEN input_text IS NOT NULL THEN input_text
    WHEN input_pieces IS NULL THEN (SELECT CAST(substr(payload, input_offset, input_length) AS TEXT) FROM log WHERE seq = input_seq)
    ELSE (SELECT group_concat(CASE
      WHEN type = 'text' THEN value
      WHEN json_extract(value, '$[2]') IS NULL THEN CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT)
      WHEN json_extract(value, '$[2]') = 1 THEN json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$')
      ELSE json_extract('"' || json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$') || '"', '$')
    END, '') FROM log, json_each(input_pieces) WHERE seq = input_seq AND json_type(input_pieces) = 'array'
      AND json_array_length(input_pieces) * length(payload) <= 33554432) END AS input,
  input_hash,
  CASE
    WHEN summary_text IS NOT NULL THEN summary_text
    WHEN summary_pieces IS NULL THEN (SELECT CAST(substr(payload, summary_offset, summary_length) AS TEXT) FROM log WHERE seq = summary_seq)
    ELSE (SELECT group_concat(CASE
      WHEN type = 'text' THEN value
      WHEN json_extract(value, '$[2]') IS NULL THEN CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT)
      WHEN json_extract(value, '$[2]') = 1 THEN json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$')
      ELSE json_extract('"' || json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$') || '"', '$')
    END, '') FROM log, json_each(summary_pieces) WHERE seq = summary_seq AND json_type(summary_pieces) = 'array'
      AND json_array_length(summary_pieces) * length(payload) <= 33554432) END AS summary,
  error, risk_level, scores, agent, agent_version, model, source, tenant, labels, parent_session_id, progress,
  message, event_count, step_count, error_count, decision_count, finding_count, redacted_count, start_count,
  erased_end_count, stated_tokens_input, stated_tokens_output, stated_cost_usd, steps_tokens_input,
  steps_tokens_output, steps_cost_usd, tokens_input, tokens_output, tokens_used, cost_usd, attributes, claims,
  first_recorded_at, last_recorded_at, first_seq, last_seq
FROM annals_sessions;

CREATE TABLE annals_steps (
  id                TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  parent_step_id    TEXT,
  module            TEXT,
  kind              TEXT, -- llm, tool, retrieval, agent, chain, guardrail, other, embedding
  model             TEXT,
  status            TEXT NOT NULL, -- running, ok, error, cancelled
  started_at        TEXT,
  ended_at          TEXT,
  duration_us       INTEGER,
  input_text        TEXT, -- the text; or, where it is long, the payload that has it
  input_seq         INTEGER,
  input_offset      INTEGER,
  input_length      INTEGER,
  input_pieces      TEXT,
  output_text       TEXT,
  output_seq        INTEGER,
  output_offset     INTEGER,
  output_length     INTEGER,
  output_pieces     TEXT,
  input_hash        TEXT, -- BLAKE3 of the text
  output_hash       TEXT, -- BLAKE3 of the text
  input_summary_text TEXT, -- where it does not follow from the text at once
  output_summary_text TEXT,
  confidence        REAL, -- 0 to 1
  tokens_input      INTEGER,
  tokens_output     INTEGER,
  tokens_used       INTEGER GENERATED ALWAYS AS (coalesce(tokens_input + tokens_output, tokens_input, tokens_output)) VIRTUAL,
  tokens_cache_read  INTEGER, -- of tokens_input
  tokens_cache_write INTEGER, -- of tokens_input
  tokens_reasoning   INTEGER, -- of tokens_output
  cost_usd          REAL,
  error             TEXT,
  basis             TEXT, -- observed, claimed; NULL where it is not stated
  attributes        TEXT, -- JSON object
  claims            TEXT, -- from spans and log records: whose word each column is
  first_recorded_at TEXT NOT NULL,
  last_recorded_at  TEXT NOT NULL,
  first_seq         INTEGER NOT NULL,
  last_seq          INTEGER NOT NULL,
  PRIMARY KEY (session_id, id)
) STRICT;

CREATE INDEX steps_by_session ON annals_steps (session_id, first_seq);
CREATE INDEX steps_by_module ON annals_steps (module, started_at);
CREATE INDEX steps_by_confidence ON annals_steps (confidence) WHERE confidence IS NOT NULL;
CREATE INDEX steps_by_started_at ON annals_steps (started_at) WHERE started_at IS NOT NULL;

CREATE VIEW steps AS SELECT
  id, session_id, parent_step_id, module, kind, model, status, started_at, ended_at, duration_us,
  CASE
    WHEN input_text IS NOT NULL THEN input_text
    WHEN input_pieces IS NULL THEN (SELECT CAST(substr(payload, input_offset, input_length) AS TEXT) FROM log WHERE seq = input_seq)
    ELSE (SELECT group_concat(CASE
      WHEN type = 'text' THEN value
      WHEN json_extract(value, '$[2]') IS NULL THEN CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT)
      WHEN json_extract(value, '$[2]') = 1 THEN json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$')
      ELSE json_extract('"' || json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$') || '"', '$')
    END, '') FROM log, json_each(input_pieces) WHERE seq = input_seq AND json_type(input_pieces) = 'array'
      AND json_array_length(input_pieces) * length(payload) <= 33554432) END AS input,
  CASE
    WHEN output_text IS NOT NULL THEN output_text
    WHEN output_pieces IS NULL THEN (SELECT CAST(substr(payload, output_offset, output_length) AS TEXT) FROM log WHERE seq = output_seq)
    ELSE (SELECT group_concat(CASE
      WHEN type = 'text' THEN value
      WHEN json_extract(value, '$[2]') IS NULL THEN CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT)
      WHEN json_extract(value, '$[2]') = 1 THEN json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$')
      ELSE json_extract('"' || json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$') || '"', '$')
    END, '') FROM log, json_each(output_pieces) WHERE seq = output_seq AND json_type(output_pieces) = 'array'
      AND json_array_length(output_pieces) * length(payload) <= 33554432) END AS output,
  input_hash, output_hash,
  coalesce(input_summary_text, substr(input_text, 1, 200),
    -- 200 characters are in 800 bytes.
    (SELECT substr(CAST(substr(payload, input_offset, min(input_length, 800)) AS TEXT), 1, 200) FROM log WHERE seq = input_seq)) AS input_summary,
  coalesce(output_summary_text, substr(output_text, 1, 200),
    -- 200 characters are in 800 bytes.
    (SELECT substr(CAST(substr(payload, output_offset, min(output_length, 800)) AS TEXT), 1, 200) FROM log WHERE seq = output_seq)) AS output_summary,
  confidence, tokens_input, tokens_output, tokens_used, tokens_cache_read, tokens_cache_write, tokens_reasoning,
  cost_usd, error, basis, attributes, claims, first_recorded_at, last_recorded_at, first_seq, last_seq
FROM annals_steps;

-- For steps that have steps below them: what those report. So usage and errors that a step repeats count once.
CREATE TABLE annals_below (
  id           TEXT NOT NULL, -- of the step
  session_id   TEXT NOT NULL,
  tokens_input INTEGER NOT NULL, -- steps directly below it that read tokens, or have steps below them that did
  tokens_output INTEGER NOT NULL, -- the same for tokens that were written
  cost         INTEGER NOT NULL, -- the same for costs
  agent_tokens_input  INTEGER NOT NULL, -- the same three without embeddings
  agent_tokens_output INTEGER NOT NULL,
  agent_cost          INTEGER NOT NULL,
  model_tokens_input  INTEGER NOT NULL, -- the same three for steps of kind llm that no tool used
  model_tokens_output INTEGER NOT NULL,
  model_cost   INTEGER NOT NULL,
  errors       TEXT, -- JSON object: hash of an error to the number of steps directly below it that failed with it
  first_seq    INTEGER NOT NULL, -- the event that made the row
  PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;

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
  on_behalf_of       TEXT, -- JSON list of principals, from the nearest outwards
  basis              TEXT, -- observed, claimed; NULL where it is not stated
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

CREATE TABLE annals_findings (
  id                TEXT NOT NULL,
  session_id        TEXT NOT NULL,
  step_id           TEXT,
  category          TEXT,
  pattern_type      TEXT,
  severity          TEXT, -- critical, high, medium, low, info
  outcome           TEXT, -- pass, fail, warning, skip, error
  status            TEXT NOT NULL, -- open, confirmed, dismissed, applied, rejected, reverted
  is_repeated       INTEGER NOT NULL, -- 1 where a step below failed with the same error, and has its own finding
  confidence        REAL, -- 0 to 1
  title             TEXT,
  description       TEXT,
  plain_english     TEXT,
  suggestion        TEXT,
  legal_source      TEXT,
  evidence_text     TEXT, -- JSON; or, where it is long, the payload that has it
  evidence_seq      INTEGER,
  evidence_offset   INTEGER,
  evidence_length   INTEGER,
  evidence_pieces   TEXT,
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

CREATE INDEX findings_by_session ON annals_findings (session_id, first_seq);
CREATE INDEX findings_by_severity ON annals_findings (severity, status);
CREATE INDEX findings_by_category ON annals_findings (category, pattern_type);

CREATE VIEW findings AS SELECT
  id, session_id, step_id, category, pattern_type, severity, outcome, status, confidence, title, description,
  plain_english, suggestion, legal_source,
  CASE
    WHEN evidence_text IS NOT NULL THEN evidence_text
    WHEN evidence_pieces IS NULL THEN (SELECT CAST(substr(payload, evidence_offset, evidence_length) AS TEXT) FROM log WHERE seq = evidence_seq)
    ELSE (SELECT group_concat(CASE
      WHEN type = 'text' THEN value
      WHEN json_extract(value, '$[2]') IS NULL THEN CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT)
      WHEN json_extract(value, '$[2]') = 1 THEN json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$')
      ELSE json_extract('"' || json_extract('"' || CAST(substr(payload, json_extract(value, '$[0]'), json_extract(value, '$[1]')) AS TEXT) || '"', '$') || '"', '$')
    END, '') FROM log, json_each(evidence_pieces) WHERE seq = evidence_seq AND json_type(evidence_pieces) = 'array'
      AND json_array_length(evidence_pieces) * length(payload) <= 33554432) END AS evidence,
  scope, rule_version, raised_at, updated_at, updated_by, attributes, claims, first_recorded_at, last_recorded_at,
  first_seq, last_seq
FROM annals_findings WHERE is_repeated = 0;

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
