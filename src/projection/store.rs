//! Rows of read tables in SQLite: loaded and saved by their columns.

use std::marker::PhantomData;
use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use super::cell::{Cell, ForeignCell, OwnedCell, Row};
use super::fold_keys;
use super::fold_sessions::{self, Child};
use super::rows::{
    ActionRow, ApiKeyRow, ArtifactRow, CustomRow, DecisionRow, DocumentRow, FindingRow, FindingUpdateRow,
    MetricRow, NoteRow, ReviewRow, SessionRow, StepRow, TimelineRow,
};
use super::tables::Stage;
use super::working_set::{Keyed, SessionKey, WorkingSet};
use crate::event::Recorded;
use crate::otel::Meaning;

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Cell::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Cell::Real(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Made(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

fn owned(value: Value) -> OwnedCell {
    match value {
        Value::Integer(number) => OwnedCell::Integer(number),
        Value::Real(number) => OwnedCell::Real(number),
        Value::Text(text) => OwnedCell::Text(text),
        // No column of ours holds blobs; the row's own type refuses what is not NULL there.
        Value::Null | Value::Blob(_) => OwnedCell::Null,
    }
}

impl From<ForeignCell> for rusqlite::Error {
    fn from(error: ForeignCell) -> rusqlite::Error {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(error))
    }
}

/// The statements for one table.
struct Statements<R> {
    load: String,
    insert: String,
    upsert: String,
    row: PhantomData<R>,
}

impl<R: Row> Statements<R> {
    fn new(stage: Stage) -> Statements<R> {
        let table = stage.table(R::TABLE);
        let columns = R::COLUMNS.join(", ");
        let marks = vec!["?"; R::COLUMNS.len()].join(", ");
        let key: Vec<_> = R::KEY.iter().map(|column| format!("{column} = ?")).collect();
        let updates: Vec<_> = R::COLUMNS
            .iter()
            .filter(|column| !R::KEY.contains(column))
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({marks})");
        Statements {
            load: format!("SELECT {columns} FROM {table} WHERE {}", key.join(" AND ")),
            upsert: format!(
                "{insert} ON CONFLICT ({}) DO UPDATE SET {}",
                R::KEY.join(", "),
                updates.join(", ")
            ),
            insert,
            row: PhantomData,
        }
    }

    fn load(&self, connection: &Connection, key: &[&str]) -> rusqlite::Result<Option<R>> {
        connection
            .prepare_cached(&self.load)?
            .query_row(params_from_iter(key), |row| {
                let mut cells = Vec::with_capacity(R::COLUMNS.len());
                for column in 0..R::COLUMNS.len() {
                    cells.push(owned(row.get(column)?));
                }
                Ok(R::from_cells(&mut cells.into_iter())?)
            })
            .optional()
    }

    fn insert_all(&self, connection: &Connection, rows: &mut Vec<R>) -> rusqlite::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(&self.insert)?;
        for row in rows.drain(..) {
            statement.execute(params_from_iter(row.cells()))?;
        }
        Ok(())
    }

    fn upsert_all<K: std::hash::Hash + Eq>(
        &self,
        connection: &Connection,
        rows: &mut Keyed<K, R>,
    ) -> rusqlite::Result<()> {
        let changed = rows.take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        let mut statement = connection.prepare_cached(&self.upsert)?;
        for row in changed {
            statement.execute(params_from_iter(row.cells()))?;
        }
        Ok(())
    }
}

/// The tables of a stage.
pub(crate) struct Store {
    sessions: Statements<SessionRow>,
    steps: Statements<StepRow>,
    decisions: Statements<DecisionRow>,
    findings: Statements<FindingRow>,
    finding_updates: Statements<FindingUpdateRow>,
    timeline: Statements<TimelineRow>,
    reviews: Statements<ReviewRow>,
    artifacts: Statements<ArtifactRow>,
    metrics: Statements<MetricRow>,
    notes: Statements<NoteRow>,
    actions: Statements<ActionRow>,
    custom_events: Statements<CustomRow>,
    documents: Statements<DocumentRow>,
    api_keys: Statements<ApiKeyRow>,
    index_document: String,
}

