//! The tables of each projection: their definition, their creation, and the switch to those of a rebuild.

use rusqlite::{Connection, OptionalExtension, params};

use super::cursor::cursor;
use super::left_out::{self, Attached};
use super::stage::Stage;
use super::store::Store;
use crate::log::schema::{self, Object};
use crate::projection::fold::input::Input;
use crate::projection::fold::working_set::WorkingSet;
use crate::projection::fold::{activity, keys, search, sessions};

/// A fold and the tables that it fills.
pub(crate) struct Projection {
    pub(crate) name: &'static str,
    /// Version of the fold and its tables. A change of either needs a new version, and causes a rebuild.
    pub(crate) version: u32,
    pub(crate) tables: &'static [Table],
    former: &'static [Former],
    definition: &'static str,
    pub(crate) rows: Rows,
    pub(crate) taken_back: TakenBack,
    pub(crate) throttling: Throttling,
    /// Folds one event.
    pub(crate) fold: fn(&mut WorkingSet, &Input<'_>),
}

/// Reads the rows that the fold of an event reads or changes, unless the working set has them.
pub(crate) type Load = fn(&Store, &Connection, &mut WorkingSet, &Input<'_>) -> rusqlite::Result<()>;

/// The life of a row once it is in its table.
pub(crate) enum Rows {
    /// Later events change a row, so it is read before they are folded.
    Change(Load),
    /// A row belongs to one event, and is written once.
    Stay,
}

/// A table of a projection.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The name by which its rows are read: its own, or that of a view that shows them with their texts.
    pub(crate) shown: &'static str,
    /// The columns of its key.
    pub(crate) key: &'static [&'static str],
    pub(crate) form: Form,
    /// The column with the session that a row belongs to, if rows belong to sessions.
    pub(crate) session: Option<&'static str>,
    /// The column with the first event of a row: the order of the log.
    pub(crate) order: &'static str,
}

/// A table of earlier versions of a projection. Since then its name may belong to somebody else.
struct Former {
    name: &'static str,
    /// The table that replaced it.
    now: &'static str,
    /// The first version without it.
    gone_in: u32,
}

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Rows, with a key.
    Rows,
    /// Rows that only the fold reads.
    Workings,
    /// A full-text index of the column `text` of another table of the projection, which is in the order of
    /// the log. The index stores no texts.
    Index { of: &'static str },
}

impl Table {
    /// A table with one row for each event.
    const fn of_events(name: &'static str) -> Table {
        Table {
            name,
            shown: name,
            key: &["seq"],
            form: Form::Rows,
            session: Some("session_id"),
            order: "seq",
        }
    }

    /// A table whose rows each follow from several events.
    const fn of_several_events(name: &'static str, session: Option<&'static str>) -> Table {
        Table { name, shown: name, key: &["id"], form: Form::Rows, session, order: "first_seq" }
    }

    /// A table whose rows each follow from several events of one session. Ids are unique within the session.
    const fn in_sessions(name: &'static str) -> Table {
        Table { key: &["session_id", "id"], ..Table::of_several_events(name, Some("session_id")) }
    }

    const fn shown_as(self, view: &'static str) -> Table {
        Table { shown: view, ..self }
    }

    const fn index(name: &'static str, of: &'static str) -> Table {
        Table { name, shown: name, key: &["rowid"], form: Form::Index { of }, session: None, order: "rowid" }
    }

    /// A table in sessions that only the fold reads.
    const fn workings(name: &'static str) -> Table {
        Table { form: Form::Workings, ..Table::in_sessions(name) }
    }

    /// Returns whether its rows are for programs to read.
    pub(crate) fn is_read(&self) -> bool {
        self.form != Form::Workings
    }

    pub(crate) fn is_index(&self) -> bool {
        matches!(self.form, Form::Index { .. })
    }
}

/// The way to take back what an erased event left in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakenBack {
    /// The rows of its session follow from all events of the session, and are made again from those that are left.
    /// The table `timeline` names the session of each event.
    WithItsSession { timeline: &'static str },
    /// Its own rows are deleted.
    ByItself,
    /// There is nothing to take back: the tables are made from events that Annals itself writes, which are never
    /// redacted.
    Never,
}

