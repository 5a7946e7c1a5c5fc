//! Rows of read tables in SQLite: loaded and saved by their columns.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::LazyLock;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Statement, ToSql, params_from_iter};

use super::stage::Stage;
use crate::projection::fold::cell::{Cell, ForeignCell, OwnedCell, Row, stored};
use crate::projection::fold::input::Input;
use crate::projection::fold::keys;
use crate::projection::fold::rows::{
    ActionRow, ApiKeyRow, ArtifactRow, BelowRow, CoverageDeclarationRow, CustomRow, DecisionRow, DocumentRow,
    FindingRow, FindingUpdateRow, MetricRow, NoteRow, PolicyDecisionRow, ReviewRow, SessionRow, StepRow,
    TimelineRow,
};
use crate::projection::fold::sessions;
use crate::projection::fold::tree;
use crate::projection::fold::working_set::{
    Change, Changes, Child, Document, KeyIn, Keyed, SessionKey, WorkingSet, Write,
};

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Cell::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Cell::Real(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number)),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Time(text) => ToSqlOutput::Borrowed(ValueRef::Text(text)),
            Cell::Made(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

fn owned(value: Value) -> OwnedCell {
    match value {
        Value::Integer(number) => OwnedCell::Integer(number),
        Value::Real(number) => OwnedCell::Real(number),
        Value::Text(text) => OwnedCell::Text(text),
        // No column of ours holds a blob. It is read as NULL, which the row's own type refuses where a value is
        // needed.
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
    table: Cow<'static, str>,
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
        let updates: Vec<_> = R::COLUMNS
            .iter()
            .filter(|column| !R::KEY.contains(column))
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        let insert = format!("INSERT INTO {table} ({columns}) VALUES ({marks})");
        Statements {
            load: format!("SELECT {columns} FROM {table} WHERE {}", Self::is_key()),
            // If somebody put a row in the table by hand, the row that follows from the log replaces it.
            upsert: format!(
                "{insert} ON CONFLICT ({}) DO UPDATE SET {}",
                R::KEY.join(", "),
                updates.join(", ")
            ),
            insert,
            table,
            row: PhantomData,
        }
    }

    fn is_key() -> String {
        R::KEY.iter().map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ")
    }

    /// The statement that writes some columns of a row, one for each bit of `changes`. It leaves the indexes of
    /// other columns alone.
    fn update(&self, changes: u64) -> String {
        let set: Vec<_> = R::COLUMNS
            .iter()
            .enumerate()
            .filter(|(index, _)| changes & (1 << index) != 0)
            .map(|(_, column)| format!("{column} = ?"))
            .collect();
        format!("UPDATE {} SET {} WHERE {}", self.table, set.join(", "), Self::is_key())
    }

    fn load(&self, connection: &Connection, key: &[&str]) -> rusqlite::Result<Option<R>> {
        connection
            .prepare_cached(&self.load)?
            // The key is stored without U+0000, so it is looked up in that form.
            .query_row(params_from_iter(key.iter().map(|part| stored(part))), |row| {
                let cells: Vec<OwnedCell> = (0..R::COLUMNS.len())
                    .map(|column| row.get(column).map(owned))
                    .collect::<rusqlite::Result<_>>()?;
                Ok(R::from_cells(&mut cells.into_iter())?)
            })
            .optional()
    }

    fn insert_all<'r>(
        &self,
        connection: &Connection,
        rows: impl IntoIterator<Item = &'r R>,
    ) -> rusqlite::Result<()>
    where
        R: 'r,
    {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        // A plain INSERT: rows and cursor are committed together, so only a foreign row can have the same key. The
        // conflict stops the projection at this event.
        let mut statement = connection.prepare_cached(&self.insert)?;
        rows.try_for_each(|row| write(&mut statement, row, u64::MAX, &[]).map(drop))
    }

    fn save_all(
        &self,
        connection: &Connection,
        changes: &[Change<R>],
        key: impl for<'r> Fn(&'r R) -> [&'r str; 2],
    ) -> rusqlite::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut upsert = connection.prepare_cached(&self.upsert)?;
        // Consecutive rows mostly change in the same columns, so the last statement is kept.
        let mut update: Option<(u64, CachedStatement<'_>)> = None;
        for Change { row, write: how } in changes {
            let is_written = match *how {
                Write::Columns(columns) => {
                    let kept = update.take().filter(|(of, _)| *of == columns);
                    let statement = match kept {
                        Some((_, statement)) => statement,
                        None => connection.prepare_cached(&self.update(columns))?,
                    };
                    let (_, statement) = update.insert((columns, statement));
                    let key = key(row);
                    let key = key.get(..R::KEY.len()).unwrap_or_default();
                    write(statement, &**row, columns, key)? > 0
                }
                Write::Whole => false,
            };
            // The row is new, or somebody deleted it from the table.
            if !is_written {
                write(&mut upsert, &**row, u64::MAX, &[])?;
            }
        }
        Ok(())
    }
}