impl Store {
    /// The statements of a stage, made once.
    pub(crate) fn of(stage: Stage) -> &'static Store {
        static LIVE: LazyLock<Store> = LazyLock::new(|| Store::new(Stage::Live));
        static BUILDING: LazyLock<Store> = LazyLock::new(|| Store::new(Stage::Building));
        match stage {
            Stage::Live => &LIVE,
            Stage::Building => &BUILDING,
        }
    }

    fn new(stage: Stage) -> Store {
        Store {
            sessions: Statements::new(stage),
            steps: Statements::new(stage),
            decisions: Statements::new(stage),
            findings: Statements::new(stage),
            finding_updates: Statements::new(stage),
            timeline: Statements::new(stage),
            reviews: Statements::new(stage),
            artifacts: Statements::new(stage),
            metrics: Statements::new(stage),
            notes: Statements::new(stage),
            actions: Statements::new(stage),
            custom_events: Statements::new(stage),
            documents: Statements::new(stage),
            api_keys: Statements::new(stage),
            index_document: format!("INSERT INTO {} (rowid, text) VALUES (?, ?)", stage.table("search")),
        }
    }

    /// Loads what an event may change of its session.
    pub(super) fn load_session(
        &self,
        connection: &Connection,
        rows: &mut WorkingSet,
        event: &Recorded,
        meanings: &[Meaning<'_>],
    ) -> rusqlite::Result<()> {
        let Some(session) = &event.session else { return Ok(()) };
        let session = session.as_str();
        if !rows.sessions.knows(session) {
            rows.sessions.load(session.to_owned(), self.sessions.load(connection, &[session])?);
        }
        for (child, id) in meanings.iter().filter_map(|meaning| fold_sessions::child(&meaning.event)) {
            let key: SessionKey = (session.to_owned(), id.to_owned());
            let names = [session, id];
            match child {
                Child::Step if !rows.steps.knows(&key) => {
                    rows.steps.load(key, self.steps.load(connection, &names)?)
                }
                Child::Decision if !rows.decisions.knows(&key) => {
                    rows.decisions.load(key, self.decisions.load(connection, &names)?);
                }
                Child::Finding if !rows.findings.knows(&key) => {
                    rows.findings.load(key, self.findings.load(connection, &names)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Loads the key that an event is about.
    pub(super) fn load_key(
        &self,
        connection: &Connection,
        rows: &mut WorkingSet,
        event: &Recorded,
        _: &[Meaning<'_>],
    ) -> rusqlite::Result<()> {
        let Some(key) = fold_keys::key_of(event) else { return Ok(()) };
        if !rows.api_keys.knows(&key) {
            let row = self.api_keys.load(connection, &[&key])?;
            rows.api_keys.load(key, row);
        }
        Ok(())
    }

    /// Saves what changed.
    pub(crate) fn save(&self, connection: &Connection, rows: &mut WorkingSet) -> rusqlite::Result<()> {
        self.sessions.upsert_all(connection, &mut rows.sessions)?;
        self.steps.upsert_all(connection, &mut rows.steps)?;
        self.decisions.upsert_all(connection, &mut rows.decisions)?;
        self.findings.upsert_all(connection, &mut rows.findings)?;
        self.finding_updates.insert_all(connection, &mut rows.finding_updates)?;
        self.timeline.insert_all(connection, &mut rows.timeline)?;
        self.reviews.insert_all(connection, &mut rows.reviews)?;
        self.artifacts.insert_all(connection, &mut rows.artifacts)?;
        self.metrics.insert_all(connection, &mut rows.metrics)?;
        self.notes.insert_all(connection, &mut rows.notes)?;
        self.actions.insert_all(connection, &mut rows.actions)?;
        self.custom_events.insert_all(connection, &mut rows.custom_events)?;
        if !rows.documents.is_empty() {
            let mut statement = connection.prepare_cached(&self.index_document)?;
            for document in &rows.documents {
                statement.execute(rusqlite::params![document.seq, document.text])?;
            }
        }
        self.documents.insert_all(connection, &mut rows.documents)?;
        self.api_keys.upsert_all(connection, &mut rows.api_keys)
    }
}