/// The pace at which tables are written while events come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Throttling {
    Soon,
    /// Each transaction has a large fixed cost: in a full-text index it makes a segment.
    Seldom,
}

/// Every projection.
pub(crate) static PROJECTIONS: [Projection; 4] = [
    Projection {
        name: "sessions",
        version: 11,
        tables: &[
            Table::of_several_events("annals_sessions", Some("id")).shown_as("sessions"),
            Table::in_sessions("annals_steps").shown_as("steps"),
            Table::workings("annals_below"),
            Table::in_sessions("decisions"),
            Table::in_sessions("annals_findings").shown_as("findings"),
            Table::of_events("finding_updates"),
            Table::of_events("timeline"),
        ],
        former: &[],
        definition: include_str!("../../../schema/read/sessions.sql"),
        rows: Rows::Change(Store::load_session),
        taken_back: TakenBack::WithItsSession { timeline: "timeline" },
        throttling: Throttling::Soon,
        fold: sessions::fold,
    },
    Projection {
        name: "activity",
        version: 5,
        tables: &[
            Table::of_events("reviews"),
            Table { key: &["seq", "item"], ..Table::of_events("artifacts") },
            Table::of_events("metrics"),
            Table::of_events("notes"),
            Table::of_events("actions"),
            Table::of_events("policy_decisions"),
            Table::of_events("coverage_declarations"),
            Table::of_events("custom_events"),
        ],
        former: &[],
        definition: include_str!("../../../schema/read/activity.sql"),
        rows: Rows::Stay,
        taken_back: TakenBack::ByItself,
        throttling: Throttling::Soon,
        fold: activity::fold,
    },
    Projection {
        name: "search",
        version: 7,
        tables: &[Table::of_events("search_documents"), Table::index("search", "search_documents")],
        former: &[Former { name: "documents", now: "search_documents", gone_in: 5 }],
        definition: include_str!("../../../schema/read/search.sql"),
        rows: Rows::Stay,
        taken_back: TakenBack::ByItself,
        throttling: Throttling::Seldom,
        fold: search::fold,
    },
    Projection {
        name: "keys",
        version: 2,
        tables: &[Table::of_several_events("api_keys", None)],
        former: &[],
        definition: include_str!("../../../schema/read/keys.sql"),
        rows: Rows::Change(Store::load_key),
        taken_back: TakenBack::Never,
        throttling: Throttling::Soon,
        fold: keys::fold,
    },
];

/// The projection with this name.
pub(crate) fn find(name: &str) -> Option<&'static Projection> {
    PROJECTIONS.iter().find(|projection| projection.name == name)
}