/// Executes a statement with the values of some columns, and then those of a key. Returns the number of rows that
/// it changed.
fn write<R: Row>(
    statement: &mut Statement<'_>,
    row: &R,
    columns: u64,
    key: &[&str],
) -> rusqlite::Result<usize> {
    let (mut column, mut parameter) = (0, 0);
    row.put_cells(|cell| {
        let is_wanted = columns & (1 << column) != 0;
        column += 1;
        if !is_wanted {
            return Ok(());
        }
        parameter += 1;
        statement.raw_bind_parameter(parameter, cell)
    })?;
    for part in key {
        parameter += 1;
        statement.raw_bind_parameter(parameter, stored(part))?;
    }
    let changed = statement.raw_execute()?;
    // The statement is cached: without this it would keep the texts until it is used again.
    statement.clear_bindings();
    Ok(changed)
}

/// The statements for all read tables of a stage.
pub(crate) struct Store {
    sessions: Statements<SessionRow>,
    steps: Statements<StepRow>,
    below: Statements<BelowRow>,
    decisions: Statements<DecisionRow>,
    findings: Statements<FindingRow>,
    finding_updates: Statements<FindingUpdateRow>,
    timeline: Statements<TimelineRow>,
    reviews: Statements<ReviewRow>,
    artifacts: Statements<ArtifactRow>,
    metrics: Statements<MetricRow>,
    notes: Statements<NoteRow>,
    actions: Statements<ActionRow>,
    policy_decisions: Statements<PolicyDecisionRow>,
    coverage_declarations: Statements<CoverageDeclarationRow>,
    custom_events: Statements<CustomRow>,
    documents: Statements<DocumentRow>,
    api_keys: Statements<ApiKeyRow>,
    index_document: String,
}

