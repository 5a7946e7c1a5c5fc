//! What is no log, or not as it should be: a clear error, and nothing changed.

use crate::support;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{new_path, note, within};
use annals::verify::{self, Check, Scope, VerifyError};
use annals::{AuditLog, OpenError, Reader};
use rusqlite::Connection;
use tempfile::TempDir;

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let read = |entry: std::fs::DirEntry| {
        let path = entry.path();
        (entry.file_name(), if path.is_dir() { Vec::new() } else { std::fs::read(path).unwrap() })
    };
    folder.read_dir().unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// The error of opening what `make` puts at the path, in each way of opening; it names the path, and
/// nothing in the folder changes.
fn error_of(make: impl FnOnce(&Path)) -> OpenError {
    let (folder, path) = new_path();
    make(&path);
    let before = contents(folder.path());
    let error = AuditLog::open(&path).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(contents(folder.path()), before, "{error}");
    let again = AuditLog::builder(&path).open_existing().unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    assert_eq!(contents(folder.path()), before, "{error}");
    let Err(VerifyError::Open(read)) = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}) else {
        // An altered schema is for verification to report.
        return error;
    };
    assert!(read.to_string().contains(path.to_str().unwrap()), "{read}");
    assert_eq!(contents(folder.path()), before, "{read}");
    error
}

/// A log with an event, changed by a script.
fn log_with(statements: &'static str) -> impl FnOnce(&Path) {
    move |path| {
        let log = AuditLog::open(path).unwrap();
        drop(log.append(note("first")).unwrap());
        log.close().unwrap();
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(statements).unwrap();
    }
}

#[test]
fn a_file_that_is_not_a_database() {
    let error = error_of(|path| std::fs::write(path, "Dear diary,\n".repeat(1_000)).unwrap());
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
}

#[test]
fn a_few_bytes() {
    let error = error_of(|path| std::fs::write(path, "x").unwrap());
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
}

#[test]
fn an_empty_file() {
    let error = error_of(|path| std::fs::write(path, "").unwrap());
    assert!(matches!(error, OpenError::Empty { .. }), "{error:?}");
    assert!(error.to_string().contains("delete it"), "{error}");
}

#[test]
fn a_folder() {
    let error = error_of(|path| std::fs::create_dir(path).unwrap());
    assert!(matches!(error, OpenError::Folder { .. }), "{error:?}");
}

#[test]
fn somebody_elses_database() {
    let error = error_of(|path| {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE log (seq); INSERT INTO log VALUES (1)").unwrap();
    });
    assert!(matches!(error, OpenError::NotALog { application_id: 0, .. }), "{error:?}");
}

/// SQLite would apply what the journal or the write-ahead log holds as soon as it reads the file.
#[test]
fn somebody_elses_database_after_a_crash() {
    for journal in ["wal", "delete"] {
        let error = error_of(|path| {
            let source = path.with_extension("source");
            let mut connection = Connection::open(&source).unwrap();
            connection.pragma_update(None, "journal_mode", journal).unwrap();
            connection.execute_batch("PRAGMA cache_size = 1; CREATE TABLE t (x)").unwrap();
            let tx = connection.transaction().unwrap();
            for _ in 0..100 {
                tx.execute("INSERT INTO t VALUES (zeroblob(3000))", []).unwrap();
            }
            if journal == "wal" {
                tx.commit().unwrap();
            }
            // As they would lie there had the process died now.
            for ending in ["", "-wal", "-journal"] {
                let from = support::beside(&source, ending);
                if from.exists() {
                    std::fs::copy(from, support::beside(path, ending)).unwrap();
                }
            }
        });
        assert!(matches!(error, OpenError::NotALog { .. }), "{error:?}");
    }
}

#[test]
fn a_log_of_a_newer_version() {
    let error = error_of(log_with("PRAGMA user_version = 1000"));
    assert!(matches!(error, OpenError::NewerSchema { found: 1000, .. }), "{error:?}");
    assert!(error.to_string().contains("use a newer version"), "{error}");
}