impl Projection {
    /// The names by which its tables are read.
    pub(crate) fn table_names(&self) -> Vec<&'static str> {
        self.tables.iter().filter(|table| table.is_read()).map(|table| table.shown).collect()
    }

    /// The full-text index of a table, if it has one.
    pub(crate) fn index_of(&self, table: &str) -> Option<&'static Table> {
        self.tables.iter().find(|index| matches!(index.form, Form::Index { of } if of == table))
    }

    /// Returns whether one of its tables is a full-text index.
    pub(crate) fn has_index(&self) -> bool {
        self.tables.iter().any(Table::is_index)
    }

    /// The statements that create the tables, with the names of a stage and generation. SQLite cannot rename
    /// indexes, so from the second generation on their names carry its number.
    fn statements(&self, stage: Stage, generation: u32) -> Vec<String> {
        let code: Vec<&str> =
            self.definition.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        code.join("\n")
            .split(";\n")
            .map(str::trim)
            .filter(|statement| !statement.is_empty())
            .map(|statement| named(statement, stage, generation))
            .collect()
    }

    /// Creates the tables, empty, and for the live stage the views of them.
    pub(crate) fn create_tables(
        &self,
        connection: &Connection,
        stage: Stage,
        generation: u32,
    ) -> rusqlite::Result<()> {
        let mut statements = self.statements(stage, generation);
        match stage {
            Stage::Live => {}
            // SQLite cannot rename a view: `switch` creates it when its table has its final name.
            Stage::Building => statements.retain(|statement| !is_view(statement)),
        }
        statements.iter().try_for_each(|statement| connection.execute_batch(statement))
    }

    /// Drops the tables of a stage and their views, whatever version they have.
    fn drop_tables(&self, connection: &Connection, stage: Stage) -> rusqlite::Result<()> {
        let former = self.former_of(connection, stage)?.map(|table| table.name);
        let views = self.tables.iter().filter(|table| table.shown != table.name).map(|table| table.shown);
        let tables = self.tables.iter().map(|table| table.name);
        // Views go first, because they refer to the tables. One name can be a table in one version and a view in
        // another, so the file is asked which it is.
        views.chain(tables).chain(former).try_for_each(|name| {
            let name = stage.table(name);
            match kind_of(connection, &name)? {
                Some(kind) => connection.execute_batch(&format!("DROP {kind} \"{name}\"")),
                None => Ok(()),
            }
        })
    }

    /// The tables of a stage that its stored version has and this version lacks.
    fn former_of(
        &self,
        connection: &Connection,
        stage: Stage,
    ) -> rusqlite::Result<impl Iterator<Item = &'static Former>> {
        let version = cursor(connection, self.name, stage)?.map_or(self.version, |cursor| cursor.version);
        Ok(self.former.iter().filter(move |table| version < table.gone_in))
    }

    /// Creates the tables of a rebuild beside the live ones, and a cursor at the start of the log. A rebuild that
    /// is under way is abandoned.
    pub(crate) fn start_rebuild(&self, connection: &Connection) -> rusqlite::Result<()> {
        let live = cursor(connection, self.name, Stage::Live)?;
        // The live indexes keep their names until the switch, and the new generation gives those of the rebuild
        // other names.
        let generation = live.map_or(1, |live| live.generation.saturating_add(1));
        self.drop_tables(connection, Stage::Building)?;
        self.create_tables(connection, Stage::Building, generation)?;
        connection.execute(
            "INSERT OR REPLACE INTO projections (name, stage, version, generation, position) VALUES (?1, 'building', ?2, ?3, 0)",
            params![self.name, self.version, generation],
        )?;
        Ok(())
    }

    /// Replaces the live tables by those of a finished rebuild. Views of users stay as they are, and their indexes
    /// and triggers are created again.
    pub(crate) fn switch(&self, connection: &Connection) -> rusqlite::Result<()> {
        let generation =
            cursor(connection, self.name, Stage::Building)?.map_or(1, |cursor| cursor.generation);
        // First, so that indexes and triggers of users are found under the present names of their tables.
        self.rename_to_present(connection)?;
        let mut attached = self.foreign_attachments(connection)?;
        // Those that an earlier rebuild could not create are tried again.
        attached.extend(left_out::take(connection, self.name)?);
        // This drops indexes and triggers as well. `attached` has the statements of those that are not ours.
        self.drop_tables(connection, Stage::Live)?;
        for Table { name, .. } in self.tables {
            connection
                .execute_batch(&format!("ALTER TABLE {} RENAME TO {name}", Stage::Building.table(name)))?;
        }
        // Tables and indexes came with the renaming; only the views are missing.
        let statements = self.statements(Stage::Live, generation);
        statements
            .iter()
            .filter(|statement| is_view(statement))
            .try_for_each(|view| connection.execute_batch(view))?;
        // The cursor moves with the tables, in the caller's transaction: a crash leaves both as they were.
        connection.execute("DELETE FROM projections WHERE name = ?1 AND stage = 'live'", [self.name])?;
        connection.execute(
            "UPDATE projections SET stage = 'live' WHERE name = ?1 AND stage = 'building'",
            [self.name],
        )?;
        attached.iter().try_for_each(|object| object.attach(connection, self.name))
    }

    /// Renames tables to their present names. In an earlier version, people read these tables directly, and
    /// there were no views of them. Indexes and triggers that users attached stay with their tables.
    fn rename_to_present(&self, connection: &Connection) -> rusqlite::Result<()> {
        let shown = self.tables.iter().filter(|table| table.shown != table.name);
        let former = self.former_of(connection, Stage::Live)?;
        let names =
            shown.map(|table| (table.shown, table.name)).chain(former.map(|table| (table.name, table.now)));
        for (then, now) in names {
            // A view of this name belongs to the present version, and stays.
            if kind_of(connection, then)?.as_deref() == Some("table") {
                connection.execute_batch(&format!("ALTER TABLE {then} RENAME TO {now}"))?;
            }
        }
        Ok(())
    }

    /// The indexes and triggers on the live tables that are not ours.
    fn foreign_attachments(&self, connection: &Connection) -> rusqlite::Result<Vec<Attached>> {
        let ours = cursor(connection, self.name, Stage::Live)?
            .map(|live| self.objects(Stage::Live, live.generation))
            .transpose()?
            .unwrap_or_default();
        let mut statement = connection.prepare(
            "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, table, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            // The table of a trigger is spelled as its author spelled it.
            let is = |own: &str| own.eq_ignore_ascii_case(&table);
            let own = self.tables.iter().find(|own| is(own.name) || is(own.shown));
            if let Some(own) = own
                && !ours.iter().any(|object| object.name == name)
            {
                found.push(Attached { name, table: own.name.to_owned(), sql });
            }
        }
        Ok(found)
    }

    /// Lists the schema objects of the tables, which it creates in a database in memory for that.
    pub(crate) fn objects(&self, stage: Stage, generation: u32) -> rusqlite::Result<Vec<Object>> {
        let connection = Connection::open_in_memory()?;
        self.create_tables(&connection, stage, generation)?;
        schema::objects(&connection)
    }
}

