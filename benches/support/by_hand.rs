//! The loop that anybody would write to fill the read tables: a statement an event and table, a
//! transaction for a thousand events, everything prepared once, nothing checked. It starts from events in
//! memory, where the projections read and decode them, and its tables are those of `schema/read`.

#![allow(
    dead_code,
    clippy::cast_possible_wrap,
    clippy::expect_used,
    reason = "a benchmark that cannot go on ends, and each uses a part of it"
)]

use std::path::Path;

use annals::{Digest, Draft, Event, StepEnd, Timestamp};
use rusqlite::{Connection, Transaction, params};

/// Events in one transaction.
pub(crate) const BATCH: usize = 1_024;

/// Size of the write-ahead log after which it is moved into the file, in pages of 8 KiB: 64 MiB.
const WAL_PAGES: i32 = 8_192;

/// A database with the read tables and without a log, and the settings of the projections' connection.
pub(crate) struct ByHand {
    connection: Connection,
    seq: i64,
    last_session: Option<String>,
}

impl ByHand {
    pub(crate) fn open(path: &Path) -> ByHand {
        let connection = Connection::open(path).expect("a database");
        connection
            .execute_batch(&format!(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
                 PRAGMA wal_autocheckpoint = {WAL_PAGES}; PRAGMA secure_delete = ON;
                 PRAGMA cache_size = -65536;"
            ))
            .expect("settings");
        for tables in [
            include_str!("../../schema/read/sessions.sql"),
            include_str!("../../schema/read/activity.sql"),
            include_str!("../../schema/read/search.sql"),
        ] {
            connection.execute_batch(tables).expect("tables");
        }
        connection.set_prepared_statement_cache_capacity(128);
        ByHand { connection, seq: 0, last_session: None }
    }

    /// Puts events into the tables of sessions.
    pub(crate) fn write(&mut self, events: &[Draft]) {
        for batch in events.chunks(BATCH) {
            let tx = self.connection.unchecked_transaction().expect("begun");
            let recorded_at = Timestamp::now().to_sql();
            for draft in batch {
                self.seq += 1;
                self.last_session = draft.session.as_ref().map(ToString::to_string);
                Row::of(draft, self.seq, &recorded_at).write(&tx);
            }
            tx.commit().expect("committed");
        }
    }

    /// Puts texts into a full-text index beside a table of documents.
    pub(crate) fn index(&mut self, documents: &[Document]) {
        for batch in documents.chunks(BATCH) {
            let tx = self.connection.unchecked_transaction().expect("begun");
            {
                let mut document = tx
                    .prepare_cached("INSERT INTO search_documents VALUES (?, ?, ?, ?)")
                    .expect("a statement");
                let mut index =
                    tx.prepare_cached("INSERT INTO search (rowid, text) VALUES (?, ?)").expect("a statement");
                for Document { seq, session, kind, subject, text } in batch {
                    document.execute(params![seq, session, kind, subject]).expect("inserted");
                    index.execute(params![seq, text]).expect("indexed");
                }
            }
            tx.commit().expect("committed");
        }
    }

    /// Whether the last event's row can be seen.
    pub(crate) fn holds(&self, session: &str) -> bool {
        self.connection
            .query_row("SELECT last_seq FROM annals_sessions WHERE id = ?", [session], |row| {
                row.get::<_, i64>(0)
            })
            .is_ok()
    }
}

/// A row of `search_documents`, and the words of its event.
pub(crate) struct Document {
    pub(crate) seq: i64,
    pub(crate) session: Option<String>,
    pub(crate) kind: String,
    pub(crate) subject: Option<String>,
    pub(crate) text: String,
}