#[test]
fn a_log_whose_tables_or_guards_were_altered() {
    for (statements, named) in [
        ("DROP TRIGGER log_rows_never_change", "log_rows_never_change"),
        ("DROP TRIGGER log_rows_stay", "log_rows_stay"),
        (
            "DROP TRIGGER log_rows_stay;
             CREATE TRIGGER log_rows_stay BEFORE DELETE ON log BEGIN SELECT 1; END",
            "log_rows_stay",
        ),
        ("ALTER TABLE log ADD COLUMN note TEXT", "log"),
        ("ALTER TABLE log RENAME TO old", "log"),
        ("DROP TABLE projection_skips", "projection_skips"),
    ] {
        let error = error_of(log_with(statements));
        assert!(matches!(&error, OpenError::Damaged { what, .. } if what.contains(named)), "{error:?}");
    }
}

/// Where a change of a log stands.
#[derive(Clone, Copy, Debug)]
enum Change {
    InTheFile,
    InTheWriteAheadLog,
}

/// A log, changed by a script.
fn changed(script: &str, change: Change) -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let made = folder.path().join("made.db");
    let log = AuditLog::open(&made).unwrap();
    drop(log.append(note("first")).unwrap());
    log.close().unwrap();
    let connection = Connection::open(&made).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute_batch(script).unwrap();
    if matches!(change, Change::InTheFile) {
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    }
    for ending in ["", "-wal"] {
        std::fs::copy(support::beside(&made, ending), support::beside(&path, ending)).unwrap();
    }
    (folder, path)
}

/// A view that gives rows without end.
const ENDLESS: &str = "AS WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n)
    SELECT n AS seq, n AS event_id, n AS entry, n AS payload, n AS hash, 2 AS one, n AS id, n AS previous,
           n AS is_open, n AS machine, 'no' AS name, 'no' AS stage, n AS version, n AS generation, n AS position,
           n AS stopped_at, n AS error, 'no' AS projection, 'no' AS key, n AS last_used_at FROM n";

#[test]
fn a_view_without_end_in_the_place_of_a_table_is_named_and_never_read() {
    for (table, name) in [
        ("log", "log"),
        ("log", "LOG"),
        ("log", "log' || x'00' || 'a"),
        ("redactions", "redactions"),
        ("generation", "generation"),
        ("projections", "projections"),
        ("projection_skips", "projection_skips"),
        ("api_key_events", "api_key_events"),
    ] {
        for change in [Change::InTheFile, Change::InTheWriteAheadLog] {
            let script = format!(
                "ALTER TABLE {table} RENAME TO kept; CREATE VIEW {table} {ENDLESS};
                 PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET name = '{name}', tbl_name = '{name}' WHERE name = '{table}'"
            );
            let (_folder, path) = changed(&script, change);
            within(Duration::from_secs(60), move || {
                let names = |error: OpenError| {
                    let (table, path) = (format!("`{table}`"), path.to_str().unwrap());
                    let said = error.to_string();
                    assert!(said.contains(&table) && said.contains(path), "{name} {change:?}: {said}");
                };
                names(AuditLog::open(&path).unwrap_err());
                names(Reader::open(&path).unwrap_err());
                let report = support::verify(&path);
                let first = &report.failures[0];
                assert_eq!((first.check, first.seq), (Check::Damage, None), "{name} {change:?}: {report:?}");
                assert!(first.detail.contains(&format!("`{table}`")), "{name} {change:?}: {first:?}");
            });
        }
    }
}

/// Has a table take values of any type, writes there, and restores what the schema says.
fn forced(table: &str, sql: &str) -> String {
    let changed = |change: &str| {
        format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = {change} WHERE name = '{table}';
             PRAGMA writable_schema = RESET;"
        )
    };
    format!(
        "CREATE TEMP TABLE as_it_was AS SELECT sql FROM sqlite_schema WHERE name = '{table}';
         {} {sql}; {} PRAGMA writable_schema = OFF",
        changed("replace(replace(sql, ') STRICT, WITHOUT ROWID', ') WITHOUT ROWID'), ') STRICT', ')')"),
        changed("(SELECT sql FROM as_it_was)")
    )
}