/// The type of the table or view with a name, as SQL names it: `table` or `view`.
fn kind_of(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT type FROM sqlite_schema WHERE name = ?1 AND type IN ('table', 'view')")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn is_view(statement: &str) -> bool {
    statement.starts_with("CREATE VIEW ")
}

/// Replaces the names in a statement by those of a stage and generation.
fn named(statement: &str, stage: Stage, generation: u32) -> String {
    // `head` is everything before the columns. The statements are our own, from schema/read, so no other
    // forms occur.
    let (head, rest) =
        statement.split_once(" (").or_else(|| statement.split_once(" USING")).unwrap_or((statement, ""));
    let separator =
        if statement.get(head.len()..).is_some_and(|tail| tail.starts_with(" (")) { " (" } else { " USING" };
    let words: Vec<&str> = head.split_whitespace().collect();
    let head = match words.as_slice() {
        ["CREATE", "INDEX", index, "ON", table] => {
            let index = if generation > 1 { format!("{index}_{generation}") } else { (*index).to_owned() };
            format!("CREATE INDEX {index} ON {}", stage.table(table))
        }
        ["CREATE", "TABLE", table] => format!("CREATE TABLE {}", stage.table(table)),
        ["CREATE", "VIRTUAL", "TABLE", table] => format!("CREATE VIRTUAL TABLE {}", stage.table(table)),
        // A command to a full-text table is inserted into the column that has the table's name.
        ["INSERT", "INTO", table] => {
            let table = stage.table(table);
            return format!("INSERT INTO {table} ({table}{}", rest.trim_start_matches(|c| c != ','));
        }
        _ => head.to_owned(),
    };
    head + separator + rest
}

/// The table behind a name that people read.
pub(crate) struct Stored {
    /// The table that holds the rows.
    pub(crate) rows: &'static str,
    /// The columns of their key.
    pub(crate) key: &'static [&'static str],
}

/// Finds the table behind a name of this version. Tables of an earlier version are read until this version's have
/// replaced them.
pub(crate) fn stored(connection: &Connection, shown: &str) -> rusqlite::Result<Stored> {
    let table =
        PROJECTIONS.iter().flat_map(|projection| projection.tables).find(|table| table.shown == shown);
    let Some(&Table { name, shown, key, .. }) = table else { return Err(rusqlite::Error::InvalidQuery) };
    // In an earlier version the table had another name, or the name that a view has now.
    let mut former = PROJECTIONS.iter().flat_map(|projection| projection.former);
    let earlier = former.find(|table| table.now == name).map_or(shown, |table| table.name);
    let is_there = name == earlier || kind_of(connection, name)?.is_some();
    Ok(Stored { rows: if is_there { name } else { earlier }, key })
}