impl Document {
    /// Those of a log.
    pub(crate) fn all_of(log: &Path) -> Vec<Document> {
        let connection = Connection::open(log).expect("a connection");
        connection
            .execute_batch(
                "CREATE VIRTUAL TABLE temp.instances USING fts5vocab('main', 'search', 'instance')",
            )
            .expect("a list of words");
        let mut statement = connection
            .prepare(
                "SELECT seq, session_id, kind, subject_id, group_concat(term, ' ') FROM
                   (SELECT doc, term FROM temp.instances ORDER BY doc, \"offset\")
                 JOIN search_documents ON seq = doc GROUP BY seq ORDER BY seq",
            )
            .expect("a statement");
        let documents = statement
            .query_map([], |row| {
                Ok(Document {
                    seq: row.get(0)?,
                    session: row.get(1)?,
                    kind: row.get(2)?,
                    subject: row.get(3)?,
                    text: row.get(4)?,
                })
            })
            .expect("rows");
        documents.collect::<rusqlite::Result<_>>().expect("documents")
    }
}

/// An event on its way to the tables.
struct Row<'a> {
    seq: i64,
    session: &'a str,
    at: Option<String>,
    at_micros: Option<i64>,
    recorded_at: &'a str,
    event: &'a Event,
}

fn hash(text: &Option<String>) -> Option<String> {
    text.as_ref().map(|text| Digest::of(text).to_string())
}

fn summary(text: &Option<String>) -> Option<String> {
    text.as_ref().map(|text| text.chars().take(200).collect())
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("JSON")
}

fn attributes(attributes: &annals::Attributes) -> Option<String> {
    (!attributes.is_empty()).then(|| json(attributes))
}