#[test]
fn a_long_value_in_any_column_beside_the_log_is_named_before_anything_is_written_there() {
    let long = "zeroblob(17000000)";
    for (table, column, sql) in [
        ("projections", "version", format!("UPDATE projections SET version = {long} WHERE name = 'keys'")),
        ("projections", "error", format!("UPDATE projections SET error = {long} WHERE name = 'keys'")),
        ("projection_skips", "seq", format!("INSERT INTO projection_skips VALUES ('keys', 1, {long})")),
        ("anchors", "anchored_at", format!("INSERT INTO anchors (name, anchored_at) VALUES ('a', {long})")),
        ("anchor_receipts", "size", format!("INSERT INTO anchor_receipts VALUES ('a', {long}, x'00')")),
        ("anchor_receipts", "receipt", format!("INSERT INTO anchor_receipts VALUES ('a', 1, {long})")),
        ("api_key_uses", "last_used_at", format!("INSERT INTO api_key_uses VALUES ('a', {long})")),
        ("generation", "machine", format!("UPDATE generation SET machine = {long}")),
    ] {
        let (_folder, path) = changed(&forced(table, &sql), Change::InTheFile);
        let error = AuditLog::open(&path).unwrap_err();
        let named = format!("`{column}` in a row of `{table}`");
        assert!(matches!(&error, OpenError::Damaged { what, .. } if what.contains(&named)), "{error:?}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    let (folder, path) = new_path();
    let error = AuditLog::builder(&path).open_existing().unwrap_err();
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let error = verify::verify(&path, Scope::LogOnly, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, VerifyError::Open(OpenError::Missing { .. })), "{error:?}");
    assert_eq!(contents(folder.path()), BTreeMap::new());
}

#[test]
fn a_path_through_a_file() {
    let (folder, path) = new_path();
    std::fs::write(&path, "not a folder").unwrap();
    let error = AuditLog::open(path.join("audit.db")).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn a_name_that_cannot_be_the_origin() {
    for origin in ["", "two words", "a+b", "a\nb", &"x".repeat(256)] {
        let (folder, path) = new_path();
        let error = AuditLog::builder(&path).origin(origin).open().unwrap_err();
        assert!(matches!(error, OpenError::Origin { .. }), "{error:?}");
        assert_eq!(contents(folder.path()), BTreeMap::new());
    }
}

/// What a process that was killed leaves, without the log that it belongs to.
fn left_wal() -> (TempDir, PathBuf) {
    let (folder, path) = new_path();
    let log = AuditLog::open(&path).unwrap();
    log.append(note("first")).unwrap().wait().unwrap();
    let (left, left_path) = new_path();
    std::fs::copy(support::beside(&path, "-wal"), support::beside(&left_path, "-wal")).unwrap();
    log.close().unwrap();
    drop(folder);
    (left, left_path)
}

#[test]
fn a_write_ahead_log_whose_log_was_deleted_is_not_applied_to_a_new_one() {
    let (folder, path) = left_wal();
    let before = contents(folder.path());
    let error = AuditLog::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::LeftWal { .. }), "{error:?}");
    assert_eq!(contents(folder.path()), before);
    std::fs::remove_file(support::beside(&path, "-wal")).unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    support::verify_whole(&path);
}

#[test]
fn an_empty_write_ahead_log_that_a_reader_left_is_in_nobodys_way() {
    let (_folder, path) = new_path();
    std::fs::write(support::beside(&path, "-wal"), b"").unwrap();
    AuditLog::open(&path).unwrap().close().unwrap();
    support::verify_whole(&path);
}

#[test]
fn paths_that_a_uri_would_read_differently() {
    for name in ["a b.db", "a?b.db", "a#b.db", "a%41.db", "ü.db", "-.db"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let log = AuditLog::open(&path).unwrap();
        log.append(note("first")).unwrap().wait().unwrap();
        log.close().unwrap();
        assert_eq!(support::verify_whole(&path).log.events, 2);
        assert!(path.exists());
    }
    let (_folder, path) = new_path();
    let doubled = PathBuf::from(format!("/{}", path.display()));
    AuditLog::open(&doubled).unwrap().close().unwrap();
    assert_eq!(support::verify_whole(&doubled).log.events, 1);
}

#[test]
fn a_damaged_first_event_is_named() {
    for damage in [
        "DROP TRIGGER log_rows_never_change; UPDATE log SET entry = zeroblob(40) WHERE seq = 1",
        "DROP TRIGGER log_rows_never_change; UPDATE log SET payload = NULL WHERE seq = 1",
    ] {
        let (_folder, path) = new_path();
        log_with(damage)(&path);
        let error = annals::Reader::open(&path).unwrap().origin().unwrap_err().to_string();
        assert!(error.contains("event 1") && error.contains("run `annals verify` for details"), "{error}");
    }
}