/// Creates the tables of every projection that the file lacks.
pub(crate) fn install(connection: &Connection) -> rusqlite::Result<()> {
    for projection in &PROJECTIONS {
        // Tables and cursor are created in one transaction of the caller: without a cursor there are no tables.
        if cursor(connection, projection.name, Stage::Live)?.is_none() {
            projection.create_tables(connection, Stage::Live, 1)?;
            connection.execute(
                "INSERT INTO projections (name, stage, version, generation, position) VALUES (?1, 'live', ?2, 1, 0)",
                params![projection.name, projection.version],
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::projection::fold::cell::Row;
    use crate::projection::fold::columns::tables;
    use crate::projection::fold::rows::*;

    /// The columns of a table: the stored ones in their order, and those that SQLite generates.
    #[derive(Debug, PartialEq)]
    struct Columns {
        table: String,
        stored: Vec<String>,
        generated: BTreeSet<String>,
    }

    impl Columns {
        /// The columns as declared. A column that is read can also be stored, as another type.
        fn declared<R: Row>(read: &[(&str, &str)]) -> Columns {
            let key = PROJECTIONS
                .iter()
                .flat_map(|projection| projection.tables)
                .find(|table| table.name == R::TABLE);
            assert_eq!(key.unwrap().key, R::KEY, "{}", R::TABLE);
            let generated = read.iter().filter(|(column, _)| !R::COLUMNS.contains(column));
            Columns {
                table: R::TABLE.to_owned(),
                stored: R::COLUMNS.iter().map(|column| (*column).to_owned()).collect(),
                generated: generated.map(|(column, _)| (*column).to_owned()).collect(),
            }
        }

        /// The columns as a file has them.
        fn of(file: &Connection, table: &Table) -> Columns {
            let columns = |table: &str| -> Vec<(String, i64)> {
                let mut statement = file.prepare("SELECT name, hidden FROM pragma_table_xinfo(?1)").unwrap();
                let columns = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                columns.map(Result::unwrap).collect()
            };
            let stored = columns(table.name).into_iter().filter(|(_, hidden)| *hidden == 0);
            let stored: Vec<String> = stored.map(|(column, _)| column).collect();
            let shown = columns(table.shown).into_iter().map(|(column, _)| column);
            let generated = shown.filter(|column| !stored.contains(column)).collect();
            Columns { table: table.name.to_owned(), stored, generated }
        }
    }

    macro_rules! declared {
        ($(
            $(#[$doc:meta])*
            $row:ident in $table:literal => $record:ident in $shown:literal, key $key:tt {$(
                #[$column_doc:meta]
                $column:ident $(stored($stored:ty))? $(read($read:ty))? $(: $both:ty)?,
            )*}
        )*) => {
            [$( Columns::declared::<$row>(&[$( $((stringify!($column), stringify!($read)),)? )*]) ),*]
        };
    }

    #[test]
    fn the_columns_that_are_declared_are_those_of_a_fresh_file() {
        let mut declared = Vec::from(tables!(declared));
        declared.push(Columns::declared::<BelowRow>(&[]));
        declared.push(Columns::declared::<CustomRow>(&[]));
        declared.push(Columns::declared::<DocumentRow>(&[("text", "")]));
        declared.push(Columns::declared::<ApiKeyRow>(&[]));
        declared.sort_by(|a, b| a.table.cmp(&b.table));

        let file = Connection::open_in_memory().unwrap();
        // The views refer to this table.
        file.execute_batch("CREATE TABLE log (seq INTEGER PRIMARY KEY, payload BLOB)").unwrap();
        PROJECTIONS.iter().for_each(|projection| projection.create_tables(&file, Stage::Live, 1).unwrap());
        let tables = PROJECTIONS.iter().flat_map(|projection| projection.tables);
        let mut found: Vec<Columns> =
            tables.filter(|table| !table.is_index()).map(|table| Columns::of(&file, table)).collect();
        found.sort_by(|a, b| a.table.cmp(&b.table));
        // The order of stored columns is compared as well: `claims` names columns by their index.
        assert_eq!(declared, found);
    }
}