impl Store {
    /// The statements of a stage, built once for a process.
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
            below: Statements::new(stage),
            decisions: Statements::new(stage),
            findings: Statements::new(stage),
            finding_updates: Statements::new(stage),
            timeline: Statements::new(stage),
            reviews: Statements::new(stage),
            artifacts: Statements::new(stage),
            metrics: Statements::new(stage),
            notes: Statements::new(stage),
            actions: Statements::new(stage),
            policy_decisions: Statements::new(stage),
            coverage_declarations: Statements::new(stage),
            custom_events: Statements::new(stage),
            documents: Statements::new(stage),
            api_keys: Statements::new(stage),
            index_document: format!("INSERT INTO {} (rowid, text) VALUES (?, ?)", stage.table("search")),
        }
    }

    /// Loads the rows of its session that an event may change, unless the working set has them.
    pub(in crate::projection) fn load_session(
        &self,
        connection: &Connection,
        rows: &mut WorkingSet,
        &Input { event, meanings, .. }: &Input<'_>,
    ) -> rusqlite::Result<()> {
        let Some(session) = &event.session else { return Ok(()) };
        let session = session.as_str();
        if !rows.sessions.knows(session) {
            let row = self.sessions.load(connection, &[session])?;
            rows.add_kept(row.as_ref().map_or(0, Row::text_bytes));
            rows.sessions.load(session.to_owned(), row);
        }
        // Every event of a session makes the session's row. If that row was made here, the tables have no
        // other row of the session.
        if rows.sessions.was_made(session) {
            return Ok(());
        }
        for (child, id) in meanings.iter().filter_map(|meaning| sessions::child(&meaning.event)) {
            self.load_child(connection, rows, child, KeyIn { session, id })?;
            if child == Child::Step && tree::may_have_below(rows, session) {
                self.load_child(connection, rows, Child::Below, KeyIn { session, id })?;
            }
        }
        Ok(())
    }

    /// Loads a row of a session, unless the working set has it.
    pub(in crate::projection) fn load_child(
        &self,
        connection: &Connection,
        rows: &mut WorkingSet,
        child: Child,
        key: KeyIn<'_>,
    ) -> rusqlite::Result<()> {
        let bytes = match child {
            Child::Step => load_child(&self.steps, connection, &mut rows.steps, key)?,
            Child::Below => load_child(&self.below, connection, &mut rows.below, key)?,
            Child::Decision => load_child(&self.decisions, connection, &mut rows.decisions, key)?,
            Child::Finding => load_child(&self.findings, connection, &mut rows.findings, key)?,
        };
        rows.add_kept(bytes);
        Ok(())
    }

    /// Loads the API key that an event is about, unless the working set has it.
    pub(in crate::projection) fn load_key(
        &self,
        connection: &Connection,
        rows: &mut WorkingSet,
        &Input { event, .. }: &Input<'_>,
    ) -> rusqlite::Result<()> {
        let Some(key) = keys::key_of(event) else { return Ok(()) };
        if !rows.api_keys.knows(key.as_str()) {
            let row = self.api_keys.load(connection, &[&key])?;
            rows.add_kept(row.as_ref().map_or(0, Row::text_bytes));
            rows.api_keys.load(key, row);
        }
        Ok(())
    }

    /// Saves changed rows, within the caller's transaction.
    pub(crate) fn save(&self, connection: &Connection, changes: &Changes) -> rusqlite::Result<()> {
        self.sessions.save_all(connection, &changes.sessions, |row| [&row.id, ""])?;
        self.steps.save_all(connection, &changes.steps, |row| [&row.session_id, &row.id])?;
        self.below.save_all(connection, &changes.below, |row| [&row.session_id, &row.id])?;
        self.decisions.save_all(connection, &changes.decisions, |row| [&row.session_id, &row.id])?;
        self.findings.save_all(connection, &changes.findings, |row| [&row.session_id, &row.id])?;
        self.api_keys.save_all(connection, &changes.api_keys, |row| [&row.id, ""])?;
        let single = &changes.single;
        self.finding_updates.insert_all(connection, &single.finding_updates)?;
        self.timeline.insert_all(connection, &single.timeline)?;
        self.reviews.insert_all(connection, &single.reviews)?;
        self.artifacts.insert_all(connection, &single.artifacts)?;
        self.metrics.insert_all(connection, &single.metrics)?;
        self.notes.insert_all(connection, &single.notes)?;
        self.actions.insert_all(connection, &single.actions)?;
        self.policy_decisions.insert_all(connection, &single.policy_decisions)?;
        self.coverage_declarations.insert_all(connection, &single.coverage_declarations)?;
        self.custom_events.insert_all(connection, &single.custom_events)?;
        if !single.documents.is_empty() {
            // The index takes the words of a text and does not store the text itself.
            let mut index = connection.prepare_cached(&self.index_document)?;
            for Document { row, text } in &single.documents {
                index.execute(rusqlite::params![row.seq, text])?;
            }
        }
        self.documents.insert_all(connection, single.documents.iter().map(|document| &document.row))
    }
}

/// Loads a row of a session unless the working set has it. Returns the bytes of text that were loaded.
fn load_child<R: Row + Clone>(
    statements: &Statements<R>,
    connection: &Connection,
    rows: &mut Keyed<SessionKey, R>,
    key: KeyIn<'_>,
) -> rusqlite::Result<usize> {
    if rows.knows(&key) {
        return Ok(0);
    }
    let row = statements.load(connection, &[key.session, key.id])?;
    let bytes = row.as_ref().map_or(0, Row::text_bytes);
    rows.load((&key).into(), row);
    Ok(bytes)
}
