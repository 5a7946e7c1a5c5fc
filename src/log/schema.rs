//! The schema of the file: numbered migrations, and the marks of a file of Annals.

use rusqlite::{Connection, Transaction};

/// `application_id` of every log: "Anls".
pub(crate) const APPLICATION_ID: i32 = 0x416E_6C73;

/// Size of a database page, in bytes. Pages of 4 KiB are as fast for events that are committed one by one, and slower
/// in large batches. Pages of 16 KiB are slower for events that are committed one by one.
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

/// The tables that Annals makes, with the version of the schema that brings each.
const TABLES: [(&str, i32); 11] = [
    ("log", 1),
    ("redactions", 1),
    ("projections", 1),
    ("projection_skips", 1),
    ("tiles", 2),
    ("checkpoints", 2),
    ("anchors", 2),
    ("anchor_receipts", 2),
    ("api_key_events", 3),
    ("api_key_uses", 3),
    ("generation", 4),
];

/// Those of them that are read whenever a log is opened or read, without a call of [`has_table`] each time.
const READ_AT_ONCE: [&str; 6] =
    ["log", "redactions", "projections", "projection_skips", "api_key_events", "generation"];

/// The object that a file has under the name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No object.
    Nothing,
    /// A table that has rows of its own.
    Table,
    /// A view or a virtual table, which can make up its rows as they are read and need never come to an end; or a
    /// table whose name differs in upper and lower case.
    Other,
}

/// Finds the object under the name of a table by its statement, which is all that SQLite goes by. The number of its
/// page can be any.
///
/// SQLite's own list of tables is not used. To make it, SQLite would open every virtual table of the file. Each reads
/// what it needs, and that can be a view without end.
pub(crate) fn found(connection: &Connection, table: &str) -> rusqlite::Result<Found> {
    // SQLite takes any value here for a text, which ends at its end or at the first zero byte. The casts, and the cut
    // at zero below, do the same.
    let mut statement = connection.prepare_cached(
        "SELECT CAST(type AS TEXT), CAST(name AS TEXT), substr(CAST(sql AS TEXT), 1, 13)
         FROM sqlite_schema WHERE sql IS NOT NULL",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Found::Nothing;
    while let Some(row) = rows.next()? {
        let text = |column| -> rusqlite::Result<&[u8]> {
            let text = row.get_ref(column)?.as_bytes_or_null().map_err(rusqlite::Error::from)?;
            Ok(text.and_then(|text| text.split(|byte| *byte == 0).next()).unwrap_or_default())
        };
        let (kind, name) = (text(0)?, text(1)?);
        // An index or a trigger may have the name of a table.
        let is_beside = [&b"index"[..], b"trigger"].iter().any(|beside| kind.eq_ignore_ascii_case(beside));
        if is_beside || !name.eq_ignore_ascii_case(table.as_bytes()) {
            continue;
        }
        // SQLite itself writes these first words in upper case (<https://sqlite.org/schematab.html>). A statement
        // that begins in another way is not trusted to be an ordinary table.
        if name != table.as_bytes() || text(2)? != b"CREATE TABLE " {
            return Ok(Found::Other);
        }
        // Not returned yet: a second object of this name would decide against the file.
        found = Found::Table;
    }
    Ok(found)
}

/// The tables of a log of the present version, without its read tables.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|(name, _)| *name)
}

/// Returns whether a file has a table of its schema, as an ordinary one.
pub(crate) fn has_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let since = TABLES.iter().find(|(name, _)| *name == table).map_or(1, |(_, since)| *since);
    Ok(version_of(connection)? >= since && found(connection, table)? == Found::Table)
}

/// Names a table that is read whenever a log is opened, if something else stands in its place. A table that is
/// missing is not named: its pages may still be in the write-ahead log.
pub(crate) fn replaced_table(connection: &Connection) -> rusqlite::Result<Option<&'static str>> {
    for table in READ_AT_ONCE {
        if found(connection, table)? == Found::Other {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// An object of the schema. Its statement lacks the differences of spelling that SQLite itself makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// The objects of a schema, except for the indexes that SQLite makes by itself, which have no statement.
pub(crate) fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    connection
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name, type")?
        .query_map([], |row| {
            let sql: String = row.get(2)?;
            Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: normal_sql(&sql) })
        })?
        .collect()
}

/// The code of a line, without a comment at its end. Two dashes in a text do not begin a comment.
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

/// A statement without comments, without runs of white space, and without the quotes that renaming puts around the
/// name of its table. All other quotes stay: they make a text of a condition.
fn normal_sql(sql: &str) -> String {
    let mut normal: Vec<&str> = Vec::new();
    for line in sql.lines() {
        for word in code(line).split_ascii_whitespace() {
            match normal.last() {
                // The word after one of these is the name of a table.
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

/// The name of a table, which may be in quotes, and the bracket that may follow it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_listed_with_the_version_that_brings_it() {
        let mut made = Vec::new();
        for version in 1..=version() {
            for object in expected_objects(version).unwrap() {
                if object.kind == "table" && !made.iter().any(|(name, _)| *name == object.name) {
                    made.push((object.name, version));
                }
            }
        }
        let mut listed = TABLES.map(|(name, since)| (name.to_owned(), since)).to_vec();
        made.sort();
        listed.sort();
        assert_eq!(made, listed);
    }

    #[test]
    fn a_trigger_or_an_index_with_the_name_of_a_table_is_not_taken_for_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE other (seq); CREATE INDEX projections ON other (seq);
                 CREATE TRIGGER log AFTER INSERT ON other BEGIN SELECT 1; END",
            )
            .unwrap();
        assert_eq!(replaced_table(&connection).unwrap(), None);
        assert_eq!(found(&connection, "log").unwrap(), Found::Nothing);
        connection.execute_batch("CREATE TABLE log (seq)").unwrap();
        assert_eq!(found(&connection, "log").unwrap(), Found::Table);
    }
}
