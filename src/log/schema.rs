//! The schema of the file: numbered migrations, and what marks the file as ours.

use rusqlite::{Connection, Transaction};

/// `application_id` of every log: "Anls".
pub(crate) const APPLICATION_ID: i32 = 0x416E_6C73;

/// Size of a database page, in bytes. Pages of 4 KiB are level with it for events committed one by one, and
/// slower in large batches; pages of 16 KiB are slower for events committed one by one.
pub(crate) const PAGE_BYTES: u32 = 8_192;

/// Every migration, in order. Migration n brings `user_version` from n - 1 to n.
const MIGRATIONS: &[&str] = &[
    include_str!("../../schema/0001_log.sql"),
    include_str!("../../schema/0002_evidence.sql"),
    include_str!("../../schema/0003_api_keys.sql"),
    include_str!("../../schema/0004_generation.sql"),
];

/// The `user_version` that this version of Annals writes.
pub(crate) fn version() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
}

/// Applies the migrations that the file lacks, within the caller's transaction.
pub(crate) fn migrate(tx: &Transaction<'_>, from: i32) -> rusqlite::Result<()> {
    migrate_to(tx, from, version())
}

/// Applies the migrations between two versions.
pub(crate) fn migrate_to(tx: &Transaction<'_>, from: i32, to: i32) -> rusqlite::Result<()> {
    let count = |version| usize::try_from(version).unwrap_or(0);
    for migration in MIGRATIONS.iter().take(count(to)).skip(count(from)) {
        tx.execute_batch(migration)?;
    }
    tx.pragma_update(None, "user_version", to)
}

/// The `user_version` of a file.
pub(crate) fn version_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// An object of the schema, its statement without differences of spelling that SQLite itself makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// The objects of a schema, but for the indexes that SQLite makes by itself, which have no statement.
pub(crate) fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    connection
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name, type")?
        .query_map([], |row| {
            let sql: String = row.get(2)?;
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: normal_sql(&sql) })
        })?
        .collect()
}

/// The code of a line, without a comment at its end. Two dashes in a text begin none.
fn code(line: &str) -> &str {
    let mut in_text = false;
    let mut previous = ' ';
    for (place, c) in line.char_indices() {
        match c {
            '\'' => in_text = !in_text,
            '-' if previous == '-' && !in_text => return line.get(..place - 1).unwrap_or(line),
            _ => {}
        }
        previous = c;
    }
    line
}

/// A statement without comments and runs of white space, and without the quotes around the name of its
/// table, which renaming puts there. No other quotes are taken away: in them a condition is a text.
fn normal_sql(sql: &str) -> String {
    let mut normal: Vec<&str> = Vec::new();
    for line in sql.lines() {
        for word in code(line).split_ascii_whitespace() {
            match normal.last() {
                Some(&"TABLE" | &"ON") => {
                    let (name, rest) = table_name(word);
                    normal.extend([name, rest].into_iter().filter(|part| !part.is_empty()));
                }
                _ => normal.push(word),
            }
        }
    }
    normal.join(" ")
}

/// A table's name that may be in quotes, and the bracket that may follow it.
fn table_name(word: &str) -> (&str, &str) {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| word.strip_prefix(quote)?.split_once(quote))
        .unwrap_or_else(|| word.split_at(word.find('(').unwrap_or(word.len())))
}

/// The objects that the migrations up to a version make.
pub(crate) fn expected_objects(version: i32) -> rusqlite::Result<Vec<Object>> {
    let mut connection = Connection::open_in_memory()?;
    let tx = connection.transaction()?;
    migrate_to(&tx, 0, version)?;
    objects(&tx)
}