impl<'a> Row<'a> {
    fn of(draft: &'a Draft, seq: i64, recorded_at: &'a str) -> Row<'a> {
        Row {
            seq,
            session: draft.session.as_ref().expect("a session").as_str(),
            at: draft.at.map(Timestamp::to_sql),
            at_micros: draft.at.map(Timestamp::micros),
            recorded_at,
            event: &draft.event,
        }
    }

    fn execute(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) {
        tx.prepare_cached(sql).expect("a statement").execute(values).expect("a change");
    }

    fn write(&self, tx: &Transaction<'_>) {
        let Row { seq, session, at, recorded_at, .. } = self;
        let (kind, subject) = match self.event {
            Event::SessionStarted(_) => ("session.started", None),
            Event::StepStarted(e) => ("step.started", Some(e.step.as_str())),
            Event::DecisionMade(e) => ("decision.made", Some(e.decision.as_str())),
            Event::StepEnded(e) => ("step.ended", Some(e.step.as_str())),
            Event::FindingRaised(e) => ("finding.raised", Some(e.finding.as_str())),
            _ => ("session.ended", None),
        };
        Row::execute(
            tx,
            "INSERT INTO timeline (seq, session_id, kind, subject_id, occurred_at, recorded_at, redacted)
             VALUES (?, ?, ?, ?, ?, ?, 0)",
            params![seq, session, kind, subject, at, recorded_at],
        );
        match self.event {
            Event::SessionStarted(e) => Row::execute(
                tx,
                "INSERT INTO annals_sessions (id, profile, own_status, started_at, input_text, input_hash, source, labels,
                     attributes, event_count, step_count, error_count, decision_count, finding_count,
                     redacted_count, start_count, erased_end_count, below_count, first_recorded_at, last_recorded_at,
                     first_seq, last_seq)
                 VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7, ?8, 1, 0, 0, 0, 0, 0, 1, 0, 0, ?9, ?9, ?10, ?10)",
                params![
                    session,
                    e.profile,
                    at,
                    e.input,
                    hash(&e.input),
                    e.source,
                    json(&e.labels),
                    attributes(&e.attributes),
                    recorded_at,
                    seq
                ],
            ),
            Event::StepStarted(e) => {
                Row::execute(
                    tx,
                    "INSERT INTO annals_steps (id, session_id, parent_step_id, module, kind, model, status, started_at,
                         input_text, input_hash, input_summary_text, attributes, first_recorded_at, last_recorded_at,
                         first_seq, last_seq)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'running', ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?13)",
                    params![
                        e.step.as_str(),
                        session,
                        e.parent_step.as_ref().map(annals::StepId::as_str),
                        e.module,
                        e.kind.map(|kind| kind.as_str()),
                        e.model,
                        at,
                        e.input,
                        hash(&e.input),
                        summary(&e.input),
                        attributes(&e.attributes),
                        recorded_at,
                        seq
                    ],
                );
                self.count(tx, "step_count = step_count + 1");
            }
            Event::StepEnded(e) => {
                Row::execute(
                    tx,
                    "UPDATE annals_steps SET status = ?1, ended_at = ?2, output_text = ?3, output_hash = ?4,
                         output_summary_text = ?5, confidence = ?6, tokens_input = ?7, tokens_output = ?8,
                         cost_usd = ?9, error = ?10, duration_us = ?11 - (unixepoch(started_at, 'subsec') * 1000000),
                         last_recorded_at = ?12, last_seq = ?13
                     WHERE session_id = ?14 AND id = ?15",
                    params![
                        e.status.as_str(),
                        at,
                        e.output,
                        hash(&e.output),
                        summary(&e.output),
                        e.confidence,
                        e.tokens_input.map(|tokens| tokens as i64),
                        e.tokens_output.map(|tokens| tokens as i64),
                        e.cost_usd,
                        e.error,
                        self.at_micros,
                        recorded_at,
                        seq,
                        session,
                        e.step.as_str()
                    ],
                );
                Row::execute(
                    tx,
                    "UPDATE annals_sessions SET error_count = error_count + ?1,
                         steps_tokens_input = coalesce(steps_tokens_input, 0) + ?2,
                         steps_tokens_output = coalesce(steps_tokens_output, 0) + ?3,
                         event_count = event_count + 1, last_recorded_at = ?4, last_seq = ?5
                     WHERE id = ?6",
                    params![
                        e.status == StepEnd::Error,
                        e.tokens_input.unwrap_or(0) as i64,
                        e.tokens_output.unwrap_or(0) as i64,
                        recorded_at,
                        seq,
                        session
                    ],
                );
            }
            Event::DecisionMade(e) => {
                Row::execute(
                    tx,
                    "INSERT INTO decisions (id, step_id, session_id, decision_type, options_considered,
                         chosen_option, chosen_options, decided_at, first_recorded_at, last_recorded_at,
                         first_seq, last_seq)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?10)",
                    params![
                        e.decision.as_str(),
                        e.step.as_ref().map(annals::StepId::as_str),
                        session,
                        e.decision_type,
                        json(&e.options_considered),
                        e.chosen_options.first(),
                        json(&e.chosen_options),
                        at,
                        recorded_at,
                        seq
                    ],
                );
                self.count(tx, "decision_count = decision_count + 1");
            }
            Event::FindingRaised(e) => {
                Row::execute(
                    tx,
                    "INSERT INTO annals_findings (id, session_id, category, pattern_type, severity, outcome, status,
                         is_repeated, title, description, plain_english, evidence_text, raised_at,
                         first_recorded_at, last_recorded_at, first_seq, last_seq)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open', 0, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13, ?13)",
                    params![
                        e.finding.as_str(),
                        session,
                        e.category,
                        e.pattern_type,
                        e.severity.map(|severity| severity.as_str()),
                        e.outcome.map(|outcome| outcome.as_str()),
                        e.title,
                        e.description,
                        e.plain_english,
                        e.evidence.as_ref().map(annals::Json::as_str),
                        at,
                        recorded_at,
                        seq
                    ],
                );
                self.count(tx, "finding_count = finding_count + 1");
            }
            Event::SessionEnded(e) => Row::execute(
                tx,
                "UPDATE annals_sessions SET own_status = ?1, ended_at = ?2, scores = ?3, summary_text = ?4,
                     attributes = json_patch(coalesce(attributes, '{}'), ?5),
                     duration_us = ?6 - (unixepoch(started_at, 'subsec') * 1000000),
                     event_count = event_count + 1, last_recorded_at = ?7, last_seq = ?8
                 WHERE id = ?9",
                params![
                    e.status.as_str(),
                    at,
                    json(&e.scores),
                    e.summary,
                    attributes(&e.attributes),
                    self.at_micros,
                    recorded_at,
                    seq,
                    session
                ],
            ),
            _ => {}
        }
    }

    /// Follows an event in the row of its session.
    fn count(&self, tx: &Transaction<'_>, what: &str) {
        let sql = format!(
            "UPDATE annals_sessions SET {what}, event_count = event_count + 1, last_recorded_at = ?, last_seq = ?
             WHERE id = ?"
        );
        Row::execute(tx, &sql, params![self.recorded_at, self.seq, self.session]);
    }
}
